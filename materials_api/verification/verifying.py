"""Verification (核验) at the window: all reused items of a case in one call.

Gather in a snapshot, look at bytes and log, decide; then one transaction
compares the versions of everything the decision rests on, spends, audits,
records and remembers the answer. If something changed meanwhile, the whole
call starts again with fresh facts.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from kernel.errors import CodedError, NotFound, NotPermitted
from kernel.ids import IdKind, new_id
from kernel.principals import Principal
from ledger.errors import HistoryCut
from materials_api.catalogue.terms import Route
from materials_api.grants.errors import (
    StatutoryDutyIncomplete,
    VerificationContended,
    VerificationItemsInvalid,
)
from materials_api.grants.records import Grant
from materials_api.room import MaterialsRoom
from materials_api.rules.reuse import decide_reuse
from materials_api.rules.reuse_facts import Basis, StatutoryDuty
from materials_api.texts import clean_text
from materials_api.verification.evidence import Looked, reuse_facts
from materials_api.verification.facts import AskedItem, Gathered, GatheredItem, gather
from materials_api.verification.store import (
    Stale,
    Verdict,
    Versions,
    Written,
    compare,
    write_verdicts,
)
from storage import audit
from storage.database import WriteTx
from storage.idempotency import Reply, RequestKey, remembered, remembering


@dataclass(frozen=True, slots=True)
class Verify:
    """One call: a case of the caller's, its items, and the legal basis."""

    case_id: str
    items: tuple[AskedItem, ...]
    basis: Basis


@dataclass(frozen=True, slots=True)
class Call:
    """A call that was decided and recorded; `items` in the order asked."""

    call_id: str
    case_id: str
    at: datetime
    items: tuple[Written, ...]


Render = Callable[[Call], Reply]


def verify(
    room: MaterialsRoom,
    at: datetime,
    principal: Principal,
    wanted: Verify,
    render: Render,
    key: RequestKey | None = None,
) -> Reply:
    """Decide every item and record it; `render` makes the answer to be remembered.

    A denial is an outcome. Refused without a decision, but audited: a case that
    is not the caller's, an item that the case has nothing to do with.
    `VerificationContended` when what it rests on changed at every attempt.
    """
    for work in attempts(room, at, principal, wanted, render, key):
        try:
            return room.database.write(work)
        except Stale:
            continue
    raise VerificationContended()


def attempts(
    room: MaterialsRoom,
    at: datetime,
    principal: Principal,
    wanted: Verify,
    render: Render,
    key: RequestKey | None = None,
) -> Iterator[Callable[[WriteTx], Reply]]:
    """The units of work of `verify`, each from fresh facts: commit one, and ask for the
    next only if it raised `Stale`. For callers that wait for the commit on a loop."""
    check_call(room, wanted.items)
    basis = checked_basis(wanted.basis)
    looked = Looked()
    waited = False
    cut = False
    for _ in range(room.limits.grants.verification_attempts):
        refused: CodedError | None = None
        with room.database.read() as tx:
            known = None if key is None else remembered(tx, key)
            if known is None:
                try:
                    gathered = gather(room, tx, at, principal, wanted.case_id, wanted.items)
                except (NotFound, NotPermitted) as error:
                    refused = error
                except HistoryCut:
                    # The snapshot may be older than what was stopped meanwhile.
                    if cut:
                        raise
                    cut = True
                    continue
        if known is not None:
            yield partial(_again, known)
            return
        if refused is not None:
            note_refusal(room, at, principal, wanted.case_id, refused)
            raise refused
        if not waited and (unpublished := _unpublished(room, gathered)):
            # Registered a moment ago: its place in the log is due within a batch interval.
            waited = True
            room.ledger.wait_for_all(unpublished, room.limits.grants.verification_log_wait)
            continue
        verdicts = [_decide(room, at, gathered, item, basis, looked) for item in gathered.items]
        work = _commit(room, at, principal, gathered, basis, verdicts, render)
        yield remembering(at, key, work)
        looked.answers.clear()  # a licence may be what changed


def _unpublished(room: MaterialsRoom, gathered: Gathered) -> list[str]:
    """The entries of items that wait for their place, while the log is being written."""
    if not room.ledger.running:
        return []
    return room.ledger.unpublished(item.record for item in gathered.items if item.record)


def _again(known: Reply, _: WriteTx) -> Reply:
    return known


def check_call(room: MaterialsRoom, items: Sequence[AskedItem]) -> None:
    limit = room.limits.grants.verification_items
    pairs = {(item.requirement, item.item) for item in items}
    if not 1 <= len(items) <= limit or len(pairs) != len(items):
        raise VerificationItemsInvalid(limit=limit)


def checked_basis(basis: Basis) -> Basis:
    """The basis with clean texts: a statutory duty names officer, number and role."""
    if not isinstance(basis, StatutoryDuty):
        return basis
    if not basis.complete:
        raise StatutoryDutyIncomplete()
    return StatutoryDuty(
        clean_text("officer", basis.officer, 64),
        clean_text("number", basis.number, 64),
        clean_text("role", basis.role, 64),
    )


def note_refusal(
    room: MaterialsRoom, at: datetime, principal: Principal, case_id: str, error: CodedError
) -> None:
    """The audit row of a call that was refused without a decision."""

    def work(tx: WriteTx) -> None:
        audit.note(tx, at, principal, "verification", entity=case_id, outcome=error.code)

    room.database.write(work)


def _decide(
    room: MaterialsRoom,
    at: datetime,
    gathered: Gathered,
    item: GatheredItem,
    basis: Basis,
    looked: Looked,
) -> Verdict:
    facts = reuse_facts(room, at, gathered.case, item, basis, looked)
    return Verdict(
        requirement=item.requirement.key,
        item=item.asked.item,
        item_kind=item.kind,
        item_type=item.item_type,
        route=Route.LICENSE if item.license is not None else Route.HISTORIC_MATERIAL,
        decision=decide_reuse(at, facts),
        holders=item.parties,
        entry=None if item.record is None else item.record.entry_id,
        grants=tuple(grant.grant_id for grant in item.grant_facts),
        answer=looked.answers.get(item.asked.item),
        material_type=item.type,
    )


def _versions(gathered: Gathered) -> Versions:
    known: dict[str, Grant] = {}
    for item in gathered.items:
        known |= item.grants
    return Versions(
        materials={one.asked.item: one.version for one in gathered.items if one.license is None},
        licenses={one.asked.item: one.version for one in gathered.items if one.license},
        grants=known,
    )


def _commit(
    room: MaterialsRoom,
    at: datetime,
    principal: Principal,
    gathered: Gathered,
    basis: Basis,
    verdicts: Sequence[Verdict],
    render: Render,
) -> Callable[[WriteTx], Reply]:
    case, versions = gathered.case, _versions(gathered)
    call_id = new_id(IdKind.VERIFICATION)

    def work(tx: WriteTx) -> Reply:
        compare(tx, case.view, versions, [verdict.requirement for verdict in verdicts])
        written = write_verdicts(
            room, tx, at, principal, call_id, case.view, case.matter, basis, verdicts, versions
        )
        return render(Call(call_id, case.view.case_id, at, tuple(written)))

    return work
