"""What it takes to reach a bucket. `runtime` reads it from the environment; nothing here does."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from storage.s3.errors import S3SettingInvalid

_ENDPOINT = re.compile(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?", re.ASCII)
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)


@dataclass(frozen=True, slots=True)
class S3Settings:
    """One bucket on one server. `S3SettingInvalid` names a value of another form.

    endpoint: host and port, without a scheme. ca_file: certificates to trust
    instead of the system's. conditional_put: whether the server holds
    `If-None-Match: *` on a put to a bucket with versions; where not (Ceph 16),
    every put is followed by a look at who was first, and the first is what is
    read, for one more request each. connect_seconds, read_seconds: how long one
    connection may take, and one wait for bytes. tries: how often a request is
    sent at most, with pause_seconds after the first and twice as long after
    each other; none is sent again once give_up_seconds have passed.
    connections: how many are kept open, and half of it how many requests of
    one batch run at a time.
    """

    endpoint: str
    bucket: str
    access_key: str
    secret_key: str = field(repr=False)
    secure: bool = True
    region: str = "us-east-1"
    ca_file: Path | None = None
    conditional_put: bool = True
    connect_seconds: float = 3.0
    read_seconds: float = 20.0
    tries: int = 6
    pause_seconds: float = 0.1
    give_up_seconds: float = 30.0
    connections: int = 32

    def __post_init__(self) -> None:
        if not _ENDPOINT.fullmatch(self.endpoint):
            raise S3SettingInvalid(
                setting="endpoint",
                form="主机:端口，不带 http://",
                form_en="host:port, without http://",
            )
        if not _BUCKET.fullmatch(self.bucket) or ".." in self.bucket:
            raise S3SettingInvalid(
                setting="bucket",
                form="3 至 63 个 a-z、0-9、- 和 . 字符",
                form_en="3 to 63 of a-z, 0-9, - and .",
            )
        for setting in ("access_key", "secret_key", "region"):
            value: str = getattr(self, setting)
            if not value or not value.isascii() or any(letter.isspace() for letter in value):
                raise S3SettingInvalid(
                    setting=setting,
                    form="不含空白的 ASCII 字符，不得为空",
                    form_en="ASCII without spaces, not empty",
                )
        if self.ca_file is not None and not self.ca_file.is_file():
            raise S3SettingInvalid(
                setting="ca_file", form="PEM 证书文件", form_en="a file of PEM certificates"
            )
