"""What is wrong at the start: one line that says what to do, and nothing is touched."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kernel.clock import FixedClock
from runtime.store import create_store
from tests.conftest import mianjiao

NOW = datetime.now(UTC)


def contents(folder: Path) -> dict[str, tuple[bytes, float]]:
    return {
        path.name: (path.read_bytes(), path.stat().st_mtime)
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(("-shm", "-wal"))
    }


def refused(data: Path, *more: str) -> str:
    """The one line with which `mianjiao serve` gives up; the store is as before."""
    before = contents(data)
    done = mianjiao("serve", "--data", data, "--port", "0", *more, expect=None)
    assert done.returncode not in (0, None)
    (line,) = done.stderr.splitlines()
    assert line.startswith("mianjiao: ")
    assert done.stdout == ""
    assert contents(data) == before
    return line


@pytest.fixture
def data(tmp_path: Path) -> Path:
    create_store(tmp_path / "store", "test.example", FixedClock(NOW))
    return tmp_path / "store"


def test_a_clock_behind_the_last_checkpoint(tmp_path: Path) -> None:
    data = tmp_path / "store"
    create_store(data, "test.example", FixedClock(datetime.now(UTC) + timedelta(hours=1)))
    line = refused(data)
    assert line.endswith("[clock_behind]")
    assert "请校准时钟" in line


def test_a_database_that_is_older_than_the_program(data: Path) -> None:
    with closing(sqlite3.connect(data / "mianjiao.sqlite3")) as rows, rows:
        rows.execute("update alembic_version set version_num = '0001'")
    assert refused(data).endswith("[migration_missing]")


def test_a_database_that_is_newer_than_the_program(data: Path) -> None:
    with closing(sqlite3.connect(data / "mianjiao.sqlite3")) as rows, rows:
        rows.execute("update alembic_version set version_num = '9999'")
    assert refused(data).endswith("[migration_unknown]")


def test_a_folder_that_is_no_store(tmp_path: Path) -> None:
    assert refused(tmp_path).endswith("[store_missing]")


def test_an_object_store_that_is_not_mounted(data: Path) -> None:
    (data / "objects").rename(data / "elsewhere")
    assert refused(data).endswith("[object_store_missing]")


def test_a_key_file_that_is_gone(data: Path) -> None:
    next((data / "keys").glob("log-*.key")).unlink()
    assert refused(data).endswith("[database_without_key]")


@pytest.mark.parametrize("setting", ["MIANJIAO_QUEUE_LIMIT", "MIANJIAO_QUEUE_LIMITS"])
def test_a_setting_that_is_wrong_or_unknown(
    data: Path, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    monkeypatch.setenv(setting, "no")
    assert setting in refused(data)
