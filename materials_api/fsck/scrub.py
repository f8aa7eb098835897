"""The materials room's part of `scrub`: the bytes of one object against what was recorded."""

from typing import TypeAlias

from sqlalchemy import bindparam, select

from kernel.canonical import JsonValue
from kernel.errors import CodedError
from ledger.problems import Problem
from materials_api.fsck.objects import Content, ContentCheck, content_of
from materials_api.fsck.sentences import problem
from materials_api.room import MaterialsRoom
from materials_api.tables import material_files, uploads
from materials_api.uploads.incoming import waiting_digests
from storage.database import ReadTx
from storage.database.prepared import Prepared
from storage.objects import ObjectRef, SealedObjects

_POSITIONS = Prepared(
    select(material_files.c.position, material_files.c.object_key)
    .where(material_files.c.material_id == bindparam("material"))
    .order_by(material_files.c.position)
)
_UPLOAD = Prepared(select(uploads).where(uploads.c.object_key == bindparam("key")))

Known: TypeAlias = tuple[Content, ObjectRef]


class ContentScrub:
    """Reads `objects_`, which may be paced, and not the room's own. Safe from many threads."""

    def __init__(self, room: MaterialsRoom, objects_: SealedObjects) -> None:
        self._records = room.ledger.records
        self._vault = room.vault
        self._reading = ContentCheck(room.database, objects_)

    def known(self, tx: ReadTx, object_key: str, owner: str | None) -> Known | Problem:
        """What was recorded of the content that `owner` claimed; None: an upload that waits.

        The digests are those of the owner's first record, not of a row. Whose content
        was erased, and what the archive keeps, is not for here.
        """
        where = object_key if owner is None else f"{owner} {object_key}"
        try:
            content = (
                self._waiting(tx, object_key)
                if owner is None
                else self._recorded(tx, object_key, owner)
            )
        except CodedError as error:
            return problem("record_unusable", where, error.code)
        except (LookupError, TypeError, ValueError) as error:
            return problem("record_unusable", where, type(error).__name__)
        if content is None:
            return problem("object_unused", where)
        ref = self._reading.ref(tx, content)
        return ref if isinstance(ref, Problem) else (content, ref)

    def compare(self, known: Known) -> Problem | None:
        """Read the bytes and hash them; needs no transaction."""
        return self._reading.compare(*known)

    def _recorded(self, tx: ReadTx, object_key: str, owner: str) -> Content | None:
        first = self._records.history(tx, owner)[0]
        files = first.body["files"]
        if not isinstance(files, list):
            raise TypeError("files")
        for position, row in enumerate(_POSITIONS.all(tx, {"material": owner})):
            if row["object_key"] == object_key:
                file: JsonValue = files[position]
                if not isinstance(file, dict):
                    raise TypeError("files")
                return content_of(first, position + 1, object_key, file)
        return None

    def _waiting(self, tx: ReadTx, object_key: str) -> Content | None:
        row = _UPLOAD.one(tx, {"key": object_key})
        if row is None:
            return None
        where = f"{row['upload_id']} {object_key}"
        sha256, sm3 = waiting_digests(self._vault, tx, row)
        if sha256 is None or sm3 is None:
            return None
        return Content(where, None, object_key, row["size"], sha256, sm3)
