"""A disk that is really full: nothing acknowledged is lost, and it goes on once there is space.

On a small tmpfs of its own, filled to the last byte by somebody else, while a real
server works on it.
"""

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from runtime.commands.token import TokenRequest, issue_token
from runtime.store import create_store
from tests.conftest import mianjiao
from tests.runtime.conftest import Served, serving
from tests.runtime.test_health import CASE, WINDOW

MIB = 1 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """An empty file system of 96 MiB; skipped where this user cannot mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("a small tmpfs cannot be mounted here: that needs root, and leave to mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


class Filler:
    """Somebody else who needs the disk."""

    def __init__(self, disk: Path) -> None:
        self.path = disk / "filler"

    def fill(self, *, leave: int = 0) -> None:
        space = os.statvfs(self.path.parent)
        free = space.f_bavail * space.f_frsize
        with self.path.open("ab") as file:
            if leave:
                file.write(bytes(max(0, free - leave)))
                return
            for size in (MIB, 4096, 1):
                try:
                    while True:
                        os.write(file.fileno(), bytes(size))
                except OSError:
                    continue

    def empty(self) -> None:
        self.path.unlink()


class Client:
    """A window that remembers what was acknowledged."""

    def __init__(self, served: Served) -> None:
        self.http = httpx2.Client(
            base_url=served.url,
            timeout=60,
            headers={"Authorization": f"Bearer {served.tokens['window']}"},
        )
        self.acknowledged: list[str] = []
        self.refused: list[str] = []

    def open_case(self) -> int:
        answer = self.http.post("/v1/cases", json=CASE)
        if answer.status_code == 201:
            self.acknowledged.append(answer.json()["case_id"])
        else:
            self.refused.append(answer.json()["code"])
        return answer.status_code

    def metric(self, name: str) -> float:
        text = self.http.get("/metrics").text
        return float(re.search(rf"^mianjiao_{name} (\S+)$", text, re.MULTILINE)[1])  # type: ignore[index]

    def missing(self) -> dict[str, str]:
        answer = self.http.get("/health/ready")
        return {} if answer.status_code == 200 else dict(answer.json()["missing"])


def until(condition: Callable[[], bool], seconds: float = 15) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


@pytest.fixture
def served(small_disk: Path, tmp_path: Path, capsys: Any) -> Iterator[Served]:
    data = small_disk / "store"
    create_store(data, "test.example")
    issue_token(data, TokenRequest("window", org=WINDOW, unit="综窗3号", officer="陈晓岚"))
    token = next(word for word in capsys.readouterr().out.split() if word.startswith("mj_"))
    with serving(
        data,
        tmp_path / "log.txt",
        {"window": token},
        MIANJIAO_DISK_LOW_MIB="8",
        MIANJIAO_DISK_RESERVE_MIB="8",
        MIANJIAO_WATCH_SECONDS="0.1",
        MIANJIAO_BATCH_INTERVAL_MS="1000",
    ) as served:
        yield served


def test_low_space_stops_writes_and_the_log_still_finishes(
    served: Served, small_disk: Path
) -> None:
    client, filler = Client(served), Filler(small_disk)
    assert [client.open_case() for _ in range(5)] == [201] * 5
    filler.fill(leave=6 * MIB)
    until(lambda: client.missing() == {"disk": "disk_low"})
    assert client.open_case() == 507
    assert client.refused == ["disk_low"]
    # What was acknowledged gets into the log, and reading goes on.
    assert client.http.get(f"/v1/cases/{client.acknowledged[0]}").status_code == 200
    assert client.http.get("/").status_code == 200
    filler.empty()
    until(lambda: client.missing() == {})
    assert client.open_case() == 201
    assert_all_there(served, client)


def test_a_disk_filled_to_the_last_byte_loses_nothing_acknowledged(
    served: Served, small_disk: Path
) -> None:
    client, filler = Client(served), Filler(small_disk)
    for _ in range(3):
        _filled_and_emptied(served, client, filler)
    assert {"disk_low", "storage_full"} & set(client.refused)
    assert_all_there(served, client)


def _filled_and_emptied(served: Served, client: Client, filler: Filler) -> None:
    restarts = client.metric("log_restarts_total")
    assert client.open_case() == 201
    # The log takes the second a second later, when the disk is full.
    assert client.open_case() == 201
    filler.fill()
    answers = {client.open_case() for _ in range(20)}
    assert answers <= {201, 507}, answers
    until(lambda: "disk" in client.missing())
    # The reserve lets the log finish although the disk stays full.
    until(lambda: client.metric("log_restarts_total") > restarts)
    until(lambda: "log" not in client.missing() and client.metric("log_queue_depth") == 0)
    assert "disk" in client.missing()
    # What leaves an audit row is refused rather than read unseen; the rest is read.
    seen = client.http.get(f"/v1/cases/{client.acknowledged[-1]}")
    assert seen.status_code == 200 or seen.json()["code"] == "storage_full"
    assert client.http.get("/").status_code == 200
    assert client.http.get("/v1/catalogue/matters").status_code == 200
    filler.empty()
    until(lambda: client.missing() == {})
    assert client.open_case() == 201
    until(lambda: (served.data / ".reserve").exists())


def assert_all_there(served: Served, client: Client) -> None:
    """Every acknowledged case is readable and logged; nothing else is wrong either."""
    for case in client.acknowledged:
        assert client.http.get(f"/v1/cases/{case}").status_code == 200
    until(lambda: client.missing() == {})
    done = mianjiao("fsck", "--data", served.data, "--json", expect=None)
    assert json.loads(done.stdout)["problems"] == []
    text = served.log.read_text()
    assert "Traceback" not in text
    assert [line for line in text.splitlines() if not line.startswith("{")] == []
