"""One bucket, as this program uses it: write-once, compare-and-swap, streams, parts, locks."""

import base64
import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar
from xml.etree.ElementTree import Element, SubElement, tostring

from minio.commonconfig import COMPLIANCE
from minio.time import from_http_header
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError

from storage.errors import ObjectMissing, ObjectRetained, StorageFailed
from storage.s3.client import Client, Version
from storage.s3.errors import (
    BucketWithoutLock,
    BucketWithoutVersioning,
    S3AccessDenied,
    S3Unreachable,
)
from storage.s3.lock_times import lock_text, parse_lock_time
from storage.s3.requests import Told
from storage.s3.settings import S3Settings

BLOCK_BYTES = 1 << 20
_MISSING = frozenset({"NoSuchKey", "NoSuchVersion"})
# What servers answer to a change that a lock forbids: MinIO, Ceph, AWS.
_FORBIDDEN = frozenset({"InvalidRequest", "AccessDenied", "ObjectLocked"})
_TAKEN = frozenset({"PreconditionFailed", "ConditionalRequestConflict"})
_IF_NEW = {"If-None-Match": "*"}
_BYPASS = {"x-amz-bypass-governance-retention": "true"}

A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True, slots=True)
class Blob:
    """A small object, whole. `etag` names these bytes in a later `replace`."""

    data: bytes
    etag: str
    version: str | None


@dataclass(frozen=True, slots=True)
class Stat:
    """An object without its bytes. `locked_until`: in compliance mode, if at all."""

    size: int
    etag: str
    version: str | None
    stored_at: datetime
    locked_until: datetime | None


class Bucket:
    """Requests to one bucket. Safe from many threads; each process makes its own.

    Every method may raise `S3Unreachable`, `S3Slow`, `S3Busy` (after some
    tries, all are `StorageFailed`), `StorageFull`, and what settings can get
    wrong: `BucketMissing`, `S3CredentialsRefused`, `S3AccessDenied`,
    `S3CertificateRefused`, `S3ClockSkewed`, `S3NotUnderstood`. What was sent
    may have been carried out nevertheless: all methods may be called again.
    """

    def __init__(self, settings: S3Settings) -> None:
        """Connects to nothing yet: see `check`."""
        self.name = settings.bucket
        self._settings = settings
        self._client = Client(settings)
        self._pool = ThreadPoolExecutor(
            max(2, settings.connections // 2), thread_name_prefix="bucket"
        )

    def close(self) -> None:
        """Wait for what runs, and close the connections."""
        self._pool.shutdown()
        self._client.close()

    def in_parallel(self, work: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
        """`map`, many at a time, in order; few items are drawn ahead. On an error the
        rest is not begun, and what has begun is waited for."""
        running: deque[Future[B]] = deque()
        try:
            for item in items:
                running.append(self._pool.submit(work, item))
                if len(running) > self._settings.connections:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            for future in running:
                future.cancel()
            for future in running:
                if not future.cancelled():
                    future.exception()

    def in_background(self, work: Callable[[], B]) -> "Future[B]":
        """Run `work` in the bucket's threads."""
        return self._pool.submit(work)

    # --- The bucket itself ---

    def check(self) -> None:
        """That it is there, keeps versions and has object lock: else the error that says so."""
        if self._client.versioning() != "Enabled":
            raise BucketWithoutVersioning(bucket=self.name)
        try:
            self._client.check_lock_settings(["ObjectLockConfigurationNotFoundError"])
        except Told:
            raise BucketWithoutLock(bucket=self.name) from None

    def create(self) -> None:
        """Make the bucket, with versions and object lock. One that is there is left as it is."""
        try:
            self._client.make_bucket(["BucketAlreadyOwnedByYou", "BucketAlreadyExists"])
        except Told:
            return

    # --- Small objects ---

    def put_new(self, name: str, data: bytes) -> bool:
        """Store it if the name is free; False if it is taken, perhaps by an earlier try of
        this very call: the caller compares."""
        return self._put(name, data, _IF_NEW)

    def replace(self, name: str, data: bytes, etag: str) -> bool:
        """Store it if `etag` still names what is there; False if not."""
        return self._put(name, data, {"If-Match": f'"{etag}"'})

    def overwrite(self, name: str, data: bytes) -> None:
        """Store it whatever is there. For the self-test alone."""
        self._put(name, data, {})

    def get(self, name: str, version: str | None = None) -> Blob:
        """A small object, whole. `ObjectMissing`."""
        try:
            answer = self._client.send("read", "GET", name, query=_version(version), known=_MISSING)
        except Told:
            raise ObjectMissing() from None
        return Blob(answer.data, _etag(answer), answer.headers.get("x-amz-version-id"))

    def stat(self, name: str, version: str | None = None) -> Stat:
        """`ObjectMissing` if there is none."""
        try:
            answer = self._client.send(
                "read", "HEAD", name, query=_version(version), known=_MISSING
            )
        except Told:
            raise ObjectMissing() from None
        headers = answer.headers
        locked = headers.get("x-amz-object-lock-retain-until-date")
        if headers.get("x-amz-object-lock-mode") != COMPLIANCE:
            locked = None
        return Stat(
            size=int(headers["content-length"]),
            etag=_etag(answer),
            version=headers.get("x-amz-version-id"),
            stored_at=from_http_header(headers["last-modified"]),
            locked_until=parse_lock_time(locked) if locked else None,
        )

    def _put(self, name: str, data: bytes, condition: Mapping[str, str]) -> bool:
        headers = {**condition, **_checksum(data)}
        try:
            self._client.send("store", "PUT", name, body=data, headers=headers, known=_TAKEN)
        except Told:
            return False
        return True

    # --- Streams ---

    def read(self, name: str, start: int, stop: int | None) -> Iterator[bytes]:
        """Bytes [start, stop) in blocks of at most 1 MiB. The call itself raises
        `ObjectMissing`. A connection that breaks is taken up again where it broke."""
        if stop is not None and stop <= start:
            self.stat(name)
            return iter(())
        if stop is not None and stop - start <= BLOCK_BYTES:
            whole = self._open(name, start, stop, stream=False)
            return iter(()) if whole is None or not whole.data else iter((whole.data,))
        answer = self._open(name, start, stop)
        return iter(()) if answer is None else self._blocks(name, answer, start, stop)

    def _open(
        self,
        name: str,
        start: int,
        stop: int | None,
        etag: str | None = None,
        *,
        stream: bool = True,
    ) -> BaseHTTPResponse | None:
        """An answer whose body is still to come, unless `stream` is off; None if the object
        ends before `start`."""
        headers = {}
        if start or stop is not None:
            headers["Range"] = f"bytes={start}-{'' if stop is None else stop - 1}"
        if etag is not None:
            headers["If-Match"] = f'"{etag}"'
        try:
            return self._client.send(
                "read",
                "GET",
                name,
                headers=headers,
                known={"InvalidRange", *_MISSING, *_TAKEN},
                stream=stream,
            )
        except Told as told:
            if told.code == "InvalidRange":
                return None
            raise ObjectMissing() from None

    def _blocks(
        self, name: str, answer: BaseHTTPResponse | None, start: int, stop: int | None
    ) -> Iterator[bytes]:
        broken = 0
        while answer is not None:
            etag = _etag(answer)
            try:
                while block := answer.read(BLOCK_BYTES):
                    start += len(block)
                    broken = 0
                    yield block
                return
            except HTTPError as error:
                broken += 1
                if broken >= self._settings.tries:
                    raise S3Unreachable(
                        endpoint=self._settings.endpoint, problem=type(error).__name__
                    ) from error
            finally:
                # Read to its end, it went back to the pool; else its connection is lost.
                answer.close()
            answer = self._open(name, start, stop, etag)

    # --- Objects in parts ---

    def begin_parts(self, name: str) -> str:
        """Begin an object in parts; the id of the upload. Twice begun: the server drops
        the other after a day."""
        return self._client.begin_parts(name)

    def put_part(self, name: str, upload: str, number: int, data: bytes) -> str:
        """Store part `number`, from 1; its ETag."""
        answer = self._client.send(
            "store",
            "PUT",
            name,
            body=data,
            headers=_checksum(data),
            query={"partNumber": str(number), "uploadId": upload},
        )
        return _etag(answer)

    def finish_parts(self, name: str, upload: str, parts: list[tuple[str, str]]) -> str | None:
        """Make one object of the parts, given as ETag and checksum, if the name is free.

        Returns its version. None if the name is taken, or the upload is gone:
        perhaps by an earlier try of this very call. A server that does not know
        the condition stores a newer version: the caller looks (see `versions`).
        """
        root = Element("CompleteMultipartUpload")
        for number, (etag, checksum) in enumerate(parts, start=1):
            part = SubElement(root, "Part")
            SubElement(part, "PartNumber").text = str(number)
            SubElement(part, "ETag").text = f'"{etag}"'
            SubElement(part, "ChecksumSHA256").text = checksum
        known = {"NoSuchUpload", *_TAKEN}
        try:
            return self._client.finish_parts(name, upload, tostring(root), _IF_NEW, known)
        except Told:
            return None

    def drop_parts(self, name: str, upload: str) -> None:
        """Give the upload up. One that is gone is no error."""
        try:
            self._client.send(
                "store", "DELETE", name, query={"uploadId": upload}, known=["NoSuchUpload"]
            )
        except Told:
            return

    # --- Listing, locking, removing ---

    def names(self, prefix: str) -> Iterator[tuple[str, datetime]]:
        """Every name that begins with `prefix`, and when it was stored."""
        for entry in self._list(prefix, versions=False):
            yield entry.name, entry.stored_at

    def versions(self, prefix: str) -> Iterator[Version]:
        """Every version and delete marker; the versions of one name newest first."""
        return self._list(prefix, versions=True)

    def _list(self, prefix: str, *, versions: bool) -> Iterator[Version]:
        page = self._client.page(prefix, None, versions=versions)
        yield from page.entries
        while page.following is not None:
            page = self._client.page(prefix, page.following, versions=versions)
            yield from page.entries

    def lock(self, name: str, until: datetime) -> None:
        """Keep the oldest version at least until then, in compliance mode. Never shortens.

        The oldest, because what was put on top of it later is not ours. `ObjectMissing`.
        Kept as long already is no change.
        """
        version = self.oldest_version(name)
        stat = self.stat(name, version)
        while stat.locked_until is None or stat.locked_until < until:
            try:
                self.set_lock(name, version, until)
                return
            except ObjectRetained:
                # Another process was faster; if with less, it is our turn again.
                before, stat = stat, self.stat(name, version)
                if stat == before:
                    raise StorageFailed(problem="retention refused") from None

    def set_lock(
        self,
        name: str,
        version: str | None,
        until: datetime,
        mode: str = COMPLIANCE,
        *,
        bypass: bool = False,
    ) -> None:
        """Ask for exactly this lock; `ObjectRetained` if an earlier one forbids it.

        `bypass` asks for what only governance mode would give; for the self-test.
        """
        try:
            self._client.set_retention(
                name, version, mode, until, _BYPASS if bypass else {}, _FORBIDDEN
            )
        except Told as told:
            self._raise_lock("set a retention", name, version, told)

    def remove_version(self, name: str, version: str | None, *, bypass: bool = False) -> None:
        """Remove one version, for good; one that is gone is no error.

        `ObjectRetained`: a lock forbids it, and nothing changed. `bypass` as above.
        """
        try:
            self._client.send(
                "delete",
                "DELETE",
                name,
                headers=_BYPASS if bypass else {},
                query=_version(version),
                known={*_FORBIDDEN, *_MISSING},
            )
        except Told as told:
            if told.code not in _MISSING:
                self._raise_lock("delete", name, version, told)

    def remove(self, name: str) -> None:
        """Remove every version and delete marker of the name.

        `ObjectRetained` if a lock forbids one of them; the others are gone then.
        """
        kept: ObjectRetained | None = None
        # Markers last: while a version is left, a name that was hidden stays hidden.
        for entry in sorted(self._versions_of(name), key=lambda entry: entry.marker):
            if entry.marker and kept:
                break
            try:
                self.remove_version(name, entry.version)
            except ObjectRetained as error:
                kept = error
        if kept:
            raise kept

    def oldest_version(self, name: str) -> str | None:
        """Who was first, where a server let two in. `ObjectMissing`."""
        stored = [entry for entry in self._versions_of(name) if not entry.marker]
        if not stored:
            raise ObjectMissing()
        return stored[-1].version

    def _versions_of(self, name: str) -> list[Version]:
        return [entry for entry in self.versions(name) if entry.name == name]

    def _raise_lock(self, action: str, name: str, version: str | None, told: Told) -> None:
        """The code alone does not tell a lock from a missing permission."""
        locked = self.stat(name, version).locked_until
        if locked is not None:
            raise ObjectRetained(until=lock_text(locked)) from told
        if told.code == "AccessDenied":
            raise S3AccessDenied(bucket=self.name, action=action) from told
        raise StorageFailed(problem=f"{action}: {told.code}") from told


def sha256_text(data: bytes) -> str:
    """As checksums stand in headers and XML."""
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def _checksum(data: bytes) -> dict[str, str]:
    """The server compares it with what arrived, and keeps it with the object."""
    return {"x-amz-checksum-sha256": sha256_text(data)}


def _etag(answer: BaseHTTPResponse) -> str:
    return answer.headers.get("etag", "").strip('"')


def _version(version: str | None) -> dict[str, str]:
    return {} if version is None else {"versionId": version}
