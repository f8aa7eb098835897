"""The rules of acting for another (代办): pure, over facts taken from records.

A natural person acts for a holder in one capacity. `self` is never registered:
it follows from person and holder being the same. All others begin and end, and
are in force during [valid_from, end).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from kernel.clock import china_midnight
from kernel.principals import Capacity

ADULT_AT = 18  # Civil Code art. 17


class PartyKind(StrEnum):
    PERSON = "person"
    ORGANIZATION = "organization"


class Basis(StrEnum):
    """On what a capacity rests."""

    REGISTRATION = "registration"  # 登记：营业执照、户籍、法院指定
    POWER_OF_ATTORNEY = "power_of_attorney"  # 授权委托书
    KINSHIP = "kinship"  # 亲属关系
    OPERATOR = "operator"  # 由系统管理员核验后录入


class PartyEvent(StrEnum):
    """What happens to a holder and ends authority by law."""

    DEATH = "death"  # 死亡
    DISSOLUTION = "dissolution"  # 注销、解散
    REPRESENTATIVE_CHANGED = "representative_changed"  # 法定代表人变更


class EndReason(StrEnum):
    DEATH = "death"
    DISSOLUTION = "dissolution"
    REPRESENTATIVE_CHANGED = "representative_changed"
    WITHDRAWN = "withdrawn"  # 授权人撤回
    RENOUNCED = "renounced"  # 代理人辞任
    REGISTERED_IN_ERROR = "registered_in_error"  # 登记错误


@dataclass(frozen=True, slots=True)
class CapacityFacts:
    """One registered capacity, as its records tell it."""

    capacity_id: str
    holder: str
    person: str
    capacity: Capacity
    basis: Basis
    valid_from: datetime
    valid_until: datetime | None  # exclusive; None: no end set
    ended_at: datetime | None
    ended_reason: EndReason | None

    def in_force(self, at: datetime) -> bool:
        """Whether `at` lies in [valid_from, valid_until) and before the recorded end."""
        return (
            self.valid_from <= at
            and (self.valid_until is None or at < self.valid_until)
            and (self.ended_at is None or at < self.ended_at)
        )


@dataclass(frozen=True, slots=True)
class MayAct:
    """`capacity_id` is None for a person who acts for themselves."""

    capacity: Capacity
    capacity_id: str | None


class WhyNot(StrEnum):
    NOT_THE_HOLDER = "not_the_holder"  # "self" for somebody else
    NEVER_REGISTERED = "never_registered"
    NOT_YET = "not_yet"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class MayNotAct:
    why: WhyNot


def decide_acting(
    at: datetime, person: str, holder: str, capacity: Capacity, facts: Iterable[CapacityFacts]
) -> MayAct | MayNotAct:
    """Whether `person` may act for `holder` in `capacity` at the time `at`.

    `facts` may hold capacities of other people: they are ignored.
    """
    if capacity is Capacity.SELF:
        if person == holder:
            return MayAct(capacity, None)
        return MayNotAct(WhyNot.NOT_THE_HOLDER)
    own = [
        fact
        for fact in facts
        if (fact.person, fact.holder, fact.capacity) == (person, holder, capacity)
    ]
    for fact in own:
        if fact.in_force(at):
            return MayAct(capacity, fact.capacity_id)
    if not own:
        return MayNotAct(WhyNot.NEVER_REGISTERED)
    if all(at < fact.valid_from for fact in own):
        return MayNotAct(WhyNot.NOT_YET)
    return MayNotAct(WhyNot.ENDED)


# Which capacity may exist for which kind of holder, and on what it may rest.
ALLOWED: Mapping[Capacity, tuple[frozenset[PartyKind], frozenset[Basis]]] = {
    Capacity.LEGAL_REPRESENTATIVE: (
        frozenset({PartyKind.ORGANIZATION}),
        frozenset({Basis.REGISTRATION, Basis.OPERATOR}),
    ),
    Capacity.LICENSE_MANAGER: (
        frozenset({PartyKind.ORGANIZATION}),
        frozenset({Basis.REGISTRATION, Basis.POWER_OF_ATTORNEY, Basis.OPERATOR}),
    ),
    Capacity.OPERATOR: (
        frozenset({PartyKind.ORGANIZATION}),
        frozenset({Basis.REGISTRATION, Basis.POWER_OF_ATTORNEY, Basis.OPERATOR}),
    ),
    Capacity.GUARDIAN: (
        frozenset({PartyKind.PERSON}),
        frozenset({Basis.REGISTRATION, Basis.KINSHIP, Basis.OPERATOR}),
    ),
    Capacity.AGENT: (
        frozenset({PartyKind.PERSON, PartyKind.ORGANIZATION}),
        frozenset({Basis.REGISTRATION, Basis.POWER_OF_ATTORNEY, Basis.OPERATOR}),
    ),
}

# Which capacities an event ends. `as_holder`: those others hold for the party it
# happens to; `as_person`: those the party itself holds for others. Managers and
# operators have theirs from the representative, so they end with the change.
_CHAIN = frozenset(
    {Capacity.LEGAL_REPRESENTATIVE, Capacity.LICENSE_MANAGER, Capacity.OPERATOR, Capacity.AGENT}
)
_ALL = frozenset(ALLOWED)


@dataclass(frozen=True, slots=True)
class Ends:
    as_holder: frozenset[Capacity]
    as_person: frozenset[Capacity]


ENDS: Mapping[PartyEvent, Ends] = {
    PartyEvent.DEATH: Ends(as_holder=_ALL, as_person=_ALL),
    PartyEvent.DISSOLUTION: Ends(as_holder=_ALL, as_person=frozenset()),
    PartyEvent.REPRESENTATIVE_CHANGED: Ends(as_holder=_CHAIN, as_person=frozenset()),
}


class Refusal(StrEnum):
    """Why a capacity cannot be registered."""

    SELF_IS_DERIVED = "self_is_derived"
    PERSON_IS_ORGANIZATION = "person_is_an_organization"
    SAME_PARTY = "person_and_holder_are_the_same"
    HOLDER_KIND = "not_for_this_kind_of_holder"
    BASIS = "not_on_this_basis"
    WARD_IS_ADULT = "ward_is_of_age"
    END_NEEDED = "an_end_is_needed"
    END_TOO_EARLY = "end_is_not_after_start"


@dataclass(frozen=True, slots=True)
class Term:
    """The validity of a capacity that may be registered."""

    valid_from: datetime
    valid_until: datetime | None


def adult_from(born: date) -> datetime:
    """The first moment of legal age, in China: the 18th birthday; 1 March for 29 February."""
    year = born.year + ADULT_AT
    try:
        return china_midnight(born.replace(year=year))
    except ValueError:
        return china_midnight(date(year, 3, 1))


def decide_registration(
    at: datetime,
    capacity: Capacity,
    basis: Basis,
    *,
    same_party: bool,
    person_kind: PartyKind,
    holder_kind: PartyKind,
    holder_born: date | None,
    valid_until: datetime | None,
) -> Term | Refusal:
    """Whether a capacity may begin at `at`, and until when it lasts.

    A guardian's authority ends when the ward comes of age, whatever was asked
    for. If the ward's code tells no birth date, an end must be given.
    """
    if capacity is Capacity.SELF:
        return Refusal.SELF_IS_DERIVED
    if person_kind is not PartyKind.PERSON:
        return Refusal.PERSON_IS_ORGANIZATION
    if same_party:
        return Refusal.SAME_PARTY
    kinds, bases = ALLOWED[capacity]
    if holder_kind not in kinds:
        return Refusal.HOLDER_KIND
    if basis not in bases:
        return Refusal.BASIS
    if capacity is Capacity.GUARDIAN:
        if holder_born is not None:
            of_age = adult_from(holder_born)
            if of_age <= at:
                return Refusal.WARD_IS_ADULT
            valid_until = of_age if valid_until is None else min(valid_until, of_age)
        elif valid_until is None:
            return Refusal.END_NEEDED
    if valid_until is not None and valid_until <= at:
        return Refusal.END_TOO_EARLY
    return Term(at, valid_until)
