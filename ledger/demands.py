"""What a verifier demands beside signatures: a small TOML file, the verifier's own.

It names the chains and time-stamp authorities that the verifier knows, and says which
evidence a receipt must have. The tlog-policy says who signs; this says what else.
A file that demands nothing is an error: it would look like a check and be none.

    format = "mianjiao.demands/v1"
    not_later_than = "2027-01-01T00:00:00.000Z"

    [[chain]]
    name = "…"
    contract = "0x…"          # 20 bytes
    code_hash = "0x…"         # 32 bytes
    consensus = "qbft"        # plain, clique, qbft, ibft2
    validators = ["0x…"]      # or: blocks = ["0x…"], hashes of final blocks
    required = true           # the default

    [[retired]]               # a shard that has ended: no later, and no other tree
    origin = "…"
    size = 1234
    root = "0x…"              # 32 bytes

    [[stamp]]
    name = "…"
    roots = \"\"\"PEM\"\"\"        # certificates that the authority's must lead to
    required = true
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from kernel.clock import parse_time
from ledger.checkpoints import Checkpoint
from ledger.errors import CheckpointAfterEnd, DemandsEmpty, DemandsMalformed
from ledger.evm.model import ChainTrust, Consensus
from ledger.merkle import HASH_SIZE, MAX_SIZE
from ledger.notes import is_key_name

FORMAT = "mianjiao.demands/v1"
MAX_BYTES = 1 << 20
MAX_ITEMS = 64
_NAME = re.compile(r"[^\s\x00-\x1f\x7f](?:[^\x00-\x1f\x7f]{0,98}[^\s\x00-\x1f\x7f])?")
_HEX = re.compile(r"0x[0-9a-fA-F]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class StampTrust:
    """A time-stamp authority as the verifier knows it: PEM of the roots of its certificate."""

    name: str
    roots: bytes


@dataclass(frozen=True, slots=True)
class Demands:
    """What is known, and which of it (by name) a receipt must have.

    `not_later_than`: some chain or authority known here must prove that the entry
    stood in the log by then. `retired`: by origin, the last checkpoints of shards that ended.
    """

    chains: tuple[ChainTrust, ...] = ()
    stamps: tuple[StampTrust, ...] = ()
    required: frozenset[str] = frozenset()
    not_later_than: datetime | None = None
    retired: Mapping[str, Checkpoint] = field(default_factory=dict)

    @property
    def known(self) -> "Demands":
        """The same chains, authorities and ends of shards, and nothing that must be there."""
        return replace(self, required=frozenset(), not_later_than=None)

    def require_within(self, checkpoint: Checkpoint) -> None:
        """`CheckpointAfterEnd` if this says that its log has ended, and not so."""
        final = self.retired.get(checkpoint.origin)
        if final is None or checkpoint.size < final.size or checkpoint == final:
            return
        raise CheckpointAfterEnd(origin=checkpoint.origin, size=checkpoint.size)


def parse_demands(data: bytes) -> Demands:
    """Read the file: `DemandsMalformed` with the reason, `DemandsEmpty`."""
    if len(data) > MAX_BYTES:
        raise DemandsMalformed(reason="too long")
    try:
        value = tomllib.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise DemandsMalformed(reason="not TOML") from error
    if value.get("format") != FORMAT:
        raise DemandsMalformed(reason=f'the file needs the line format = "{FORMAT}"')
    _keys(value, "the file", {"format"}, {"not_later_than", "chain", "stamp", "retired"})
    required: set[str] = set()
    names: set[str] = set()
    chains = [_chain(one, names, required) for one in _tables(value, "chain")]
    stamps = [_stamp(one, names, required) for one in _tables(value, "stamp")]
    limit = _limit(value)
    retired: dict[str, Checkpoint] = {}
    for one in _tables(value, "retired"):
        final = _retired(one)
        if retired.setdefault(final.origin, final) is not final:
            raise DemandsMalformed(reason=f"{final.origin} stands twice")
    if not required and limit is None and not retired:
        raise DemandsEmpty()
    if limit is not None and not names:
        raise DemandsMalformed(reason="not_later_than needs a chain or a stamp to prove it")
    return Demands(tuple(chains), tuple(stamps), frozenset(required), limit, retired)


def demands_text(finals: Iterable[Checkpoint]) -> str:
    """The file that pins the ends of these closed shards, and demands nothing else."""
    text = f'format = "{FORMAT}"\n'
    for final in finals:
        text += f'\n[[retired]]\norigin = "{final.origin}"\nsize = {final.size}\n'
        text += f'root = "0x{final.root.hex()}"\n'
    return text


def _retired(one: Mapping[str, Any]) -> Checkpoint:
    _keys(one, "a retired log", {"origin", "size", "root"}, set())
    origin, size = one["origin"], one["size"]
    if not isinstance(origin, str) or not is_key_name(origin):
        raise DemandsMalformed(reason="an origin is the name of a log's keys")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 < size <= MAX_SIZE:
        raise DemandsMalformed(reason=f"{origin}: size is a number of entries")
    return Checkpoint(origin, size, _hex(one["root"], HASH_SIZE, f"{origin}: root"))


def _limit(value: Mapping[str, Any]) -> datetime | None:
    text = value.get("not_later_than")
    if text is None:
        return None
    if not isinstance(text, str):
        raise DemandsMalformed(reason="not_later_than is text: 2027-01-01T00:00:00.000Z")
    try:
        return parse_time(text)
    except ValueError as error:
        raise DemandsMalformed(
            reason="not_later_than is a time: 2027-01-01T00:00:00.000Z"
        ) from error


def _chain(one: Mapping[str, Any], names: set[str], required: set[str]) -> ChainTrust:
    _keys(
        one,
        "a chain",
        {"name", "contract", "code_hash", "consensus"},
        {"validators", "blocks", "required"},
    )
    name = _name(one, names, required)
    try:
        consensus = Consensus(one["consensus"])
    except ValueError as error:
        raise DemandsMalformed(reason=f"{name}: consensus is plain, clique, qbft, ibft2") from error
    blocks = _hexes(one, "blocks", 32, name)
    validators = _hexes(one, "validators", 20, name)
    if bool(blocks) == bool(validators):
        raise DemandsMalformed(reason=f"{name}: either blocks or validators")
    if validators and consensus is Consensus.PLAIN:
        raise DemandsMalformed(reason=f"{name}: a plain chain has no validators: name blocks")
    return ChainTrust(
        name=name,
        contract=_hex(one["contract"], 20, f"{name}: contract"),
        code_hash=_hex(one["code_hash"], 32, f"{name}: code_hash"),
        consensus=consensus,
        blocks=blocks,
        validators=validators,
    )


def _stamp(one: Mapping[str, Any], names: set[str], required: set[str]) -> StampTrust:
    _keys(one, "a stamp", {"name", "roots"}, {"required"})
    name = _name(one, names, required)
    roots = one["roots"]
    if not isinstance(roots, str) or "-----BEGIN CERTIFICATE-----" not in roots:
        raise DemandsMalformed(reason=f"{name}: roots are certificates in PEM")
    return StampTrust(name, roots.encode())


def _tables(value: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    found = value.get(key, [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise DemandsMalformed(reason=f"write [[{key}]]")
    if len(found) > MAX_ITEMS:
        raise DemandsMalformed(reason=f"too many [[{key}]]")
    return found


def _keys(value: Mapping[str, Any], what: str, needed: set[str], allowed: set[str]) -> None:
    for key in sorted(needed - set(value)):
        raise DemandsMalformed(reason=f"{what} needs {key}")
    for key in sorted(set(value) - needed - allowed):
        raise DemandsMalformed(reason=f"{what} has no {key}")


def _name(one: Mapping[str, Any], names: set[str], required: set[str]) -> str:
    name = one["name"]
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise DemandsMalformed(reason="a name is 1 to 100 characters")
    if name in names:
        raise DemandsMalformed(reason=f"{name} stands twice")
    names.add(name)
    demanded = one.get("required", True)
    if not isinstance(demanded, bool):
        raise DemandsMalformed(reason=f"{name}: required is true or false")
    if demanded:
        required.add(name)
    return name


def _hexes(one: Mapping[str, Any], key: str, size: int, name: str) -> frozenset[bytes]:
    found = one.get(key, [])
    if not isinstance(found, list) or len(found) > 600:
        raise DemandsMalformed(reason=f"{name}: {key} is a list")
    values = [_hex(value, size, f"{name}: {key}") for value in found]
    if len(set(values)) != len(values):
        raise DemandsMalformed(reason=f"{name}: {key} has one twice")
    return frozenset(values)


def _hex(value: object, size: int, what: str) -> bytes:
    if not isinstance(value, str) or not _HEX.fullmatch(value) or len(value) != 2 + 2 * size:
        raise DemandsMalformed(reason=f"{what} is 0x and {2 * size} hex digits")
    return bytes.fromhex(value[2:])
