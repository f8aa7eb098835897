"""Backups and restores of a store whose log has two shards, or got the second since."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ledger import heads
from ledger.checkpoints import Checkpoint, sign_checkpoint
from ledger.closing import close_shard, prepare_successor
from ledger.growth import Tail, grow
from ledger.high_water import HighWaterFile
from ledger.merkle import leaf_hash
from ledger.policy import parse_policy
from ledger.receipts import Evidence, verify_receipt
from ledger.shard_keys import open_signers
from runtime.backup.checking import check_backup
from runtime.backup.errors import BackupInvalid, NewestLogMissing, RestoreKeysWrong, ShardClosing
from runtime.backup.making import make_backup
from runtime.backup.restoring import Sources, restore
from runtime.commands.fsck import run_checks
from runtime.settings import Settings
from runtime.store import open_store


def quiet(*_told: Any) -> None: ...


def closed(office: Any, shard: str) -> None:
    """Close the office's shard and open its store again."""
    store, at = office.store, office.clock.now()
    close_shard(store.ledger, prepare_successor(store.ledger, shard), at)
    opened = open_store(store.data, Settings(), office.clock)
    office.store = opened.__enter__()
    office.opened.append(opened)
    office.store.ledger.sequence(at)


@pytest.fixture
def two(office: Any) -> Iterator[Any]:
    office.opened = []
    yield office
    for opened in office.opened:
        opened.__exit__(None, None, None)


def opened(office: Any) -> str:
    """A new case, logged."""
    case_id: str = office.open()
    office.publish()
    return case_id


def restored(office: Any, backup: Path, target: Path, **more: Any) -> Any:
    data, settings = office.store.data, more.pop("settings", Settings())
    sources = Sources(
        backup, data / "keys", **{"newest_log": data / "log", "is_newest": False, **more}
    )
    return restore(target, sources, settings, office.clock, quiet)


def sound(office: Any, target: Path, receipts: list[bytes]) -> set[str]:
    """Go on with the restored store; the codes of what `fsck` finds."""
    with open_store(target, Settings(), office.clock) as store:
        store.ledger.sequence(office.clock.now())
        policy = parse_policy(store.ledger.policy_text().encode())
        for receipt in receipts:
            assert isinstance(verify_receipt(receipt, policy), Evidence)
            with store.database.read() as tx:
                assert isinstance(
                    verify_receipt(store.ledger.evidence.refreshed(tx, receipt), policy), Evidence
                )
        found = run_checks(store, quiet)
        return {one.code for one in found} - {"audit_actor", "audit_row"}


def receipt_of(office: Any, case_id: str) -> bytes:
    ledger = office.store.ledger
    with office.store.database.read() as tx:
        return bytes(ledger.evidence.receipt(tx, ledger.records.latest(tx, case_id).entry_id))


def test_a_backup_with_two_shards(two: Any, tmp_path: Path) -> None:
    old = receipt_of(two, two.closed_case())
    backup = tmp_path / "backup"
    make_backup(two.store, backup, quiet)
    closed(two, "2027")
    new = receipt_of(two, opened(two))
    made = make_backup(two.store, backup, quiet)  # renewed: the log went on in another shard
    assert [tree.shard for tree in made.log] == ["2026", "2027"]
    assert check_backup(backup, quiet)[1] == []
    report = restored(two, backup, tmp_path / "restored")
    assert report.lost == {}
    assert sound(two, tmp_path / "restored", [old, new]) == set()
    # Without the log: the backup's own is whole.
    restored(two, backup, tmp_path / "alone", newest_log=None, is_newest=True)
    assert sound(two, tmp_path / "alone", [old, new]) == set()
    (backup / "log/2026/checkpoint").unlink()
    assert check_backup(backup, quiet)[1] != []


def test_a_backup_from_before_the_close(two: Any, tmp_path: Path) -> None:
    """The old shard's keys are gone, and its rows and those of the next are adopted."""
    old = receipt_of(two, two.closed_case())
    backup = tmp_path / "backup"
    make_backup(two.store, backup, quiet)
    lost_old = opened(two)
    closed(two, "2027")
    lost_new = opened(two)
    memory = HighWaterFile(tmp_path / "head")
    memory.create(two.store.ledger.signed_checkpoint().encode())
    target = tmp_path / "restored"
    report = restored(two, backup, target, settings=Settings(high_water_file=memory.name))
    assert set(report.lost) == {"2026", "2027"}
    receipts = [old, receipt_of(two, lost_old), receipt_of(two, lost_new)]
    assert sound(two, target, receipts) <= {
        "lost_in_restore",
        "record_without_row",
        "stop_not_noted",
    }
    # Where the next shard is not at hand nothing is restored: something would be forked.
    only = tmp_path / "only"
    shutil.copytree(two.store.data / "log/2026", only / "2026")
    with pytest.raises(BackupInvalid):
        restored(two, backup, tmp_path / "no", newest_log=only)
    with pytest.raises(NewestLogMissing):
        restored(
            two,
            backup,
            tmp_path / "no",
            newest_log=None,
            settings=Settings(high_water_file=memory.name),
        )
    (two.store.data / "keys/log-2027.key").unlink()
    with pytest.raises(RestoreKeysWrong):
        restored(two, backup, tmp_path / "no")
    assert not (tmp_path / "no").exists()


def ended(office: Any) -> bytes:
    """The next shard is begun and has published nothing; the entry that opens it."""
    store, at = office.store, office.clock.now()
    close_shard(store.ledger, prepare_successor(store.ledger, "2027"), at)
    assert store.ledger.shards.open("2027").checkpoint() is None
    with store.database.read() as tx:
        opening = heads.opening_leaf(tx, "2027")
    assert opening is not None
    return opening


def test_the_database_is_lost_before_the_next_shard_has_published_anything(
    two: Any, tmp_path: Path
) -> None:
    old = receipt_of(two, two.closed_case())
    backup = tmp_path / "backup"
    make_backup(two.store, backup, quiet)
    lost = opened(two)
    receipts = [old, receipt_of(two, lost)]
    memory = HighWaterFile(tmp_path / "head")
    memory.create(two.store.ledger.signed_checkpoint().encode())
    opening = ended(two)
    target = tmp_path / "restored"
    report = restored(two, backup, target, settings=Settings(high_water_file=memory.name))
    assert set(report.lost) == {"2026"}
    # Of what is being closed no backup is made, and not one row is copied for it.
    told: list[str] = []
    with pytest.raises(ShardClosing):
        make_backup(two.store, backup, lambda what, *_sizes: told.append(what))
    with open_store(two.store.data, Settings(), two.clock) as store, pytest.raises(ShardClosing):
        make_backup(store, backup, lambda what, *_sizes: told.append(what))
    assert told == []
    # The shard is the one that the log pins: its first checkpoint says what it would have said.
    with open_store(target, Settings(), two.clock) as store:
        with store.database.read() as tx:
            assert heads.opening_leaf(tx, "2027") == opening
        for receipt in receipts:
            with store.database.read() as tx:
                assert store.ledger.evidence.refreshed(tx, receipt)
    gone = {"lost_in_restore", "record_without_row", "stop_not_noted"}
    assert sound(two, target, receipts) <= gone
    assert not (target / "keys/log-2026.key").exists()
    with open_store(target, Settings(), two.clock) as store:
        assert store.ledger.reader.entry(0) == opening
    # Signed, remembered and not published: the same again; of anything else not a word.
    signers = open_signers(two.store.data, "2027")
    for size, root, refused in ((1, leaf_hash(opening), None), (2, b"1" * 32, NewestLogMissing)):
        head = Checkpoint("archive.example/2027", size, root)
        memory.remember(sign_checkpoint(head, signers).encode())
        settings = Settings(high_water_file=memory.name)
        with contextlib.nullcontext() if refused is None else pytest.raises(refused):
            restored(two, backup, tmp_path / f"remembered-{size}", settings=settings)


def test_a_shard_is_begun_anew_only_from_an_empty_place_and_with_all_keys(
    two: Any, tmp_path: Path
) -> None:
    backup = tmp_path / "backup"
    make_backup(two.store, backup, quiet)
    opening = ended(two)
    place = two.store.data / "log/2027"
    blobs = grow(Tail(0), [opening]).blobs
    for path, data in blobs.items():  # a round that was cut off
        (place / path.text).parent.mkdir(parents=True, exist_ok=True)
        (place / path.text).write_bytes(data)
    restored(two, backup, tmp_path / "cut-off")
    for path in blobs:
        whole = (place / path.text).read_bytes()
        (place / path.text).write_bytes(whole[:-1] + b"x")
        with pytest.raises(BackupInvalid):
            restored(two, backup, tmp_path / "no")
        (place / path.text).write_bytes(whole)
    (two.store.data / "keys/log-2026.key").rename(tmp_path / "kept")
    with pytest.raises(RestoreKeysWrong):
        restored(two, backup, tmp_path / "no")
    (tmp_path / "kept").rename(two.store.data / "keys/log-2026.key")
    shutil.rmtree(place)
    with pytest.raises(BackupInvalid):
        restored(two, backup, tmp_path / "no")
    assert not (tmp_path / "no").exists()
