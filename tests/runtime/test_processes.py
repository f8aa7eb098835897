"""Several processes of one store: workers on one port, rooms apart, an elected sequencer."""

import json
import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pytest

from ledger.policy import Policy
from ledger.receipts import Evidence, verify_receipt
from runtime.demo import people
from runtime.demo.cast import issue_tokens
from tests.conftest import mianjiao
from tests.engines import Engine
from tests.kills.checks import policy_of
from tests.kills.clients import Caller, Known, Place
from tests.nursery import Child, nursery

pytestmark = pytest.mark.timeout(300)

TAKE_OVER_SECONDS = 5
PATIENCE = 60.0


class Processes:
    """The processes of one store. What they log is in `log`."""

    def __init__(self, data: Path, log: Path) -> None:
        self.data, self.log = data, log
        self.tokens: dict[str, str] = {}
        self._running: list[Child] = []

    def start(self, *command: str) -> tuple[str, int]:
        """`mianjiao COMMAND` on a free port: where it answers, and its process."""
        with self.log.open("ab") as errors:
            process = nursery().start(
                *command, "--data", self.data, "--port", "0", "--json", errors=errors
            )
        self._running.append(process)
        line = process.stdout.readline()
        assert line, self.log.read_text()
        return str(json.loads(line)["url"]), process.pid

    def caller(self, url: str) -> Caller:
        return Caller(Place(url), self.tokens, Known())

    def stop(self) -> None:
        """All end as they should when they are told to."""
        for process in self._running:
            process.send_signal(signal.SIGTERM)
        statuses = [process.wait(timeout=40) for process in self._running]
        self._running.clear()
        assert set(statuses) <= {0, -signal.SIGKILL}, self.log.read_text()

    def kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        for process in self._running:
            if process.pid == pid:
                process.wait()

    def problems(self) -> object:
        return json.loads(mianjiao("fsck", "--data", self.data, "--json").stdout)["problems"]


@pytest.fixture
def processes(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Processes]:
    engine.place(tmp_path / "database", empty=True)
    for name, value in engine.environment(tmp_path / "database").items():
        monkeypatch.setenv(name, value)
    data = tmp_path / "store"
    mianjiao("init", "--data", data, "--name", "processes.example")
    made = Processes(data, tmp_path / "log.txt")
    made.tokens = {one.key: one.token for one in issue_tokens(data)}
    yield made
    made.stop()


def until(met: Callable[[], bool], what: str) -> float:
    """Seconds until it is so."""
    began = time.monotonic()
    while not met():
        assert time.monotonic() - began < PATIENCE, what
        time.sleep(0.02)
    return time.monotonic() - began


def opened(caller: Caller) -> tuple[str, str]:
    """A new case: its id, and where the receipt of its opening will be."""
    body = {
        "matter": people.FOOD_MATTER,
        "variant": "moved",
        "applicant": people.COMPANY.ref(),
        "acting": people.ACTS_FOR_COMPANY,
        "channel": "window",
    }
    case = caller.made("window", "POST", "/v1/cases", body)
    return str(case["case_id"]), str(case["receipt"]["href"])


def ledgered(caller: Caller, receipt: str, policy: Policy) -> int | None:
    """The index in the log that the receipt proves; None while it is pending."""
    status, data = caller.send("window", "GET", receipt)
    if status == 202:
        return None
    evidence = verify_receipt(data, policy)
    assert isinstance(evidence, Evidence), data
    return evidence.index


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def forker_of(parent: int) -> int:
    """The process that forks its workers."""
    (found,) = [child for child in children(parent) if children(child)]
    return found


def workers_of(parent: int) -> list[int]:
    return children(forker_of(parent))


def alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # the latter: gone between open and read
        return False


@pytest.mark.both_engines
def test_workers_share_a_port_and_are_replaced(processes: Processes) -> None:
    url, parent = processes.start("serve", "--workers", "2")
    caller = processes.caller(url)
    cases = [opened(caller)[0]]
    first = workers_of(parent)
    assert len(first) == 2
    for pid in first:
        processes.kill(pid)
        cases.append(opened(caller)[0])
    until(lambda: len(set(workers_of(parent)) - set(first)) == 2, "not replaced")
    cases.append(opened(caller)[0])
    for case in cases:
        assert caller.send("window", "GET", f"/v1/cases/{case}")[0] == 200
    processes.stop()
    assert processes.problems() == []


def test_a_scrape_of_any_worker_tells_of_all(processes: Processes) -> None:
    url, _ = processes.start("serve", "--workers", "2")
    for _ in range(12):
        # A connection each: any of the two may take it.
        assert httpx2.get(f"{url}/health/live").status_code == 200
    route = 'mianjiao_http_request_seconds_count{method="GET",route="/health/live",status="200"}'

    def counted() -> bool:
        found = re.search(re.escape(route) + r" (\d+)", httpx2.get(f"{url}/metrics").text)
        return found is not None and int(found[1]) == 12

    until(counted, "not all requests were counted")


def test_workers_end_with_their_parent_however_it_ends(processes: Processes) -> None:
    _, parent = processes.start("serve", "--workers", "2")
    workers = workers_of(parent)
    processes.kill(parent)
    until(lambda: not any(map(alive, workers)), "workers outlive their parent")


def test_workers_end_with_the_process_that_forked_them_and_are_replaced(
    processes: Processes,
) -> None:
    url, parent = processes.start("serve", "--workers", "2")
    first = workers_of(parent)
    os.kill(forker_of(parent), signal.SIGKILL)
    until(lambda: not any(map(alive, first)), "workers outlive what forked them")
    until(lambda: sum(len(children(one)) for one in children(parent)) == 2, "not replaced")
    assert opened(processes.caller(url))
    processes.stop()
    assert processes.problems() == []


def test_a_sigterm_to_all_ends_the_parent_after_the_last_request(processes: Processes) -> None:
    """As a supervisor sends it to a whole group or control group."""
    url, parent = processes.start("serve", "--workers", "2")
    workers = workers_of(parent)
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as slow:
        head = b"POST /v1/cases HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
        slow.sendall(head + b"Expect: 100-continue\r\n\r\n")
        assert b" 100 " in slow.recv(1000)
        for pid in (parent, forker_of(parent), *workers):
            os.kill(pid, signal.SIGTERM)
        until(lambda: sum(map(alive, workers)) == 1, "the idle worker stays")
        assert alive(parent), "it left a worker at work"
        slow.sendall(b"{}")
        assert slow.recv(1000).startswith(b"HTTP/1.1 4")
    until(lambda: not alive(parent), "the parent stays")
    assert not any(map(alive, workers))
    processes.stop()


def test_workers_that_do_not_stay_stop_the_service(processes: Processes) -> None:
    """What only a start finds, every worker finds: the published log was cut."""
    url, _ = processes.start("serve")
    opened(processes.caller(url))
    processes.stop()
    (processes.data / "log" / str(datetime.now(UTC).year) / "checkpoint").write_bytes(b"nonsense")
    ended = nursery().run(
        "serve", "--workers", "2", "--data", processes.data, "--port", "0", "--json"
    )
    assert ended.returncode == 1, ended.stderr
    assert "note_malformed" in ended.stderr
    assert "workers_failing" in ended.stderr
    assert ended.stdout == "", "nothing was announced"


@pytest.mark.both_engines
def test_rooms_are_served_apart_and_the_sequencer_writes_for_all(processes: Processes) -> None:
    policy = policy_of(processes.data)
    materials, _ = processes.start("serve", "--rooms", "materials,archive,log")
    licenses, _ = processes.start("serve", "--rooms", "licenses")
    caller, other = processes.caller(materials), processes.caller(licenses)
    case, receipt = opened(caller)
    assert other.send("window", "GET", f"/v1/cases/{case}")[0] == 404
    assert caller.send("window", "GET", "/v1/license-kinds")[0] == 404
    assert other.send("window", "GET", "/v1/license-kinds")[0] == 200
    # Nobody writes the log yet, which is no fault of these two.
    assert ledgered(caller, receipt, policy) is None
    assert httpx2.get(f"{materials}/health/ready").status_code == 200
    sequencer, _ = processes.start("sequencer")
    until(lambda: ledgered(caller, receipt, policy) is not None, "not ledgered")
    assert httpx2.get(f"{sequencer}/health/ready").json() == {"status": "ready"}
    assert httpx2.get(f"{sequencer}/v1/cases/{case}").status_code == 404
    processes.stop()
    assert processes.problems() == []


@pytest.mark.both_engines
def test_a_second_sequencer_takes_over(processes: Processes) -> None:
    policy = policy_of(processes.data)
    url, _ = processes.start("serve", "--rooms", "materials,log")
    caller = processes.caller(url)
    _, first = processes.start("sequencer")
    second, _ = processes.start("sequencer")
    assert httpx2.get(f"{second}/health/ready").json() == {"status": "ready"}
    _, receipt = opened(caller)
    until(lambda: ledgered(caller, receipt, policy) is not None, "not ledgered")
    before = ledgered(caller, receipt, policy)
    processes.kill(first)
    _, receipt = opened(caller)
    took = until(lambda: ledgered(caller, receipt, policy) is not None, "nobody took over")
    assert took < TAKE_OVER_SECONDS
    assert ledgered(caller, receipt, policy) not in (None, before)
    processes.stop()
    assert processes.problems() == [], "a gap or a duplicate"


def test_a_room_that_there_is_not_is_named(processes: Processes) -> None:
    refused = mianjiao("serve", "--data", processes.data, "--rooms", "materials,cellar", expect=1)
    assert "room_unknown" in refused.stderr
    assert "cellar" in refused.stderr
