"""A real MinIO on loopback, from the binary that `make servers` built."""

import os
import secrets
import socket
import subprocess
import time
from pathlib import Path

import httpx2
from minio import Minio
from minio.versioningconfig import VersioningConfig

from scripts.up.programs import ProgramMissing, minio
from storage.s3 import Bucket, S3Settings

ROOT = Path(__file__).parents[2]
START_SECONDS = 30
USER, PASSWORD = "tester", "only-on-loopback"


def find_minio() -> str | None:
    """The binary, or None where `make servers` was not run."""
    try:
        return minio()
    except ProgramMissing:
        return None


class MinioServer:
    """One server with a folder of its own. `stop` and `start` again keep port and content."""

    def __init__(self, binary: str, folder: Path) -> None:
        self._binary = binary
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        (self._folder / "data").mkdir(parents=True, exist_ok=True)
        log = (self._folder / "minio.log").open("ab")
        self._process = subprocess.Popen(
            [self._binary, "server", "--quiet", "--address", self.endpoint, self._folder / "data"],
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self._folder),
                "MINIO_ROOT_USER": USER,
                "MINIO_ROOT_PASSWORD": PASSWORD,
                "MINIO_BROWSER": "off",
                "MINIO_UPDATE": "off",
            },
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        log.close()
        deadline = time.monotonic() + START_SECONDS
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError((self._folder / "minio.log").read_text())
            time.sleep(0.05)

    def stop(self) -> None:
        """Kill it, as a power cut would; nothing was promised that is not on its disk."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def settings(self, bucket: str | None = None, **changes: object) -> S3Settings:
        """Of a bucket with a new name, which is not there yet."""
        values: dict[str, object] = {
            "endpoint": self.endpoint,
            "bucket": bucket or "test-" + secrets.token_hex(8),
            "access_key": USER,
            "secret_key": PASSWORD,
            "secure": False,
            "pause_seconds": 0.01,
            **changes,
        }
        return S3Settings(**values)  # type: ignore[arg-type]

    def environment(self, settings: S3Settings) -> dict[str, str]:
        """By which a command finds the bucket of the settings."""
        return {
            "MIANJIAO_S3_ENDPOINT": settings.endpoint,
            "MIANJIAO_S3_BUCKET": settings.bucket,
            "MIANJIAO_S3_SECURE": "false",
            "MIANJIAO_S3_ACCESS_KEY": settings.access_key,
            "MIANJIAO_S3_SECRET_KEY": settings.secret_key,
        }

    def bucket(self, **changes: object) -> Bucket:
        """A fresh bucket with versions and object lock."""
        settings = self.settings(**changes)
        bucket = Bucket(settings)
        bucket.create()
        return bucket

    def plain_bucket(self, settings: S3Settings, *, versions: bool) -> None:
        """Make the bucket without object lock, as no store's must be."""
        client = Minio(
            settings.endpoint, settings.access_key, settings.secret_key, secure=settings.secure
        )
        client.make_bucket(settings.bucket)
        if versions:
            client.set_bucket_versioning(settings.bucket, VersioningConfig("Enabled"))

    def _ready(self) -> bool:
        try:
            return httpx2.get(f"http://{self.endpoint}/minio/health/ready").status_code == 200
        except httpx2.TransportError:
            return False
