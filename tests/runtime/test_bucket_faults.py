"""A store in a bucket of a real MinIO: used, damaged, and without its server for a while."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select, update

from ledger.tiles import TilePath, tile_width
from materials_api.fsck.checking import fsck as check_materials
from materials_api.materials.retention import FOREVER
from materials_api.tables import material_files, materials
from runtime.app import build_app
from runtime.demo import people
from runtime.settings import read_settings
from runtime.store import open_store
from storage.database import WriteTx
from storage.errors import ObjectRetained
from storage.objects.bucket_store import object_name
from storage.s3 import Bucket
from storage.tables import objects
from tests.conftest import mianjiao
from tests.runtime.conftest import House, callers_and_things
from tests.runtime.edge import PDF
from tests.servers.minio import MinioServer, find_minio

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("bucket_faults")]


@dataclass
class Played:
    """What `House` wants to know of a played store."""

    data: Path
    results: Path
    tokens: dict[str, str]


@dataclass
class Place:
    server: MinioServer
    bucket: Bucket
    played: Played

    def problems(self) -> set[tuple[str, str]]:
        told = mianjiao("fsck", "--data", self.played.data, "--json", expect=None).stdout
        return {(one["code"], one["where"]) for one in json.loads(told)["problems"]}

    def scrubbed(self) -> set[str]:
        """What `scrub` finds, which asks the server from processes of its own."""
        told = mianjiao("scrub", "--data", self.played.data, "--json", expect=None).stdout
        return {one["code"] for one in json.loads(told)["problems"]}

    @contextmanager
    def served(self) -> Iterator[House]:
        settings = read_settings()
        with open_store(self.played.data, settings) as store:
            store.start()
            app = build_app(store, settings)
            with TestClient(app, raise_server_exceptions=False) as client:
                yield House(store, app, client, dict(self.played.tokens), {})


@pytest.fixture(scope="module")
def environment() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def place(
    environment: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """The story, played into a bucket of a server that these tests may stop."""
    binary = find_minio()
    if binary is None:
        pytest.skip("no MinIO server here: `make servers` builds one")
    folder = tmp_path_factory.mktemp("bucket")
    server = MinioServer(binary, folder / "minio")
    server.start()
    settings = server.settings()
    for name, value in server.environment(settings).items():
        environment.setenv(name, value)
    environment.setenv("MIANJIAO_WATCH_SECONDS", "0.2")
    (folder / "own").mkdir()
    (folder / "own" / "说明.txt").write_text("任意内容\n", encoding="utf-8")
    mianjiao("demo", "--data", folder / "store", "--files", folder / "own", "--json")
    results = folder / "store-demo"
    told = json.loads((results / "tokens.json").read_text(encoding="utf-8"))
    played = Played(folder / "store", results, {one["key"]: one["token"] for one in told})
    with closing(Bucket(settings)) as bucket:
        yield Place(server, bucket, played)
    server.stop()


@pytest.fixture(scope="module")
def ids(place: Place) -> dict[str, str]:
    """Everything that a caller can make, made in the bucket: uploads, materials, uses."""
    with place.served() as house:
        callers_and_things(house, place.played)
        house.settle()
        return house.ids


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"it did not happen within {seconds} s"
        time.sleep(0.05)


def object_of(place: Place, material: str) -> str:
    """The name in the bucket of the material's first file."""
    with open_store(place.played.data) as store, store.database.read() as tx:
        query = select(material_files.c.object_key).where(
            material_files.c.material_id == material, material_files.c.position == 1
        )
        return object_name(str(tx.scalar(query)))


def verify(house: House, ids: dict[str, str]) -> Any:
    house.ids = dict(ids)
    items = [{"requirement": "other", "item": "$material"}]
    return house.call("window", "POST", "/v1/verifications", {"case": "$case", "items": items})


def test_what_was_done_in_the_bucket_is_clean(place: Place, ids: dict[str, str]) -> None:
    assert ids["verification"]
    assert place.problems() == set()
    assert place.scrubbed() == set()
    assert not (place.played.data / "objects").exists()


def test_another_version_on_top_is_not_believed_and_named(
    place: Place, ids: dict[str, str]
) -> None:
    name = object_of(place, ids["material"])
    stored = place.bucket.get(name)
    flipped = bytearray(stored.data)
    flipped[len(flipped) // 2] ^= 1
    place.bucket.overwrite(name, bytes(flipped))
    top = place.bucket.get(name).version
    with place.served() as house:
        answer = verify(house, ids)
        assert answer.json()["items"][0]["reason"] == "content_mismatch", answer.text
    found = place.problems()
    assert {code for code, _ in found} == {"object_corrupt", "unexpected_file"}
    assert all(name.rpartition("/")[2] in where for _, where in found)
    assert "object_corrupt" in place.scrubbed()
    place.bucket.remove_version(name, top)
    with place.served() as house:
        assert verify(house, ids).json()["items"][0]["outcome"] == "allowed"
    assert place.problems() == set()


@pytest.mark.parametrize("level", [0, None])
def test_a_tile_that_is_changed_or_gone_is_named(
    place: Place, ids: dict[str, str], level: int | None
) -> None:
    with open_store(place.played.data) as store:
        size = store.ledger.checkpoint().size
        path = TilePath(level, 0, tile_width(size, 0, 0))
        name = f"log/{store.ledger.shard}/{path.text}"
    data = place.bucket.get(name).data
    place.bucket.overwrite(name, data[:40] + bytes([data[40] ^ 1]) + data[41:])
    assert place.problems(), "a bit of a tile"
    place.bucket.remove_version(name, place.bucket.get(name).version)
    place.bucket.remove(name)
    assert place.problems(), "a tile"
    place.bucket.put_new(name, data)
    assert place.problems() == set()


def test_an_object_that_is_gone_is_named(place: Place, ids: dict[str, str]) -> None:
    name = object_of(place, ids["pending_material"])
    data = place.bucket.get(name).data
    place.bucket.remove(name)
    assert {code for code, _ in place.problems()} == {"object_missing"}
    place.bucket.put_new(name, data)
    assert place.problems() == set()


def test_a_server_that_goes_away_is_no_damage_to_what_it_holds(
    place: Place, ids: dict[str, str]
) -> None:
    with open_store(place.played.data) as store:
        stopped: list[str] = []

        def stop(what: str, _done: int, _total: int) -> None:
            """Once the materials were looked at, and before any content is."""
            if what == "materials" and not stopped:
                place.server.stop()
                stopped.append(what)

        try:
            found = check_materials(store.materials, stop)
        finally:
            place.server.start()
    assert stopped
    assert [one.code for one in found] == ["objects_not_read"]
    assert place.problems() == set()


def test_what_cases_must_keep_is_locked_and_a_lock_that_is_too_short_is_named(
    place: Place, ids: dict[str, str]
) -> None:
    kept = select(objects).where(objects.c.retain_until.is_not(None))
    with place.served() as house, house.store.database.read() as tx:
        assert tx.all(kept)
    with place.served() as house:
        database = house.store.database

        def locked() -> bool:
            with database.read() as tx:
                return all(row["locked_until"] == row["retain_until"] for row in tx.all(kept))

        until(locked)
        with database.read() as tx:
            row = next(one for one in tx.all(kept) if one["retain_until"] < FOREVER)
        key, material, end = row["object_key"], row["claimed_by"], row["retain_until"]
        assert house.store.object_store.retains(key, end)
        with pytest.raises(ObjectRetained):
            place.bucket.remove(object_name(key))
        house.ids = {"kept": material}
        refused = house.call("operator", "POST", "/v1/materials/$kept/erase")
        assert refused.json()["code"] == "retention_runs"
    assert place.problems() == set()

    def say(until: datetime) -> None:
        """What every row would say if the material had to be kept until then."""
        with open_store(place.played.data) as store:

            def work(tx: WriteTx) -> None:
                end = {"retain_until": until}
                tx.execute(
                    update(objects)
                    .where(objects.c.object_key == key)
                    .values(**end, locked_until=until)
                )
                tx.execute(
                    update(materials).where(materials.c.material_id == material).values(**end)
                )

            store.database.write(work)

    say(end + timedelta(days=1))
    try:
        assert ("object_lock_short", key) in place.problems()
    finally:
        say(end)
    assert place.problems() == set()


def test_erasing_leaves_nothing_in_the_bucket(place: Place, ids: dict[str, str]) -> None:
    name = object_of(place, ids["strangers_material"])
    assert place.bucket.stat(name).locked_until is None
    with place.served() as house:
        house.ids = dict(ids)

        def erased() -> bool:
            answer = house.call("operator", "POST", "/v1/materials/$strangers_material/erase")
            assert answer.status_code < 300, answer.text
            return bool(answer.json()["erasure"] == "done")

        until(erased)
    assert [one.name for one in place.bucket.versions(name)] == []
    assert place.problems() == set()


def test_without_the_server_nothing_is_believed_and_afterwards_all_completes(
    place: Place, ids: dict[str, str]
) -> None:
    with place.served() as house:
        house.ids = dict(ids)
        assert house.call(None, "GET", "/health/ready").status_code == 200
        place.server.stop()
        try:
            away(house, ids)
        finally:
            place.server.start()
        until(lambda: house.call(None, "GET", "/health/ready").status_code == 200)
        until(lambda: house.call("window", "GET", "$late").status_code == 200)
        house.upload("window", PDF + b"back")
        assert verify(house, ids).json()["items"][0]["outcome"] == "allowed"
        house.settle()
    assert place.problems() == set()


def away(house: House, ids: dict[str, str]) -> None:
    """What is answered while the server is away."""
    upload = house.call("window", "PUT", "/v1/uploads/upl_" + "7" * 26, PDF)
    assert (upload.status_code, upload.json()["code"]) == (503, "s3_unreachable")
    assert upload.headers["retry-after"]
    refused = verify(house, ids)
    assert (refused.status_code, refused.json()["code"]) == (503, "s3_unreachable")
    ticket = house.made("representative", "POST", "/v1/materials/$material/tickets", {})
    download = house.call("representative", "GET", f"/v1/downloads/{ticket['ticket']}")
    assert (download.status_code, download.json()["code"]) == (503, "s3_unreachable")
    # Rows are there, and what is written is kept until the log is back.
    assert house.call("representative", "GET", "/v1/materials/$material").status_code == 200
    case = {"matter": people.ELDERLY, "applicant": people.ELDER.ref(), "channel": "window"}
    opened = house.call("window", "POST", "/v1/cases", case, Prefer="wait=1")
    assert opened.status_code < 300, opened.text  # kept, and its receipt is still to come
    assert opened.json()["receipt"]["status"] == "pending"
    house.ids["late"] = opened.json()["receipt"]["href"]
    assert house.call("window", "GET", "$late").status_code == 202
    assert house.call(None, "GET", "/").status_code == 200

    def named() -> bool:
        answer = house.call(None, "GET", "/health/ready")
        return answer.status_code == 503 and answer.json()["missing"].keys() >= {"objects", "log"}

    until(named)
    missing = house.call(None, "GET", "/health/ready").json()["missing"]
    assert missing["objects"] in ("s3_unreachable", "not_answering")
