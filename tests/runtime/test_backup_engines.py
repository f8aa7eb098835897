"""A backup of one engine is restored into the other; on PostgreSQL erasure ends with the epoch."""

import json
from pathlib import Path
from typing import Any

import pytest

from kernel.clock import SystemClock
from materials_api.materials.erasure import (
    ErasureState,
    continue_erasures,
    erasure_of,
    request_erasure,
)
from runtime.backup.errors import RestoreFolderTaken
from runtime.backup.making import make_backup
from runtime.backup.restoring import LOCAL, Sources, restore
from runtime.settings import read_settings
from runtime.store import DATABASE, open_store
from tests.conftest import mianjiao
from tests.engines import Engine
from tests.runtime.conftest import furnished

pytestmark = [
    pytest.mark.postgresql_only,
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("played"),
]


def quiet(_what: str, _done: int, _total: int) -> None: ...


class Killed(BaseException):
    pass


def clean(data: Path) -> bool:
    return json.loads(mianjiao("fsck", "--data", data, "--json").stdout)["problems"] == []  # type: ignore[no-any-return]


def on(engine: Engine, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine.place(place, empty=True)
    for name, value in engine.environment(place).items():
        monkeypatch.setenv(name, value)


def test_from_sqlite_to_postgresql_and_back(
    played: Any, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys, log = played.data / "keys", played.data / "log"
    mianjiao("backup", "--data", played.data, "-o", tmp_path / "one")
    on(engine, tmp_path / "server", monkeypatch)
    sources = Sources(tmp_path / "one", keys, log, is_newest=False)
    server = tmp_path / "server-store"

    def tell(what: str, _done: int, _total: int) -> None:
        if what == "adopt":
            raise Killed

    with pytest.raises(Killed):
        restore(server, sources, read_settings(), SystemClock(), tell)
    # The rows of the half-made store are in the server; another folder does not take them.
    with pytest.raises(RestoreFolderTaken):
        restore(tmp_path / "other", sources, read_settings(), SystemClock(), quiet)
    report = restore(server, sources, read_settings(), SystemClock(), quiet)
    assert report.lost == {}
    assert not (server / DATABASE).exists()
    with open_store(server) as store:
        store.ledger.sequence(store.clock.now())  # numbers go on after the copied rows
    assert clean(server)
    mianjiao("backup", "--data", server, "-o", tmp_path / "two")
    monkeypatch.delenv("MIANJIAO_DATABASE_URL")
    mianjiao("restore", "--data", tmp_path / "file-store", "--from", tmp_path / "two",
             "--keys", server / "keys", "--log", server / "log")  # fmt: skip
    assert (tmp_path / "file-store" / DATABASE).is_file()
    with open_store(tmp_path / "file-store") as store:
        store.ledger.sequence(store.clock.now())
    assert clean(tmp_path / "file-store")


def test_an_erasure_is_pending_until_the_keys_are_rotated(
    played: Any, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with furnished(played, tmp_path / "furnished") as house:
        free = house.ids["strangers_material"]
        make_backup(house.store, tmp_path / "one", quiet)
    on(engine, tmp_path / "server", monkeypatch)
    server = tmp_path / "server-store"
    sources = Sources(tmp_path / "one", played.data / "keys", None, is_newest=True)
    restore(server, sources, read_settings(), SystemClock(), quiet)
    with open_store(server) as store:
        store.start()
        room = store.materials
        at = store.clock.now()
        asked = store.database.write(lambda tx: request_erasure(room, tx, at, LOCAL, free))
        assert store.ledger.wait_for(str(asked.last_record), 10)
        continue_erasures(room, at)
        with store.database.read() as tx:
            told = erasure_of(room, tx, free)
        assert (told.state, told.closed) == (ErasureState.PENDING, False)
        mianjiao("keys", "rotate", "--data", server)  # beside the one that serves
        with store.database.read() as tx:
            told = erasure_of(room, tx, free)
        assert (told.state, told.closed) == (ErasureState.DONE, True)
    assert clean(server)
