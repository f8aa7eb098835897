"""A made-up package with all evidence there is: both signatures of the log, a witness, a
chain with QBFT seals, a stamp by a real `openssl ts`; and what its verifier knows."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from kernel.canonical import JsonValue
from ledger.anchors import chain_fields, stamp_fields
from ledger.checkpoints import SignedCheckpoint
from ledger.demands import FORMAT
from ledger.evm.origins import origin_id
from ledger.keys import Ed25519Cosigner, MLDSA44Cosigner
from ledger.notes import Signature
from tests.archive.conftest import ORIGIN, FakeLog, make_package
from tests.ledger.evm.world import ADDRESSES, CODE, CONTRACT, World
from tests.servers.stamp_authority import StampAuthority

WITNESS = Ed25519Cosigner("witness.example", b"\x0b" * 32)
COSIGNED_AT = 1_790_000_100
CHAIN = f"""
[[chain]]
name = "city chain"
contract = "0x{CONTRACT.hex()}"
code_hash = "0x{CODE.hex()}"
consensus = "qbft"
validators = [{", ".join(f'"0x{one.hex()}"' for one in ADDRESSES[:4])}]
"""


Anchor: TypeAlias = tuple[Mapping[str, JsonValue], SignedCheckpoint]


@dataclass
class Evidenced:
    """`package`: as `make_package` makes it; `policy`, `demands`: files of its verifier;
    `anchors`: chain and stamp, each with the checkpoint that it is about."""

    package: Any
    policy: bytes
    demands: bytes
    checkpoint: SignedCheckpoint
    anchors: tuple[Anchor, ...]

    def carry(self, *anchors: Anchor, number: int | None = None) -> None:
        """Have all receipts, or that with this number, carry these anchors and no others."""
        items = self.package.case["receipts"]
        for item in items if number is None else [items[number]]:
            made = self.package.log.receipt(item["record"], self.checkpoint, anchors)
            self.package.texts[item["path"]] = made


def make_evidenced(folder: Path) -> Evidenced:
    """Starts an authority in the new `folder` for as long as it takes."""
    log = FakeLog(more_signers=(MLDSA44Cosigner(ORIGIN, b"\x08" * 32),))
    package = make_package(log)
    # Chain and stamp are about what the log alone signed; the package's own is cosigned.
    alone = log.checkpoint()
    head = alone.checkpoint
    blob = WITNESS.cosign(head, COSIGNED_AT)
    line = Signature(WITNESS.key.name, WITNESS.key.key_id, blob)
    note = replace(alone.note, signatures=(*alone.note.signatures, line))
    chain = World(origin=origin_id(head.origin), size=head.size, root=head.root)
    authority = StampAuthority(folder)
    try:
        token = authority.stamp(alone.encode())
        tokens = (token, authority.stamp(token))
        between = x509.load_pem_x509_certificates(authority.between)
        roots = authority.roots.decode()
    finally:
        authority.close()
    certificates = [one.public_bytes(Encoding.DER) for one in between]
    made = Evidenced(
        package,
        log.policy.replace(b"quorum none", f"witness w {WITNESS.key.text}\nquorum w".encode()),
        f'format = "{FORMAT}"\n{CHAIN}\n[[stamp]]\nname = "authority"\n'
        f'roots = """{roots}"""\n'.encode(),
        SignedCheckpoint(head, note),
        (
            (chain_fields(20200, chain.evidence(chain.qbft(0, 1, 2))), alone),
            (stamp_fields(tokens, certificates), alone),
        ),
    )
    package.texts["checkpoints/2026"] = made.checkpoint.encode()
    made.carry(*made.anchors)
    return made
