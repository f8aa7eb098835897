"""A real Ceph object gateway on loopback, from Debian's packages."""

import secrets
import shutil
import socket
import subprocess
from pathlib import Path

from storage.s3 import Bucket, S3Settings

SCRIPT = Path(__file__).parents[2] / "scripts" / "servers" / "radosgw.sh"
NEEDED = ("radosgw", "ceph-mon", "ceph-osd")
USER, PASSWORD = "tester", "only-on-loopback"


def lacks_radosgw() -> bool:
    return any(shutil.which(name) is None for name in NEEDED)


class RadosGateway:
    """One monitor, one OSD in memory and one gateway, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        # Two ports in a row: the gateway's, and the monitor's.
        while True:
            with socket.create_server(("127.0.0.1", 0)) as free:
                self.port = free.getsockname()[1]
                try:
                    socket.create_server(("127.0.0.1", self.port + 1)).close()
                except OSError:
                    continue
                break
        with (folder / "errors.txt").open("wb") as errors:
            self._process = subprocess.Popen(
                [SCRIPT, folder / "ceph", str(self.port), USER, PASSWORD],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        assert said == "ready\n", (folder / "errors.txt").read_text()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=60)

    def settings(self, bucket: str | None = None, **changes: object) -> S3Settings:
        """Of a bucket with a new name, which is not there yet."""
        values: dict[str, object] = {
            "endpoint": f"127.0.0.1:{self.port}",
            "bucket": bucket or "test-" + secrets.token_hex(8),
            "access_key": USER,
            "secret_key": PASSWORD,
            "secure": False,
            "conditional_put": False,
            "pause_seconds": 0.01,
            **changes,
        }
        return S3Settings(**values)  # type: ignore[arg-type]

    def bucket(self, **changes: object) -> Bucket:
        """A fresh bucket with versions and object lock."""
        made = Bucket(self.settings(**changes))
        made.create()
        return made
