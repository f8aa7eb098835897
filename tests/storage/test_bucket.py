"""Requests to a bucket: faults, recovery, and what settings can get wrong, in one line each."""

import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import urllib3
from minio import Minio

from kernel.errors import CodedError
from storage.errors import ObjectMissing, ObjectRetained, StorageFailed
from storage.s3 import Bucket, S3Settings, self_test
from storage.s3.bucket import Blob
from storage.s3.errors import S3SelfTestFailed, S3Unreachable
from storage.s3.lock_times import LATEST, bounded, lock_text, parse_lock_time
from storage.s3.requests import Requests
from tests.servers.fault_proxy import PASSING, Fault, FaultProxy
from tests.servers.minio import MinioServer, find_minio
from tests.servers.radosgw import RadosGateway

NOBODY = {"endpoint": "127.0.0.1:9", "bucket": "any", "access_key": "a", "secret_key": "s3cr3t"}


@pytest.fixture
def bucket(minio: MinioServer) -> Iterator[Bucket]:
    made = minio.bucket()
    yield made
    made.close()


@pytest.fixture
def proxied(minio: MinioServer, bucket: Bucket, fault_proxy: FaultProxy) -> Iterator[Bucket]:
    through = Bucket(minio.settings(bucket.name, endpoint=fault_proxy.endpoint, read_seconds=0.3))
    yield through
    through.close()


def refused(settings: S3Settings) -> CodedError:
    """What a start with these settings says: one line, and nothing of the secret."""
    started = time.monotonic()
    with pytest.raises(CodedError) as caught:
        self_test(Bucket(settings), datetime.now(UTC))
    assert "\n" not in str(caught.value)
    assert settings.secret_key not in str(caught.value)
    assert settings.secret_key not in repr(settings)
    assert time.monotonic() - started < 10
    return caught.value


# --- A server that is away ---


def test_what_is_known_to_be_away_is_asked_once_and_found_again_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    requests = Requests(S3Settings(**{**NOBODY, "endpoint": f"127.0.0.1:{port}"}))
    asked = 0

    def ask() -> int:
        nonlocal asked
        asked += 1
        return int(urllib3.request("GET", f"http://127.0.0.1:{port}/", retries=False).status)

    for expected in (6, 7, 8):  # the first of them tries for seconds
        with pytest.raises(S3Unreachable):
            requests.run("ask", ask)
        assert asked == expected
    server = HTTPServer(("127.0.0.1", port), BaseHTTPRequestHandler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        assert requests.run("ask", ask) == 501
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    with pytest.raises(S3Unreachable):
        requests.run("ask", ask)
    assert asked == 8 + 1 + 6, "it was there: tried anew"


# --- Bad input ---


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("endpoint", "http://localhost:9000"),
        ("endpoint", "localhost:9000/path"),
        ("endpoint", ""),
        ("bucket", "B"),
        ("bucket", "under_score"),
        ("bucket", "a..b"),
        ("access_key", ""),
        ("secret_key", "with\nline"),
        ("secret_key", "密钥"),
        ("region", ""),
        ("ca_file", Path("no such file")),
    ],
)
def test_a_setting_of_another_form_is_named(setting: str, value: object) -> None:
    with pytest.raises(CodedError) as caught:
        S3Settings(**{**NOBODY, setting: value})  # type: ignore[arg-type]
    assert caught.value.code == "s3_setting_invalid"
    assert caught.value.details["setting"] == setting


def test_nobody_listening_is_said_within_seconds() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    error = refused(
        S3Settings(**{**NOBODY, "endpoint": f"127.0.0.1:{port}", "pause_seconds": 0.01})
    )  # type: ignore[arg-type]
    assert error.code == "s3_unreachable"
    assert str(port) in str(error)


def test_a_server_that_accepts_and_never_answers_is_slow() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = S3Settings(
            **{**NOBODY, "endpoint": f"127.0.0.1:{silent.getsockname()[1]}"},  # type: ignore[arg-type]
            secure=False,
            read_seconds=0.1,
            tries=2,
            pause_seconds=0.01,
        )
        assert refused(settings).code == "s3_slow"


def test_something_else_that_answers_is_not_understood(minio: MinioServer) -> None:
    server = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        connection, _ = server.accept()
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        connection.close()

    threading.Thread(target=answer, daemon=True).start()
    error = refused(minio.settings("any", endpoint=f"127.0.0.1:{server.getsockname()[1]}"))
    server.close()
    assert error.code == "s3_not_understood"


def test_tls_where_there_is_none_is_said(minio: MinioServer) -> None:
    error = refused(minio.settings("any", secure=True))
    assert error.code == "s3_certificate_refused"
    assert "TLS" in str(error)


def test_wrong_credentials_are_said(minio: MinioServer, bucket: Bucket) -> None:
    for change in ({"secret_key": "wrong-secret"}, {"access_key": "nobody"}):
        error = refused(minio.settings(bucket.name, **change))
        assert error.code == "s3_credentials_refused"


def test_a_missing_bucket_is_said_and_not_made(minio: MinioServer) -> None:
    settings = minio.settings()
    assert refused(settings).code == "bucket_missing"
    assert refused(settings).code == "bucket_missing"


def test_a_bucket_without_versions_or_lock_is_said_and_nothing_is_stored(
    minio: MinioServer,
) -> None:
    from minio.commonconfig import ENABLED
    from minio.versioningconfig import VersioningConfig

    settings = minio.settings()
    admin = Minio(
        settings.endpoint, settings.access_key, settings.secret_key, secure=False, region="x"
    )
    admin.make_bucket(settings.bucket)
    assert refused(settings).code == "bucket_without_versioning"
    admin.set_bucket_versioning(settings.bucket, VersioningConfig(ENABLED))
    assert refused(settings).code == "bucket_without_lock"
    assert list(admin.list_objects(settings.bucket, recursive=True)) == []


# --- Faults and recovery ---


@pytest.mark.parametrize("fault", PASSING)
def test_a_request_that_fails_once_is_sent_again(
    proxied: Bucket, fault_proxy: FaultProxy, fault: Fault
) -> None:
    fault_proxy.once(fault, "PUT")
    # What was carried out without an answer is found by the second try.
    if not proxied.put_new("name", b"data"):
        assert fault in (Fault.LOST, Fault.DENIED, Fault.TWICE)
    fault_proxy.once(fault, "GET")
    blob = proxied.get("name")
    assert blob.data == b"data"
    fault_proxy.once(fault, "PUT")
    if not proxied.replace("name", b"more", blob):
        assert fault in (Fault.LOST, Fault.DENIED, Fault.TWICE)
    fault_proxy.once(fault, "HEAD")
    assert proxied.stat("name").size == 4
    fault_proxy.once(fault, "GET", "versions")
    newest, _oldest = proxied.versions("name")
    fault_proxy.once(fault, "DELETE")
    proxied.remove_version("name", newest.version)
    assert proxied.get("name").data == b"data"
    assert fault_proxy.seen[fault] == (2 if fault is Fault.FLIPPED else 6)


def test_a_server_that_stays_busy_is_named_and_works_again_afterwards(
    proxied: Bucket, fault_proxy: FaultProxy
) -> None:
    fault_proxy.plan = lambda _method, _path: Fault.BUSY
    with pytest.raises(StorageFailed) as caught:
        proxied.put_new("name", b"data")
    assert caught.value.code == "s3_busy"
    assert fault_proxy.seen[Fault.BUSY] == 6
    fault_proxy.plan = lambda _method, _path: None
    assert proxied.put_new("name", b"data")


def test_a_server_that_becomes_slow_is_named(proxied: Bucket, fault_proxy: FaultProxy) -> None:
    fault_proxy.delay = 0.5
    fault_proxy.plan = lambda _method, _path: Fault.SLOW
    with pytest.raises(StorageFailed) as caught:
        proxied.get("name")
    assert caught.value.code == "s3_slow"


def test_a_killed_server_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    binary = find_minio()
    if binary is None:
        pytest.skip("no MinIO server here: `make servers` builds one")
    server = MinioServer(binary, tmp_path)
    server.start()
    bucket = server.bucket(pause_seconds=0.1, tries=5)
    stored: list[str] = []
    codes: set[str] = set()
    ending = threading.Event()

    def write(number: int) -> None:
        count = 0
        while not ending.is_set():
            name = f"{number}/{count}"
            try:
                if bucket.put_new(name, name.encode()) or bucket.get(name).data == name.encode():
                    stored.append(name)
                count += 1
            except StorageFailed as error:
                codes.add(error.code)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(2):
            seen = len(stored)
            while len(stored) < seen + 30:
                time.sleep(0.01)
            server.stop()
            time.sleep(0.05)
            server.start()
        seen = len(stored)
        while len(stored) < seen + 30:  # it goes on by itself
            time.sleep(0.01)
        server.stop()
        with pytest.raises(StorageFailed) as caught:
            bucket.get("0/0")
        assert caught.value.code == "s3_unreachable"
        server.start()
    finally:
        ending.set()
        for thread in threads:
            thread.join(30)
    lost = [name for name in stored if bucket.get(name).data != name.encode()]
    bucket.close()
    server.stop()
    assert lost == []
    assert len(stored) >= 90
    assert codes <= {"s3_unreachable", "s3_busy", "storage_failed"}


def test_the_error_of_one_item_ends_a_batch(bucket: Bucket) -> None:
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        if number == 3:
            raise ObjectMissing()
        time.sleep(0.001)
        return number

    with pytest.raises(ObjectMissing):
        list(bucket.in_parallel(work, range(1000)))
    assert len(begun) < 200
    assert list(bucket.in_parallel(lambda number: -number, range(100))) == [-n for n in range(100)]


# --- Dates ---


def test_dates_of_both_servers_are_read() -> None:
    for text in (
        "2036-11-24T00:00:00Z",
        "2036-11-24T00:00:00.123Z",
        "2036-11-24T00:00:00.123456789Z",
    ):
        assert parse_lock_time(text) == datetime(2036, 11, 24, tzinfo=UTC)
    with pytest.raises(StorageFailed):
        parse_lock_time("tomorrow")
    assert lock_text(datetime(2036, 11, 24, tzinfo=UTC)) == "2036-11-24T00:00:00Z"
    second = timedelta(seconds=1)
    assert bounded(datetime(2036, 1, 1, microsecond=1, tzinfo=UTC)) == (
        datetime(2036, 1, 1, tzinfo=UTC) + second
    )
    assert bounded(LATEST + second) == LATEST


# --- Self-test ---


def test_a_good_bucket_passes_again_and_again(bucket: Bucket) -> None:
    for starts in (1, 2, 3):
        self_test(bucket, datetime.now(UTC))
        assert len({entry.name for entry in bucket.versions("self-test/")}) == starts


@pytest.mark.xdist_group("radosgw")
@pytest.mark.timeout(180)
def test_a_server_that_holds_no_condition_serves_only_where_the_settings_say_so(
    radosgw: RadosGateway,
) -> None:
    bucket = radosgw.bucket()
    self_test(bucket, datetime.now(UTC))
    trusting = Bucket(radosgw.settings(bucket.name, conditional_put=True))
    with pytest.raises(S3SelfTestFailed) as caught:
        self_test(trusting, datetime.now(UTC))
    assert "If-None-Match" in str(caught.value.details["what"])
    trusting.close()
    bucket.close()


def test_probes_of_earlier_starts_are_removed_when_their_lock_has_ended(bucket: Bucket) -> None:
    old = "self-test/" + "0" * 32
    bucket.put_new(old, b"first")
    # A young one may be that of a process that starts now, and is not locked yet.
    self_test(bucket, datetime.now(UTC))
    assert old in {entry.name for entry in bucket.versions("self-test/")}
    self_test(bucket, datetime.now(UTC) + timedelta(hours=1))
    assert old not in {entry.name for entry in bucket.versions("self-test/")}
    assert len({entry.name for entry in bucket.versions("self-test/")}) == 2


class Overwrites(Bucket):
    def put_new(self, name: str, data: bytes) -> bool:
        self.overwrite(name, data)
        return True


class Replaces(Bucket):
    def replace(self, name: str, data: bytes, before: Blob) -> bool:
        self.overwrite(name, data)
        return False


class ForgetsLocks(Bucket):
    """Takes retention dates and gives them back, and holds nobody to them."""

    held: datetime | None = None

    def set_lock(self, *arguments: object, **options: object) -> None:
        self.held = arguments[2]  # type: ignore[assignment]

    def stat(self, name: str, version: str | None = None):  # type: ignore[no-untyped-def]
        from dataclasses import replace

        return replace(super().stat(name, version), locked_until=self.held)


class Shortens(ForgetsLocks):
    def remove_version(self, *_arguments: object, **_options: object) -> None:
        raise ObjectRetained(until="?")


class Deletes(ForgetsLocks):
    def set_lock(self, *arguments: object, **options: object) -> None:
        if self.held is not None:
            raise ObjectRetained(until="?")
        super().set_lock(*arguments, **options)


class BypassDeletes(Deletes):
    def remove_version(self, name: str, version: str | None, *, bypass: bool = False) -> None:
        if not bypass:
            raise ObjectRetained(until="?")
        super().remove_version(name, version)


class Ignores(Bucket):
    def set_lock(self, *arguments: object, **options: object) -> None:
        pass

    def lock(self, name: str, until: datetime) -> None:
        pass


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (Overwrites, "overwrite an object in spite of If-None-Match: *"),
        (Replaces, "replace an object in spite of If-Match with another ETag"),
        (Ignores, "ignore a retention in compliance mode"),
        (Shortens, "shorten a retention"),
        (Deletes, "delete a locked version"),
        (BypassDeletes, "delete a locked version with the governance bypass"),
    ],
)
def test_a_bucket_that_lets_too_much_happen_is_refused_and_says_what(
    minio: MinioServer, bucket: Bucket, kind: type[Bucket], what: str
) -> None:
    lenient = kind(minio.settings(bucket.name))
    with pytest.raises(S3SelfTestFailed) as caught:
        self_test(lenient, datetime.now(UTC))
    lenient.close()
    assert caught.value.details["what"] == what
