"""Evidence that the log names by digest: whether it is served, and is what was named."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

from kernel.canonical import NotCanonical, parse_record
from kernel.errors import CodedError
from ledger.checkpoints import SignedCheckpoint, parse_any_checkpoint
from ledger.errors import LeafMalformed, QuorumNotMet, TileMissing
from ledger.leaves import EVIDENCE, PublicLeaf, parse_leaf
from ledger.monitor.remote import RemoteLog
from ledger.policy import Policy, evaluate

MOST = 1000  # the newest of one look: an old log names very many


@dataclass(frozen=True, slots=True)
class Named:
    """What a leaf says of one piece of evidence."""

    kind: str
    origin: str
    size: int
    digest: str


def named_evidence(entries: Iterable[bytes]) -> Iterator[Named]:
    """What the entries name. Logs of others have other entries: those name nothing."""
    for entry in entries:
        if b'"kind":"evidence.kept"' not in entry:
            continue
        try:
            leaf = parse_leaf(entry)
        except LeafMalformed:
            continue
        if not isinstance(leaf, PublicLeaf) or leaf.kind != EVIDENCE:
            continue
        items = leaf.body.get("evidence")
        for item in items if isinstance(items, list) else ():
            match item:
                case {
                    "kind": str(kind),
                    "origin": str(origin),
                    "size": int(size),
                    "sha256": str(digest),
                } if len(digest) == 64:
                    yield Named(kind, origin, size, digest)


def missed(remote: RemoteLog, policy: Policy, named: Sequence[Named]) -> tuple[str, ...]:
    """Of the newest: what is not served, or is not what was named, each with the reason.

    The checkpoint in it must be signed by that log, where the policy knows the log.
    `LogUnreachable`.
    """
    found = []
    for one in named[-MOST:]:
        reason = _wrong(remote, policy, one)
        if reason is not None:
            found.append(f"{one.kind} {one.size} {one.digest}: {reason}")
    return tuple(found)


def _wrong(remote: RemoteLog, policy: Policy, one: Named) -> str | None:
    try:
        data = remote.evidence(one.digest)
    except TileMissing:
        return "not served"
    if sha256(data).hexdigest() != one.digest:
        return "another digest"
    try:
        fields = parse_record(data)
        text = fields.get("checkpoint")
        signed = parse_any_checkpoint(text.encode() if isinstance(text, str) else b"")
    except (NotCanonical, CodedError):
        return "unreadable"
    head = signed.checkpoint
    if (fields.get("kind"), head.origin, head.size) != (one.kind, one.origin, one.size):
        return "about something else"
    if any(log.key.name == head.origin for log in policy.logs) and not _signed(policy, signed):
        return "its checkpoint is not signed by the log"
    return None


def _signed(policy: Policy, signed: SignedCheckpoint) -> bool:
    try:
        evaluate(policy, signed)
    except QuorumNotMet:
        return True  # stamps and chains are about what the log alone signed
    except CodedError:
        return False
    return True
