"""Erasing a material where retention allows it, to the last byte we hold.

Three steps, each safe to repeat. Asking for it: the state becomes `erased` and
nothing shows or uses it any more. Sealing: once all its records are in the log,
their keys and those of its files are destroyed and a public `ended` leaf says
so. Forgetting: ciphertexts are deleted and the write-ahead log is emptied.
Until the last it is `pending`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import RowMapping, delete, func, insert, select, update

from kernel.clock import china_date
from kernel.principals import Principal, Role
from ledger.errors import ErasurePending
from materials_api.cases.access import load_case
from materials_api.cases.lifecycle import CaseState
from materials_api.catalogue.terms import PartyRole
from materials_api.errors import (
    ErasureNotYours,
    MaterialInUse,
    MaterialUnknown,
    RetentionRuns,
)
from materials_api.materials.access import is_party
from materials_api.materials.lifecycle import MaterialEvent, MaterialState
from materials_api.materials.retention import FOREVER, cases_under_way
from materials_api.materials.states import change_state, material_row
from materials_api.room import MaterialsRoom
from materials_api.tables import erasures, material_files, material_parties, uploads
from storage.database import ReadTx, WriteTx
from storage.objects import registry
from storage.objects.erasure import finish_erasures
from storage.tables import objects

# In these states the applicant still decides what the case consists of.
_OWN_WORK = frozenset({CaseState.DRAFT, CaseState.CORRECTION_ASKED})


class ErasureState(StrEnum):
    PENDING = "pending"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Erasure:
    """How far an erasure has come. `last_record`: the entry that must be in the log first.

    `closed`: copies of the rows that were made before it, backups above all, open it no
    longer either, because the key-encryption keys were rotated since.
    """

    material_id: str
    state: ErasureState
    last_record: str | None = None
    closed: bool = False


def request_erasure(
    room: MaterialsRoom, tx: WriteTx, at: datetime, principal: Principal, material_id: str
) -> Erasure:
    """Start erasing. By an owner of the material, or by the operator.

    `RetentionRuns` says until when it must be kept: until then its reuse can
    be stopped. `MaterialInUse` while an undecided case works with it. Asking
    again is no error.
    """
    row = material_row(tx, material_id)
    _check_asker(tx, principal, material_id)
    if row["status"] == MaterialState.ERASED:
        return erasure_of(room, tx, material_id)
    _check_retention(tx, at, row)
    change_state(room, tx, at, principal, row, MaterialEvent.ERASE)
    tx.execute(insert(erasures), {"material_id": material_id, "requested_at": at})
    last = room.ledger.records.latest(tx, material_id)
    return Erasure(material_id, ErasureState.PENDING, last.entry_id)


def erasure_of(room: MaterialsRoom, tx: ReadTx, material_id: str) -> Erasure:
    """How far it has come; `MaterialUnknown` if it was never asked for."""
    row = tx.one(select(erasures).where(erasures.c.material_id == material_id))
    if row is None:
        raise MaterialUnknown()
    left = tx.one(
        select(objects.c.object_key)
        .join(material_files, material_files.c.object_key == objects.c.object_key)
        .where(material_files.c.material_id == material_id, objects.c.forgotten_at.is_(None))
        .limit(1)
    )
    newest = tx.scalar(
        select(func.max(objects.c.key_epoch))
        .join(material_files, material_files.c.object_key == objects.c.object_key)
        .where(material_files.c.material_id == material_id)
    )
    sealed = row["sealed_at"] is not None
    return Erasure(
        material_id,
        ErasureState.DONE if sealed and left is None else ErasureState.PENDING,
        closed=sealed and newest is not None and newest < room.vault.oldest_epoch,
    )


def continue_erasures(room: MaterialsRoom, at: datetime) -> int:
    """Take every pending erasure as far as it goes now; how many still wait for the log.

    For the background loop, and after a request. Each material is sealed in a
    transaction of its own, so that one that must wait holds up no other.
    """
    with room.database.read() as tx:
        waiting = [
            row["material_id"]
            for row in tx.all(
                select(erasures.c.material_id)
                .where(erasures.c.sealed_at.is_(None))
                .order_by(erasures.c.requested_at)
            )
        ]
    left = 0
    for material_id in waiting:
        try:
            room.database.write(_sealing(room, at, material_id))
        except ErasurePending:
            left += 1
    finish_erasures(room.database, room.objects.store, room.vault, at)
    return left


def _sealing(room: MaterialsRoom, at: datetime, material_id: str) -> Callable[[WriteTx], None]:
    def seal(tx: WriteTx) -> None:
        """Destroy the keys of records and files; `ErasurePending` changes nothing."""
        room.ledger.journal.erase(tx, at, material_id)
        rows = tx.all(
            select(material_files.c.object_key).where(material_files.c.material_id == material_id)
        )
        keys = [row["object_key"] for row in rows]
        for object_key in keys:
            registry.erase(tx, at, room.vault, object_key)
        tx.execute(delete(uploads).where(uploads.c.object_key.in_(keys)))
        tx.execute(
            update(erasures).where(erasures.c.material_id == material_id).values(sealed_at=at)
        )

    return seal


def _check_asker(tx: ReadTx, principal: Principal, material_id: str) -> None:
    if principal.role is Role.OPERATOR:
        return
    if not is_party(tx, principal.holder, material_id):
        raise MaterialUnknown()
    owner = tx.one(
        select(material_parties.c.party_id).where(
            material_parties.c.material_id == material_id,
            material_parties.c.party_id == principal.holder,
            material_parties.c.role == PartyRole.OWNER.value,
        )
    )
    if owner is None:
        raise ErasureNotYours()


def _check_retention(tx: ReadTx, at: datetime, row: RowMapping) -> None:
    until = row["retain_until"]
    if until is not None and at < until:
        raise RetentionRuns(
            until="permanent" if until == FOREVER else china_date(until).isoformat()
        )
    working = [
        case_id
        for case_id in cases_under_way(tx, row["material_id"])
        if case_id != row["case_id"] or load_case(tx, case_id).state not in _OWN_WORK
    ]
    if working:
        raise MaterialInUse(cases=len(working))
