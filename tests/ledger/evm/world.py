"""Blocks, accounts and storage made by py-trie, rlp and eth_keys, with seals of our own keys."""

from dataclasses import dataclass, field
from hashlib import sha256

import rlp
from eth_keys import keys
from eth_utils import keccak
from trie import HexaryTrie

from ledger.evm.model import ChainEvidence, ChainTrust, Consensus

ORIGIN = sha256(b"log.example/2026").digest()
SIZE, ROOT = 11, bytes(range(1, 33))
CONTRACT = bytes.fromhex("c0" * 20)
CODE = keccak(b"code")
KEYS = [keys.PrivateKey(bytes([number]) * 32) for number in range(1, 6)]
ADDRESSES = [key.public_key.to_canonical_address() for key in KEYS]
VANITY = bytes(32)
# Fields that later forks append: base fee, withdrawals, blob gas, excess, beacon root, requests.
FORKS = [b"\x07", keccak(b""), b"", b"", bytes(32), keccak(b"r")]


def big(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def slot_of(origin: bytes, size: int) -> bytes:
    """Solidity's rule for a mapping of a mapping in slot 0."""
    return keccak(size.to_bytes(32, "big") + keccak(origin + bytes(32)))


@dataclass
class World:
    """One block whose state has the contract among other accounts, its slot among others."""

    root: bytes = ROOT
    origin: bytes = ORIGIN
    size: int = SIZE
    code: bytes = CODE
    others: int = 40
    forks: int = 0
    contract: bytes = CONTRACT
    first: int = 7  # number of the block, and of the first of a row
    storage: HexaryTrie = field(init=False)
    state: HexaryTrie = field(init=False)

    def __post_init__(self) -> None:
        self.storage = HexaryTrie({})
        for number in range(self.others):
            self.storage[keccak(keccak(b"slot %d" % number))] = rlp.encode(big(number + 1))
        self.storage[keccak(slot_of(self.origin, self.size))] = rlp.encode(self.root.lstrip(b"\0"))
        self.state = HexaryTrie({})
        for number in range(self.others):
            account = [big(number), b"\x01", keccak(b"empty"), keccak(b"")]
            self.state[keccak(b"account %d" % number)] = rlp.encode(account)
        self.account = [b"\x01", b"", self.storage.root_hash, self.code]
        self.state[keccak(self.contract)] = rlp.encode(self.account)

    def fields(
        self, number: int | None = None, parent: bytes = bytes(32), extra: bytes = VANITY
    ) -> list:
        number = self.first if number is None else number
        fields = [
            parent,
            keccak(b"uncles"),
            bytes(20),
            self.state.root_hash,
            bytes(32),
            bytes(32),
            bytes(256),
            b"\x01",
            big(number),
            big(30_000_000),
            big(21_000),
            big(1_790_000_000 + number),
            extra,
            bytes(32),
            bytes(8),
        ]
        return fields + FORKS[: self.forks]

    def evidence(self, header: bytes, *following: bytes) -> ChainEvidence:
        return ChainEvidence(
            contract=self.contract,
            header=header,
            account=proof(self.state, keccak(self.contract)),
            storage=proof(self.storage, keccak(slot_of(self.origin, self.size))),
            following=following,
        )

    # --- Sealed headers ---

    def plain(self) -> bytes:
        return rlp.encode(self.fields())

    def clique(self, signer: int, number: int | None = None, parent: bytes = bytes(32)) -> bytes:
        digest = keccak(rlp.encode(self.fields(number, parent, VANITY)))
        seal = KEYS[signer].sign_msg_hash(digest).to_bytes()
        return rlp.encode(self.fields(number, parent, VANITY + seal))

    def clique_row(self, *signers: int) -> list[bytes]:
        row: list[bytes] = []
        for at, signer in enumerate(signers):
            row.append(self.clique(signer, self.first + at, keccak(row[-1]) if row else bytes(32)))
        return row

    def qbft(self, *signers: int, round_: bytes = b"\x02") -> bytes:
        kept = [VANITY, ADDRESSES, [], round_]
        digest = keccak(rlp.encode(self.fields(extra=rlp.encode([*kept, []]))))
        return self._with_seals(kept, digest, signers)

    def ibft2(self, *signers: int, round_: bytes = b"\0\0\0\2") -> bytes:
        kept = [VANITY, ADDRESSES, b"", round_]
        digest = keccak(rlp.encode(self.fields(extra=rlp.encode(kept))))
        return self._with_seals(kept, digest, signers)

    def _with_seals(self, kept: list, digest: bytes, signers: tuple[int, ...]) -> bytes:
        seals = [KEYS[one].sign_msg_hash(digest).to_bytes() for one in signers]
        return rlp.encode(self.fields(extra=rlp.encode([*kept, seals])))


def proof(made: HexaryTrie, key: bytes) -> tuple[bytes, ...]:
    return tuple(rlp.encode(node) for node in made.get_proof(key))


def trust(
    consensus: Consensus = Consensus.PLAIN,
    *,
    blocks: list[bytes] | None = None,
    validators: list[bytes] | None = None,
) -> ChainTrust:
    return ChainTrust(
        name="test chain",
        contract=CONTRACT,
        code_hash=CODE,
        consensus=consensus,
        blocks=frozenset(blocks or ()),
        validators=frozenset(validators or ()),
    )
