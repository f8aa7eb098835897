"""Bytes on their way in, before they are part of a material.

A receiver is fed blocks by one worker thread at a time. Nothing is stored for
good before `finish` has compared the declared digests and committed the row;
whatever ends earlier leaves nothing that anyone can see.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, bindparam, delete, func, insert, select

from kernel.errors import CodedError
from kernel.ids import IdKind, is_id
from kernel.principals import Principal
from ledger.errors import RecordErased
from materials_api.errors import (
    TooManyPendingUploads,
    UploadConflict,
    UploadIdInvalid,
)
from materials_api.materials.access import open_material
from materials_api.room import MaterialsRoom
from materials_api.tables import material_files, uploads
from materials_api.uploads.content_types import HEAD_BYTES, sniff
from materials_api.uploads.zip_containers import TAIL_BYTES
from storage import audit
from storage.database import ReadTx, WriteTx
from storage.database.prepared import Prepared
from storage.errors import DigestMismatch, ObjectTooLarge
from storage.keyvault import KeyVault
from storage.objects import ObjectRef, StoredObject, registry
from storage.objects.sealed_digests import open_digests, seal_digests

_ADD = Prepared(insert(uploads), uploads.c.keys())
_PENDING = Prepared(
    select(
        func.count().label("files"),
        func.coalesce(func.sum(uploads.c.size), 0).label("bytes"),
    ).where(uploads.c.principal == bindparam("principal"), uploads.c.used_at.is_(None))
)


@dataclass(frozen=True, slots=True)
class Upload:
    """A stored upload. `media_type` is what the content is; `fresh` False: known before."""

    upload_id: str
    size: int
    sha256: bytes
    sm3: bytes
    media_type: str
    fresh: bool


@dataclass(frozen=True, slots=True)
class Received:
    """Content that is durable and looked at, without a row yet."""

    stored: StoredObject
    media_type: str


class Ends:
    """The first and the last bytes of what went by: to look at it then reads nothing back."""

    def __init__(self) -> None:
        self.head = bytearray()
        self._tail = bytearray()
        self._size = 0

    def add(self, block: bytes | bytearray | memoryview) -> None:
        view = memoryview(block)
        if len(self.head) < HEAD_BYTES:
            self.head += view[: HEAD_BYTES - len(self.head)]
        if len(view) >= TAIL_BYTES:
            self._tail.clear()  # without a gap
        self._tail += view[-TAIL_BYTES:]
        if len(self._tail) > 4 * TAIL_BYTES:
            del self._tail[:-TAIL_BYTES]
        self._size += len(view)

    def read(self, start: int, stop: int) -> bytes | None:
        """Bytes [start, stop); None if they lie between the ends."""
        if stop <= len(self.head):
            return bytes(self.head[start:stop])
        first = self._size - len(self._tail)
        return bytes(self._tail[start - first : stop - first]) if start >= first else None


class Receiver:
    """Takes one file's bytes. `finish` or `abort` ends it; any error aborts it."""

    def __init__(self, room: MaterialsRoom, limit: int) -> None:
        self._room = room
        self._writer = room.objects.begin(limit=limit)
        self._ends = Ends()

    def write(self, block: bytes | bytearray | memoryview) -> None:
        """Any number of bytes; `ObjectTooLarge` over the limit."""
        self._ends.add(block)
        self._writer.write(block)

    def finish(self, declared: Mapping[str, bytes] | None = None) -> Received:
        """Make the bytes durable and find out what they are.

        `EmptyObject`; `DigestMismatch` when a `declared` digest (by `sha-256`)
        is another: the object is removed again.
        """
        stored = self._writer.finish()
        try:
            for algorithm, digest in (declared or {}).items():
                if algorithm == "sha-256" and digest != stored.sha256:
                    raise DigestMismatch(algorithm=algorithm)
            media_type = look_at(self._room, stored.ref(), self._ends)
        except BaseException:
            discard(self._room, stored)
            raise
        return Received(stored, media_type)

    def abort(self) -> None:
        self._writer.abort()


def look_at(room: MaterialsRoom, ref: ObjectRef, ends: Ends) -> str:
    """The media type of a stored object; `ends`: of its content."""

    def read(start: int, stop: int) -> bytes:
        stop = min(stop, ref.size)
        if start >= stop:
            return b""
        kept = ends.read(start, stop)
        return b"".join(room.objects.read(ref, start, stop)) if kept is None else kept

    return sniff(bytes(ends.head), ref.size, read, room.limits.archive)


def discard(room: MaterialsRoom, stored: StoredObject) -> None:
    """Remove an object that got no row. If this fails a sweep finds it later."""
    room.objects.store.delete(stored.object_key)


def begin_upload(
    room: MaterialsRoom, principal: Principal, upload_id: str, declared_size: int | None
) -> Receiver:
    """Check what can be checked before the first byte, and start.

    `UploadIdInvalid`, `ObjectTooLarge` by the declared size,
    `TooManyPendingUploads`.
    """
    if not is_id(upload_id, IdKind.UPLOAD):
        raise UploadIdInvalid()
    check_room_for(room, principal, declared_size)
    return Receiver(room, room.limits.upload_bytes)


def check_room_for(room: MaterialsRoom, principal: Principal, declared_size: int | None) -> None:
    """Refuse what is declared too large, and principals that leave too much unregistered."""
    limits = room.limits
    if declared_size is not None and declared_size > limits.upload_bytes:
        raise ObjectTooLarge(limit=limits.upload_bytes)
    with room.database.glance() as tx:
        row = _PENDING.one(tx, {"principal": principal.subject})
    if row is not None and (
        row["files"] >= limits.pending_uploads or row["bytes"] >= limits.pending_upload_bytes
    ):
        raise TooManyPendingUploads()


def keep_upload(
    room: MaterialsRoom, at: datetime, principal: Principal, upload_id: str, received: Received
) -> Upload:
    """Give the received bytes their row, durably; or find that they have one.

    The same bytes under the same id again succeed; other bytes, or somebody
    else's id, are `UploadConflict`. What is not kept is removed.
    """

    def work(tx: WriteTx) -> Upload:
        known = tx.one(select(uploads).where(uploads.c.upload_id == upload_id))
        if known is not None:
            return _again(room, tx, principal, known, received)
        add_upload(room, tx, at, principal, upload_id, received)
        stored = received.stored
        return Upload(
            upload_id, stored.size, stored.sha256, stored.sm3, received.media_type, fresh=True
        )

    try:
        upload = room.database.write(work)
    except CodedError:
        # Refused by the work itself, so surely not stored. After any other error the
        # row may exist, and the object is left to the sweep.
        discard(room, received.stored)
        raise
    if not upload.fresh:
        discard(room, received.stored)
    return upload


def add_upload(
    room: MaterialsRoom,
    tx: WriteTx,
    at: datetime,
    principal: Principal,
    upload_id: str,
    received: Received,
    owner: str | None = None,
) -> None:
    """The rows of a new upload and its audit, in the caller's transaction.

    `owner`: the material that it becomes part of in this very transaction. Its digests
    then stand in that material's record alone.
    """
    stored = received.stored
    registry.add(tx, at, room.vault, stored, owner)
    _ADD.add(
        tx,
        {
            "upload_id": upload_id,
            "principal": principal.subject,
            "object_key": stored.object_key,
            "size": stored.size,
            "media_type": received.media_type,
            "created_at": at,
            "used_at": None if owner is None else at,
            "digests": None
            if owner is not None
            else seal_digests(room.vault, stored.ref(), stored.sha256, stored.sm3),
        },
    )
    audit.note(
        tx,
        at,
        principal,
        "upload.store",
        entity=upload_id,
        detail={"bytes": stored.size, "media_type": received.media_type},
    )


def release_uploads(tx: WriteTx, object_keys: Sequence[str]) -> None:
    """Forget uploads whose objects are swept: what became part of nothing in time."""
    tx.execute(
        delete(uploads).where(uploads.c.object_key.in_(object_keys), uploads.c.used_at.is_(None))
    )


def _again(
    room: MaterialsRoom, tx: ReadTx, principal: Principal, known: RowMapping, received: Received
) -> Upload:
    stored = received.stored
    digests = (
        _registered_digests(room, tx, known["object_key"])
        if known["used_at"] is not None
        else waiting_digests(room.vault, tx, known)
    )
    if known["principal"] != principal.subject or digests != (stored.sha256, stored.sm3):
        raise UploadConflict()
    return Upload(
        known["upload_id"],
        known["size"],
        stored.sha256,
        stored.sm3,
        known["media_type"],
        fresh=False,
    )


def waiting_digests(
    vault: KeyVault, tx: ReadTx, row: RowMapping | Mapping[str, Any]
) -> tuple[bytes, bytes] | tuple[None, None]:
    """SHA-256 and SM3 of an upload that is no material's yet; none where the row has none:
    it is older than they are sealed. `ObjectCorrupt`: the row was made by nobody here."""
    if row["digests"] is None:
        return None, None
    return open_digests(vault, registry.ref(tx, row["object_key"]), row["digests"])


def _registered_digests(
    room: MaterialsRoom, tx: ReadTx, object_key: str
) -> tuple[bytes | None, bytes | None]:
    """Where an upload's digests went when it was registered: into the material's record."""
    material_id = tx.scalar(
        select(material_files.c.material_id).where(material_files.c.object_key == object_key)
    )
    if material_id is None:
        return None, None
    try:
        files = open_material(room, tx, material_id).files
    except RecordErased:
        return None, None
    return next(
        ((file.sha256, file.sm3) for file in files if file.object_key == object_key), (None, None)
    )
