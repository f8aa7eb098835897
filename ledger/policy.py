"""C2SP tlog-policy: which logs and which quorum of witnesses a verifier trusts.

Names are opaque octets: they are kept as Latin-1 text, one character an octet,
and never compared in any other way. Key names inside vkeys are UTF-8.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ledger.checkpoints import SignedCheckpoint
from ledger.cosignatures import VerifiedSignature, verify_signatures
from ledger.errors import (
    KeyMalformed,
    LogNotTrusted,
    OriginMismatch,
    PolicyMalformed,
    QuorumNotMet,
)
from ledger.notes import SignatureType, VerifierKey

MAX_BYTES = 1 << 20
MAX_LINES = 4096
MAX_LOGS = MAX_WITNESSES = MAX_GROUPS = 256  # the specification asks for 32
NONE = "none"
_ALLOWED = re.compile(rb"[\x09\x0a\x20-\x7e\x80-\xff]*")
_LOG_TYPES = (SignatureType.ED25519, SignatureType.COSIGNATURE_MLDSA44)
_WITNESS_TYPES = (SignatureType.COSIGNATURE_ED25519, SignatureType.COSIGNATURE_MLDSA44)


@dataclass(frozen=True, slots=True)
class TrustedLog:
    key: VerifierKey
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Witness:
    name: str
    key: VerifierKey
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Satisfied when at least `threshold` of `members` (witnesses or groups) are."""

    name: str
    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """A parsed policy. `quorum` is `none`, a witness or a group."""

    logs: tuple[TrustedLog, ...]
    witnesses: Mapping[str, Witness]
    groups: Mapping[str, Group]
    quorum: str

    @property
    def operator_only(self) -> bool:
        """No witness is asked: a log that shows two faces would not be noticed."""
        return self.quorum == NONE


@dataclass(frozen=True, slots=True)
class CheckpointEvidence:
    """What holds about a checkpoint: which log keys signed, who cosigned and when.

    `absent_log_keys`: keys of the same log that the policy lists and that did not sign."""

    log_keys: tuple[VerifierKey, ...]
    cosignatures: Mapping[str, VerifiedSignature] = field(default_factory=dict)
    unknown_signatures: int = 0
    absent_log_keys: tuple[VerifierKey, ...] = ()

    @property
    def post_quantum(self) -> bool:
        """Whether the log's own signature holds that a quantum computer cannot forge."""
        return any(key.type is SignatureType.COSIGNATURE_MLDSA44 for key in self.log_keys)


def evaluate(policy: Policy, signed: SignedCheckpoint) -> CheckpointEvidence:
    """Verify a checkpoint under a policy.

    At least one listed log must have signed, under the checkpoint's origin, and
    the quorum must be met. Signatures by unknown keys are counted, not used.
    Raises `LogNotTrusted`, `OriginMismatch`, `SignatureInvalid` or `QuorumNotMet`.
    """
    witnesses = {(one.key.name, one.key.key_id): one.name for one in policy.witnesses.values()}
    verified = verify_signatures(
        signed,
        [
            *(log.key for log in policy.logs),
            *(witness.key for witness in policy.witnesses.values()),
        ],
    )
    logs = {log.key for log in policy.logs}
    by_log = [one.key for one in verified if one.key in logs]
    if not by_log:
        raise LogNotTrusted()
    if any(key.name != signed.checkpoint.origin for key in by_log):
        raise OriginMismatch()
    cosigned = {
        witnesses[identity]: one
        for one in verified
        if (identity := (one.key.name, one.key.key_id)) in witnesses
    }
    if policy.quorum != NONE and not _witnessed(policy, policy.quorum, cosigned):
        raise QuorumNotMet(quorum=_shown(policy.quorum))
    unknown = len(signed.note.signatures) - len(verified)
    own = (log.key for log in policy.logs if log.key.name == signed.checkpoint.origin)
    absent = tuple(key for key in own if key not in by_log)
    return CheckpointEvidence(tuple(by_log), cosigned, unknown, absent)


def _witnessed(policy: Policy, name: str, cosigned: Mapping[str, VerifiedSignature]) -> bool:
    group = policy.groups.get(name)
    if group is None:
        return name in cosigned
    count = sum(_witnessed(policy, member, cosigned) for member in group.members)
    return count >= group.threshold


def parse_policy(data: bytes) -> Policy:
    """Read a policy file; `PolicyMalformed` names the line and the reason."""
    if len(data) > MAX_BYTES:
        raise PolicyMalformed(line=0, reason="too long")
    if not _ALLOWED.fullmatch(data):
        raise PolicyMalformed(line=0, reason="control character")
    lines = data.decode("latin-1").split("\n")
    if len(lines) > MAX_LINES:
        raise PolicyMalformed(line=0, reason="too many lines")
    if lines[-1]:
        raise PolicyMalformed(line=len(lines), reason="no newline at the end")
    parser = _Parser()
    for number, line in enumerate(lines, start=1):
        words = [word for word in re.split(r"[ \t]+", line) if word]
        if words and not words[0].startswith("#"):
            parser.line(number, words)
    return parser.finish()


class _Parser:
    def __init__(self) -> None:
        self.logs: list[TrustedLog] = []
        self.witnesses: dict[str, Witness] = {}
        self.groups: dict[str, Group] = {}
        self.members: set[str] = set()
        self.quorum: str | None = None

    def line(self, number: int, words: list[str]) -> None:
        match words:
            case ["log", vkey, *url] if len(url) <= 1:
                self._log(number, vkey, url[0] if url else None)
            case ["witness", name, vkey, *url] if len(url) <= 1:
                self._witness(number, name, vkey, url[0] if url else None)
            case ["group", name, rule, *members]:
                self._group(number, name, rule, members)
            case ["quorum", name]:
                self._quorum(number, name)
            case _:
                raise PolicyMalformed(line=number, reason="not a line of a policy")

    def finish(self) -> Policy:
        if self.quorum is None:
            raise PolicyMalformed(line=0, reason="no quorum line")
        return Policy(tuple(self.logs), self.witnesses, self.groups, self.quorum)

    def _log(self, number: int, vkey: str, url: str | None) -> None:
        key = _key(number, vkey, _LOG_TYPES)
        if any(one.key.public == key.public for one in self.logs):
            raise PolicyMalformed(line=number, reason="this log's key is listed already")
        if len(self.logs) == MAX_LOGS:
            raise PolicyMalformed(line=number, reason="too many logs")
        self.logs.append(TrustedLog(key, url))

    def _witness(self, number: int, name: str, vkey: str, url: str | None) -> None:
        self._new_name(number, name)
        key = _key(number, vkey, _WITNESS_TYPES)
        if any(one.key.public == key.public for one in self.witnesses.values()):
            raise PolicyMalformed(line=number, reason="this witness's key is listed already")
        if len(self.witnesses) == MAX_WITNESSES:
            raise PolicyMalformed(line=number, reason="too many witnesses")
        self.witnesses[name] = Witness(name, key, url)

    def _group(self, number: int, name: str, rule: str, members: list[str]) -> None:
        self._new_name(number, name)
        for member in members:
            if member not in self.witnesses and member not in self.groups:
                raise PolicyMalformed(line=number, reason="a member is not defined above")
            if member in self.members:
                raise PolicyMalformed(line=number, reason="a name is a member once only")
            self.members.add(member)
        if len(self.groups) == MAX_GROUPS:
            raise PolicyMalformed(line=number, reason="too many groups")
        threshold = _threshold(number, rule, len(members))
        self.groups[name] = Group(name, threshold, tuple(members))

    def _quorum(self, number: int, name: str) -> None:
        if self.quorum is not None:
            raise PolicyMalformed(line=number, reason="a second quorum line")
        if name != NONE and name not in self.witnesses and name not in self.groups:
            raise PolicyMalformed(line=number, reason="the quorum is not defined above")
        self.quorum = name

    def _new_name(self, number: int, name: str) -> None:
        if name == NONE or name in self.witnesses or name in self.groups:
            raise PolicyMalformed(line=number, reason="this name is taken")


def _threshold(number: int, rule: str, count: int) -> int:
    if count == 0:
        raise PolicyMalformed(line=number, reason="a group has at least one member")
    if rule == "all":
        return count
    if rule == "any":
        return 1
    if not re.fullmatch(r"[1-9][0-9]{0,3}", rule, re.ASCII) or int(rule) > count:
        raise PolicyMalformed(line=number, reason="the threshold is all, any, or 1 to the count")
    return int(rule)


def _key(number: int, vkey: str, types: tuple[SignatureType, ...]) -> VerifierKey:
    try:
        key = VerifierKey.parse(vkey.encode("latin-1").decode("utf-8"))
    except KeyMalformed as error:
        raise PolicyMalformed(line=number, reason=str(error.details["reason"])) from error
    except UnicodeDecodeError as error:
        raise PolicyMalformed(line=number, reason="the key's name is not UTF-8") from error
    if key.type not in types:
        raise PolicyMalformed(line=number, reason="this type of key does not serve here")
    return key


def _shown(name: str) -> str:
    return name.encode("latin-1").decode("utf-8", errors="replace")
