"""What `ended` leaves of a newer log mean for materials, grants and parties from a backup.

Erased stays erased, spent stays spent, revoked stays revoked. The records that said so
are lost; what is recorded here says the same, by the operator who restored.
"""

from dataclasses import replace
from datetime import datetime

from sqlalchemy import delete, func, insert, select, update

from kernel.ids import IdKind, is_id
from kernel.principals import Principal
from ledger.adoption import Ended
from ledger.tables import ledger_entries
from materials_api.grants.lifecycle import GrantEvent, GrantState, GrantUse, apply
from materials_api.grants.records import actor_of, open_grant, save_grant
from materials_api.materials.lifecycle import MaterialEvent, MaterialState
from materials_api.room import MaterialsRoom
from materials_api.tables import erasures, grants, material_files, materials, uploads
from parties.tables import parties
from storage import audit
from storage.database import WriteTx
from storage.objects import registry

ERASED, SPENT, REVOKED = "erased", "spent", "revoked"
_ERASE = f"material.{MaterialEvent.ERASE.value}"


def honour(
    room: MaterialsRoom, tx: WriteTx, at: datetime, principal: Principal, ended: Ended
) -> list[str]:
    """Let it be so here, too; the objects whose bytes are to be deleted.

    `at`: now, the time of what is recorded. The ledger's own rows are done already.
    """
    entity = ended.entity
    if entity is None:
        return []
    if ended.reason == ERASED and is_id(entity, IdKind.MATERIAL):
        return _erase_material(room, tx, ended.at, principal, entity)
    if ended.reason == ERASED and is_id(entity, IdKind.PARTY):
        tx.execute(
            update(parties)
            .where(parties.c.party_id == entity)
            .values(lookup=None, erased_at=ended.at)
        )
    if ended.reason in (SPENT, REVOKED) and is_id(entity, IdKind.GRANT):
        _end_grant(room, tx, at, principal, entity, ended.reason)
    return []


def _erase_material(
    room: MaterialsRoom, tx: WriteTx, ended_at: datetime, principal: Principal, material_id: str
) -> list[str]:
    row = tx.one(select(materials).where(materials.c.material_id == material_id))
    if row is None:
        return []
    mine = (ledger_entries.c.entity == material_id) & ledger_entries.c.public.is_(False)
    if row["status"] != MaterialState.ERASED:
        # The last record of a material that was erased is the one that asked for it.
        last = tx.scalar(select(func.max(ledger_entries.c.position)).where(mine))
        tx.execute(
            update(ledger_entries)
            .where(ledger_entries.c.position == last)
            .values(kind=_ERASE, at=ended_at)
        )
        tx.execute(insert(erasures), {"material_id": material_id, "requested_at": ended_at})
        audit.note(
            tx,
            ended_at,
            principal,
            _ERASE,
            entity=material_id,
            case_id=row["case_id"],
            detail={"status": MaterialState.ERASED.value, "restored": True},
        )
    count = tx.scalar(select(func.count()).select_from(ledger_entries).where(mine))
    tx.execute(
        update(materials)
        .where(materials.c.material_id == material_id)
        .values(status=MaterialState.ERASED.value, version=count)
    )
    tx.execute(
        update(erasures).where(erasures.c.material_id == material_id).values(sealed_at=ended_at)
    )
    files = select(material_files.c.object_key).where(material_files.c.material_id == material_id)
    keys = [str(one) for one in tx.execute(files).scalars()]
    for object_key in keys:
        registry.erase(tx, ended_at, room.vault, object_key)
    tx.execute(delete(uploads).where(uploads.c.object_key.in_(keys)))
    return keys


def _end_grant(
    room: MaterialsRoom,
    tx: WriteTx,
    at: datetime,
    principal: Principal,
    grant_id: str,
    reason: str,
) -> None:
    """A grant that was spent for a case that is not known any more serves no other one
    either: it is revoked."""
    if tx.one(select(grants.c.grant_id).where(grants.c.grant_id == grant_id)) is None:
        return
    grant = open_grant(room, tx, grant_id, lock=True)
    if grant.state not in (GrantState.GRANTED, GrantState.SPENT):
        return
    if reason == SPENT and grant.case_id is not None and grant.use is GrantUse.ONCE:
        if grant.state is GrantState.GRANTED:
            spent = replace(grant, state=apply(grant.state, GrantEvent.SPEND), spent_at=at)
            save_grant(room, tx, at, "grant.spent", actor_of(principal), spent)
        return
    if reason == SPENT and grant.state is GrantState.SPENT:
        return
    revoked = replace(grant, state=apply(grant.state, GrantEvent.REVOKE))
    save_grant(room, tx, at, "grant.revoked", actor_of(principal), revoked)
    audit.note(
        tx,
        at,
        principal,
        "grant.revoke",
        entity=grant_id,
        case_id=grant.case_id,
        detail={"status": revoked.state.value, "items": len(grant.items), "restored": True},
    )
