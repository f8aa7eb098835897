"""Data checks (数据核验): a register's answer meets a requirement, and leaves a slip.

Identity is always compared with the party asked about; a claim (what the
applicant states, e.g. the address of the premises) must agree with what the
register says. A field that nobody claims is taken from the register: its word
is then the information, and the record says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import select

from kernel.canonical import JsonValue
from kernel.errors import CodedError, NotFound, NotPermitted
from kernel.ids import IdKind, new_id
from kernel.principals import Principal
from materials_api.catalogue.terms import Route
from materials_api.grants.errors import RegisterFactsInvalid, VerificationContended
from materials_api.registers.register import DataSource, FactsFound, RegisterAnswer, RegisterOutage
from materials_api.registers.subjects import AskedAbout, asked_about
from materials_api.room import MaterialsRoom
from materials_api.rules.data_check_rules import decide_data_check
from materials_api.rules.reuse_facts import (
    Basis,
    Consent,
    DataCheckFacts,
    ProofFacts,
    RegisterOutcome,
)
from materials_api.tables import (
    register_facts,
)
from materials_api.texts import clean_text
from materials_api.verification.case import CaseContext, gather_case
from materials_api.verification.evidence import prove
from materials_api.verification.store import Stale, Verdict, Versions, compare, write_verdicts
from materials_api.verification.verifying import Call, Render, checked_basis, note_refusal
from parties import HolderRef
from storage.database import WriteTx
from storage.idempotency import Reply, RequestKey, once, remembered

# Fields that say who stands in the register: the party asked about must be among them.
_CONTAINS_SUBJECT = frozenset({"owners", "owner", "tenant"})


@dataclass(frozen=True, slots=True)
class CheckData:
    """Ask the register of a requirement. `subject` None: the applicant or, where the
    requirement is about a person, the legal representative. `claims` by field."""

    case_id: str
    requirement: str
    subject: HolderRef | None = None
    claims: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    basis: Basis = field(default_factory=Consent)


def check_data(
    room: MaterialsRoom,
    source: DataSource,
    at: datetime,
    principal: Principal,
    wanted: CheckData,
    render: Render,
    key: RequestKey | None = None,
) -> Reply:
    """Ask, decide and record. A denial is an outcome, as in a verification.

    `RouteNotOffered` when the requirement has no such route. A subject whom the
    case does not name is denied without asking the register.
    """
    basis = checked_basis(wanted.basis)
    claims = _claims(room, wanted.claims)
    for _ in range(room.limits.grants.verification_attempts):
        refused: CodedError | None = None
        with room.database.read() as tx:
            known = None if key is None else remembered(tx, key)
            if known is not None:
                return known
            try:
                case = gather_case(room, tx, at, principal, wanted.case_id)
                asked = asked_about(room, tx, at, case, wanted.requirement, wanted.subject)
            except (NotFound, NotPermitted) as error:
                refused = error
        if refused is not None:
            note_refusal(room, at, principal, wanted.case_id, refused)
            raise refused
        answer: RegisterAnswer | None = None
        if asked.party is not None:
            answer = source.ask(asked.register_key, asked.party.party_id, at)
        verdict = _decide(room, at, case, asked, answer, claims, basis)
        call_id = new_id(IdKind.VERIFICATION)

        def work(
            tx: WriteTx,
            case: CaseContext = case,
            answer: RegisterAnswer | None = answer,
            verdict: Verdict = verdict,
            call_id: str = call_id,
        ) -> Reply:
            compare(tx, case.view, Versions())
            _still_so(tx, answer)
            written = write_verdicts(
                room, tx, at, principal, call_id, case.view, case.matter, basis, [verdict],
                Versions(),
            )  # fmt: skip
            return render(Call(call_id, case.view.case_id, at, tuple(written)))

        try:
            return once(room.database, at, key, work)
        except Stale:
            continue
    raise VerificationContended()


def _decide(
    room: MaterialsRoom,
    at: datetime,
    case: CaseContext,
    asked: AskedAbout,
    answer: RegisterAnswer | None,
    claims: Mapping[str, str | Sequence[str]],
    basis: Basis,
) -> Verdict:
    found = answer if isinstance(answer, FactsFound) else None
    proof: ProofFacts | None = None
    if found is not None and found.record is not None:
        proof = prove(room, found.record)
    agreed, compared = _agreement(asked, found, claims)
    facts = DataCheckFacts(
        requirement=asked.requirement,
        case=case.facts,
        basis=basis,
        capacity=case.capacity,
        register_key=asked.register_key,
        subject="" if asked.party is None else asked.party.party_id,
        named=asked.named,
        outcome=_outcome(answer),
        agreed=agreed,
        record_agrees=found is None or found.agrees,
        proof=proof,
    )
    fields: list[JsonValue] = list(asked.fields)
    subject = case.facts.applicant if asked.party is None else asked.party.party_id
    return Verdict(
        requirement=asked.requirement.key,
        item=found.entity if found is not None and found.entity is not None else subject,
        item_kind="register",
        item_type=asked.register_key,
        route=Route.DATA_CHECK,
        decision=decide_data_check(at, facts),
        holders=() if asked.party is None else (asked.party.party_id,),
        entry=None if found is None or found.record is None else found.record.entry_id,
        more=(
            ("register", asked.register_key),
            ("fields", fields),
            ("compared", list[JsonValue](compared)),
            ("subject", None if asked.party is None else asked.party.party_id),
        ),
    )


def _agreement(
    asked: AskedAbout, found: FactsFound | None, claims: Mapping[str, str | Sequence[str]]
) -> tuple[dict[str, bool], list[str]]:
    """Per field of the route that the register answered: whether it agrees; and which
    were compared with something."""
    agreed: dict[str, bool] = {}
    compared: list[str] = []
    if found is None or asked.party is None:
        return agreed, compared
    party = asked.party
    own = {
        "name": party.name,
        "citizen_number": party.code,
        "birth_date": None if party.born is None else party.born.isoformat(),
    }
    for name in asked.fields:
        told = found.facts.get(name)
        if not told:
            continue
        results: list[bool] = []
        if name in claims:
            results.append(_set(claims[name]) == _set(told))
        if own.get(name) is not None:
            results.append(_set(told) == {own[name]})
        if name in _CONTAINS_SUBJECT:
            results.append(not _set(told).isdisjoint({party.name, party.code} - {None}))
        agreed[name] = all(results)
        if results:
            compared.append(name)
    return agreed, compared


def _set(value: str | Sequence[str]) -> frozenset[str]:
    return frozenset((value,)) if isinstance(value, str) else frozenset(value)


def _outcome(answer: RegisterAnswer | None) -> RegisterOutcome:
    if isinstance(answer, RegisterOutage):
        return RegisterOutcome.OUTAGE
    if isinstance(answer, FactsFound):
        return RegisterOutcome.ENDED if answer.ended else RegisterOutcome.FOUND
    return RegisterOutcome.NO_RECORD


def _still_so(tx: WriteTx, answer: RegisterAnswer | None) -> None:
    """What was loaded here has not been replaced or ended meanwhile; else `Stale`."""
    if not isinstance(answer, FactsFound) or answer.record is None:
        return
    row = tx.one(
        select(register_facts.c.ended_at)
        .where(register_facts.c.entry_id == answer.record.entry_id)
        .with_for_update(read=True)
    )
    if row is None or (row["ended_at"] is not None) != answer.closed:
        raise Stale()


def _claims(
    room: MaterialsRoom, claims: Mapping[str, str | Sequence[str]]
) -> dict[str, str | list[str]]:
    limits = room.limits.grants
    if len(claims) > limits.register_fields:
        raise RegisterFactsInvalid(problem="claims")
    checked: dict[str, str | list[str]] = {}
    for name, value in claims.items():
        if isinstance(value, str):
            checked[name] = clean_text("claims", value, limits.register_chars)
        else:
            checked[name] = [clean_text("claims", one, limits.register_chars) for one in value]
    return checked
