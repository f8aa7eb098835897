"""Materials as the routes show them."""

from kernel.clock import china_date
from materials_api.cases.access import CaseView
from materials_api.catalogue.errors import MaterialTypeUnknown
from materials_api.errors import RecordMismatch
from materials_api.http.common import TextOut, last_day
from materials_api.http.material_models import (
    CertifiedOut,
    FileOut,
    MaterialItem,
    MaterialOut,
    ShareOut,
    UsingCaseOut,
)
from materials_api.materials.access import MaterialFacts, MaterialRow
from materials_api.room import MaterialsRoom
from parties.errors import PartyErased
from storage.database import ReadTx


def material_item(row: MaterialRow) -> MaterialItem:
    return MaterialItem(
        material_id=row.material_id,
        type=row.type,
        case_id=row.case_id,
        status=row.state.value,
        version=row.version,
        provenance=row.provenance.value,
        issued_at=None if row.issued_at is None else china_date(row.issued_at),
        valid_until=last_day(row.valid_until),
        supersedes=row.supersedes,
        retain_until=row.retain_until,
        registered_at=row.registered_at,
        receipt=f"/v1/receipts/{row.entry_id}",
    )


def material_out(
    room: MaterialsRoom, tx: ReadTx, row: MaterialRow, facts: MaterialFacts
) -> MaterialOut:
    """The opened material; `RecordMismatch` when rows and records disagree."""
    if not facts.agrees:
        raise RecordMismatch(entity=row.material_id)
    certified = None
    if facts.certified_by is not None and facts.certified_at is not None:
        certified = CertifiedOut(by=facts.certified_by, at=facts.certified_at)
    return MaterialOut(
        **dict(material_item(row)),
        type_name=_type_name(room, facts.type),
        title=facts.title,
        requirement=facts.requirement,
        parties=[
            ShareOut(party=share.party, role=share.role.value, name=_name(room, tx, share.party))
            for share in facts.parties
        ],
        files=[
            FileOut(
                position=file.position,
                name=file.name,
                media_type=file.media_type,
                size=file.size,
                digests={"sha256": file.sha256.hex(), "sm3": file.sm3.hex()},
            )
            for file in facts.files
        ],
        certified=certified,
    )


def using_case(case: CaseView) -> UsingCaseOut:
    return UsingCaseOut(
        case_id=case.case_id,
        number=case.number,
        matter=case.matter,
        department=case.department,
        state=case.state.value,
    )


def _type_name(room: MaterialsRoom, key: str) -> TextOut:
    try:
        name = room.catalogue.type(key).name
    except MaterialTypeUnknown:
        # Of an earlier catalogue: the key still says what it is.
        return TextOut(zh=key, en=key)
    return TextOut(zh=name.zh, en=name.en)


def _name(room: MaterialsRoom, tx: ReadTx, party_id: str) -> str | None:
    try:
        return room.parties.describe(tx, party_id).name
    except PartyErased:
        return None
