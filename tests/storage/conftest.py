"""Real stores, vaults and databases in temporary folders."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from storage.database import Database, WriteTx
from storage.database.metadata import metadata
from storage.keyvault import FileKeyVault
from storage.objects import FilesystemStore, ObjectStore, SealedObjects
from storage.objects.bucket_store import BucketStore
from storage.s3 import Bucket
from storage.tables import audit, idempotency, objects
from tests.engines import Engine
from tests.servers.fault_proxy import FaultProxy
from tests.servers.minio import MinioServer
from tests.servers.radosgw import RadosGateway
from tests.storage.faulty_store import FaultyStore, PatientStore

AT = datetime(2026, 11, 24, 4, 20, 21, 123000, tzinfo=UTC)


@pytest.fixture
def at() -> datetime:
    return AT


@pytest.fixture
def database(tmp_path: Path, engine: Engine) -> Iterator[Database]:
    """A database with the tables of this room."""
    opened = Database(engine.place(tmp_path / "rows.sqlite3"), create=True)
    with opened.writer_engine.begin() as connection:
        metadata.create_all(connection, tables=[objects, idempotency, audit])
    yield opened
    opened.close()


@pytest.fixture
def vault(tmp_path: Path) -> FileKeyVault:
    return FileKeyVault.create(tmp_path / "vault.json")


# Every implementation of the port passes the same contract (test_object_store_contract):
# with `faulty`, to callers who try again; with `minio-faulty`, by the adapter's own tries.
STORES = (
    "filesystem",
    "faulty",
    "minio",
    "minio-faulty",
    pytest.param("radosgw", marks=pytest.mark.xdist_group("radosgw")),
)


@pytest.fixture(params=STORES)
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ObjectStore]:
    if request.param == "filesystem":
        yield FilesystemStore(tmp_path / "objects", create=True)
    elif request.param == "faulty":
        yield PatientStore(FaultyStore(FilesystemStore(tmp_path / "objects", create=True)))
    else:
        server: MinioServer | RadosGateway = request.getfixturevalue(
            request.param.removesuffix("-faulty")
        )
        bucket = server.bucket()
        if request.param == "minio-faulty":
            proxy: FaultProxy = request.getfixturevalue("fault_proxy")
            proxy.often()
            bucket.close()
            bucket = Bucket(server.settings(bucket.name, endpoint=proxy.endpoint))
        yield BucketStore(bucket)
        bucket.close()


@pytest.fixture
def store(tmp_path: Path) -> FilesystemStore:
    return FilesystemStore(tmp_path / "objects", create=True)


@pytest.fixture
def sealed(store: FilesystemStore, vault: FileKeyVault) -> SealedObjects:
    return SealedObjects(store, vault)


@pytest.fixture
def held_writer() -> Callable[[Database], object]:
    """`with held_writer(database):` keeps the writer busy, so that works queue up
    and then share one commit."""

    @contextmanager
    def hold(database: Database) -> Iterator[None]:
        started, release = threading.Event(), threading.Event()

        def work(_tx: WriteTx) -> None:
            started.set()
            assert release.wait(30)

        first: Future[None] = database.submit(work)
        assert started.wait(30)
        try:
            yield
        finally:
            release.set()
            first.result(30)

    return hold
