"""Use cases of licences: draft, issue, events, new versions, and reading them back."""

import secrets
from datetime import datetime, timedelta

from sqlalchemy import func, or_, select

from kernel.canonical import JsonValue
from kernel.clock import china_date, time_text
from kernel.ids import IdKind, new_id
from kernel.principals import Principal, Role
from ledger.journal import Journal, JournalEntry
from ledger.records import Records
from license_service.errors import (
    LicenseDraftInvalid,
    LicenseEventTimeInvalid,
    LicenseIdentifierTaken,
    LicenseRecordMismatch,
    LicenseUnknown,
    NotIssuingAuthority,
    SuccessorNeeded,
)
from license_service.facts import DRAFTED, ISSUED, KIND_OF, read_facts
from license_service.issuing import (
    Terms,
    check_draft,
    content,
    decide_terms,
    issued,
    succeed,
)
from license_service.kinds import Kinds
from license_service.lifecycle import FINAL, LIFECYCLE, SUPERSEDING, Event, Status, StatusAt
from license_service.model import DraftLicense, LicenseFacts, LicenseView, Successor
from license_service.rows import (
    add_event,
    find_identifier,
    insert_license,
    read_view,
    update_license,
    view_of,
)
from license_service.tables import licenses
from parties import Parties
from storage import audit
from storage.database import ReadTx, WriteTx

MAX_LISTED = 1000
_SERIAL_TRIES = 20


class Licenses:
    """Licences issued here. Safe to share between threads.

    Only the department that issued a licence may change it. Every change is a
    record, a row of the history and an audit row in the caller's transaction;
    what is refused changes nothing.
    """

    def __init__(self, journal: Journal, records: Records, parties: Parties, kinds: Kinds) -> None:
        self._journal = journal
        self._records = records
        self._parties = parties
        self.kinds = kinds

    # --- Writing ---

    def draft(
        self, tx: WriteTx, at: datetime, principal: Principal, draft: DraftLicense
    ) -> LicenseView:
        """Make a licence ready (制证). It is not valid before the event `issue`."""
        issuer = _issuing_body(principal)
        kind = self.kinds.get(draft.kind)
        holder = self._parties.describe(tx, draft.holder)
        check_draft(draft, kind, holder.kind.value, issuer)
        self._check_permits(tx, draft)
        if draft.identifier is not None:
            self._check_free(tx, draft.identifier)
        license_id = new_id(IdKind.LICENSE)
        body = content(draft, kind, issuer, holder.entry_id)
        entry = self._journal.record(tx, at, DRAFTED, license_id, body)
        insert_license(tx, at, license_id, draft, issuer, Status.DRAFTED, None, entry)
        audit.note(tx, at, principal, "license.draft", entity=license_id, case_id=draft.source_case)
        return read_view(tx, license_id)

    def apply(
        self,
        tx: WriteTx,
        at: datetime,
        principal: Principal,
        license_id: str,
        event: Event,
        *,
        effective_at: datetime | None = None,
        reason: str | None = None,
    ) -> LicenseView:
        """Let an event happen that needs no new version; see `supersede` for the others.

        What ends a licence for good may also happen to one of whose records a restore lost some.

        `effective_at` is when it takes effect: now, or earlier but not before
        the event that precedes it. `reason` is a stable word. Raises
        `IllegalLicenseTransition`, `NotIssuingAuthority`, `LicenseRecordMismatch`.
        """
        if event in SUPERSEDING:
            raise SuccessorNeeded()
        facts = self._changeable(tx, principal, license_id, to_end=event in FINAL)
        after = LIFECYCLE.apply(facts.status, event)
        when = _effective(at, effective_at, facts)
        if event is Event.ISSUE:
            return self._issue(tx, at, principal, facts, when)
        entry = self._record_event(tx, at, facts, event, after, when, reason)
        update_license(tx, license_id, facts.row_version, {"status": after.value})
        add_event(tx, license_id, event, after, when, entry)
        audit.note(tx, at, principal, f"license.{event.value}", entity=license_id)
        return read_view(tx, license_id)

    def supersede(
        self,
        tx: WriteTx,
        at: datetime,
        principal: Principal,
        license_id: str,
        event: Event,
        successor: Successor,
        *,
        effective_at: datetime | None = None,
        reason: str | None = None,
    ) -> LicenseView:
        """Change, renew or reissue: a new valid version takes the old one's place.

        Returns the new version, which names the one it supersedes.
        """
        if event not in SUPERSEDING:
            raise SuccessorNeeded()
        old = self._changeable(tx, principal, license_id)
        after = LIFECYCLE.apply(old.status, event)
        when = _effective(at, effective_at, old)
        kind = self.kinds.get(old.kind)
        draft, terms = succeed(old, successor, kind, event, when)
        holder = self._parties.describe(tx, old.holder)
        check_draft(draft, kind, holder.kind.value, old.issuer)
        self._check_permits(tx, draft)
        self._check_free(tx, str(terms.identifier))
        new_license = new_id(IdKind.LICENSE)
        body = issued(
            content(draft, kind, old.issuer, holder.entry_id),
            terms,
            when,
            event=event,
            supersedes=(license_id, old.identifier or ""),
        )
        entry = self._journal.record(tx, at, ISSUED, new_license, body)
        insert_license(tx, at, new_license, draft, old.issuer, Status.VALID, license_id, entry)
        add_event(tx, new_license, event, Status.VALID, when, entry)
        ended = self._record_event(tx, at, old, event, after, when, reason, by=new_license)
        update_license(tx, license_id, old.row_version, {"status": after.value})
        add_event(tx, license_id, event, after, when, ended)
        audit.note(
            tx,
            at,
            principal,
            f"license.{event.value}",
            entity=new_license,
            case_id=draft.source_case,
            detail={"supersedes": license_id},
        )
        return read_view(tx, new_license)

    # --- Reading ---

    def get(self, tx: ReadTx, license_id: str) -> LicenseView:
        """The row of a licence, or `LicenseUnknown`."""
        return read_view(tx, license_id)

    def by_identifier(self, tx: ReadTx, identifier: str) -> LicenseView | None:
        """The row of the licence with this identifier, or None."""
        return find_identifier(tx, identifier)

    def of_holder(
        self,
        tx: ReadTx,
        holder: str,
        kind: str | None = None,
        *,
        after: str | None = None,
        limit: int = MAX_LISTED,
        drafts: bool = True,
    ) -> list[LicenseView]:
        """Licences of a holder, newest first. `after`: the last id of the page before."""
        columns = licenses.c
        query = select(licenses).where(columns.holder == holder)
        if kind is not None:
            query = query.where(columns.kind == kind)
        if not drafts:
            query = query.where(columns.status != Status.DRAFTED.value)
        if after is not None:
            seen = self.get(tx, after)
            if seen.holder != holder:
                raise LicenseUnknown()
            query = query.where(
                or_(
                    columns.created_at < seen.created_at,
                    (columns.created_at == seen.created_at) & (columns.license_id < after),
                )
            )
        query = query.order_by(columns.created_at.desc(), columns.license_id.desc()).limit(limit)
        return [view_of(row) for row in tx.all(query)]

    def facts(self, tx: ReadTx, license_id: str) -> LicenseFacts:
        """What the records say, with the names of rows that disagree. See `LicenseFacts`."""
        return read_facts(tx, self._records, license_id)

    def status_at(self, tx: ReadTx, license_id: str, at: datetime) -> StatusAt:
        """The status at a moment, from the records."""
        return self.facts(tx, license_id).status_at(at)

    def expiring(self, tx: ReadTx, at: datetime, within_days: int) -> list[LicenseView]:
        """Valid licences that end within so many days: whom to remind (到期提醒).

        Soonest first, at most 1,000 at once.
        """
        columns = licenses.c
        query = (
            select(licenses)
            .where(
                columns.status == Status.VALID.value,
                columns.valid_until > at,
                columns.valid_until <= at + timedelta(days=within_days),
            )
            .order_by(columns.valid_until, columns.license_id)
            .limit(MAX_LISTED)
        )
        return [view_of(row) for row in tx.all(query)]

    # --- Inside ---

    def _issue(
        self,
        tx: WriteTx,
        at: datetime,
        principal: Principal,
        facts: LicenseFacts,
        when: datetime,
    ) -> LicenseView:
        kind = self.kinds.get(facts.kind)
        draft = _draft_of(facts)
        terms = self._terms(tx, draft, kind.key, facts.issuer, when)
        body = {key: facts.metadata[key] for key in _CONTENT if key in facts.metadata}
        entry = self._journal.record(tx, at, ISSUED, facts.license_id, issued(body, terms, when))
        update_license(
            tx,
            facts.license_id,
            facts.row_version,
            {
                "status": Status.VALID.value,
                "identifier": str(terms.identifier),
                "valid_from": terms.valid_from,
                "valid_until": terms.valid_until,
                "entry_id": entry.entry_id,
            },
        )
        add_event(tx, facts.license_id, Event.ISSUE, Status.VALID, when, entry)
        audit.note(
            tx,
            at,
            principal,
            "license.issue",
            entity=facts.license_id,
            case_id=facts.source_case,
        )
        return read_view(tx, facts.license_id)

    def _terms(
        self, tx: ReadTx, draft: DraftLicense, kind_key: str, issuer: str, when: datetime
    ) -> Terms:
        """Terms with an identifier that is free; a serial of ours is the day and six digits."""
        kind = self.kinds.get(kind_key)
        day = china_date(when).strftime("%Y%m%d")
        for _ in range(_SERIAL_TRIES):
            serial = f"{day}{secrets.randbelow(10**6):06d}"
            terms = decide_terms(draft, kind, issuer, when, serial)
            if draft.identifier is not None:
                return terms
            if find_identifier(tx, str(terms.identifier)) is None:
                return terms
            if draft.serial is not None:
                break
        raise LicenseIdentifierTaken()

    def _changeable(
        self, tx: WriteTx, principal: Principal, license_id: str, *, to_end: bool = False
    ) -> LicenseFacts:
        """The licence, if this principal may change it and its rows agree with its records."""
        body = _issuing_body(principal)
        facts = read_facts(tx, self._records, license_id, to_end=to_end)
        if facts.issuer != body:
            raise NotIssuingAuthority()
        if facts.disagreements:
            raise LicenseRecordMismatch(license=license_id, fields=list(facts.disagreements))
        return facts

    def _check_permits(self, tx: ReadTx, draft: DraftLicense) -> None:
        """A bundle lists licences of the same holder (一业一证)."""
        if not draft.permits:
            return
        found = tx.scalar(
            select(func.count())
            .select_from(licenses)
            .where(licenses.c.license_id.in_(draft.permits), licenses.c.holder == draft.holder)
        )
        if found != len(draft.permits):
            raise LicenseDraftInvalid(field="permits", reason="not licences of this holder")

    def _check_free(self, tx: ReadTx, identifier: str) -> None:
        if find_identifier(tx, identifier) is not None:
            raise LicenseIdentifierTaken()

    def _record_event(
        self,
        tx: WriteTx,
        at: datetime,
        facts: LicenseFacts,
        event: Event,
        after: Status,
        when: datetime,
        reason: str | None,
        *,
        by: str | None = None,
    ) -> JournalEntry:
        body: dict[str, JsonValue] = {
            "event": event.value,
            "effective_at": time_text(when),
            "reason": reason,
            "superseded_by": by,
            "status": after.value,
        }
        return self._journal.record(tx, at, KIND_OF[event], facts.license_id, body)


# The items of a drafting record that the issuing record repeats.
_CONTENT = (
    "license_kind",
    "name",
    "number",
    "type",
    "issuer",
    "issuer_name",
    "defining_authority",
    "area_code",
    "holder",
    "holder_record",
    "matter",
    "source_case",
    "attributes",
    "permits",
    "file",
)


def _issuing_body(principal: Principal) -> str:
    if principal.role is not Role.DEPARTMENT or principal.org is None:
        raise NotIssuingAuthority()
    return principal.org


def _effective(at: datetime, effective_at: datetime | None, facts: LicenseFacts) -> datetime:
    when = at if effective_at is None else effective_at
    before = facts.history[-1].effective_at if facts.history else None
    if when > at or (before is not None and when < before):
        raise LicenseEventTimeInvalid()
    return when


def _draft_of(facts: LicenseFacts) -> DraftLicense:
    """What a drafting record asked for, as far as issuing needs it."""
    serial = facts.metadata.get("serial")
    return DraftLicense(
        kind=facts.kind,
        holder=facts.holder,
        issuer_name=facts.issuer_name,
        number=facts.number,
        area_code=facts.area_code,
        valid_from=facts.valid_from,
        valid_until=facts.valid_until,
        identifier=facts.identifier,
        serial=serial if isinstance(serial, str) else None,
    )
