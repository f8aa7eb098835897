"""Receipts with all evidence, and what anchoring costs the log. Wants `make servers` and openssl.

A receipt here has both signatures of the log, two witnesses with two keys each, a chain with
three QBFT seals, and a time stamp with one intermediate, about one checkpoint.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import SecretStr

from benchmarks.figures import Figure
from kernel.canonical import canonical_bytes
from kernel.ids import IdKind, new_id
from ledger.anchoring.deploying import deploy
from ledger.anchoring.node import ChainNode
from ledger.anchoring.rpc import JsonRpc
from ledger.anchoring.signing import AnchorKey
from ledger.anchors import chain_fields, stamp_fields, with_proof
from ledger.checkpoints import Checkpoint, SignedCheckpoint, sign_checkpoint
from ledger.demands import FORMAT, parse_demands
from ledger.evm.model import Consensus
from ledger.evm.origins import origin_id
from ledger.keys import Ed25519Cosigner, Ed25519Signer, MLDSA44Cosigner
from ledger.leaves import blinded_leaf
from ledger.merkle import TileTree, inclusion_proof, leaf_hash
from ledger.notes import Note, Signature
from ledger.policy import parse_policy
from ledger.proofs import LogProof
from ledger.receipts import Evidence, build_receipt, verify_receipt
from runtime.settings import Settings
from runtime.store import Store, create_store, open_store
from tests.ledger.evm import world
from tests.servers.anvil import CHAIN_ID, COLD, HOT, Anvil
from tests.servers.evm import find_anvil
from tests.servers.stamp_authority import StampAuthority

ORIGIN = "benchmark.example/2026"
ENTRIES = 200
RECEIPTS = 1_500
COLD_RUNS = 9
ROUNDS, BATCH, SECONDS = 6, 500, 4.0
SALT = bytes(range(32))


def measure(scratch: Path) -> list[Figure]:
    return [*_receipts(scratch), *_appends(scratch)]


# --- Receipts ---


def _receipts(scratch: Path) -> list[Figure]:
    receipt, policy, demands = _all_evidence(scratch)
    trusted, demanded = parse_policy(policy.encode()), parse_demands(demands.encode())
    for _ in range(100):
        _verified(receipt, verify_receipt(receipt, trusted, demanded))
    began = time.perf_counter()
    for _ in range(RECEIPTS):
        _verified(receipt, verify_receipt(receipt, trusted, demanded))
    rate = RECEIPTS / (time.perf_counter() - began)
    files = [scratch / name for name in ("receipt.json", "policy", "demands.toml")]
    for file, data in zip(files, (receipt, policy.encode(), demands.encode()), strict=True):
        file.write_bytes(data)
    return [
        Figure("receipts with all evidence, verified", rate, "/s", ">=", 500),
        Figure("verify a receipt with all evidence, cold", _cold(*files), "s", "<", 0.6),
    ]


def _verified(receipt: bytes, outcome: object) -> None:
    if not isinstance(outcome, Evidence) or len(outcome.anchors) != 2:
        raise RuntimeError(f"not verified: {outcome}")


def _cold(receipt: Path, policy: Path, demands: Path) -> float:
    command = [sys.executable, "-m", "runtime.cli", "verify", str(receipt)]
    command += ["--policy", str(policy), "--demands", str(demands)]
    times = []
    for _ in range(COLD_RUNS):
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def _all_evidence(scratch: Path) -> tuple[bytes, str, str]:
    """A receipt, a policy with a quorum, and demands that both anchors must meet."""
    record = canonical_bytes(
        {"v": 1, "kind": "material.registered", "entity": "x", "at": "2026-11-24T04:00:00.000Z"}
    )
    entry = blinded_leaf(SALT, record)
    hashes = [leaf_hash(b"%d" % number) for number in range(ENTRIES - 1)] + [leaf_hash(entry)]

    def node(level: int, index: int) -> bytes:
        width = 1 << level
        return TileTree(b"".join(hashes[index * width : (index + 1) * width])).root

    head = Checkpoint(ORIGIN, ENTRIES, TileTree(b"".join(hashes)).root)
    signers = [Ed25519Signer(ORIGIN, b"\x01" * 32), MLDSA44Cosigner(ORIGIN, b"\x02" * 32)]
    signed, policy = _cosigned(sign_checkpoint(head, signers), signers)
    path = inclusion_proof(node, ENTRIES - 1, ENTRIES)
    proof = LogProof(ENTRIES - 1, tuple(path), signed)
    made = world.World(origin=origin_id(ORIGIN), size=head.size, root=head.root)
    chain = chain_fields(20200, made.evidence(made.qbft(0, 1, 2)))
    trust = world.trust(Consensus.QBFT, validators=world.ADDRESSES[:4])
    with closing(StampAuthority(scratch / "authority")) as authority:
        token = authority.stamp(signed.encode())
        between = x509.load_pem_x509_certificate(authority.between).public_bytes(Encoding.DER)
        roots = authority.roots.decode()
    stamp = stamp_fields([token], [between])
    receipt = build_receipt(
        record, SALT, proof, [with_proof(chain, proof), with_proof(stamp, proof)]
    )
    validators = json.dumps(["0x" + one.hex() for one in world.ADDRESSES[:4]])
    demands = (
        f'format = "{FORMAT}"\n[[chain]]\nname = "chain"\ncontract = "0x{trust.contract.hex()}"\n'
        f'code_hash = "0x{trust.code_hash.hex()}"\nconsensus = "qbft"\nvalidators = {validators}\n'
        f'[[stamp]]\nname = "stamp"\nroots = """{roots}"""\n'
    )
    return receipt, policy, demands


def _cosigned(
    signed: SignedCheckpoint, signers: "list[Ed25519Signer | MLDSA44Cosigner]"
) -> tuple[SignedCheckpoint, str]:
    lines = list(signed.note.signatures)
    policy = "".join(f"log {signer.key.text}\n" for signer in signers)
    for name in ("w1", "w2"):
        seed = name.encode() * 16
        cosigners = (
            Ed25519Cosigner(f"{name}.example", seed),
            MLDSA44Cosigner(f"{name}.example", seed),
        )
        for number, cosigner in enumerate(cosigners):
            blob = cosigner.cosign(signed.checkpoint, 1_790_000_000)
            lines.append(Signature(cosigner.key.name, cosigner.key.key_id, blob))
            policy += f"witness {name}-{number} {cosigner.key.text}\n"
        policy += f"group {name} all {name}-0 {name}-1\n"
    policy += "group both all w1 w2\nquorum both\n"
    return SignedCheckpoint(signed.checkpoint, Note(signed.note.text, tuple(lines))), policy


# --- Appends ---


def _appends(scratch: Path) -> list[Figure]:
    """Entries a second with a chain and an authority asked every second, and without: in
    turns in the same process, so that a busy machine tells on both alike."""
    os.environ["MIANJIAO_CANARY_SECONDS"] = "0"
    with ExitStack() as stack:
        settings = stack.enter_context(_outside(scratch))
        with open_store(scratch / "store", settings) as store:
            store.ledger.start()
            _rate(store)  # warm
            without, with_ = [], []
            for _ in range(ROUNDS):
                without.append(_rate(store))
                store.evidence.start()
                with_.append(_rate(store))
                store.evidence.stop()
            states = store.evidence.states()
            if any(one.reached.mined == 0 for one in states):
                raise RuntimeError(f"nothing was anchored: {states}")
    ratios = [one / other for one, other in zip(with_, without, strict=True)]
    return [
        Figure("appends without anchoring", statistics.median(without), "entries/s"),
        Figure("appends with anchoring", statistics.median(with_), "entries/s"),
        Figure("appends, with : without anchoring", statistics.median(ratios), "ratio", ">=", 0.95),
    ]


@contextmanager
def _outside(scratch: Path) -> Iterator[Settings]:
    """A store in `scratch`, and settings that name a chain and an authority."""
    create_store(scratch / "store", "bench.example")
    with open_store(scratch / "store") as store:
        origin = store.ledger.origin
    binary = find_anvil()
    if binary is None:
        raise RuntimeError("no chain node: make servers")
    authority = StampAuthority(scratch / "stamps")
    (authority.folder / "authorities.toml").write_text(
        f'[[authority]]\nname = "stamps"\nurl = "{authority.url}"\n'
        'roots = "root.pem"\ncertificates = "between.pem"\n'
    )
    with closing(authority), closing(Anvil(binary, scratch)) as chain:
        key = AnchorKey(HOT)
        chain.give(key.address)
        with closing(ChainNode(JsonRpc(chain.url, 10))) as node:
            made = deploy(
                node,
                key,
                chain_id=CHAIN_ID,
                registrar=COLD,
                origin=origin,
                price=None,
                seconds=20,
            )
        if made.contract is None:
            raise RuntimeError("no contract was made")
        chain.rpc("evm_setIntervalMining", 1)
        yield Settings(
            anchor_url=SecretStr(chain.url),
            anchor_chain_id=CHAIN_ID,
            anchor_contract="0x" + made.contract.hex(),
            anchor_key=SecretStr(HOT),
            anchor_finality="1",
            anchor_interval_seconds=1,
            stamp_authorities=str(authority.folder / "authorities.toml"),
            stamp_interval_seconds=1,
            evidence_leaf_seconds=1,
        )


def _rate(store: Store) -> float:
    """Entries a second from record to published checkpoint, one batch after the other."""
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < SECONDS:
        rows = [("material.registered", new_id(IdKind.MATERIAL), {"n": n}) for n in range(BATCH)]
        at = store.clock.now()
        entries = store.database.write(
            lambda tx, at=at, rows=rows: store.ledger.journal.record_many(tx, at, rows)  # type: ignore[misc]
        )
        if not store.ledger.wait_for(entries[-1].entry_id, 30):
            raise RuntimeError("the log does not go on")
        count += BATCH
    return count / (time.perf_counter() - began)
