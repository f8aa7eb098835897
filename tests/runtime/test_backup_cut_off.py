"""Backup and restore by real processes that are killed at any point; what a restore ends."""

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from kernel.clock import SystemClock
from kernel.ids import IdKind, new_id
from kernel.principals import Capacity, Principal, Role
from ledger.errors import HistoryCut
from materials_api.adoption import adopt
from materials_api.uploads.incoming import begin_upload, keep_upload
from parties import HolderRef
from parties.capacity import EndReason
from parties.credentials import CredentialRevoked
from runtime.backup.checking import check_backup
from runtime.backup.errors import BackupMissing, RestoreFolderTaken
from runtime.backup.making import make_backup
from runtime.backup.restoring import Sources, restore
from runtime.commands.fsck import run_checks
from runtime.commands.keys import WRAPPED
from runtime.demo.people import COMPANY
from runtime.demo.people import LEGAL_REPRESENTATIVE as PERSON
from runtime.errors import RestoreUnfinished, StoreMissing
from runtime.settings import Settings
from runtime.store import create_store, open_store
from storage.rotation import rotate
from tests.runtime.edge import PDF

ROOT = Path(__file__).parents[2]
KILLS = 4

# One process loads everything once and forks a child per run, which counts what it does
# to files and dies at the count it was told, 0 for never.
SCRIPT = textwrap.dedent(
    """
    import json, os, signal, sys
    from pathlib import Path
    from kernel.clock import SystemClock
    from migrations.apply import upgrade
    from runtime.backup.making import make_backup
    from runtime.backup.restoring import Sources, restore
    from runtime.settings import Settings
    from runtime.store import open_store

    def quiet(*_told):
        pass

    def child(what, data, backup, keys, log, at, out):
        count = 0

        def hook(name, _args):
            nonlocal count
            if name in ("open", "os.link", "os.remove", "os.rename", "os.mkdir", "sqlite3.connect"):
                count += 1
                if count == at:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        if what == "backup":
            with open_store(Path(data)) as store:
                make_backup(store, Path(backup), quiet)
        else:
            sources = Sources(Path(backup), Path(keys), Path(log), is_newest=False)
            restore(Path(data), sources, Settings(), SystemClock(), quiet)
        os.write(out, str(count).encode())

    for line in sys.stdin:
        read, write = os.pipe()
        if not (pid := os.fork()):
            try:
                child(*json.loads(line), write)
            except BaseException as error:
                os.write(write, repr(error).encode())
            finally:
                os._exit(0)
        os.close(write)
        told = os.read(read, 1 << 16).decode()
        os.close(read)
        os.waitpid(pid, 0)
        print(json.dumps(told), flush=True)
    """
)


class Runner:
    """Runs of backup and restore, each in a process of its own."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def __call__(self, what: str, places: dict[str, Path], kill_at: int = 0) -> str:
        """How many steps there were; the error; or nothing, if it was killed."""
        told = [str(places[name]) for name in ("data", "backup", "keys", "log")]
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([what, *told, kill_at]) + "\n")
        self._process.stdin.flush()
        return str(json.loads(self._process.stdout.readline()))


@pytest.fixture(scope="module")
def run() -> Iterator[Runner]:
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        yield Runner(process)
    finally:
        process.communicate(timeout=30)


@pytest.fixture(scope="module")
def store_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("cut") / "store"
    create_store(data, "cut.example")
    with open_store(data) as store:
        for number in range(5):
            _put(store, b"content %d" % number)
    return data


def quiet(_what: str, _done: int, _total: int) -> None: ...


def _put(store: Any, content: bytes) -> None:
    at, org = store.clock.now(), "11440105MB2C000018"
    token, _ = store.database.write(
        lambda tx: store.credentials.issue(
            tx, at, role=Role.WINDOW, org=org, expires_at=at + timedelta(days=1)
        )
    )
    window, upload = Principal(subject=token, role=Role.WINDOW, org=org), new_id(IdKind.UPLOAD)
    receiver = begin_upload(store.materials, window, upload, len(PDF + content))
    receiver.write(PDF + content)
    keep_upload(store.materials, at, window, upload, receiver.finish())


def _places(data: Path, folder: Path) -> dict[str, Path]:
    return {
        "data": data,
        "backup": folder / "backup",
        "keys": data / "keys",
        "log": data / "log",
    }


def _points(steps: int) -> list[int]:
    """Spread over all steps, the first and the last among them."""
    return sorted({1 + number * (steps - 1) // (KILLS - 1) for number in range(KILLS)})


def test_a_killed_backup_is_none_and_the_next_is_whole(
    run: Runner, store_folder: Path, tmp_path: Path
) -> None:
    steps = int(run("backup", _places(store_folder, tmp_path / "count")))
    assert steps > KILLS
    killed = 0
    for point in _points(steps):
        places = _places(store_folder, tmp_path / str(point))
        if run("backup", places, point) != "":
            continue  # a few steps fewer this time
        killed += 1
        try:
            assert check_backup(places["backup"], quiet)[1] == []
        except BackupMissing:
            assert not (places["backup"] / "backup.json").exists()
        assert run("backup", places).isdigit()
        assert check_backup(places["backup"], quiet)[1] == []
        # The next one dies as well: what is there stays whole.
        run("backup", places, point)
        assert check_backup(places["backup"], quiet)[1] == []
    assert killed >= KILLS - 2


def test_a_killed_restore_is_not_served_and_the_next_is_whole(
    run: Runner, store_folder: Path, tmp_path: Path
) -> None:
    source = _places(store_folder, tmp_path)
    assert run("backup", source).isdigit()
    steps = int(run("restore", {**source, "data": tmp_path / "count"}))
    assert steps > KILLS
    killed = 0
    for point in _points(steps):
        data = tmp_path / str(point)
        if run("restore", {**source, "data": data}, point) != "":
            continue
        killed += 1
        try:
            with open_store(data):
                done = True
        except (RestoreUnfinished, StoreMissing):
            done = False
        told = run("restore", {**source, "data": data})
        assert told.startswith(RestoreFolderTaken.__name__) if done else told.isdigit(), told
        with open_store(data) as store:
            store.ledger.sequence(store.clock.now())
            assert run_checks(store, quiet) == []
    assert killed >= KILLS - 2


def test_no_token_no_older_catalogue_and_no_ended_authority_comes_back(tmp_path: Path) -> None:
    data = tmp_path / "store"
    create_store(data, "cut.example")
    with open_store(data) as store:
        at = store.clock.now()
        own = store.materials.catalogue
        other = own.model_copy(update={"version": "0.1"})
        store.database.write(lambda tx: adopt(tx, at, store.ledger.journal, other))
        token, secret = store.database.write(
            lambda tx: store.credentials.issue(
                tx, at, role=Role.OPERATOR, expires_at=at + timedelta(days=1)
            )
        )
        capacity = store.database.write(lambda tx: _capacity(store, tx))
        store.ledger.sequence(store.clock.now())
        make_backup(store, tmp_path / "backup", quiet)
        # After the backup: the token is withdrawn, the rules change, an authority ends.
        store.database.write(
            lambda tx: store.parties.end_capacity(
                tx, store.clock.now(), capacity, EndReason.WITHDRAWN
            )
        )
        store.database.write(lambda tx: store.credentials.revoke(tx, store.clock.now(), token))
        store.adopt_catalogue()
        store.ledger.sequence(store.clock.now())
    sources = Sources(tmp_path / "backup", data / "keys", data / "log", is_newest=False)
    report = restore(tmp_path / "back", sources, Settings(), SystemClock(), quiet)
    assert report.tokens == 1
    with open_store(tmp_path / "back") as store:
        with store.database.read() as tx, pytest.raises(CredentialRevoked):
            store.credentials.authenticate(tx, store.clock.now(), secret)
        # The record that ended it is lost; that there was one is not.
        with store.database.read() as tx, pytest.raises(HistoryCut):
            store.parties.capacity(tx, capacity)
        store.adopt_catalogue()
        store.ledger.sequence(store.clock.now())
        found = {one.code for one in run_checks(store, quiet)}
        assert found == {"lost_in_restore", "history_cut", "capacity_record"}
        # The way on, and it is recorded: whoever ended it ends it again.
        store.database.write(
            lambda tx: store.parties.end_capacity(
                tx, store.clock.now(), capacity, EndReason.WITHDRAWN
            )
        )
        store.ledger.sequence(store.clock.now())
        with store.database.read() as tx:
            assert store.parties.capacity(tx, capacity).ended_at is not None
        assert {one.code for one in run_checks(store, quiet)} == {"lost_in_restore"}


def _capacity(store: Any, tx: Any) -> str:
    at = store.clock.now()
    holder = store.parties.ensure(tx, at, HolderRef(COMPANY.type, COMPANY.code, COMPANY.name))
    person = store.parties.ensure(tx, at, HolderRef(PERSON.type, PERSON.code, PERSON.name))
    return str(
        store.parties.register_capacity(
            tx, at, holder, person, Capacity.LEGAL_REPRESENTATIVE, "operator"
        )
    )


def test_a_backup_that_meets_a_rotation_takes_the_rows_anew(tmp_path: Path) -> None:
    data = tmp_path / "store"
    create_store(data, "cut.example")
    with open_store(data) as store:
        _put(store, b"content")
        rotated = []

        def tell(what: str, _done: int, _total: int) -> None:
            if what == "objects" and not rotated:
                rotated.append(rotate(store.database, store.vault, WRAPPED, quiet))

        manifest = make_backup(store, tmp_path / "backup", tell)
        assert manifest.key_epochs == (2, 2)
    sources = Sources(tmp_path / "backup", data / "keys", None, is_newest=True)
    restore(tmp_path / "back", sources, Settings(), SystemClock(), quiet)
    with open_store(tmp_path / "back") as store:
        store.ledger.sequence(store.clock.now())
        assert run_checks(store, quiet) == []
