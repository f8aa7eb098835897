"""The part of `fsck` for the audit trail, as far as other rows and records speak of it.

An audit row has no record of its own. But most are written in the transaction
that recorded something, and all by a credential that has a row: so a lost row,
another time, another actor or another action shows. What is noted of mere
reading has no such witness.
"""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, exists, func, select

from kernel.ids import IdKind, is_id
from kernel.principals import Role
from ledger.fsck_reading import PAGE, WHOLE, Findings, Share, pages
from ledger.records import Row
from ledger.tables import ledger_entries
from license_service.facts import DRAFTED, ISSUED, KIND_OF
from license_service.lifecycle import SUPERSEDING
from materials_api.back_files.rows import ORIGIN
from materials_api.cases.lifecycle import CaseEvent
from materials_api.materials.lifecycle import MaterialEvent
from materials_api.tables import (
    case_documents,
    cases,
    code_tries,
    imported_rows,
    materials,
    tasks,
    tickets,
    uploads,
    verifications,
)
from parties.tables import credentials
from storage.database import Database, ReadTx
from storage.database.prepared import Prepared
from storage.tables import audit

LOCAL = "local"  # the operator at the machine, who has no credential

SENTENCES = {
    "audit_row": (
        "审计行与存证、凭证或数据行不一致：{detail}",
        "an audit row does not agree with records, credentials or rows: {detail}",
    ),
    "audit_actor": (
        "访问凭证与其全部审计行不一致：{detail}",
        "a credential does not agree with any of its audit rows: {detail}",
    ),
    "audit_missing": ("缺少审计行：{detail}", "an audit row is missing: {detail}"),
    "show_code": (
        "亮证码与审计不符：{detail}",
        "a show code does not agree with the audit: {detail}",
    ),
    "code_tries": (
        "亮证码试错计数与审计不符：{detail}",
        "the count of wrong show codes does not agree with the audit: {detail}",
    ),
}

# The audit actions that may stand beside a record of each kind; kinds that are not
# listed are written without an audit row of their own.
_ACTIONS: Mapping[str, frozenset[str]] = {
    "case.opened": frozenset({"case.open"}),
    **{f"case.{event.value}": frozenset({f"case.{event.value}"}) for event in CaseEvent},
    "material.registered": frozenset({"material.register"}),
    **{f"material.{event.value}": frozenset({f"material.{event.value}"})
       for event in MaterialEvent},
    "verification.allowed": frozenset({"verification"}),
    "verification.denied": frozenset({"verification"}),
    "grant.requested": frozenset({"grant.request"}),
    "grant.granted": frozenset({"grant.make", "grant.approve"}),
    "grant.declined": frozenset({"grant.decline"}),
    "grant.revoked": frozenset({"grant.revoke"}),
    "grant.bound": frozenset({"grant.redeem"}),
    "document.commitment": frozenset({"document.commitment"}),
    "document.assistance_letter": frozenset({"document.assistance_letter"}),
    "document.assistance_answered": frozenset({"document.assistance_answered"}),
    "download.released": frozenset({"download"}),
    "task.opened": frozenset({"task.open"}),
    "task.done": frozenset({"task.done"}),
    "party.event": frozenset({"party.event"}),
    "register.loaded": frozenset({"register.load"}),
    "register.ended": frozenset({"register.end"}),
    "case.exported": frozenset({"case.export"}),
    DRAFTED: frozenset({"license.draft"}),
    # A new version's audit row names the event that replaced the old one.
    ISSUED: frozenset({"license.issue", *(f"license.{event.value}" for event in SUPERSEDING)}),
    **{kind: frozenset({f"license.{event.value}"}) for event, kind in KIND_OF.items()
       if event not in SUPERSEDING and kind != ISSUED},
}  # fmt: skip
_RECORDED = frozenset(action for actions in _ACTIONS.values() for action in actions)
# Of these things the audit row names the case that their row names.
_CASES: Mapping[IdKind, Prepared] = {
    kind: Prepared(select(key.table.c.case_id).where(key == bindparam("id")))
    for kind, key in (
        (IdKind.CASE, cases.c.case_id),
        (IdKind.MATERIAL, materials.c.material_id),
        (IdKind.VERIFICATION, verifications.c.verification_id),
        (IdKind.DOCUMENT, case_documents.c.document_id),
        (IdKind.TASK, tasks.c.task_id),
    )
}
_KINDS = Prepared(
    select(ledger_entries.c.kind).where(
        ledger_entries.c.entity == bindparam("entity"), ledger_entries.c.at == bindparam("at")
    )
)
_CREDENTIAL = Prepared(select(credentials).where(credentials.c.credential_id == bindparam("id")))
_VERIFICATION = Prepared(
    select(verifications).where(verifications.c.verification_id == bindparam("id"))
)
_TICKET = Prepared(select(tickets).where(tickets.c.ticket_id == bindparam("id")))
_UPLOAD = Prepared(select(uploads).where(uploads.c.upload_id == bindparam("id")))
_NOTED = Prepared(select(audit.c.at, audit.c.action).where(audit.c.entity == bindparam("entity")))
_LOCAL: Row = {"role": Role.OPERATOR.value, "org": None, "person": None, "capacity": None}
_WITH_OUTCOME = frozenset({"verification", "document.assistance_answered"})
_WRONG_CODE = "wrong_code"
_REDEEM = "grant.redeem"
_LONGEST_CODE = timedelta(hours=1)  # whatever the limit was when it was made


@dataclass(slots=True)
class _Actor:
    """How many audit rows a principal has, and by id those that disagree with its credential."""

    rows: int = 0
    wrong: dict[int, list[str]] = field(default_factory=dict)


class AuditCheck:
    """`row` and `entries` look at both sides of what was written together."""

    def __init__(self, database: Database, share: Share = WHOLE) -> None:
        self.found = Findings(SENTENCES, share)
        self._database = database
        self._credentials: dict[str, Row | None] = {}
        self._actors: dict[str, _Actor] = defaultdict(_Actor)

    def row(self, tx: ReadTx, row: Row) -> None:
        """One audit row against the record, the credential and the rows that it names."""
        self._actor(tx, row)
        wrong: list[str] = []
        entity, action = row["entity"], row["action"]
        refused = action == "verification" and not is_id(str(entity), IdKind.VERIFICATION)
        failed = action == _REDEEM and row["outcome"] != "done"
        if action in _RECORDED and not refused and not failed:
            beside = _KINDS.all(tx, {"entity": entity, "at": row["at"]})
            if not any(action in _ACTIONS.get(one["kind"], ()) for one in beside):
                wrong.append("action, entity or at")
            plain = row["outcome"] == "done" or action in _WITH_OUTCOME
            wrong += [] if plain else ["outcome"]
        wrong += self._case(tx, row)
        wrong += self._witness(tx, row)
        where = f"audit/{row['id']} {entity or ''}".rstrip()
        self.found.columns("audit_row", where, dict.fromkeys(wrong))

    def entries(self) -> None:
        """Every record that is written together with an audit row must still have it."""
        columns = ledger_entries.c
        imported = exists().where(
            materials.c.material_id == columns.entity,
            cases.c.case_id == materials.c.case_id,
            cases.c.origin == ORIGIN,
        )
        if self.found.share.first:
            self._imports()
        for page in pages(self._database, columns.position, self.found.share):
            with self._database.read() as tx:
                rows = tx.all(
                    select(columns.entity, columns.kind, columns.at).where(
                        columns.position.in_(page),
                        columns.kind.in_(_ACTIONS),
                        (columns.kind != "material.registered") | ~imported,
                    )
                )
                noted = self._noted(tx, {str(row["entity"]) for row in rows})
            for row in rows:
                actions = noted.get((row["entity"], row["at"]), set())
                if actions.isdisjoint(_ACTIONS[row["kind"]]):
                    self.found.add("audit_missing", str(row["entity"]), str(row["kind"]))

    def _imports(self) -> None:
        """A batch of back files has one row, beside the records of all of it."""
        noted = select(audit.c.at).where(audit.c.action == "back_files.import")
        query = (
            select(imported_rows.c.at, func.min(imported_rows.c.material_id).label("one"))
            .where(imported_rows.c.at.not_in(noted))
            .group_by(imported_rows.c.at)
        )
        with self._database.read() as tx:
            for row in tx.all(query):
                self.found.add("audit_missing", str(row["one"]), "back_files.import")

    def upload(self, tx: ReadTx, row: Row) -> None:
        """Every upload was noted when it was stored."""
        self._was_noted(tx, row["upload_id"], row["created_at"], "upload.store")

    def ticket(self, tx: ReadTx, row: Row) -> None:
        """Every ticket was noted when it was issued."""
        self._was_noted(tx, row["ticket_id"], row["issued_at"], "ticket.issue")

    def code_tries(self) -> None:
        """Wrong show codes since the first of the last row of them, per principal."""
        with self.found.guarded("code_tries"), self._database.read() as tx:
            rows = {row["principal"]: row for row in tx.all(select(code_tries))}
            redeems = audit.c.action == _REDEEM
            wrong = audit.c.outcome == _WRONG_CODE
            for principal, row in rows.items():
                mine = redeems & wrong & (audit.c.principal == principal)
                since = mine & (audit.c.at >= row["since"])
                tries = tx.one(select(func.count().label("n"), func.min(audit.c.at).label("first"))
                               .where(since))  # fmt: skip
                if tries is None or (tries["n"], tries["first"]) != (row["failures"], row["since"]):
                    self.found.add("code_tries", f"code_tries/{principal}", "failures or since")
            last = select(audit.c.principal, func.max(audit.c.at).label("at")).group_by(
                audit.c.principal
            )
            good = {
                one["principal"]: one["at"]
                for one in tx.all(last.where(redeems, audit.c.outcome == "done"))
            }
            for one in tx.all(last.where(redeems, wrong)):
                principal = one["principal"]
                reset = principal in good and good[principal] >= one["at"]
                if principal not in rows and not reset:
                    self.found.add("code_tries", f"code_tries/{principal}", "principal")

    def actors(self) -> None:
        """To be called after the last `row`. One changed credential is one problem, and
        not as many as there are rows that it acted in."""
        for principal, actor in self._actors.items():
            if len(actor.wrong) == actor.rows > 1:
                every = (name for names in actor.wrong.values() for name in names)
                self.found.columns("audit_actor", principal, dict.fromkeys(every))
                continue
            for number, names in actor.wrong.items():
                self.found.columns("audit_row", f"audit/{number} {principal}", names)

    def _actor(self, tx: ReadTx, row: Row) -> None:
        """Compare who acted with the credential that the row names."""
        principal = row["principal"]
        actor = self._actors[principal]
        actor.rows += 1
        if principal == LOCAL:
            told: Row = _LOCAL
        else:
            if principal not in self._credentials:
                self._credentials[principal] = _CREDENTIAL.one(tx, {"id": principal})
            known = self._credentials[principal]
            if known is None:
                actor.wrong[row["id"]] = ["principal"]
                return
            told = known
        wrong = [name for name in _LOCAL if row[name] != told[name]]
        wrong += ["at"] if principal != LOCAL and row["at"] < told["created_at"] else []
        if wrong:
            actor.wrong[row["id"]] = wrong

    def _case(self, tx: ReadTx, row: Row) -> list[str]:
        entity, case_id = str(row["entity"]), row["case_id"]
        if case_id is None:
            return []
        named = next((kind for kind in _CASES if is_id(entity, kind)), IdKind.CASE)
        whose = entity if is_id(entity, named) else case_id
        told = _CASES[named].one(tx, {"id": whose})
        return [] if told is not None and told["case_id"] == case_id else ["case_id"]

    def _witness(self, tx: ReadTx, row: Row) -> list[str]:
        """Rows that were written beside it and repeat what it says."""
        entity, action = row["entity"], row["action"]
        if action == "verification" and is_id(str(entity), IdKind.VERIFICATION):
            told = _VERIFICATION.one(tx, {"id": entity})
            detail = {"item": "item", "basis": "basis", "reason": "reason"}
            return _compared(row, told, detail, ("principal", "case_id", "outcome"))
        if action == "ticket.issue":
            told = _TICKET.one(tx, {"id": entity})
            detail = {"item": "material_id", "position": "position"}
            wrong = _compared(row, told, detail, ("principal",), at="issued_at")
            # Holders need no verification for what is their own; all others do.
            own = row["role"] == Role.APPLICANT
            if told is not None and (told["verification_id"] is None) != own:
                wrong.append("verification_id of the ticket")
            return wrong
        if action == "upload.store":
            told = _UPLOAD.one(tx, {"id": entity})
            if told is None:
                return []  # swept, or erased with its material
            detail = {"bytes": "size", "media_type": "media_type"}
            return _compared(row, told, detail, ("principal",), at="created_at")
        return []

    def code(self, tx: ReadTx, row: Row) -> None:
        """A show code that is out was noted when it was made, and lives for minutes at most."""
        end = row["code_expires_at"]
        if end is None:
            return
        noted = _NOTED.all(tx, {"entity": row["grant_id"]})
        made = [one["at"] for one in noted if one["action"] == "grant.code"]
        if not made or not max(made) < end <= max(made) + _LONGEST_CODE:
            self.found.add("show_code", row["grant_id"], "code_expires_at")

    def _was_noted(self, tx: ReadTx, entity: str, at: datetime, action: str) -> None:
        rows = _NOTED.all(tx, {"entity": entity})
        if (at, action) not in {(one["at"], one["action"]) for one in rows}:
            self.found.add("audit_missing", entity, action)

    def _noted(self, tx: ReadTx, entities: set[str]) -> dict[tuple[str, Any], set[str]]:
        """The actions noted of each thing, by thing and time."""
        noted: dict[tuple[str, Any], set[str]] = {}
        names = sorted(entities)
        for start in range(0, len(names), PAGE):
            some = names[start : start + PAGE]
            # A try with a wrong code is noted by the same action, and binds nothing.
            failed = (audit.c.action == _REDEEM) & (audit.c.outcome != "done")
            query = select(audit.c.entity, audit.c.at, audit.c.action).where(~failed)
            for one in tx.all(query.where(audit.c.entity.in_(some))):
                noted.setdefault((one["entity"], one["at"]), set()).add(one["action"])
        return noted


def _compared(
    row: Row,
    told: Row | None,
    detail: Mapping[str, str],
    columns: tuple[str, ...],
    at: str = "at",
) -> list[str]:
    """What differs of `columns`, the time, and `detail` (its keys, and their columns in `told`)."""
    if told is None:
        return ["entity"]
    wrong = [name for name in columns if row[name] != told[name]]
    wrong += [] if row["at"] == told[at] else ["at"]
    said = json.loads(row["detail"]) if row["detail"] is not None else None
    expected = {key: told[column] for key, column in detail.items()}
    return wrong if said == expected else [*wrong, "detail"]
