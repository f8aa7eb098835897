"""Chain, stamp authority and witnesses are down while the window does its main job.

A real server process, a real chain node, `openssl ts`, two real witnesses. Nothing that
happens at the window waits for any of them, and once they are back every receipt completes
by itself.
"""

import base64
import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from ledger.anchoring.signing import AnchorKey
from ledger.evm.headers import parse_header
from runtime.demo import people
from runtime.demo.cast import clients, issue_tokens
from runtime.demo.papers import Papers
from runtime.demo.server import running_server
from runtime.demo.stage import Stage
from runtime.store import create_store, open_store
from tests.conftest import mianjiao
from tests.runtime.test_anchoring import deployed
from tests.servers.anvil import CHAIN_ID, HOT, Anvil
from tests.servers.stamp_authority import StampAuthority
from tests.servers.witness import RunningWitness, run_witness

SLOWEST = 5.0  # seconds that any one step at the window may take
BACK = 90.0  # seconds in which all evidence must be there once all are back


@dataclass
class Outside:
    """Everybody outside, and the files that name them."""

    chain: Anvil
    authority: StampAuthority
    witnesses: list[RunningWitness]
    vkey: str
    policy: Path
    config: Path

    def go_down(self) -> None:
        self.chain.stop()
        self.authority.go_down()
        for witness in self.witnesses:
            witness.kill()

    def come_back(self) -> None:
        self.chain.go_on()
        self.authority.come_back()
        self.witnesses += [
            run_witness(one.folder, [self.vkey], one.port) for one in self.witnesses[:2]
        ]

    def close(self) -> None:
        self.chain.go_on()
        self.authority.close()
        for witness in self.witnesses:
            witness.kill()
            witness.process.stdout.close()


@pytest.fixture
def outside(tmp_path: Path, start_anvil: Callable[..., Anvil]) -> Iterator[Outside]:
    data = tmp_path / "store"
    create_store(data, "test.example")
    with open_store(data) as store:
        vkey, keys = store.ledger.vkey, store.ledger.policy_text()
    witnesses = [run_witness(tmp_path / name, [vkey]) for name in ("w1", "w2")]
    policy = tmp_path / "policy"
    lines = "".join(one.policy_lines(one.folder.name) for one in witnesses)
    logs = keys.replace("quorum none\n", "")
    policy.write_text(f"{logs}{lines}group both all w1 w2\nquorum both\n")
    authority = StampAuthority(tmp_path / "authority")
    (authority.folder / "authorities.toml").write_text(
        f'[[authority]]\nname = "stamps"\nurl = "{authority.url}"\n'
        'roots = "root.pem"\ncertificates = "between.pem"\n'
    )
    chain = start_anvil()
    chain.give(AnchorKey(HOT).address)
    key = tmp_path / "anchor.key"
    key.write_text(HOT + "\n")
    config = tmp_path / "mianjiao.toml"
    config.write_text(
        f'anchor_url = "{chain.url}"\nanchor_chain_id = {CHAIN_ID}\nanchor_key_file = "{key}"\n'
        'anchor_finality = "1"\nanchor_interval_seconds = 1\nanchor_timeout_seconds = 1\n'
        f'stamp_authorities = "{authority.folder}/authorities.toml"\n'
        "stamp_interval_seconds = 1\nstamp_timeout_seconds = 1\nevidence_leaf_seconds = 1\n"
    )
    deployed(data, config)
    chain.rpc("evm_setIntervalMining", 1)
    config.write_text(config.read_text() + f'witness_policy = "{policy}"\nwitness_seconds = 1\n')
    made = Outside(chain, authority, witnesses, vkey, policy, config)
    yield made
    made.close()


@contextmanager
def quick(what: str) -> Iterator[None]:
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < SLOWEST, what


def main_job(stage: Stage) -> tuple[str, str]:
    """A material is handed in, its case decided, and it is reused in another case: the
    material, and the verification."""
    with quick("the first case"):
        first = stage.case(people.ESTABLISHMENT, people.COMPANY, acting=people.ACTS_FOR_COMPANY)
        paper = stage.papers.pdf("租赁合同", "断网期间提交")
        item = stage.hand_in_plain(first, paper, paper.name)
    with quick("its decision"):
        stage.decide(first, gaps=True)
    with quick("the second case"):
        later = stage.case(
            people.FOOD_MATTER, people.COMPANY, variant="moved", acting=people.ACTS_FOR_COMPANY
        )
        stage.approve(stage.ask(later, "核验", items=[item]), "representative")
    with quick("the place in the log"):
        stage.evidence()
    with quick("the verification"):
        outcome = stage.verify(later, [("other", item)])[item]
    assert outcome["outcome"] == "allowed"
    return item, str(outcome["verification"])


def states(url: str) -> dict[str, dict[str, Any]]:
    answer = httpx2.get(f"{url}/health/evidence", timeout=10).json()
    return {one["name"]: one for one in answer["sources"]}


def until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def demands(outside: Outside, data: Path, receipt: Path, target: Path) -> Path:
    """What a court demands: the chain's own word for the block, and the authority's root."""
    anchors = json.loads(receipt.read_text())["anchors"]
    (header,) = (one["header"] for one in anchors if one["type"] == "mianjiao.chain/v1")
    return pins(outside, data, [parse_header(base64.b64decode(header)).number], target)


def pins(outside: Outside, data: Path, numbers: Iterable[int], target: Path) -> Path:
    """A file of demands that pins these blocks, as the chain has them, and the authority."""
    asked = (outside.chain.rpc("eth_getBlockByNumber", hex(one), False) for one in numbers)
    blocks = ", ".join(f'"{block["hash"]}"' for block in asked)
    text = mianjiao("anchor", "demands", "--data", data, "--config", outside.config).stdout
    text = text.replace('# blocks = ["0x…"]', f"blocks = [{blocks}]")
    roots = outside.authority.roots.decode()
    target.write_text(f'{text}\n[[stamp]]\nname = "stamps"\nroots = """{roots}"""\n')
    return target


def test_all_are_down_for_the_whole_job_and_everything_completes_when_they_return(
    outside: Outside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "store"
    identities = issue_tokens(data)
    monkeypatch.setenv("MIANJIAO_CONFIG", str(outside.config))
    with ExitStack() as stack:
        url = stack.enter_context(running_server(data)).url
        # What is pending below is then of this job, however slowly the server started.
        until(
            lambda: all(one["pending_since"] is None for one in states(url).values()),
            BACK,
            "the log's first entry has its evidence",
        )
        caught_up_at = datetime.now(UTC)
        outside.go_down()
        stage = Stage(
            clients(url, identities, lambda _: None),
            Papers(tmp_path / "papers"),
            data,  # type: ignore[arg-type] - nothing is tampered with here
            lambda _: None,
        )
        item, verification = main_job(stage)
        assert httpx2.get(f"{url}/health/ready", timeout=10).json() == {"status": "ready"}
        pending = states(url)
        assert set(pending) == {"chain", "stamps", "quorum"}
        for one in pending.values():
            assert one["final"] < one["size"]
            since = datetime.fromisoformat(one["pending_since"])
            assert since > caught_up_at - timedelta(seconds=5)
        old = {}
        for thing in (item, verification):
            address, caller = stage.kept.receipts[thing]
            old[thing] = tmp_path / f"{thing}.json"
            old[thing].write_bytes(stage[caller].receipt(address))
            assert json.loads(old[thing].read_text())["anchors"] == [], "pending, and it says so"
            done = mianjiao("verify", old[thing], "--policy", outside.policy, "--json", expect=1)
            assert json.loads(done.stdout)["code"] == "quorum_not_met"
        until(
            lambda: (
                {one["reason"] for one in states(url).values()}
                == {"chain_unavailable", "stamp_unavailable", "quorum_not_met"}
            ),
            30,
            "each says why it got no further",
        )
        outside.come_back()
        until(
            lambda: all(one["pending_since"] is None for one in states(url).values()),
            BACK,
            "all evidence completes by itself",
        )
        for thing in (item, verification):
            address, caller = stage.kept.receipts[thing]
            new = tmp_path / f"{thing}.new.json"
            new.write_bytes(stage[caller].receipt(address))
            refreshed = tmp_path / f"{thing}.refreshed.json"

            def refresh(source: Path = old[thing], target: Path = refreshed) -> bool:
                """Another process sees what is published: it may look between a checkpoint
                and its cosignatures."""
                target.unlink(missing_ok=True)
                mianjiao("receipt", "refresh", source, "--data", data, "--output", target)
                done = mianjiao("verify", target, "--policy", outside.policy, expect=None)
                return done.returncode == 0

            until(refresh, BACK, "a refreshed receipt has the quorum")
            for receipt in (new, refreshed):
                asked = demands(outside, data, receipt, tmp_path / "demands.toml")
                arguments = (receipt, "--policy", outside.policy, "--demands", asked, "--json")
                told = json.loads(mianjiao("verify", *arguments).stdout)["evidence"]
                kinds = {one["kind"]: one["state"] for one in told["anchors"]}
                assert kinds == {"chain": "holds", "stamp": "holds"}
                assert told["trust"] == "quorum"
                assert len(told["witnesses"]) == 4
        # The log names what came, and a monitor finds it, and that it holds.
        watched = ("monitor", f"{url}/log/2026", "--policy", outside.policy)

        def named() -> bool:
            state = tmp_path / f"monitor-{time.monotonic_ns()}"
            newest = int(outside.chain.rpc("eth_blockNumber"), 16)
            known = pins(outside, data, range(1, newest + 1), tmp_path / "pins.toml")
            told = ("--state", state, "--demands", known, "--json")
            facts = json.loads(mianjiao(*watched, *told, expect=None).stdout)
            assert facts["evidence_missed"] == []
            held, unchecked = facts["evidence_pins"]["held"], facts["evidence_pins"]["unchecked"]
            assert unchecked == []
            # A block that came after the question is not pinned: ask again.
            again = facts["evidence_pins"]["refused"] != []
            return int(facts["evidence"]) >= 3 and held >= 2 and not again

        until(named, 60, "a leaf names chain, stamp and quorum, and they hold")
    assert mianjiao("fsck", "--data", data).returncode == 0
