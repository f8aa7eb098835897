"""Across the end of a year: what one shard recorded is reused, archived and checked in the next."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from archive.checks import check_package
from archive.package import export_to_folder
from archive.reading import read_folder
from ledger.closing import close_shard, prepare_successor
from ledger.errors import LedgerStopped, OutsideUnreachable
from ledger.policy import parse_policy
from ledger.receipts import Evidence, parse_receipt, verify_receipt
from ledger.tables import ledger_entries
from materials_api.tables import verifications
from runtime.cli import run
from runtime.commands.fsck import run_checks
from runtime.pool.units import plan_bundles
from runtime.pool.work import Worker
from runtime.settings import read_settings
from runtime.store import open_store

_COLUMNS = ledger_entries.c
pytestmark = pytest.mark.both_engines


@pytest.fixture
def next_year(office: Any, capsys: pytest.CaptureFixture[str]) -> Iterator[Any]:
    """The office, its shard closed by the command while the store was served by nobody."""
    store, data = office.store, office.store.data
    office.receipts = _receipts(office)
    office.old_policy = store.ledger.policy_text()
    assert run(["log", "close", "2027", "--prepare", "--data", str(data)]) == 0
    announced = capsys.readouterr().out
    assert run(["log", "close", "2027", "--data", str(data)]) == 0
    told = capsys.readouterr().out
    assert "archive.example/2026" in told
    assert "archive.example/2027" in told
    with open_store(data, read_settings(None), office.clock) as opened:
        assert all(f"log {key.text}\n" in announced for key in opened.ledger.keys)
        office.store = opened
        yield office


def _receipts(office: Any) -> list[bytes]:
    store = office.store
    with store.database.read() as tx:
        entries = tx.execute(select(_COLUMNS.entry_id).where(_COLUMNS.public.is_(False)).limit(20))
        return [store.ledger.evidence.receipt(tx, one) for one in entries.scalars()]


def test_materials_of_the_old_shard_are_reused_and_archived(next_year: Any, tmp_path: Path) -> None:
    store, ledger = next_year.store, next_year.store.ledger
    # The main job, across the shards: the lease was recorded in 2026.
    case_id, _ = next_year.residence_case()
    target = tmp_path / "package"
    export_to_folder(store.archive, next_year.archivist, case_id, target)
    policy = parse_policy(ledger.policy_text().encode())
    package = read_folder(target)
    report = check_package(package.members, package.texts, policy)
    assert [*package.findings, *report.findings] == []
    shards = {
        item["shard"] for item in json.loads((target / "case.json").read_text())["checkpoints"]
    }
    assert shards == {"2026", "2027"}
    pinned = {path.name for path in (target / "checkpoints").iterdir()}
    assert pinned == shards
    # A case that ended in 2026 is exported as ever, and its package is against 2026 alone.
    old = tmp_path / "old"
    made = export_to_folder(store.archive, next_year.archivist, next_year.closed_case(), old)
    assert made.shard == "2026"
    next_year.publish()
    # The office's people have no credentials: of that alone the audit complains.
    found = run_checks(store, lambda *_told: None)
    assert {one.code for one in found} <= {"audit_actor", "audit_row"}
    # Old receipts hold under the policy of then and of now, and newer ones are as good.
    for receipt in next_year.receipts:
        for trusted in (parse_policy(next_year.old_policy.encode()), policy):
            assert isinstance(verify_receipt(receipt, trusted), Evidence)
    with store.database.read() as tx:
        fresh = ledger.evidence.refreshed(tx, next_year.receipts[0])
    assert parse_receipt(fresh).proof.checkpoint.checkpoint == ledger.readers.finals()[0]


def test_materials_are_reused_while_the_close_is_held_up(office: Any) -> None:
    """Nobody outside answers yet: the new shard has published nothing."""
    data = office.store.data
    settings = read_settings(None)

    def away(_signed: object) -> None:
        raise OutsideUnreachable

    with ExitStack() as opened:

        def close() -> None:
            store = office.store
            successor = prepare_successor(store.ledger, "2027")
            close_shard(store.ledger, successor, office.clock.now())
            office.store = opened.enter_context(open_store(data, settings, office.clock))
            office.store.ledger.sequencer.vouch = away
            with pytest.raises(OutsideUnreachable):
                office.publish()
            assert office.store.ledger.tiles.checkpoint() is None
            assert office.store.snapshot().checkpoint is None
            assert office.store.evidence.states() == []

        with pytest.raises(LedgerStopped):  # the end of the case is published, or would be
            office.residence_case(close)
        store = office.store
        with store.database.read() as tx:
            decided = tx.execute(select(verifications.c.requirement, verifications.c.outcome)).all()
        assert {row.requirement: row.outcome for row in decided} == {
            "identity_proof": "allowed",
            "residence_proof": "allowed",
            "employment_contract": "denied",
        }
        store.ledger.sequencer.vouch = lambda _signed: None
        store.ledger.sequencer.restart()
        office.publish()
        found = run_checks(store, lambda *_told: None)
        assert {one.code for one in found} <= {"audit_actor", "audit_row"}


def test_scrub_and_commands_look_at_both_shards(
    next_year: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    store, data = next_year.store, str(next_year.store.data)
    newest = store.ledger.checkpoint()
    trees = [("2026", store.ledger.readers.finals()[0].size), ("2027", newest.size)]
    results = [Worker(store).bundles(one) for one in plan_bundles(trees, 0)]
    assert sum(one.entries for one in results) == sum(size for _, size in trees)
    assert [problem for one in results for problem in one.problems] == []
    assert run(["scrub", "--data", data, "--jobs", "1"]) == 0
    capsys.readouterr()
    # Prepared once more: its keys are printed, and what waits goes on waiting.
    next_year.open()
    assert run(["log", "close", "2027", "--prepare", "--data", data]) == 0
    told = capsys.readouterr().out
    assert all(f"log {key.text}\n" in told for key in store.ledger.keys)
    assert store.ledger.reader.refresh().checkpoint == newest
    next_year.publish()
    newest = store.ledger.checkpoint()
    # Once more, and of a shard that is there: told again, nothing changes.
    assert run(["log", "close", "2027", "--data", data]) == 0
    assert store.ledger.signed_checkpoint().checkpoint == newest
    capsys.readouterr()
    assert run(["log", "retired", "--data", data]) == 0
    assert f"size = {trees[0][1]}" in capsys.readouterr().out
    assert run(["log", "policy", "--data", data]) == 0
    assert capsys.readouterr().out.count("\nlog archive.example/2027") == 2
    tile = max(
        (next_year.store.data / "log/2026/tile/0").rglob("*/*"), key=lambda one: int(one.name)
    )
    tile.write_bytes(bytes(32) + tile.read_bytes()[32:])
    assert run(["fsck", "--data", data, "--json"]) == 1
    found = [
        one["where"] for one in json.loads(capsys.readouterr().out.splitlines()[-1])["problems"]
    ]
    assert any(where.startswith("2026/tile/0/") for where in found)
