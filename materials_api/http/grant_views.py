"""Grants as the routes show them: to their holder with a preview, to offices without."""

from datetime import datetime
from typing import Literal

from kernel.principals import Principal, Role
from ledger.errors import RecordErased
from license_service.errors import LicenseRecordMismatch
from materials_api.cases.access import load_case, rules_of
from materials_api.grants.lifecycle import standing
from materials_api.grants.records import Grant, GrantItem
from materials_api.grants.stored_items import MATERIAL
from materials_api.http.common import TextOut
from materials_api.http.grant_models import (
    AskedByOut,
    GrantCaseOut,
    GrantDetailOut,
    GrantItemOut,
    GrantOut,
    LicensePreviewOut,
    PreviewOut,
)
from materials_api.http.material_views import material_out
from materials_api.materials.access import material_row_of, open_material
from materials_api.room import MaterialsRoom
from storage.database import ReadTx


def grant_out(at: datetime, principal: Principal, grant: Grant) -> GrantOut:
    own = principal.role is Role.APPLICANT
    return GrantOut(
        grant_id=grant.grant_id,
        status=standing(at, grant.state, grant.expires_at).value,
        holder=grant.holder,
        case_id=grant.case_id,
        audience=grant.audience,
        matter=grant.matter,
        use=grant.use.value,
        items=[_item(one, own=own, approved=one.item in grant.approved) for one in grant.items],
        capacity=None if grant.capacity is None else grant.capacity.value,
        requested_at=grant.requested_at,
        decided_at=grant.decided_at,
        expires_at=grant.expires_at,
        spent_at=grant.spent_at,
        receipt=f"/v1/receipts/{grant.entry_id}",
    )


def grant_detail(
    room: MaterialsRoom, tx: ReadTx, at: datetime, principal: Principal, grant: Grant
) -> GrantDetailOut:
    """With purpose and case; for the holder everything that the asker would see."""
    preview: list[PreviewOut] | None = None
    if principal.role is Role.APPLICANT:
        preview = [_preview(room, tx, at, one) for one in grant.items]
    asked = grant.asked_by
    return GrantDetailOut(
        **dict(grant_out(at, principal, grant)),
        purpose=grant.purpose,
        asked_by=None
        if asked is None
        else AskedByOut(
            org=_text(asked.get("org")),
            unit=_text(asked.get("unit")),
            officer=_text(asked.get("officer")),
        ),
        case=None if grant.case_id is None else _case(room, tx, grant.case_id),
        preview=preview,
    )


def _item(one: GrantItem, *, own: bool, approved: bool) -> GrantItemOut:
    kind: Literal["material", "license"] = "material" if one.kind == MATERIAL else "license"
    return GrantItemOut(
        item=one.item if own or approved else None,
        kind=kind,
        type=one.type,
        requirement=one.requirement,
        approved=approved,
    )


def _case(room: MaterialsRoom, tx: ReadTx, case_id: str) -> GrantCaseOut:
    case = load_case(tx, case_id)
    _, matter = rules_of(room, tx, case)
    name = matter.name_of(case.variant)
    return GrantCaseOut(
        case_id=case_id,
        number=case.number,
        matter=TextOut(zh=name.zh, en=name.en),
        department=TextOut(zh=matter.department_name.zh, en=matter.department_name.en),
        handled_by=[body for body in (case.window_org, case.department) if body is not None],
    )


def _preview(room: MaterialsRoom, tx: ReadTx, at: datetime, one: GrantItem) -> PreviewOut:
    if one.kind != MATERIAL:
        return PreviewOut(item=one.item, license=_license(room, tx, at, one.item))
    try:
        facts = open_material(room, tx, one.item)
    except RecordErased:
        return PreviewOut(item=one.item)
    row = material_row_of(tx, one.item)
    return PreviewOut(item=one.item, material=material_out(room, tx, row, facts))


def _license(room: MaterialsRoom, tx: ReadTx, at: datetime, license_id: str) -> LicensePreviewOut:
    facts = room.licenses.facts(tx, license_id)
    if facts.disagreements:
        raise LicenseRecordMismatch(license=license_id, fields=list(facts.disagreements))
    kind = room.licenses.kinds.get(facts.kind)
    return LicensePreviewOut(
        license_id=license_id,
        kind=facts.kind,
        name=TextOut(zh=kind.name.zh, en=kind.name.en),
        identifier=facts.identifier,
        number=facts.number,
        issuer=facts.issuer,
        issuer_name=facts.issuer_name,
        valid_from=facts.valid_from,
        valid_until=facts.valid_until,
        status=facts.status_at(at).status.value,
        attributes=dict(facts.attributes),
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
