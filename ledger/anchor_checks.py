"""Which evidence of a receipt's anchors holds, under what the verifier knows.

An anchor that fails is evidence lost, told with its reason; whether the receipt then
still counts is for the verifier's demands.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

from kernel.errors import CodedError
from ledger.anchors import Anchor, ChainAnchor
from ledger.checkpoints import Checkpoint, SignedCheckpoint
from ledger.demands import Demands, StampTrust
from ledger.errors import AnchorElsewhere, DemandUnmet
from ledger.evm.model import ChainEvidence, ChainTrust
from ledger.evm.origins import origin_id
from ledger.policy import NONE, CheckpointEvidence, Policy, evaluate


class AnchorState(StrEnum):
    HOLDS = "holds"
    FAILS = "fails"
    UNCHECKED = "unchecked"


@dataclass(frozen=True, slots=True)
class AnchorOutcome:
    """One anchor: `kind` chain or stamp; `name` as the verifier knows the source, if it
    does; `size` of the checkpoint it is about. What holds has a `time`: the entry stood in
    the log then at the latest. Of a chain also the block; of a stamp how often it was
    renewed, and `until`: when the first certificate ends under which it stands. What fails
    has an `error`. `signed`: which keys of the log signed the checkpoint, once verified.
    """

    kind: str
    state: AnchorState
    size: int
    name: str | None = None
    time: datetime | None = None
    block: int | None = None
    block_hash: bytes | None = None
    renewals: int = 0
    until: datetime | None = None
    signed: CheckpointEvidence | None = None
    error: CodedError | None = None


def check_anchors(
    anchors: Sequence[Anchor],
    leaf: bytes,
    evaluated: tuple[SignedCheckpoint, CheckpointEvidence],
    policy: Policy,
    demands: Demands,
) -> tuple[AnchorOutcome, ...]:
    """In the order of the receipt. `leaf`: the hash of the receipt's entry; each anchor's
    own checkpoint must be of the same log as the receipt's, which the policy accepted
    (`evaluated`), signed by it, and hold that leaf."""
    # Witnesses are asked for the receipt's own checkpoint; an anchored one may be older.
    log_alone = replace(policy, quorum=NONE)
    signed = dict([evaluated])  # several anchors may share a checkpoint
    origin = evaluated[0].checkpoint.origin
    return tuple(_check(one, leaf, origin, log_alone, demands, signed) for one in anchors)


def check_chain(evidence: ChainEvidence, head: Checkpoint, demands: Demands) -> AnchorOutcome:
    """Whether a chain that is known held the root of `head`: the first that did, else the
    last that failed. Unchecked if none is known with its contract."""
    found = AnchorOutcome("chain", AnchorState.UNCHECKED, head.size)
    known = [one for one in demands.chains if one.contract == evidence.contract]
    return _first(found, (_on_chain(found, evidence, head, one) for one in known))


def check_stamp(
    tokens: Sequence[bytes],
    certificates: Sequence[bytes],
    signed: SignedCheckpoint,
    demands: Demands,
) -> AnchorOutcome:
    """Whether an authority that is known stamped the bytes of `signed`: the first that did,
    else the last that failed. Unchecked if none is known."""
    found = AnchorOutcome("stamp", AnchorState.UNCHECKED, signed.checkpoint.size)
    tried = (_stamped(found, tokens, certificates, signed, one) for one in demands.stamps)
    return _first(found, tried)


def earliest(outcomes: Iterable[AnchorOutcome]) -> datetime | None:
    """From when at the latest the entry stood in the log, by what holds."""
    return min((one.time for one in outcomes if one.time is not None), default=None)


def require(demands: Demands, outcomes: Sequence[AnchorOutcome]) -> None:
    """`DemandUnmet` names the first demand that is not met."""
    held = {one.name for one in outcomes if one.state is AnchorState.HOLDS}
    for name in sorted(demands.required - held):
        raise DemandUnmet(demand=name)
    limit, proved = demands.not_later_than, earliest(outcomes)
    if limit is not None and (proved is None or proved > limit):
        raise DemandUnmet(demand="not_later_than")


def _check(
    anchor: Anchor,
    leaf: bytes,
    origin: str,
    policy: Policy,
    demands: Demands,
    signed: dict[SignedCheckpoint, CheckpointEvidence],
) -> AnchorOutcome:
    under = anchor.proof.checkpoint
    head = under.checkpoint
    try:
        if under not in signed:
            signed[under] = evaluate(policy, under)
        if head.origin != origin:
            raise AnchorElsewhere()
        demands.require_within(head)
        anchor.proof.verify_leaf(leaf)
    except CodedError as error:
        kind = "chain" if isinstance(anchor, ChainAnchor) else "stamp"
        return AnchorOutcome(kind, AnchorState.FAILS, head.size, error=error)
    if isinstance(anchor, ChainAnchor):
        outcome = check_chain(anchor.evidence, head, demands)
    else:
        outcome = check_stamp(anchor.tokens, anchor.certificates, under, demands)
    return replace(outcome, signed=signed[under])


def _first(unchecked: AnchorOutcome, tried: Iterable[AnchorOutcome]) -> AnchorOutcome:
    """The first that holds; else the last that failed; else it stays unchecked."""
    last = unchecked
    for last in tried:
        if last.state is AnchorState.HOLDS:
            break
    return last


def _on_chain(
    found: AnchorOutcome, evidence: ChainEvidence, head: Checkpoint, trust: ChainTrust
) -> AnchorOutcome:
    # Only here: a receipt without chains needs no libraries of them.
    from ledger.evm.evidence import verify_chain_evidence

    try:
        held = verify_chain_evidence(evidence, trust, origin_id(head.origin), head.size, head.root)
        time = datetime.fromtimestamp(held.time, UTC)
    except CodedError as error:
        return replace(found, state=AnchorState.FAILS, name=trust.name, error=error)
    return replace(
        found,
        state=AnchorState.HOLDS,
        name=trust.name,
        time=time,
        block=held.block,
        block_hash=held.block_hash,
    )


def _stamped(
    found: AnchorOutcome,
    tokens: Sequence[bytes],
    certificates: Sequence[bytes],
    signed: SignedCheckpoint,
    trust: StampTrust,
) -> AnchorOutcome:
    from ledger.stamps.verifying import verify_stamps

    try:
        held = verify_stamps(tokens, certificates, trust.roots, signed.encode())
    except CodedError as error:
        return replace(found, state=AnchorState.FAILS, name=trust.name, error=error)
    return replace(
        found,
        state=AnchorState.HOLDS,
        name=trust.name,
        time=held.time,
        renewals=len(tokens) - 1,
        until=held.until,
    )
