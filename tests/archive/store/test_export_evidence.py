"""Packages carry the evidence that there is when they are made: real stamps, anchors on a real
chain node, and a year's end."""

import json
from base64 import b64decode
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from archive.package import export_to_folder
from kernel.clock import time_text
from ledger.demands import FORMAT
from ledger.evm import contract
from ledger.evm.headers import parse_header
from ledger.stamps.stamper import Stamper
from runtime.cli import run
from runtime.settings import read_settings
from runtime.store import open_store
from tests.ledger.anchoring.conftest import Anchoring
from tests.ledger.stamps.test_stamps import known
from tests.servers.anvil import Anvil
from tests.servers.stamp_authority import StampAuthority


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[StampAuthority]:
    made = StampAuthority(tmp_path / "authority")
    yield made
    made.close()


def stamp(office: Any, authority: StampAuthority) -> None:
    made = Stamper(
        office.store.ledger,
        known(authority),
        interval=60,
        renew_before=timedelta(days=30),
        seconds=10,
    )
    made.step(office.clock.now())
    made.close()


def verified(
    package: Path, policy: str, demands: str, capsys: pytest.CaptureFixture[str]
) -> tuple[int, dict[str, Any]]:
    files = [package.with_name("policy.txt"), package.with_name("demands.toml")]
    for file, text in zip(files, (policy, demands), strict=True):
        file.write_text(text)
    capsys.readouterr()
    told = ["--policy", str(files[0]), "--demands", str(files[1]), "--json"]
    code = run(["verify", str(package), *told])
    return code, json.loads(capsys.readouterr().out)


def demanded(authority: StampAuthority) -> str:
    roots = authority.roots.decode()
    return f'format = "{FORMAT}"\n[[stamp]]\nname = "authority"\nroots = """{roots}"""\n'


def test_a_package_made_after_the_stamp_meets_the_demand_and_one_made_before_does_not(
    office: Any, authority: StampAuthority, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive, case_id = office.store.archive, office.closed_case()
    early, late = tmp_path / "early", tmp_path / "late"
    policy, demands = office.store.ledger.policy_text(), demanded(authority)
    export_to_folder(archive, office.archivist, case_id, early)
    stamp(office, authority)
    export_to_folder(archive, office.archivist, case_id, late)
    code, answer = verified(early, policy, demands, capsys)
    assert (code, answer["code"]) == (1, "demand_unmet")
    code, answer = verified(late, policy, demands, capsys)
    assert (code, answer["failures"]) == (0, [])
    told = [one for item in answer["package"]["evidence"] for one in item["anchors"]]
    assert [(one["name"], one["state"]) for one in told] == [
        ("authority", "holds") for _ in answer["package"]["evidence"]
    ]
    assert all(len(one["log_keys"]) == 2 for one in told)
    assert answer["package"]["proved_by"] == max(one["time"] for one in told)


def test_a_package_of_a_shard_that_ended_holds_under_the_new_policy_with_its_pin(
    office: Any, authority: StampAuthority, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = office.store.data
    before, after = tmp_path / "before", tmp_path / "after"
    stamp(office, authority)
    export_to_folder(office.store.archive, office.archivist, office.closed_case(), before)
    assert run(["log", "close", "2027", "--data", str(data)]) == 0
    capsys.readouterr()
    assert run(["log", "retired", "--data", str(data)]) == 0
    pins = capsys.readouterr().out
    with open_store(data, read_settings(None), office.clock) as store:
        export_to_folder(store.archive, office.archivist, office.closed_case(), after)
        policy = store.ledger.policy_text()
    both = pins + demanded(authority).removeprefix(f'format = "{FORMAT}"\n')
    for package in (before, after):
        code, answer = verified(package, policy, both, capsys)
        assert (code, answer["failures"]) == (0, [])
        assert [one["origin"] for one in answer["package"]["checkpoints"]] == [
            "archive.example/2026"
        ]
        # Another end of that year, pinned: nothing of it may come later, or from another tree.
        size = f"size = {store.ledger.readers.finals()[0].size}"
        assert size in pins
        code, answer = verified(package, policy, pins.replace(size, "size = 3"), capsys)
        assert (code, answer["code"]) == (1, "checkpoint_invalid")


def test_the_command_says_how_many_receipts_have_evidence(
    office: Any, authority: StampAuthority, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, case_id = office.store.data, office.closed_case()
    assert run(["export", case_id, "--data", str(data), "-o", str(tmp_path / "early")]) == 0
    count = len(list((tmp_path / "early" / "receipts").iterdir()))
    assert f"外部证据 evidence   0/{count} 份凭证" in capsys.readouterr().out
    stamp(office, authority)
    assert run(["export", case_id, "--data", str(data), "-o", str(tmp_path / "late")]) == 0
    assert f"外部证据 evidence   {count}/{count} 份凭证" in capsys.readouterr().out


@pytest.fixture
def anchoring(office: Any, start_anvil: Callable[..., Anvil]) -> Iterator[Anchoring]:
    """The office's log, and a real chain node with a contract for it."""
    made = Anchoring(office.store, start_anvil())
    yield made
    made.close()


def anchor(anchoring: Anchoring) -> dict[str, Any]:
    """Anchor the log's head and wait until it is final; the block that proves it."""
    size = anchoring.store.ledger.checkpoint().size
    for _ in range(6):
        anchoring.step()
        anchoring.chain.mine(3)
        final = anchoring.transactions("final")
        if any(one.size == size for one in final):
            break
    (kept,) = [one for one in anchoring.kept() if one.size == size]
    return chain_block(anchoring, kept.evidence)


def chain_block(anchoring: Anchoring, evidence: bytes) -> dict[str, Any]:
    """The chain's own word for the block that the evidence is from."""
    number = parse_header(b64decode(json.loads(evidence)["header"])).number
    found: dict[str, Any] = anchoring.chain.rpc("eth_getBlockByNumber", hex(number), False)
    return found


def time_of(block: dict[str, Any]) -> str:
    return time_text(datetime.fromtimestamp(int(block["timestamp"], 16), UTC))


def pinned(anchoring: Anchoring, *blocks: str, **changes: str) -> str:
    """Demands that name the contract, its code and these final blocks."""
    values = {
        "contract": "0x" + anchoring.plan.contract.hex(),
        "code_hash": "0x" + contract.code_hash().hex(),
        **changes,
    }
    lines = "".join(f'{name} = "{value}"\n' for name, value in values.items())
    return f'[[chain]]\nname = "city chain"\nconsensus = "plain"\n{lines}blocks = {list(blocks)}\n'


def test_packages_with_anchors_on_a_chain_meet_the_demand_for_its_blocks_only(
    office: Any, anchoring: Anchoring, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive, case_id = office.store.archive, office.closed_case()
    early, late, reused = (tmp_path / name for name in ("early", "late", "reused"))
    export_to_folder(archive, office.archivist, case_id, early)
    first = anchor(anchoring)
    later_case, _ = office.residence_case()  # with a material of the case before
    second = anchor(anchoring)
    export_to_folder(archive, office.archivist, case_id, late)
    export_to_folder(archive, office.archivist, later_case, reused)
    policy, form = office.store.ledger.policy_text(), f'format = "{FORMAT}"\n'

    def judged(package: Path, demands: str) -> tuple[int, dict[str, Any]]:
        return verified(package, policy, form + demands, capsys)

    both = pinned(anchoring, first["hash"], second["hash"])
    for package, blocks in ((late, [first]), (reused, [first, second])):
        code, answer = judged(package, both)
        assert (code, answer["failures"]) == (0, [])
        told = [one for item in answer["package"]["evidence"] for one in item["anchors"]]
        assert len(told) == len(list((package / "receipts").iterdir()))
        assert {(one["kind"], one["name"], one["state"]) for one in told} == {
            ("chain", "city chain", "holds")
        }
        assert {(one["block"], one["block_hash"], one["time"]) for one in told} == {
            (int(one["number"], 16), one["hash"], time_of(one)) for one in blocks
        }
        assert answer["package"]["proved_by"] == time_of(blocks[-1])
    # What the verifier does not pin is not taken on the package's word.
    other = {name: "0x" + "ab" * size for name, size in (("contract", 20), ("code_hash", 32))}
    for package, demands, found in (
        (early, both, set()),
        (late, pinned(anchoring, second["hash"]), {"chain_not_trusted"}),
        (late, pinned(anchoring, first["parentHash"]), {"chain_not_trusted"}),
        (reused, pinned(anchoring, first["hash"]), {"holds", "chain_not_trusted"}),
        (reused, pinned(anchoring, second["hash"]), {"holds", "chain_not_trusted"}),
        (late, pinned(anchoring, first["hash"], contract=other["contract"]), {"unchecked"}),
        (
            late,
            pinned(anchoring, first["hash"], code_hash=other["code_hash"]),
            {"chain_evidence_invalid"},
        ),
    ):
        code, answer = judged(package, demands)
        assert (code, answer["code"]) == (1, "demand_unmet")
        told = [one for item in answer["package"]["evidence"] for one in item["anchors"]]
        assert {one.get("code") or one["state"] for one in told} == found
