"""Chain evidence, whom to trust for it, and what follows: plain values."""

from dataclasses import dataclass
from enum import StrEnum


class Consensus(StrEnum):
    """How a chain agrees on blocks. `plain`: nothing in a header says who did (proof of stake
    or of work), so only pinned hashes can be trusted."""

    PLAIN = "plain"
    CLIQUE = "clique"
    QBFT = "qbft"
    IBFT2 = "ibft2"


@dataclass(frozen=True, slots=True)
class ChainEvidence:
    """As collected; nothing is verified yet. `following`: headers after `header`, for Clique."""

    contract: bytes
    header: bytes
    account: tuple[bytes, ...]
    storage: tuple[bytes, ...]
    following: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class ChainTrust:
    """A chain as the verifier knows it. Either `blocks` (hashes of final blocks) or
    `validators` (addresses) is given, never both."""

    name: str
    contract: bytes
    code_hash: bytes
    consensus: Consensus
    blocks: frozenset[bytes] = frozenset()
    validators: frozenset[bytes] = frozenset()


@dataclass(frozen=True, slots=True)
class Anchored:
    """What holds. `time` (seconds since 1970) is what the block's proposer said."""

    chain: str
    block: int
    block_hash: bytes
    time: int
