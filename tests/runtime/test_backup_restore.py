"""The drill: a store under load is backed up, goes on, is lost, and comes back."""

import json
import shutil
import sqlite3
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from kernel.clock import SystemClock
from kernel.errors import CodedError
from ledger.checkpoints import parse_checkpoint
from ledger.errors import DatabaseOlderThanLog, HeadOlderThanRemembered, HighWaterMissing
from ledger.tables import ledger_entries
from runtime.app import build_app
from runtime.backup.checking import check_backup
from runtime.backup.errors import (
    BackupFolderForeign,
    BackupInvalid,
    BackupKeysDestroyed,
    BackupMissing,
    NewestLogMissing,
    NewestLogUnknown,
    RestoreFolderTaken,
    RestoreKeysWrong,
)
from runtime.backup.making import make_backup
from runtime.backup.restoring import REPORT, Report, Sources, restore
from runtime.commands.fsck import run_checks
from runtime.commands.keys import WRAPPED
from runtime.errors import RestoreUnfinished
from runtime.settings import Settings
from runtime.store import DATABASE, RESTORING, create_store, open_store
from storage.keyvault import FileKeyVault
from storage.rotation import rotate
from storage.tables import objects
from tests.conftest import mianjiao
from tests.runtime.conftest import House, furnished, issued_anew
from tests.runtime.edge import PDF

# One process makes the drill, and the played store below it, once.
pytestmark = pytest.mark.xdist_group("played")

SECRET = "绝密材料标题甲乙丙"


def quiet(_what: str, _done: int, _total: int) -> None: ...


@dataclass
class Drill:
    """The store after backup and more work, closed; everything that was acknowledged."""

    data: Path
    backup: Path
    old: Path  # the folder as it was when the backup was made
    high_water: Path
    house: House
    before: dict[str, bytes] = field(default_factory=dict)  # uploads acknowledged before
    receipts: list[bytes] = field(default_factory=list)
    policy: str = ""
    erased_key: str = ""
    after_material: str = ""

    def restored(self, target: Path, **more: Any) -> tuple[Path, Report]:
        sources = Sources(
            self.backup,
            self.data / "keys",
            **{"newest_log": self.data / "log", "is_newest": False, **more},
        )
        return target, restore(target, sources, Settings(), SystemClock(), quiet)


@pytest.fixture(scope="module")
def drill(played: Any, tmp_path_factory: pytest.TempPathFactory) -> Drill:
    folder = tmp_path_factory.mktemp("drill")
    data, backup, old = folder / "store", folder / "backup", folder / "old"
    with furnished(played, data) as house:
        done = Drill(data, backup, old, folder / "elsewhere" / "head", house)
        stop = threading.Event()
        acknowledged: list[str] = []

        def load() -> None:
            number = 0
            while not stop.is_set():
                number += 1
                content = PDF + b"load %d" % number
                acknowledged.append(house.upload("representative", content))

        thread = threading.Thread(target=load)
        thread.start()
        make_backup(house.store, backup, quiet)
        held = list(acknowledged)
        stamp = make_backup(house.store, backup, quiet)  # again, incremental
        stop.set()
        thread.join()
        assert set(held) <= set(acknowledged)
        assert stamp.objects > 10
        house.settle()
        make_backup(house.store, backup, quiet)
        _receipts(done)
        shutil.copytree(data, old)
        _more_work(done)
        house.settle()
        _receipts(done)
        done.policy = house.store.ledger.policy_text()
        done.high_water.parent.mkdir()
        done.high_water.write_bytes(house.store.ledger.signed_checkpoint().encode())
    return done


def _more_work(done: Drill) -> None:
    """What only the log remembers after the disaster."""
    house = done.house
    house.made("stranger", "POST", "/v1/grants/$strangers_grant/revoke")
    # A once-grant is bound by its show code, and spent: both records come after the backup.
    code = house.made("representative", "POST", "/v1/grants/$unbound_grant/code")
    opened = house.made("window", "GET", "/v1/cases/$closed_case")
    assert opened["number"]
    house.ids["second_case"] = _second_case(house)
    house.made("window", "POST", "/v1/cases/$second_case/grants/redeem", {"code": code["code"]})
    call = house.made(
        "window",
        "POST",
        "/v1/verifications",
        {"case": "$second_case", "items": [{"requirement": "other", "item": "$material"}]},
    )
    assert call["outcome"] == "allowed", call
    with house.store.database.read() as tx:
        done.erased_key = str(
            tx.scalar(
                select(objects.c.object_key).where(
                    objects.c.claimed_by == house.ids["strangers_material"]
                )
            )
        )
    erased = house.call("stranger", "POST", "/v1/materials/$strangers_material/erase")
    assert erased.status_code in (200, 202), erased.text
    house.settle()
    erased = house.call("stranger", "POST", "/v1/materials/$strangers_material/erase")
    assert erased.json() == {
        "material_id": house.ids["strangers_material"],
        "erasure": "done",
        "older_copies": "readable",
    }
    upload = house.upload("window", PDF + b"after the backup")
    done.after_material = house.made(
        "window",
        "POST",
        "/v1/cases/$case/materials",
        {"type": "other", "title": SECRET, "files": [{"upload": upload, "name": "后.pdf"}]},
    )["material_id"]


def _second_case(house: House) -> str:
    case: str = house.made(
        "window",
        "POST",
        "/v1/cases",
        {**_opened(house), "channel": "window"},
    )["case_id"]
    return case


def _opened(house: House) -> dict[str, Any]:
    from runtime.demo import people

    return {
        "matter": people.FOOD_MATTER,
        "variant": "moved",
        "applicant": people.COMPANY.ref(),
        "acting": people.ACTS_FOR_COMPANY,
    }


def _receipts(done: Drill) -> None:
    """A receipt of each of the newest twenty records."""
    ledger = done.house.store.ledger
    with done.house.store.database.read() as tx:
        query = (
            select(ledger_entries.c.entry_id)
            .where(ledger_entries.c.public.is_(False), ledger_entries.c.sealed.is_not(None))
            .where(ledger_entries.c.leaf_index.is_not(None))
            .order_by(ledger_entries.c.position.desc())
            .limit(20)
        )
        done.receipts += [ledger.evidence.receipt(tx, one) for one in tx.execute(query).scalars()]


@pytest.fixture(scope="module")
def back(drill: Drill, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    return drill.restored(tmp_path_factory.mktemp("back") / "store")


def test_a_backup_is_checked_without_keys(drill: Drill) -> None:
    _, problems = check_backup(drill.backup, quiet)
    assert problems == []
    names = {path.name for path in drill.backup.rglob("*")}
    assert not {name for name in names if name.endswith(".key") or "vault" in name}


def test_what_was_lost_is_named_and_nothing_else_is_wrong(
    drill: Drill, back: tuple[Path, Report]
) -> None:
    data, report = back
    assert report.log_size > report.rows_size
    assert report.lost
    assert (report.erased, report.revoked, report.spent, report.damaged) == (1, 1, 1, ())
    with open_store(data) as store:
        store.ledger.sequence(store.clock.now())
        found = run_checks(store, quiet)
    shard = drill.house.store.ledger.shard
    assert {one.code for one in found} == {"lost_in_restore"}, [
        (one.code, one.where, one.en) for one in found if one.code != "lost_in_restore"
    ]
    assert {one.where for one in found} == {f"{shard}/{index}" for index in report.lost[shard]}
    told = json.loads((data / REPORT).read_text())
    assert told["lost"] == len(report.lost[shard])


def test_the_restored_store_serves_and_goes_on_from_the_newest_head(
    drill: Drill, tmp_path: Path
) -> None:
    data, report = drill.restored(tmp_path / "store")
    house = drill.house
    with open_store(data) as store:
        store.start()
        with TestClient(build_app(store, Settings()), raise_server_exceptions=False) as client:
            tokens = issued_anew(store, house.tokens)
            again = House(store, house.app, client, tokens, house.roles, house.ids)
            gone = again.call("stranger", "GET", "/v1/materials/$strangers_material").json()
            assert gone["status"] == "erased", gone
            answer = again.call("stranger", "POST", "/v1/materials/$strangers_material/erase")
            assert answer.json()["erasure"] == "done"
            revoked = again.made("stranger", "GET", "/v1/grants/$strangers_grant")
            assert revoked["status"] == "revoked"
            spent = again.made("representative", "GET", "/v1/grants/$unbound_grant")
            assert spent["status"] in ("spent", "revoked"), spent
            ended = again.call("representative", "POST", "/v1/grants/$unbound_grant/code")
            assert ended.status_code >= 400
            made = again.upload("representative", PDF + b"after the restore")
            again.made(
                "representative",
                "POST",
                "/v1/grants",
                {"purpose": "再次", "use": "once", "items": ["$material"]},
            )
            again.settle()
            assert made
            assert store.ledger.checkpoint().size > report.log_size
            # What was published before the disaster is a prefix of what is published now.
            old = parse_checkpoint(drill.high_water.read_bytes()).checkpoint
            assert store.ledger.reader.root(old.size) == old.root


def test_receipts_from_before_and_after_the_backup_still_verify(
    drill: Drill, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.txt"
    policy.write_text(drill.policy)
    for number in (0, 10, 20, len(drill.receipts) - 1):
        receipt = tmp_path / "receipt.json"
        receipt.write_bytes(drill.receipts[number])
        assert mianjiao("verify", receipt, "--policy", policy).returncode == 0


def test_what_was_acknowledged_before_the_backup_is_there_to_the_byte(
    drill: Drill, back: tuple[Path, Report]
) -> None:
    data, _ = back
    with open_store(drill.old) as old, open_store(data) as new:
        with old.database.read() as tx:
            rows = tx.all(select(objects).where(objects.c.wrapped_key.is_not(None)))
        for row in rows:
            if row["object_key"] == drill.erased_key:
                continue
            theirs = drill.old / "objects" / row["object_key"][:2] / row["object_key"]
            mine = data / "objects" / row["object_key"][:2] / row["object_key"]
            assert mine.read_bytes() == theirs.read_bytes()
        del new


def test_nothing_of_what_was_erased_can_be_opened(drill: Drill, back: tuple[Path, Report]) -> None:
    data, _ = back
    with sqlite3.connect(f"file:{drill.old / DATABASE}?mode=ro", uri=True) as old:
        (wrapped,) = old.execute(
            "SELECT wrapped_key FROM objects WHERE object_key = ?", (drill.erased_key,)
        ).fetchone()
        sealed = [
            one
            for (one,) in old.execute(
                "SELECT wrapped_key FROM ledger_entries WHERE entity = ? AND public = 0",
                (drill.house.ids["strangers_material"],),
            )
        ]
    assert wrapped
    assert sealed
    everything = b"".join(path.read_bytes() for path in sorted(data.rglob("*")) if path.is_file())
    for key in (wrapped, *sealed):
        assert key not in everything
    assert not (data / "objects" / drill.erased_key[:2] / drill.erased_key).exists()


def test_a_database_that_was_put_back_signs_nothing(drill: Drill, tmp_path: Path) -> None:
    data = Path(shutil.copytree(drill.data, tmp_path / "store"))
    for name in data.glob(f"{DATABASE}*"):
        name.unlink()
    shutil.copy(drill.old / DATABASE, data / DATABASE)
    for name in drill.old.glob(f"{DATABASE}-*"):
        shutil.copy(name, data / name.name)
    with open_store(data) as store, pytest.raises(DatabaseOlderThanLog):
        store.start()


def test_a_machine_that_was_put_back_signs_nothing(drill: Drill, tmp_path: Path) -> None:
    data = Path(shutil.copytree(drill.old, tmp_path / "store"))
    before = (data / "log").rglob("checkpoint")
    known = {path: path.read_bytes() for path in before}
    settings = Settings(high_water_file=drill.high_water)
    with open_store(data, settings) as store, pytest.raises(HeadOlderThanRemembered) as told:
        store.start()
    assert str(drill.high_water) in told.value.message_en()
    assert "mianjiao restore" in told.value.message_en()
    assert {path: path.read_bytes() for path in known} == known
    # With the newest log it comes back; with the old one alone it does not.
    sources = Sources(drill.backup, drill.data / "keys", drill.old / "log", is_newest=False)
    with pytest.raises(NewestLogMissing):
        restore(tmp_path / "no", sources, settings, SystemClock(), quiet)
    assert not (tmp_path / "no").exists()
    sources = Sources(drill.backup, drill.data / "keys", drill.data / "log", is_newest=False)
    restore(tmp_path / "yes", sources, settings, SystemClock(), quiet)
    remembered = drill.high_water.read_bytes()
    copy = tmp_path / "head"
    copy.write_bytes(remembered)
    with open_store(tmp_path / "yes", Settings(high_water_file=copy)) as store:
        store.ledger.sequence(store.clock.now())
        assert copy.read_bytes() == store.ledger.signed_checkpoint().encode() != remembered


def test_a_restore_says_which_log_is_the_newest(drill: Drill, tmp_path: Path) -> None:
    sources = Sources(drill.backup, drill.data / "keys", None, is_newest=False)
    with pytest.raises(NewestLogUnknown):
        restore(tmp_path / "store", sources, Settings(), SystemClock(), quiet)
    sources = Sources(drill.backup, drill.data / "keys", None, is_newest=True)
    report = restore(tmp_path / "store", sources, Settings(), SystemClock(), quiet)
    assert (report.lost, report.rows_size) == ({}, report.log_size)
    with open_store(tmp_path / "store") as store:
        store.ledger.sequence(store.clock.now())
        assert run_checks(store, quiet) == []


class Killed(BaseException):
    pass


@pytest.mark.parametrize("step", ["objects", "log", "rows", "adopt"])
def test_half_a_restore_is_not_served_and_is_started_again(
    drill: Drill, tmp_path: Path, step: str
) -> None:
    def tell(what: str, _done: int, _total: int) -> None:
        if what == step:
            raise Killed

    data = tmp_path / "store"
    sources = Sources(drill.backup, drill.data / "keys", drill.data / "log", is_newest=False)
    with pytest.raises(Killed):
        restore(data, sources, Settings(), SystemClock(), tell)
    with pytest.raises(RestoreUnfinished), open_store(data):
        pass
    report = restore(data, sources, Settings(), SystemClock(), quiet)
    assert report.lost
    assert not (data / RESTORING).exists()
    with open_store(data) as store:
        store.ledger.sequence(store.clock.now())
        assert {one.code for one in run_checks(store, quiet)} == {"lost_in_restore"}


def test_a_taken_folder_and_wrong_keys_are_refused(drill: Drill, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    with pytest.raises(RestoreFolderTaken):
        drill.restored(tmp_path / "taken")
    create_store(tmp_path / "other", "other.example")
    sources = Sources(drill.backup, tmp_path / "other" / "keys", None, is_newest=True)
    with pytest.raises(RestoreKeysWrong):
        restore(tmp_path / "store", sources, Settings(), SystemClock(), quiet)
    assert not (tmp_path / "store").exists()


def test_a_backup_of_before_a_rotation_is_dead_and_says_so(drill: Drill, tmp_path: Path) -> None:
    keys = Path(shutil.copytree(drill.data / "keys", tmp_path / "keys"))
    vault = FileKeyVault.open(keys / "vault.json")
    vault.begin_epoch()
    vault.destroy_older()
    sources = Sources(drill.backup, keys, None, is_newest=True)
    with pytest.raises(BackupKeysDestroyed):
        restore(tmp_path / "store", sources, Settings(), SystemClock(), quiet)


def test_a_backup_of_after_a_rotation_comes_back(drill: Drill, tmp_path: Path) -> None:
    data = Path(shutil.copytree(drill.data, tmp_path / "store"))
    with open_store(data) as store:
        rotate(store.database, store.vault, WRAPPED, quiet)
        make_backup(store, tmp_path / "backup", quiet)
    sources = Sources(tmp_path / "backup", data / "keys", None, is_newest=True)
    restore(tmp_path / "back", sources, Settings(), SystemClock(), quiet)
    with open_store(tmp_path / "back") as store:
        store.ledger.sequence(store.clock.now())
        assert run_checks(store, quiet) == []
    with pytest.raises(RestoreKeysWrong):  # the older copy of the keys
        older = Sources(tmp_path / "backup", drill.old / "keys", None, is_newest=True)
        restore(tmp_path / "no", older, Settings(), SystemClock(), quiet)


@pytest.mark.parametrize(
    "where", ["backup.json", "rows-", "objects/", "tile/entries/", "tile/0/", "/checkpoint"]
)
def test_a_flipped_bit_in_a_backup_is_found(drill: Drill, tmp_path: Path, where: str) -> None:
    copy = Path(shutil.copytree(drill.backup, tmp_path / "copy"))
    files = (path for path in sorted(copy.rglob("*")) if path.is_file())
    file = next(path for path in files if where in path.relative_to(copy).as_posix())
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    if where == "backup.json":
        with pytest.raises(BackupInvalid):
            check_backup(copy, quiet)
    else:
        assert check_backup(copy, quiet)[1]
    sources = Sources(copy, drill.data / "keys", drill.data / "log", is_newest=False)
    if where in ("backup.json", "rows-"):
        with pytest.raises(CodedError):
            restore(tmp_path / "store", sources, Settings(), SystemClock(), quiet)
        assert not (tmp_path / "store").exists()


def test_a_backup_that_was_cut_off_is_none(drill: Drill, tmp_path: Path) -> None:
    data = Path(shutil.copytree(drill.data, tmp_path / "store"))

    def tell(what: str, _done: int, _total: int) -> None:
        if what == "log":
            raise Killed

    with open_store(data) as store:
        with pytest.raises(Killed):
            make_backup(store, tmp_path / "backup", tell)
        with pytest.raises(BackupMissing):
            check_backup(tmp_path / "backup", quiet)
        make_backup(store, tmp_path / "backup", quiet)
        first = check_backup(tmp_path / "backup", quiet)
        assert first[1] == []
        # A later one that is cut off leaves the earlier one whole.
        with pytest.raises(Killed):
            make_backup(store, tmp_path / "backup", tell)
        assert check_backup(tmp_path / "backup", quiet) == first


def test_a_folder_with_other_things_is_not_written_to(drill: Drill, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("x")
    with open_store(drill.old) as store, pytest.raises(BackupFolderForeign):
        make_backup(store, tmp_path / "mine", quiet)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter.txt"]


def test_the_file_that_remembers_is_made_by_init_alone(tmp_path: Path) -> None:
    settings = Settings(high_water_file=tmp_path / "head")
    create_store(tmp_path / "store", "one.example", settings=settings)
    with open_store(tmp_path / "store", settings) as store:
        store.ledger.sequence(store.clock.now())
    (tmp_path / "head").unlink()
    with open_store(tmp_path / "store", settings) as store, pytest.raises(HighWaterMissing):
        store.start()
    assert not (tmp_path / "head").exists()


def test_the_commands_say_what_they_did(
    drill: Drill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = mianjiao("backup", "--data", drill.old, "-o", tmp_path / "b", "--json")
    assert json.loads(made.stdout)["whole"] is True
    assert mianjiao("backup", "--check", tmp_path / "b").returncode == 0
    assert mianjiao("backup", "--data", drill.old, expect=2).returncode == 2
    sources = ("--from", tmp_path / "b", "--keys", drill.old / "keys", "--log", drill.data / "log")
    done = mianjiao("restore", "--data", tmp_path / "s", *sources, "--json", expect=1)
    assert json.loads(done.stdout)["lost"] > 0
    assert (
        json.loads(mianjiao("keys", "status", "--data", tmp_path / "s", "--json").stdout)["epoch"]
        == 1
    )
    rotated = mianjiao("keys", "rotate", "--data", tmp_path / "s").stdout
    assert "2" in rotated
    assert "mianjiao backup" in rotated, "no earlier backup can be restored"
    closed = json.loads(mianjiao("keys", "status", "--data", tmp_path / "s", "--json").stdout)
    assert closed["erased_readable_in_older_copies"] == 0
