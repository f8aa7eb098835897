"""Which evidence of a receipt's anchors holds, under what the verifier knows.

An anchor that fails is evidence lost, told with its reason; whether the receipt then
still counts is for the verifier's demands.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

from kernel.errors import CodedError
from ledger.anchors import Anchor, ChainAnchor, StampAnchor
from ledger.checkpoints import SignedCheckpoint
from ledger.demands import Demands, StampTrust
from ledger.errors import AnchorElsewhere, DemandUnmet
from ledger.evm.model import ChainTrust
from ledger.evm.origins import origin_id
from ledger.policy import NONE, Policy, evaluate


class AnchorState(StrEnum):
    HOLDS = "holds"
    FAILS = "fails"
    UNCHECKED = "unchecked"


@dataclass(frozen=True, slots=True)
class AnchorOutcome:
    """One anchor: `kind` chain or stamp; `name` as the verifier knows the source, if it
    does; `size` of the checkpoint it is about. What holds has a `time`: the entry stood in
    the log then at the latest. Of a chain also the block. What fails has an `error`.
    """

    kind: str
    state: AnchorState
    size: int
    name: str | None = None
    time: datetime | None = None
    block: int | None = None
    block_hash: bytes | None = None
    error: CodedError | None = None


def check_anchors(
    anchors: Sequence[Anchor],
    leaf: bytes,
    evaluated: SignedCheckpoint,
    policy: Policy,
    demands: Demands,
) -> tuple[AnchorOutcome, ...]:
    """In the order of the receipt. `leaf`: the hash of the receipt's entry; each anchor's
    own checkpoint must be of the same log as the receipt's, which the policy accepted
    (`evaluated`), signed by it, and hold that leaf."""
    # Witnesses are asked for the receipt's own checkpoint; an anchored one may be older.
    log_alone = replace(policy, quorum=NONE)
    signed = {evaluated}  # several anchors may share a checkpoint
    origin = evaluated.checkpoint.origin
    return tuple(_check(one, leaf, origin, log_alone, demands, signed) for one in anchors)


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
    signed: set[SignedCheckpoint],
) -> AnchorOutcome:
    kind = "chain" if isinstance(anchor, ChainAnchor) else "stamp"
    head = anchor.proof.checkpoint.checkpoint
    found = AnchorOutcome(kind, AnchorState.UNCHECKED, head.size)
    try:
        if anchor.proof.checkpoint not in signed:
            evaluate(policy, anchor.proof.checkpoint)
            signed.add(anchor.proof.checkpoint)
        if head.origin != origin:
            raise AnchorElsewhere()
        demands.require_within(head)
        anchor.proof.verify_leaf(leaf)
    except CodedError as error:
        return replace(found, state=AnchorState.FAILS, error=error)
    if isinstance(anchor, ChainAnchor):
        known = [one for one in demands.chains if one.contract == anchor.evidence.contract]
        return _first(found, (_on_chain(found, anchor, one) for one in known))
    return _first(found, (_stamped(found, anchor, one) for one in demands.stamps))


def _first(unchecked: AnchorOutcome, tried: Iterable[AnchorOutcome]) -> AnchorOutcome:
    """The first that holds; else the last that failed; else it stays unchecked."""
    last = unchecked
    for last in tried:
        if last.state is AnchorState.HOLDS:
            break
    return last


def _on_chain(found: AnchorOutcome, anchor: ChainAnchor, trust: ChainTrust) -> AnchorOutcome:
    # Only here: a receipt without chains needs no libraries of them.
    from ledger.evm.evidence import verify_chain_evidence

    head = anchor.proof.checkpoint.checkpoint
    try:
        held = verify_chain_evidence(
            anchor.evidence, trust, origin_id(head.origin), head.size, head.root
        )
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


def _stamped(found: AnchorOutcome, anchor: StampAnchor, trust: StampTrust) -> AnchorOutcome:
    from ledger.stamps.verifying import verify_stamps

    message = anchor.proof.checkpoint.encode()
    try:
        held = verify_stamps(anchor.tokens, anchor.certificates, trust.roots, message)
    except CodedError as error:
        return replace(found, state=AnchorState.FAILS, name=trust.name, error=error)
    return replace(found, state=AnchorState.HOLDS, name=trust.name, time=held.time)
