"""One look at a log: everything that is new is fetched, hashed and compared."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from kernel.errors import CodedError
from ledger.checkpoints import Checkpoint, SignedCheckpoint, parse_any_checkpoint
from ledger.demands import Demands
from ledger.errors import (
    CheckpointAfterEnd,
    InclusionInvalid,
    QuorumNotMet,
    TileCorrupt,
    TileMissing,
)
from ledger.growth import Tail, edge, grow
from ledger.leaves import CLOSED, PublicLeaf, parse_leaf
from ledger.merkle import (
    HASH_SIZE,
    TILE_HEIGHT,
    TILE_WIDTH,
    NodeReader,
    TileTree,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    tree_root,
)
from ledger.monitor.errors import LogDamaged, LogRolledBack, LogSplit, LogUnreachable
from ledger.monitor.evidence import NewestNamed, Refused, judge, why
from ledger.monitor.remote import RemoteLog
from ledger.monitor.state import MonitorState, Verified
from ledger.notes import VerifierKey
from ledger.policy import Policy, evaluate
from ledger.proofs import LogProof
from ledger.refused_evidence import RefusedEvidence
from ledger.splitview import SplitView, split_view
from ledger.tiles import TilePath, check_tile, parse_bundle, tile_width

_WORD = CLOSED.encode()
BATCH = 32 * TILE_WIDTH  # entries held in memory at once
BATCH_BYTES = 16 << 20  # or fewer, if they are long: a bundle more than this at most


@dataclass(frozen=True, slots=True)
class Successor:
    """The log that follows one that has ended, by its last entry: origin and keys."""

    origin: str
    keys: tuple[VerifierKey, ...]


@dataclass(frozen=True, slots=True)
class Pins:
    """Named evidence of chains and authorities against the demands: how much holds, what they
    know nobody for, what fails, with the reason and the file of the proof."""

    held: int = 0
    unchecked: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Look:
    """What one look found: the log as it stands, verified whole."""

    origin: str
    size: int
    before: int  # the size at the last look; 0 at the first
    quorum_met: bool
    grew_at: datetime
    evidence: int = 0  # digests of evidence that new entries name
    evidence_missed: tuple[str, ...] = ()  # those that are not served, or are something else
    pins: "Pins | None" = None  # how chains and stamps stand to the demands; None: not asked
    successor: Successor | None = None  # the log has ended, and this one follows


def look(
    remote: RemoteLog,
    policy: Policy,
    state: MonitorState,
    at: datetime,
    demands: Demands | None = None,
) -> Look:
    """Fetch the checkpoint and all that is new under it; verify; remember. At `at`.

    Signatures of the policy's logs and witnesses, each new entry bundle against its tile,
    each tile against the tree, the tree against the checkpoint, and against all that was
    seen before. Raises what is wrong: `LogSplit` (with a proof in a file), `LogRolledBack`,
    `LogDamaged`, `SignatureInvalid`, `LogNotTrusted`; or `LogUnreachable`, `MonitorStateInvalid`.
    An unmet quorum is reported, not raised, and so is evidence that new entries name and that
    is not served: the tree stands without it, so that it is reported once. With
    `demands` evidence of chains and stamps is verified too, and what fails is reported once,
    with a proof in a file; a head behind the end that they pin raises `CheckpointAfterEnd`.
    Nothing wrong is ever remembered as verified.
    """
    known = state.load()
    try:
        signed = parse_any_checkpoint(remote.checkpoint())
    except TileMissing as error:
        if known is None:
            raise LogUnreachable(path="checkpoint", reason="no log at this address") from error
        raise LogDamaged(path="checkpoint", reason="not served") from error
    met = _signed(policy, signed)
    old = known.tail if known else Tail(0)
    head = signed.checkpoint
    if demands is not None:
        _require_within(demands, signed, state)
    none = None if demands is None else Pins()
    if known is not None and head.origin != known.signed.checkpoint.origin:
        raise LogDamaged(path="checkpoint", reason="another log's")
    if head.size < old.size:
        assert known is not None  # noqa: S101 - the old size is not 0
        _compare_smaller(remote, policy, known, signed, state)
        raise LogRolledBack(known=old.size, shown=head.size)
    if known is not None and head.size == old.size:
        if head.root != old.root:
            raise _split(state, split_view(known.signed, signed))
        _check_served(remote, known.edge)
        state.save(Verified(signed, known.tail, known.edge, known.grew_at, known.closed))
        follows = _follows(known.closed, head)
        return Look(
            head.origin, head.size, old.size, met, known.grew_at, pins=none, successor=follows
        )
    if known is not None and known.closed is not None:
        raise LogDamaged(path="checkpoint", reason="it grew after the entry that closed it")
    named = NewestNamed()
    tail, blobs, last = _follow(remote, policy, signed, known, state, named)
    judged = judge(remote, policy, demands, named.newest)
    refused = tuple(_proved(remote, signed, state, one) for one in judged.refused)
    pins = None
    if demands is not None:
        pins = Pins(judged.held, judged.unchecked, (*refused, *judged.more))
    successor = _follows(last, head)
    state.save(Verified(signed, tail, blobs, at, None if successor is None else last))
    return Look(
        head.origin, head.size, old.size, met, at, named.count, judged.missed, pins, successor
    )


def _require_within(demands: Demands, signed: SignedCheckpoint, state: MonitorState) -> None:
    """The signed head is the proof, for whoever pins the same end: it is kept."""
    try:
        demands.require_within(signed.checkpoint)
    except CheckpointAfterEnd:
        state.write("after-end.checkpoint", signed.encode())
        raise


def _proved(remote: RemoteLog, signed: SignedCheckpoint, state: MonitorState, one: Refused) -> str:
    """Why it is refused, and the file that proves that the log named it."""
    size, index = signed.checkpoint.size, one.placed.index
    try:
        proof = LogProof(index, tuple(inclusion_proof(_node(remote, size), index, size)), signed)
        proof.verify_leaf(leaf_hash(one.placed.entry))
    except (TileCorrupt, TileMissing, InclusionInvalid) as error:
        raise LogDamaged(path="tile", reason=error.code) from error
    data = RefusedEvidence(one.document, one.placed.entry, proof).encode()
    path = state.write(f"refused-evidence-{sha256(data).hexdigest()[:16]}.json", data)
    return f"{one.placed.named}: {why(one.outcome)}; proof: {path}"


def _follows(entry: bytes | None, head: Checkpoint) -> Successor | None:
    """What the last entry says, if it is our kind of entry and closes this log."""
    try:
        leaf = None if entry is None else parse_leaf(entry)
        if not isinstance(leaf, PublicLeaf) or leaf.kind != CLOSED:
            return None
        named = leaf.body.get("successor")
        if leaf.body.get("origin") != head.origin or not isinstance(named, dict):
            return None
        keys = tuple(VerifierKey.parse(str(named[one])) for one in ("vkey", "mldsa44_vkey"))
    except (CodedError, LookupError):
        return None  # an entry of a log of others, which says something else
    return Successor(str(named.get("origin")), keys)


def _signed(policy: Policy, signed: SignedCheckpoint) -> bool:
    """A trusted log signed; whether the quorum is met too."""
    try:
        evaluate(policy, signed)
    except QuorumNotMet:
        return False
    return True


def _follow(
    remote: RemoteLog,
    policy: Policy,
    signed: SignedCheckpoint,
    known: Verified | None,
    state: MonitorState,
    named: NewestNamed,
) -> tuple[Tail, Mapping[TilePath, bytes], bytes | None]:
    """Grow the verified tree by the log's own entries, comparing every tile on the way; its
    tail and edge, and the last entry. What evidence the entries name is added to `named`."""
    head = signed.checkpoint
    tail = known.tail if known else Tail(0)
    final = set(edge(head.size))
    last: bytes | None = None
    kept: dict[TilePath, bytes] = {} if known is None else dict(known.edge)
    try:
        while tail.size < head.size:
            end = min(head.size, (tail.size // TILE_WIDTH) * TILE_WIDTH + BATCH)
            entries = _entries(remote, tail, end, head.size)
            named.add(tail.size, entries)
            # Cheap to ask: hardly any entry has the word in it.
            before = [last or b"", *entries[:-1]]
            if any(_WORD in one and _follows(one, head) for one in before):
                raise LogDamaged(path="checkpoint", reason="entries after the one that closes it")
            last = entries[-1]
            grown = grow(tail, entries)
            for path, expected in grown.blobs.items():
                # Partial tiles on the way were never published; those of the head are.
                served = path.level is not None and (path.full or path in final)
                if served and remote.get(path) != expected:
                    raise LogDamaged(path=path.text, reason="not the hashes of its entries")
                kept[path] = expected
            tail = grown.tail
            kept = {path: kept[path] for path in edge(tail.size)}
        if tail.root != head.root:
            raise LogDamaged(path="checkpoint", reason="entries give another root")
    except (LogDamaged, TileCorrupt, TileMissing) as error:
        if known is not None and known.tail.size:
            _accuse(remote, policy, known.signed, signed, state)
        if isinstance(error, LogDamaged):
            raise
        raise LogDamaged(path=error.details["path"], reason=error.code) from error
    return tail, kept, last


def _entries(remote: RemoteLog, tail: Tail, end: int, size: int) -> list[bytes]:
    """The entries [tail.size, end), or the first of them if they are long; what the first
    bundle repeats must be what it was."""
    entries: list[bytes] = []
    held = 0
    for number in range(tail.size // TILE_WIDTH, (end + TILE_WIDTH - 1) // TILE_WIDTH):
        path = TilePath(None, number, tile_width(size, 0, number))
        data = remote.get(path)
        entries += parse_bundle(path, data)
        held += len(data)
        if held > BATCH_BYTES:
            break
    repeated = len(tail.entries)
    if tuple(entries[:repeated]) != tail.entries:
        number = tail.size // TILE_WIDTH
        raise LogDamaged(path=TilePath(None, number).text, reason="earlier entries changed")
    return entries[repeated : repeated + end - tail.size]


def _check_served(remote: RemoteLog, blobs: Mapping[TilePath, bytes]) -> None:
    """The right edge is still served, and as it was."""
    for path, expected in blobs.items():
        try:
            served = remote.get(path)
        except (TileMissing, TileCorrupt) as error:
            raise LogDamaged(path=path.text, reason=error.code) from error
        if served != expected:
            raise LogDamaged(path=path.text, reason="it changed")


def _compare_smaller(
    remote: RemoteLog,
    policy: Policy,
    known: Verified,
    signed: SignedCheckpoint,
    state: MonitorState,
) -> None:
    """A smaller head may be an old one, or one of another tree: the latter is proved."""
    state.write("rolled-back.checkpoint", signed.encode())
    state.write("rolled-back.known.checkpoint", known.signed.encode())
    _accuse(remote, policy, signed, known.signed, state)


def _accuse(
    remote: RemoteLog,
    policy: Policy,
    smaller: SignedCheckpoint,
    larger: SignedCheckpoint,
    state: MonitorState,
) -> None:
    """Raise `LogSplit` with a proof if the tiles show that `larger` does not extend `smaller`."""
    old, new = smaller.checkpoint, larger.checkpoint
    if old.size == 0:
        return

    node = _node(remote, new.size)
    try:
        proof = split_view(
            smaller, larger, tree_root(node, old.size), consistency_proof(node, old.size, new.size)
        )
        proof.verify(log.key for log in policy.logs)
    except CodedError:
        return  # the tiles prove nothing: damage, which the caller reports
    raise _split(state, proof)


def _node(remote: RemoteLog, size: int) -> NodeReader:
    """Nodes of the tree of `size` entries, from the tiles as they are served: not verified."""

    def node(level: int, index: int) -> bytes:
        tile, height = index >> (TILE_HEIGHT - level % TILE_HEIGHT), level % TILE_HEIGHT
        path = TilePath(level // TILE_HEIGHT, tile, tile_width(size, level // TILE_HEIGHT, tile))
        hashes = check_tile(path, remote.get(path))
        at = (index & ((TILE_WIDTH >> height) - 1)) << height
        return TileTree(hashes[at * HASH_SIZE : (at + (1 << height)) * HASH_SIZE]).root

    return node


def _split(state: MonitorState, proof: SplitView) -> LogSplit:
    data = proof.encode()
    path = state.write(f"split-view-{sha256(data).hexdigest()[:16]}.json", data)
    return LogSplit(proof=str(path))
