"""Receipts with all evidence there is, and receipts that lie in one respect each.

Keys, trees and blocks are the same in every run; signatures by ML-DSA-44 and the stamps
(by a real `openssl ts`) are made anew.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from eth_utils import keccak

from kernel.canonical import canonical_bytes
from ledger.anchors import chain_fields, stamp_fields, with_proof
from ledger.checkpoints import Checkpoint, SignedCheckpoint, sign_checkpoint
from ledger.demands import Demands, StampTrust
from ledger.evm.headers import block_hash, parse_header
from ledger.evm.model import ChainEvidence, ChainTrust, Consensus
from ledger.evm.origins import origin_id
from ledger.keys import Ed25519Cosigner, Ed25519Signer, MLDSA44Cosigner
from ledger.leaves import blinded_leaf
from ledger.merkle import inclusion_proof, leaf_hash, node_hash, tree_root
from ledger.notes import NoteSigner, Signature
from ledger.policy import Policy, parse_policy
from ledger.proofs import LogProof
from ledger.receipts import build_receipt
from tests.ledger.evm.world import ADDRESSES, World
from tests.servers.stamp_authority import StampAuthority

ORIGIN = "log.example/2026"
LOG: tuple[NoteSigner, ...] = (
    Ed25519Signer(ORIGIN, b"\x01" * 32),
    MLDSA44Cosigner(ORIGIN, b"\x02" * 32),
)
OTHER_LOG = "other.example/2026"
OTHER: tuple[NoteSigner, ...] = (Ed25519Signer(OTHER_LOG, b"\x03" * 32),)
STRANGER: tuple[NoteSigner, ...] = (Ed25519Signer(ORIGIN, b"\x04" * 32),)
WITNESSES = (
    Ed25519Cosigner("witness.example/one", b"\x05" * 32),
    MLDSA44Cosigner("witness.example/two", b"\x06" * 32),
)
UNKNOWN_WITNESS = Ed25519Cosigner("witness.example/one", b"\x07" * 32)
COSIGNED_AT = 1_790_000_100
# One is enough, so that a cosignature may be lost and the rest be told.
POLICY: Policy = parse_policy(
    "".join(
        [
            *(f"log {one.key.text}\n" for one in (*LOG, *OTHER)),
            *(f"witness w{n} {one.key.text}\n" for n, one in enumerate(WITNESSES)),
            "group known any w0 w1\nquorum known\n",
        ]
    ).encode()
)

KINDS = ("pinned", "clique", "qbft", "ibft2")
CONTRACTS = {kind: bytes([0xC0 + n]) * 20 for n, kind in enumerate(KINDS)}
SIZE, BETWEEN, EARLIER = 11, 9, 7
INDEX, NEIGHBOUR = 6, 5


def record_of(number: int) -> dict[str, Any]:
    return {
        "v": 1,
        "kind": "material.registered",
        "entity": f"mat_{number:026d}",
        "at": f"2026-11-24T04:00:{number:02d}.000Z",
        "title": f"租赁合同 {number}",
        "born": None,
        "exemptible": True,
        "files": [
            {"name": "合同.pdf", "size": 20480 + number, "digests": {"sha256": "ab" * 32}},
            {"name": "附件.pdf", "size": 1, "digests": {"sha256": "ef" * 32}},
        ],
    }


class Log:
    """Eleven records in memory, signed as `LOG`, or by whom one says."""

    def __init__(self, origin: str = ORIGIN) -> None:
        self.origin = origin
        self.records = [canonical_bytes(record_of(number)) for number in range(SIZE)]
        self.salts = [bytes([number]) * 32 for number in range(SIZE)]
        pairs = zip(self.salts, self.records, strict=True)
        self._leaves = [leaf_hash(blinded_leaf(*pair)) for pair in pairs]

    def node(self, level: int, number: int) -> bytes:
        if level == 0:
            return self._leaves[number]
        return node_hash(self.node(level - 1, 2 * number), self.node(level - 1, 2 * number + 1))

    def head(self, size: int) -> Checkpoint:
        return Checkpoint(self.origin, size, tree_root(self.node, size))

    def proof(self, size: int, *, index: int, signers: Sequence[NoteSigner] = LOG) -> LogProof:
        signed = sign_checkpoint(self.head(size), signers)
        return LogProof(index, tuple(inclusion_proof(self.node, index, size)), signed)


def cosigned(proof: LogProof, time: int, by: Sequence[Any] = WITNESSES) -> LogProof:
    """The same, with cosignatures: one second apart, so that none passes for the other."""
    signed = proof.checkpoint
    lines = [
        Signature(one.key.name, one.key.key_id, one.cosign(signed.checkpoint, time + n))
        for n, one in enumerate(by)
    ]
    note = replace(signed.note, signatures=(*signed.note.signatures, *lines))
    return replace(proof, checkpoint=SignedCheckpoint(signed.checkpoint, note))


def worlds(head: Checkpoint, first: int, **changes: Any) -> dict[str, World]:
    """A block of each kind of chain, in which the kind's contract holds the head's root."""
    told = {"origin": origin_id(head.origin), "size": head.size, "root": head.root, **changes}
    return {kind: World(contract=CONTRACTS[kind], first=first, **told) for kind in KINDS}


def sealed(world: World, kind: str, by: tuple[int, ...] = (0, 1, 2)) -> ChainEvidence:
    if kind == "pinned":
        return world.evidence(world.plain())
    if kind == "clique":
        return world.evidence(*world.clique_row(*by))
    return world.evidence(world.qbft(*by) if kind == "qbft" else world.ibft2(*by))


@dataclass(frozen=True)
class Donor:
    """A receipt from which values are taken. `genuine`: what it proves is true; otherwise it
    lies, and whatever it gives, nothing may hold that it proves itself no more."""

    name: str
    data: bytes
    genuine: bool


@dataclass(frozen=True)
class Specimens:
    """The receipt to be changed, what its verifier knows, and where values are taken from."""

    receipt: bytes
    policy: Policy
    demands: Demands
    donors: tuple[Donor, ...]


def make(folder: Path) -> Specimens:
    """Starts two authorities in `folder` for as long as it takes."""
    authority, attacker = StampAuthority(folder / "authority"), StampAuthority(folder / "attacker")
    try:
        return _make(authority, attacker)
    finally:
        authority.close()
        attacker.close()


def _make(authority: StampAuthority, attacker: StampAuthority) -> Specimens:
    log, elsewhere = Log(), Log(OTHER_LOG)
    head, earlier = log.head(SIZE), log.head(EARLIER)
    now, before = worlds(head, 7), worlds(earlier, 3)
    chains = {kind: sealed(world, kind) for kind, world in now.items()}
    chains_before = {kind: sealed(world, kind) for kind, world in before.items()}
    demands = Demands(
        chains=tuple(_trust(kind, (chains[kind], chains_before[kind])) for kind in KINDS),
        stamps=(StampTrust("authority", authority.roots),),
    )
    between = _der(authority.between)

    def receipt(
        index: int,
        size: int,
        chains: Mapping[str, ChainEvidence],
        *,
        stamps: Sequence[tuple[Sequence[bytes], Sequence[bytes]]] | None = None,
        main: LogProof | None = None,
        anchored: LogProof | None = None,
    ) -> bytes:
        """As the store would write it; what is given replaces what is true."""
        main = main or cosigned(log.proof(size, index=index), COSIGNED_AT + 1000 * size)
        anchored = anchored or log.proof(size, index=index)
        if stamps is None:
            token = authority.stamp(anchored.checkpoint.encode())
            stamps = [((token, authority.stamp(token)), between)]
        anchors = [
            *(with_proof(chain_fields(1, chains[kind]), anchored) for kind in chains),
            *(with_proof(stamp_fields(*one), anchored) for one in stamps),
        ]
        return build_receipt(log.records[index], log.salts[index], main, anchors)

    whole, proof = receipt(INDEX, SIZE, chains), log.proof(SIZE, index=INDEX)
    genuine = (
        Donor("neighbour", receipt(NEIGHBOUR, SIZE, chains), genuine=True),
        Donor("earlier", receipt(INDEX, EARLIER, chains_before), genuine=True),
    )
    nine = log.head(BETWEEN)
    moved = log.proof(BETWEEN, index=NEIGHBOUR)
    # Their answers say another time, so that it shows when one of them is believed.
    for one in (authority, attacker):
        one.say_accuracy(77)
    text = proof.checkpoint.encode()
    self_made = attacker.stamp(text)
    something_else = authority.stamp(b"else")

    def lie(name: str, chains: Mapping[str, ChainEvidence], **changes: Any) -> Donor:
        return Donor(name, receipt(INDEX, SIZE, chains, **{"stamps": [], **changes}), genuine=False)

    donors = (
        *genuine,
        lie("other code", _sealed_all(worlds(head, 8, code=keccak(b"other code")))),
        lie("other root", _sealed_all(worlds(head, 8, root=bytes(range(32, 64))))),
        lie("stranger seals", _sealed_all(worlds(head, 8), (4, 4, 3))),
        lie("one seal", _sealed_all(worlds(head, 9), (0,))),
        lie(
            "signed by a stranger",
            _sealed_all(worlds(nine, 8)),
            anchored=log.proof(BETWEEN, index=INDEX, signers=STRANGER),
        ),
        lie(
            "another log",
            _sealed_all(worlds(elsewhere.head(SIZE), 8)),
            anchored=elsewhere.proof(SIZE, index=INDEX, signers=OTHER),
        ),
        lie("another place", _sealed_all(worlds(nine, 8)), anchored=moved),
        lie(
            "unknown witness",
            {},
            main=cosigned(log.proof(SIZE, index=INDEX), COSIGNED_AT, [UNKNOWN_WITNESS]),
        ),
        lie(
            "attacker's stamp",
            {},
            anchored=proof,
            stamps=[
                (
                    (self_made, attacker.stamp(self_made)),
                    (*_der(attacker.between), *_der(attacker.roots)),
                )
            ],
        ),
        lie(
            "stamp of something else",
            {},
            anchored=proof,
            stamps=[((something_else, authority.stamp(something_else)), between)],
        ),
    )
    return Specimens(whole, POLICY, demands, donors)


def _sealed_all(made: Mapping[str, World], by: tuple[int, ...] = (0, 1, 2)) -> dict[str, Any]:
    return {kind: sealed(world, kind, by) for kind, world in made.items()}


def _trust(kind: str, known: Sequence[ChainEvidence]) -> ChainTrust:
    consensus = Consensus.PLAIN if kind == "pinned" else Consensus(kind)
    blocks = [block_hash(parse_header(one.header), consensus) for one in known]
    pinned = kind == "pinned"
    return ChainTrust(
        name=f"chain {kind}",
        contract=CONTRACTS[kind],
        code_hash=World().code,
        consensus=consensus,
        blocks=frozenset(blocks if pinned else ()),
        validators=frozenset(() if pinned else ADDRESSES[:4]),
    )


def _der(pem: bytes) -> tuple[bytes, ...]:
    return tuple(one.public_bytes(Encoding.DER) for one in x509.load_pem_x509_certificates(pem))
