"""Stores to measure: made on the spot, served by a real process on loopback."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from runtime.demo.cast import Identity, issue_tokens
from runtime.demo.server import running_server
from runtime.store import create_store


@dataclass(frozen=True, slots=True)
class Served:
    """A store with its server: base URL, folder, identities, process id."""

    url: str
    data: Path
    identities: list[Identity]
    pid: int

    def token(self, key: str) -> str:
        return next(one.token for one in self.identities if one.key == key)

    def peak_rss(self) -> int:
        """The most memory the server ever held, in bytes (Linux: VmHWM)."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError("no VmHWM in /proc")


@contextmanager
def served(data: Path) -> Iterator[Served]:
    """A fresh store in `data`, served until the block ends."""
    create_store(data, "bench.example")
    identities = issue_tokens(data)
    with running_server(data) as server:
        yield Served(server.url, data, identities, server.pid)
