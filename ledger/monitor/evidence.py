"""Evidence that the log names by digest: whether it is served, is what was named, and holds."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256

from kernel.errors import CodedError
from ledger.anchor_checks import AnchorOutcome, AnchorState
from ledger.checkpoints import SignedCheckpoint
from ledger.demands import Demands
from ledger.errors import QuorumNotMet, TileMissing
from ledger.monitor.remote import RemoteLog
from ledger.named_evidence import (
    EvidenceDocument,
    Named,
    check_document,
    named_in,
    parse_document,
)
from ledger.policy import Policy, evaluate

MOST = 1000  # the newest of one look: an old log names very many
MOST_PROVED = 16  # of what is refused in one look: each proof is up to two MiB on the disk


@dataclass(frozen=True, slots=True)
class Placed:
    """What an entry names, and where in the log that entry stands."""

    named: Named
    index: int
    entry: bytes


class NewestNamed:
    """What the entries of one look name: how many, and the newest `MOST`, whatever they are."""

    def __init__(self) -> None:
        self.count = 0
        self.newest: deque[Placed] = deque(maxlen=MOST)

    def add(self, first: int, entries: Iterable[bytes]) -> None:
        """What these entries name, the first of which stands at index `first`."""
        for one in placed_evidence(first, entries):
            self.count += 1
            self.newest.append(one)


@dataclass(frozen=True, slots=True)
class Refused:
    """Named, served, and not holding under what the monitor pins."""

    placed: Placed
    document: bytes
    outcome: AnchorOutcome


@dataclass(frozen=True, slots=True)
class Judged:
    """`missed`: not served, or not what was named, each with the reason. The rest is empty
    without demands: `unchecked` is evidence of chains and authorities that they do not know;
    `more`: what is refused beyond the `MOST_PROVED` whose documents are kept, with the reason."""

    missed: tuple[str, ...] = ()
    held: int = 0
    unchecked: tuple[str, ...] = ()
    refused: tuple[Refused, ...] = ()
    more: tuple[str, ...] = ()


def placed_evidence(first: int, entries: Iterable[bytes]) -> Iterator[Placed]:
    """What the entries name, the first of which stands at index `first`."""
    for index, entry in enumerate(entries, first):
        for named in named_in(entry):
            yield Placed(named, index, entry)


def judge(
    remote: RemoteLog, policy: Policy, demands: Demands | None, placed: Iterable[Placed]
) -> Judged:
    """Fetch what is named and compare it. The checkpoint in it must be signed by
    that log, where the policy knows the log; chain and stamp must hold, where `demands` know
    them. `LogUnreachable`."""
    missed: list[str] = []
    unchecked: list[str] = []
    refused: list[Refused] = []
    more: list[str] = []
    held = 0
    for one in placed:
        found = _fetched(remote, policy, one.named)
        if isinstance(found, str):
            missed.append(f"{one.named}: {found}")
            continue
        data, document = found
        outcome = None if demands is None else check_document(document, demands)
        if outcome is None:
            continue
        if outcome.state is AnchorState.FAILS and len(refused) == MOST_PROVED:
            more.append(f"{one.named}: {why(outcome)}")
        elif outcome.state is AnchorState.FAILS:
            refused.append(Refused(one, data, outcome))
        elif outcome.state is AnchorState.HOLDS:
            held += 1
        else:
            unchecked.append(str(one.named))
    return Judged(tuple(missed), held, tuple(unchecked), tuple(refused), tuple(more))


def why(outcome: AnchorOutcome) -> str:
    """A stable word for how it does not hold."""
    return outcome.error.code if outcome.error else outcome.state.value


def _fetched(remote: RemoteLog, policy: Policy, one: Named) -> tuple[bytes, EvidenceDocument] | str:
    """The document, or why it is none."""
    try:
        data = remote.evidence(one.digest)
    except TileMissing:
        return "not served"
    if sha256(data).hexdigest() != one.digest:
        return "another digest"
    try:
        document = parse_document(data)
    except CodedError:
        return "unreadable"
    if not document.is_about(one):
        return "about something else"
    signed = document.signed
    known = any(log.key.name == signed.checkpoint.origin for log in policy.logs)
    if known and not _signed(policy, signed):
        return "its checkpoint is not signed by the log"
    return data, document


def _signed(policy: Policy, signed: SignedCheckpoint) -> bool:
    try:
        evaluate(policy, signed)
    except QuorumNotMet:
        return True  # stamps and chains are about what the log alone signed
    except CodedError:
        return False
    return True
