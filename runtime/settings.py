"""The one settings reader. Environment variables begin with `MIANJIAO_`.

docs/architecture.md has the table. A wrong value stops the start with an
error that names the setting.
"""

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from runtime.errors import SettingInvalid


class Settings(BaseSettings):
    """Everything that can be set, with its unit, range and default."""

    model_config = SettingsConfigDict(env_prefix="MIANJIAO_", extra="ignore", frozen=True)

    database_url: SecretStr | None = None
    """PostgreSQL 数据库，postgresql://用户:口令@主机:端口/库名；不设则用数据目录中的 SQLite。
    PostgreSQL database, postgresql://user:password@host:port/name; without it SQLite in the
    data folder."""
    batch_interval_ms: Annotated[int, Field(ge=1, le=60_000)] = 100
    """How long entries gather before the sequencer takes them, in milliseconds."""
    upload_limit_mib: Annotated[int, Field(ge=1, le=1_048_576)] = 4096
    """Largest single file, in MiB; the catalogue may set less per material type."""
    receive_idle_seconds: Annotated[float, Field(gt=0, le=3600)] = 15.0
    """How long a sender may be silent."""
    receive_grace_seconds: Annotated[float, Field(ge=0, le=3600)] = 30.0
    """After this time the average rate must be reached."""
    receive_rate_bytes: Annotated[int, Field(ge=0)] = 16 * 1024
    """Least average rate of a sender, in bytes per second."""
    worker_threads: Annotated[int, Field(ge=1, le=512)] = 16
    """Threads for requests that wait for disk or database."""
    sweep_hours: Annotated[float, Field(gt=0)] = 24.0
    """Uploads that became part of nothing are removed after this many hours."""
    log_level: Annotated[str, Field(pattern="^(DEBUG|INFO|WARNING|ERROR)$")] = "WARNING"
    """INFO writes one line per request, without personal data."""


def read_settings() -> Settings:
    """Read the environment once; `SettingInvalid` names the first wrong setting."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = "MIANJIAO_" + ".".join(str(part) for part in first["loc"]).upper()
        raise SettingInvalid(name=name, rule=first["msg"]) from None


def data_path(data: Path) -> Path:
    """The data folder as an absolute path."""
    return data.expanduser().resolve()
