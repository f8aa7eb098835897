"""`fsck` of the materials room: rows against records, and every stored byte.

Each row is compared with the record that it names, its state with the newest
record of the thing, and every file is read, decrypted and hashed again. It
changes nothing and may run beside a server; what is made meanwhile may be
missed, never reported.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from kernel.errors import CodedError
from ledger.errors import RecordErased
from ledger.problems import Problem, Progress, quiet
from materials_api.errors import MaterialUnknown
from materials_api.fsck_rows import check_cases, check_states, check_strays
from materials_api.fsck_sentences import problem
from materials_api.material_lifecycle import MaterialState
from materials_api.materials import FileFacts, open_material
from materials_api.room import MaterialsRoom
from materials_api.tables import erasures, materials
from storage.database import ReadTx
from storage.errors import KeyMissing, ObjectMissing
from storage.objects import registry
from storage.tables import objects

PAGE = 500


@dataclass(frozen=True, slots=True)
class _Stored:
    material_id: str
    file: FileFacts


def fsck(room: MaterialsRoom, progress: Progress = quiet) -> list[Problem]:
    """Every problem of this room; an empty list means clean.

    `progress("materials" | "objects", done, total)` is called as it goes.
    """
    problems: list[Problem] = []
    try:
        with room.database.read() as tx:
            ids = [row["material_id"] for row in tx.all(select(materials.c.material_id))]
        files: list[_Stored] = []
        for start in range(0, len(ids), PAGE):
            with room.database.read() as tx:
                for material_id in ids[start : start + PAGE]:
                    files += _check_material(room, tx, material_id, problems)
            progress("materials", min(start + PAGE, len(ids)), len(ids))
        check_cases(room, problems)
        check_states(room, problems)
        check_strays(room, problems)
        _check_files(room, files, problems, progress)
    except SQLAlchemyError as error:
        problems.append(problem("database_unreadable", "materials", type(error).__name__))
    return problems


def _check_material(
    room: MaterialsRoom, tx: ReadTx, material_id: str, problems: list[Problem]
) -> Iterator[_Stored]:
    try:
        facts = open_material(room, tx, material_id)
    except MaterialUnknown:
        return
    except RecordErased:
        yield from _check_erased(tx, material_id, problems)
        return
    except CodedError as error:
        problems.append(problem("material_record", material_id, error.code))
        return
    except ValueError:
        # A code in the row that does not exist: the row was changed.
        problems.append(problem("material_row", material_id))
        return
    if not facts.agrees:
        problems.append(problem("material_row", material_id))
    for file in facts.files:
        yield _Stored(material_id, file)


def _check_erased(tx: ReadTx, material_id: str, problems: list[Problem]) -> Iterator[_Stored]:
    """Records that are gone must be gone because somebody erased the material."""
    row = tx.one(select(materials.c.status).where(materials.c.material_id == material_id))
    asked = tx.one(select(erasures.c.sealed_at).where(erasures.c.material_id == material_id))
    if (
        row is None
        or row["status"] != MaterialState.ERASED
        or asked is None
        or asked["sealed_at"] is None
    ):
        problems.append(problem("material_record", material_id, "record_erased"))
    yield from ()


def _check_files(
    room: MaterialsRoom, files: list[_Stored], problems: list[Problem], progress: Progress
) -> None:
    """Read and hash everything; hashing leaves the interpreter's lock, so threads help."""
    done = 0
    with ThreadPoolExecutor(os.cpu_count() or 2, thread_name_prefix="fsck") as pool:
        for start in range(0, len(files), PAGE):
            page = files[start : start + PAGE]
            for found in pool.map(lambda stored: _check_file(room, stored), page):
                if found is not None:
                    problems.append(found)
                done += 1
                progress("objects", done, len(files))


def _check_file(room: MaterialsRoom, stored: _Stored) -> Problem | None:
    file = stored.file
    where = f"{stored.material_id}/{file.position} {file.object_key}"
    try:
        with room.database.read() as tx:
            ref = registry.ref(tx, file.object_key)
            owner = tx.scalar(
                select(objects.c.claimed_by).where(objects.c.object_key == file.object_key)
            )
        if owner != stored.material_id:
            return problem("object_owner", where)
        digests = room.objects.rehash(ref, sm3=True)
        room.objects.rehash_cipher(ref)
    except (ObjectMissing, KeyMissing) as error:
        return problem("object_missing", where, error.code)
    except CodedError as error:
        return problem("object_corrupt", where, error.code)
    if (digests.size, digests.sha256, digests.sm3) != (file.size, file.sha256, file.sm3):
        return problem("object_differs", where)
    return None
