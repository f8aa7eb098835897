"""The part of `fsck` for stored content: its rows, its uploads, and every byte of it."""

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import bindparam, select

from kernel.canonical import JsonValue
from kernel.errors import CodedError
from kernel.ids import IdKind, is_id
from ledger.fsck_reading import Findings
from ledger.problems import Problem
from ledger.records import OpenedRecord, Row
from materials_api.back_files.rows import ORIGIN
from materials_api.fsck.sentences import problem
from materials_api.room import MaterialsRoom
from materials_api.tables import cases, erasures, material_files, materials, uploads
from materials_api.uploads.incoming import waiting_digests
from storage.database import Database, ReadTx
from storage.database.prepared import Prepared
from storage.errors import KeyMissing, ObjectCorrupt, ObjectMissing, StoreAway
from storage.objects import ObjectRef, SealedObjects, registry
from storage.tables import objects

_SWEPT = timedelta(days=2)  # by then a sweep has come by

_FILE = Prepared(
    select(
        material_files.c.material_id,
        material_files.c.size,
        material_files.c.media_type,
        materials.c.registered_at,
        materials.c.retain_until,
        cases.c.origin,
        erasures.c.sealed_at,
    )
    .join(materials, materials.c.material_id == material_files.c.material_id)
    .join(cases, cases.c.case_id == materials.c.case_id)
    .outerjoin(erasures, erasures.c.material_id == material_files.c.material_id)
    .where(material_files.c.object_key == bindparam("key"))
)
_UPLOAD = Prepared(
    select(uploads.c.created_at, uploads.c.used_at).where(uploads.c.object_key == bindparam("key"))
)
_OBJECT = Prepared(
    select(objects.c.size, objects.c.claimed_by, objects.c.locked_until).where(
        objects.c.object_key == bindparam("key")
    )
)


@dataclass(frozen=True, slots=True)
class Content:
    """Bytes to hash again. `owner` None: an upload that is no material's yet."""

    where: str
    owner: str | None
    object_key: str
    size: int
    sha256: bytes
    sm3: bytes


def content_of(
    first: OpenedRecord, position: int, object_key: str, file: Mapping[str, JsonValue]
) -> Content:
    """What the material's first record says of its file at `position`. Raises `TypeError`,
    `KeyError`, `ValueError` where it does not say it."""
    digests = file["digests"]
    if not isinstance(digests, dict):
        raise TypeError("digests")
    return Content(
        where=f"{first.entity}/{position} {object_key}",
        owner=first.entity,
        object_key=object_key,
        size=int(str(file["size"])),
        sha256=bytes.fromhex(str(digests["sha256"])),
        sm3=bytes.fromhex(str(digests["sm3"])),
    )


class ContentsAway(Exception):
    """The object store does not answer any more. It keeps the notes of stops as well, without
    which no record is believed: to go on would be to call everything damaged."""


class ObjectCheck:
    def __init__(
        self,
        room: MaterialsRoom,
        found: Findings,
        *,
        contents: bool = True,
        tell: Callable[[int], None] = lambda _read: None,
    ) -> None:
        """Without `contents` the stored bytes are not read. `tell(n)` is called after `n`
        more were."""
        self._room = room
        self._reading = ContentCheck(room.database, room.objects)
        self._found = found
        self._contents = contents
        self._tell = tell
        self._waiting: list[Content] = []
        self._away: StoreAway | None = None

    def object(self, tx: ReadTx, row: Row) -> None:
        """One row of `objects` against the rows that refer to it.

        What the archive room claimed is checked there; nothing of it must be kept.
        """
        if is_id(str(row["claimed_by"]), IdKind.EXPORT):
            self._found.columns("object_row", row["object_key"], self._retention(row, None))
            return
        object_key = row["object_key"]
        files, uploaded = _FILE.all(tx, {"key": object_key}), _UPLOAD.all(tx, {"key": object_key})
        file, upload = next(iter(files), None), next(iter(uploaded), None)
        if file is None and (row["claimed_by"] is not None or upload is None):
            self._found.add("object_unused", object_key)
            return
        if row["claimed_by"] != (None if file is None else file["material_id"]):
            self._found.add("object_owner", object_key)
        wrong = self._contradictions(row, file, upload) + self._retention(row, file)
        wrong += ["files"] if len(files) > 1 else []
        wrong += ["uploads"] if len(uploaded) > 1 else []
        self._found.columns("object_row", object_key, wrong)

    def upload(self, tx: ReadTx, row: Row) -> None:
        """One upload against its object, and against the material that it became."""
        upload_id, object_key = row["upload_id"], row["object_key"]
        stored = _OBJECT.one(tx, {"key": object_key})
        file = next(iter(_FILE.all(tx, {"key": object_key})), None)
        expected: dict[str, object] = {"object_key": object_key if stored is not None else None}
        if stored is not None:
            expected["size"] = stored["size"]
        if file is not None:
            expected |= {
                "media_type": file["media_type"],
                "used_at": file["registered_at"],
                "digests": None,
            }
        else:
            expected["used_at"] = None
        wrong = [name for name, told in expected.items() if row[name] != told]
        if file is None and row["used_at"] is None:
            try:
                sha256, sm3 = waiting_digests(self._room.vault, tx, row)
            except (KeyMissing, ObjectCorrupt, ObjectMissing):
                wrong.append("digests")
            else:
                # None: older than digests are sealed; the sweep takes it.
                if sha256 is not None and sm3 is not None:
                    content = (object_key, row["size"], sha256, sm3)
                    self.expect(Content(f"{upload_id} {object_key}", None, *content))
        self._found.columns("upload_row", upload_id, wrong)

    def expect(self, content: Content) -> None:
        """Have this read by the next `hash_waiting`."""
        if self._contents:
            self._waiting.append(content)

    def hash_waiting(self) -> None:
        """Read and hash what is expected; hashing leaves the interpreter's lock, so threads help.

        A store whose server goes away meanwhile is one problem, and raises `ContentsAway`.
        """
        page, self._waiting = self._waiting, []
        if not page:
            return
        with self._found.guarded("objects"):
            with self._room.database.read() as tx:
                # All at once: to begin a transaction costs more than to read the rows.
                refs = [self._reading.ref(tx, one) for one in page]
            with ThreadPoolExecutor(os.cpu_count() or 2, thread_name_prefix="fsck") as pool:
                found = list(pool.map(self._read, page, refs))
            self._found.problems += [one for one in found if one is not None]
            if self._away is not None:
                self._found.add("objects_not_read", "objects", self._away.code)
                raise ContentsAway()
        self._tell(len(page))

    def _read(self, content: Content, ref: ObjectRef | Problem) -> Problem | None:
        if self._away is not None:
            return None
        try:
            if isinstance(ref, Problem) or self._reading.differs(content, ref) is not None:
                # Erased, used or swept since the rows were read: then it is right by now.
                return self._reading.problem(content)
        except StoreAway as error:
            self._away = error
        return None

    def _contradictions(self, row: Row, file: Row | None, upload: Row | None) -> list[str]:
        sealed_at = None if file is None else file["sealed_at"]
        gone = row["erased_at"] is not None
        wrong = [] if row["erased_at"] == sealed_at else ["erased_at"]
        wrong += [] if (row["wrapped_key"] is None) == gone else ["wrapped_key"]
        forgotten = row["forgotten_at"]
        if forgotten is not None:
            wrong += [] if gone and forgotten >= row["erased_at"] else ["forgotten_at"]
            self._kept(row["object_key"])
        if upload is not None:
            made = upload["created_at"]
        elif file is not None and file["origin"] == ORIGIN:
            made = file["registered_at"]
        elif gone:
            return wrong  # the upload's row went with the content
        else:
            return [*wrong, "upload"]
        return wrong if row["created_at"] == made else [*wrong, "created_at"]

    def _retention(self, row: Row, file: Row | None) -> list[str]:
        """That the row says what the material's does. Whether the store locks what it says
        is asked where the bytes are read."""
        locked = row["locked_until"]
        wrong = []
        if row["retain_until"] != (None if file is None else file["retain_until"]):
            wrong.append("retain_until")
        # Null: not yet, or never; whoever serves the store sees to it.
        if locked is not None and (
            not self._room.objects.store.locks
            or row["retain_until"] is None
            or locked > row["retain_until"]
        ):
            wrong.append("locked_until")
        return wrong

    def _kept(self, object_key: str) -> None:
        """Erased, and nothing may be left; but what a lock held the sweep removes later."""
        store = self._room.objects.store
        try:
            store.size(object_key)
            locked = store.retained_until(object_key)
        except ObjectMissing:
            return
        if locked is None or locked < self._room.clock.now() - _SWEPT:
            self._found.add("object_kept", object_key)


class ContentCheck:
    """Reads content and compares it with what was recorded. Safe from many threads."""

    def __init__(self, database: Database, objects_: SealedObjects) -> None:
        self._database = database
        self._objects = objects_

    def problem(self, content: Content) -> Problem | None:
        """Rows, content and lock as they are now. `StoreAway`: nothing is known."""
        with self._database.read() as tx:
            ref = self.ref(tx, content)
        found = ref if isinstance(ref, Problem) else self.differs(content, ref)
        if found is not None and content.owner is None and not self._still_waits(content):
            return None  # used or swept meanwhile
        return found

    def ref(self, tx: ReadTx, content: Content) -> ObjectRef | Problem:
        """What it takes to read the content, if its row is there and says whose it is."""
        try:
            ref = registry.ref(tx, content.object_key)
            stored = _OBJECT.one(tx, {"key": content.object_key})
        except (ObjectMissing, KeyMissing) as error:
            return problem("object_missing", content.where, error.code)
        except CodedError as error:
            return problem("object_corrupt", content.where, error.code)
        if stored is None or stored["claimed_by"] != content.owner:
            return problem("object_owner", content.where)
        return ref

    def compare(self, content: Content, ref: ObjectRef) -> Problem | None:
        """Read and hash; needs no transaction. `StoreAway`: nothing is known."""
        try:
            digests = self._objects.rehash(ref, sm3=True, cipher=True)
        except StoreAway:
            raise
        except (ObjectMissing, KeyMissing) as error:
            return problem("object_missing", content.where, error.code)
        except CodedError as error:
            return problem("object_corrupt", content.where, error.code)
        expected = (content.size, content.sha256, content.sm3)
        if (digests.size, digests.sha256, digests.sm3) != expected:
            return problem("object_differs", content.where)
        return None

    def differs(self, content: Content, ref: ObjectRef) -> Problem | None:
        """Content and lock. `StoreAway`: nothing is known."""
        return self.compare(content, ref) or self._lock_short(content)

    def _lock_short(self, content: Content) -> Problem | None:
        store = self._objects.store
        if not store.locks:
            return None
        with self._database.read() as tx:
            row = _OBJECT.one(tx, {"key": content.object_key})
        locked: datetime | None = None if row is None else row["locked_until"]
        if locked is None or store.retains(content.object_key, locked):
            return None
        return problem("object_lock_short", content.object_key)

    def _still_waits(self, content: Content) -> bool:
        with self._database.read() as tx:
            rows = _UPLOAD.all(tx, {"key": content.object_key})
        return any(row["used_at"] is None for row in rows)
