"""Writes verifications: locks, spends, records, rows. Always inside one transaction.

What a verification was decided on is compared once more, by the versions of
case, item, licence and grants; then grants are spent and everything is
recorded. Body of `verification.allowed` and `verification.denied`, about a
`vrf_…` id of its own; ids refer, names and digests do not stand in it:

    call, case, requirement, item, item_kind "material" | "license" | "register",
    item_type, route, outcome, reasons [code, …], alternatives [route, …],
    checks [{check, result, reasons}] in order ("reasons" only where it failed),
    basis {kind "consent"} or {kind "statutory_duty", officer, number, role},
    grants [id, …], spent [id, …], evidence {entry, shard, index, size} or null,
    answer (entry id of what a licence source said) or null,
    register, fields [name, …] of a data check,
    role, org, unit, by_officer of who asked, status (= outcome)
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import bindparam, insert, select, update

from kernel.canonical import JsonValue
from kernel.ids import IdKind, new_id
from kernel.principals import Principal
from license_service.answers import StatusAnswer
from license_service.sources import Snapshots
from license_service.tables import licenses
from materials_api.cases.access import CaseView
from materials_api.cases.requirements import asked_last, note_met
from materials_api.catalogue.model import MaterialType, Matter
from materials_api.catalogue.terms import Route
from materials_api.documents.kinds import DocumentKind
from materials_api.documents.stored import add_document
from materials_api.grants.lifecycle import spend
from materials_api.grants.records import Grant, actor_of, publish_end
from materials_api.materials.retention import extend_for_use
from materials_api.room import MaterialsRoom
from materials_api.rules.decisions import Allowed, Decision
from materials_api.rules.reuse_facts import Basis, StatutoryDuty
from materials_api.tables import cases, grants, materials, uses, verifications
from materials_api.verification.rows import Row
from storage import audit
from storage.database import WriteTx
from storage.database.prepared import Prepared, read_ahead

# Shared for what is read, exclusive for what may be spent; always in this order.
_CASE = Prepared(
    select(cases.c.version).where(cases.c.case_id == bindparam("id")).with_for_update(read=True)
)
_MATERIAL = Prepared(
    select(materials.c.version)
    .where(materials.c.material_id == bindparam("id"))
    .with_for_update(read=True)
)
_LICENSE = Prepared(
    select(licenses.c.version)
    .where(licenses.c.license_id == bindparam("id"))
    .with_for_update(read=True)
)
_GRANT = Prepared(
    select(grants.c.version).where(grants.c.grant_id == bindparam("id")).with_for_update()
)
_ITS_CASE = cases.c.case_id == bindparam("to_case")
_SPEND = Prepared(
    update(grants)
    .where(grants.c.grant_id == bindparam("grant"), grants.c.version == bindparam("was"))
    .values(
        status=bindparam("to_status"),
        case_id=bindparam("to_case"),
        # What any case may use is bound to one only now: its bodies find it in their lists.
        window_org=select(cases.c.window_org).where(_ITS_CASE).scalar_subquery(),
        department=select(cases.c.department).where(_ITS_CASE).scalar_subquery(),
        spent_at=bindparam("at"),
        version=bindparam("to_version"),
        entry_id=bindparam("entry"),
        code_mac=None,
        code_expires_at=None,
    )
)
_VERIFICATION = Prepared(insert(verifications), verifications.c.keys())
_USE = Prepared(insert(uses), uses.c.keys())


class Stale(Exception):
    """Something changed between gathering and this transaction: gather again.

    Never leaves this room.
    """


@dataclass(frozen=True, slots=True)
class Versions:
    """The row versions that a decision rests on, by id. `grants`: the grants read."""

    materials: dict[str, int] = field(default_factory=dict)
    licenses: dict[str, int] = field(default_factory=dict)
    grants: dict[str, Grant] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """One decided item, ready to be written.

    `holders`: whose use history it goes into. `entry`: the record that was
    proved. `answer`: what the licence source said, to be kept. `material_type`: for
    how long a material is kept. `more`: further
    keys of the record.
    """

    requirement: str
    item: str
    item_kind: str
    item_type: str
    route: Route
    decision: Decision
    holders: tuple[str, ...]
    entry: str | None
    grants: tuple[str, ...] = ()
    answer: StatusAnswer | None = None
    material_type: MaterialType | None = None
    more: tuple[tuple[str, JsonValue], ...] = ()


@dataclass(frozen=True, slots=True)
class Written:
    """A verification that is now recorded: its record's body, and where it left traces."""

    verification_id: str
    entry_id: str
    slip: str
    body: dict[str, JsonValue]


def compare(
    tx: WriteTx, case: CaseView, versions: Versions, requirements: Iterable[str] = ()
) -> None:
    """Lock everything the decision rests on; `Stale` when a version differs.

    `requirements`: what may be met then, so that their rows are asked for in one wait.
    """
    locks: list[tuple[Prepared, str, int]] = [
        (_CASE, case.case_id, case.version),
        *((_MATERIAL, item, versions.materials[item]) for item in sorted(versions.materials)),
        *((_LICENSE, item, versions.licenses[item]) for item in sorted(versions.licenses)),
        *((_GRANT, one, versions.grants[one].version) for one in sorted(versions.grants)),
    ]
    read_ahead(
        tx,
        [
            *((statement, {"id": id_}) for statement, id_, _ in locks),
            *(asked_last(case.case_id, requirement) for requirement in requirements),
        ],
    )
    for statement, id_, version in locks:
        _same(statement.one(tx, {"id": id_}), version)


def write_verdicts(
    room: MaterialsRoom,
    tx: WriteTx,
    at: datetime,
    principal: Principal,
    call_id: str,
    case: CaseView,
    matter: Matter,
    basis: Basis,
    verdicts: Sequence[Verdict],
    versions: Versions,
) -> list[Written]:
    """Spend, record, insert and audit every verdict of a call, in their order."""
    _spend(room, tx, at, principal, case, verdicts, versions)
    rows: list[tuple[str, str, dict[str, JsonValue]]] = []
    for verdict in verdicts:
        answer = None if verdict.answer is None else _keep(room, tx, at, case, verdict)
        body = _body(call_id, case.case_id, principal, basis, verdict, answer)
        kind = f"verification.{verdict.decision.outcome}"
        rows.append((kind, new_id(IdKind.VERIFICATION), body))
    entries = room.ledger.journal.record_many(tx, at, rows)
    written: list[Written] = []
    for verdict, entry, (_, verification_id, body) in zip(verdicts, entries, rows, strict=True):
        slip = _rows(
            tx, at, principal, call_id, case, matter, basis, verdict, verification_id,
            entry.entry_id,
        )  # fmt: skip
        written.append(Written(verification_id, entry.entry_id, slip, body))
    tx.after_commit(partial(_tell, room, verdicts))
    return written


def _tell(room: MaterialsRoom, verdicts: Sequence[Verdict]) -> None:
    for verdict in verdicts:
        decision = verdict.decision
        reasons = () if isinstance(decision, Allowed) else decision.reasons
        room.decided(decision.outcome, [code.value for code in reasons])


def _spend(
    room: MaterialsRoom,
    tx: WriteTx,
    at: datetime,
    principal: Principal,
    case: CaseView,
    verdicts: Sequence[Verdict],
    versions: Versions,
) -> None:
    """Bind and spend once-grants, each once, however many items of the call used it."""
    named = dict.fromkeys(
        grant_id
        for verdict in verdicts
        if isinstance(verdict.decision, Allowed)
        for grant_id in verdict.decision.evidence.spend
    )
    for grant_id in named:
        grant = versions.grants[grant_id]
        after = spend(grant.state, grant.use, grant.case_id, case.case_id)
        if not after.changed:
            continue
        before = room.ledger.records.latest(tx, grant_id)
        spent = replace(
            grant,
            state=after.state,
            case_id=after.case_id,
            bound_by_use=grant.bound_by_use or grant.case_id is None,
            spent_at=at,
        )
        entry = room.ledger.journal.record(
            tx, at, "grant.spent", grant_id, spent.body(actor_of(principal))
        )
        done = _SPEND.run(
            tx,
            {
                "grant": grant_id,
                "was": grant.version,
                "to_status": spent.state.value,
                "to_case": spent.case_id,
                "at": at,
                "to_version": grant.version + 1,
                "entry": entry.entry_id,
            },
        )
        if done != 1:
            raise Stale()
        publish_end(room, tx, at, "spent", before)


def _body(
    call_id: str,
    case_id: str,
    principal: Principal,
    basis: Basis,
    verdict: Verdict,
    answer: str | None,
) -> dict[str, JsonValue]:
    decision = verdict.decision
    evidence: JsonValue = None
    spent: list[JsonValue] = []
    reasons: list[JsonValue] = []
    alternatives: list[JsonValue] = []
    if isinstance(decision, Allowed):
        found = decision.evidence
        spent = list(found.spend)
        evidence = {
            "entry": verdict.entry,
            "shard": found.shard,
            "index": found.index,
            "size": found.size,
        }
    else:
        reasons = [code.value for code in decision.reasons]
        alternatives = [route.value for route in decision.alternatives]
    checks: list[JsonValue] = []
    for check in decision.checks:
        told: dict[str, JsonValue] = {"check": check.name.value, "result": check.result.value}
        if check.reasons:
            told["reasons"] = [code.value for code in check.reasons]
        checks.append(told)
    grounds: dict[str, JsonValue] = {"kind": "consent"}
    if isinstance(basis, StatutoryDuty):
        grounds = {
            "kind": "statutory_duty",
            "officer": basis.officer,
            "number": basis.number,
            "role": basis.role,
        }
    return {
        "call": call_id,
        "case": case_id,
        "requirement": verdict.requirement,
        "item": verdict.item,
        "item_kind": verdict.item_kind,
        "item_type": verdict.item_type,
        "route": verdict.route.value,
        "outcome": decision.outcome,
        "reasons": reasons,
        "alternatives": alternatives,
        "checks": checks,
        "basis": grounds,
        "grants": list(_relied(verdict)),
        "spent": spent,
        "evidence": evidence,
        "answer": answer,
        **dict(verdict.more),
        "role": principal.role.value,
        "org": principal.org,
        "unit": principal.unit,
        "by_officer": principal.officer,
        "status": decision.outcome,
    }


def _relied(verdict: Verdict) -> tuple[str, ...]:
    """The grants that an Allowed rests on; of a Denied, all that were looked at."""
    decision = verdict.decision
    return decision.evidence.grants if isinstance(decision, Allowed) else verdict.grants


def _rows(
    tx: WriteTx,
    at: datetime,
    principal: Principal,
    call_id: str,
    case: CaseView,
    matter: Matter,
    basis: Basis,
    verdict: Verdict,
    verification_id: str,
    entry_id: str,
) -> str:
    """The rows of one verification; the id of its slip (核验结果单)."""
    decision = verdict.decision
    allowed = isinstance(decision, Allowed)
    reason = None if isinstance(decision, Allowed) else decision.first.code.value
    ground = "statutory_duty" if isinstance(basis, StatutoryDuty) else "consent"
    relied = _relied(verdict)
    _VERIFICATION.add(
        tx,
        {
            "verification_id": verification_id,
            "call_id": call_id,
            "case_id": case.case_id,
            "requirement": verdict.requirement,
            "item": verdict.item,
            "item_kind": verdict.item_kind,
            "grant_id": relied[0] if relied else None,
            "basis": ground,
            "outcome": decision.outcome,
            "reason": reason,
            "principal": principal.subject,
            "org": principal.org,
            "at": at,
            "entry_id": entry_id,
        },
    )
    for holder in verdict.holders:
        use: dict[str, Any] = {
            "entry_id": entry_id,
            "holder": holder,
            "item": verdict.item,
            "case_id": case.case_id,
            "verification_id": verification_id,
            "org": principal.org,
            "action": "verified" if allowed else "denied",
            "basis": ground,
            "at": at,
        }
        _USE.add(tx, use)
    if allowed:
        note_met(
            tx,
            at,
            case.case_id,
            verdict.requirement,
            verdict.route.value,
            item=verdict.item,
            verification_id=verification_id,
            exemptible=True,
        )
        if verdict.item_kind == "material":
            extend_for_use(tx, case, verdict.item, verdict.material_type, matter)
    slip = add_document(
        tx,
        at,
        case.case_id,
        DocumentKind.VERIFICATION_SLIP,
        entry_id,
        requirement=verdict.requirement,
        verification_id=verification_id,
    )
    audit.note(
        tx,
        at,
        principal,
        "verification",
        entity=verification_id,
        case_id=case.case_id,
        outcome=decision.outcome,
        detail={"item": verdict.item, "basis": ground, "reason": reason},
    )
    return slip


def _keep(
    room: MaterialsRoom, tx: WriteTx, at: datetime, case: CaseView, verdict: Verdict
) -> str | None:
    """Keep what the licence source said, as evidence of what was told when."""
    if verdict.answer is None:
        return None
    question: dict[str, JsonValue] = {"license": verdict.item, "case": case.case_id}
    return Snapshots(room.ledger.journal).keep(
        tx, at, question, verdict.answer, license_id=verdict.item
    )


def _same(row: Row | None, version: int) -> None:
    if row is None or row["version"] != version:
        raise Stale()
