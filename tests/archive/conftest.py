"""A made-up log and a made-up case, so that packages can be checked without a store."""

import copy
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.hashes import SM3, Hash

from archive.assembly import Content, assemble
from archive.bag import BagSummary
from archive.case_form import FORMAT
from archive.record_rules import license_text
from kernel.canonical import JsonValue, canonical_bytes
from kernel.clock import time_text
from ledger.anchors import with_proof
from ledger.checkpoints import Checkpoint, SignedCheckpoint, sign_checkpoint
from ledger.keys import Ed25519Signer
from ledger.leaves import blinded_leaf
from ledger.merkle import inclusion_proof, leaf_hash, node_hash, tree_root
from ledger.notes import NoteSigner
from ledger.proofs import LogProof
from ledger.receipts import build_receipt

ORIGIN = "archive.example/2026"
START = datetime(2026, 11, 24, 4, 20, 21, 123000, tzinfo=UTC)
PDF = b"%PDF-1.7\n" + "租赁合同".encode() * 300 + b"\n%%EOF\n"
JPEG = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 8
SLIP = b"%PDF-1.4\nslip\n%%EOF\n"

VERIFICATION: dict[str, Any] = {
    "requirement": "identity",
    "item_kind": "material",
    "item_type": "identity_card",
    "route": "historic_material",
    "outcome": "allowed",
    "reasons": [],
    "checks": [{"check": "holder", "result": "passed"}],
    "basis": {"kind": "consent"},
    "grants": ["grt_1"],
    "org": "11310199MB2Y01016G",
    "by_officer": "陈晓岚",
}


def sm3(data: bytes) -> str:
    digest = Hash(SM3())
    digest.update(data)
    return digest.finalize().hex()


def digests(data: bytes) -> dict[str, str]:
    return {"sha256": hashlib.sha256(data).hexdigest(), "sm3": sm3(data)}


@dataclass
class FakeLog:
    """A log in memory, with a real key: records in, receipts against one checkpoint out."""

    seed: bytes = b"\x07" * 32
    origin: str = ORIGIN
    more_signers: tuple[NoteSigner, ...] = ()
    entries: list[tuple[str, bytes, bytes]] = field(default_factory=list)  # id, salt, canonical

    @property
    def signer(self) -> Ed25519Signer:
        return Ed25519Signer(self.origin, self.seed)

    @property
    def policy(self) -> bytes:
        signers = [self.signer, *self.more_signers]
        logs = "".join(f"log {one.key.text}\n" for one in signers)
        return f"{logs}quorum none\n".encode()

    def add(self, kind: str, entity: str, body: dict[str, Any]) -> str:
        number = len(self.entries)
        at = time_text(START + timedelta(seconds=number))
        record = {"v": 1, "kind": kind, "entity": entity, "at": at, **body}
        entry_id = f"ent_{number:026d}"
        salt = hashlib.sha256(f"salt {number}".encode()).digest()
        self.entries.append((entry_id, salt, canonical_bytes(record)))
        return entry_id

    def record(self, entry_id: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._entry(entry_id)[1][2])
        return found

    def _entry(self, entry_id: str) -> tuple[int, tuple[str, bytes, bytes]]:
        return next((n, one) for n, one in enumerate(self.entries) if one[0] == entry_id)

    def _node(self, level: int, index: int) -> bytes:
        if level == 0:
            _, salt, canonical = self.entries[index]
            return leaf_hash(blinded_leaf(salt, canonical))
        return node_hash(self._node(level - 1, 2 * index), self._node(level - 1, 2 * index + 1))

    def checkpoint(self) -> SignedCheckpoint:
        size = len(self.entries)
        head = Checkpoint(self.origin, size, tree_root(self._node, size))
        return sign_checkpoint(head, [self.signer, *self.more_signers])

    def receipt(
        self,
        entry_id: str,
        checkpoint: SignedCheckpoint | None = None,
        anchors: Sequence[tuple[Mapping[str, JsonValue], SignedCheckpoint]] = (),
    ) -> bytes:
        """`anchors`: each without its proof, and the checkpoint that it is about."""
        index, (_, salt, canonical) = self._entry(entry_id)

        def proof(signed: SignedCheckpoint) -> LogProof:
            hashes = inclusion_proof(self._node, index, signed.checkpoint.size)
            return LogProof(index, tuple(hashes), signed)

        proved = [with_proof(fields, proof(about)) for fields, about in anchors]
        return build_receipt(canonical, salt, proof(checkpoint or self.checkpoint()), proved)


@dataclass
class FakePackage:
    """The content of a small case, to be changed before it is written."""

    log: FakeLog
    case: dict[str, Any]
    payload: dict[str, bytes]
    texts: dict[str, bytes]

    def content(self) -> Content:
        def source(data: bytes) -> Callable[[], Iterator[bytes]]:
            return lambda: iter([data])

        return Content(
            case=self.case,
            payload={path: source(data) for path, data in self.payload.items()},
            texts=self.texts,
            vkeys=[one.key.text for one in (self.log.signer, *self.log.more_signers)],
            at=START + timedelta(hours=1),
            software="Mianjiao test",
        )

    def write(self, root: Path) -> BagSummary:
        return assemble(root, self.content(), lambda _size: None)


def make_package(log: FakeLog | None = None) -> FakePackage:
    """A closed case with two materials (one reused), a licence, a slip, a grant."""
    log = log or FakeLog()
    case_id, party, lease, photo = "cas_1", "pty_1", "mat_1", "mat_2"
    records = {
        "party": log.add(
            "party.registered",
            party,
            {"type": "111", "code": "310199198802299064", "name": "沈云舟"},
        ),
        "photo": log.add(
            "material.registered",
            photo,
            {
                "case": "cas_0",
                "type": "identity_card",
                "title": "身份证",
                "form": "original",
                "provenance": "certified_copy",
                "parties": [{"party": party, "role": "owner", "stated_name": None}],
                "files": [
                    {
                        "name": "正面 1.jpg",
                        "media_type": "image/jpeg",
                        "size": len(JPEG),
                        "digests": digests(JPEG),
                    }
                ],
                "status": "pending",
            },
        ),
    }
    records["reusable"] = log.add("material.verify", photo, {"status": "reusable"})
    records["opened"] = log.add(
        "case.opened",
        case_id,
        {
            "number": "310199-20261124-000001",
            "matter": "310113101400",
            "variant": "moved",
            "catalogue": "ab" * 32,
            "applicant": party,
            "person": party,
            "capacity": "self",
            "project": None,
            "channel": "window",
            "window_org": "11310199MB2Y01016G",
            "department": "11310199MB2Y01016G",
            "status": "draft",
        },
    )
    records["lease"] = log.add(
        "material.registered",
        lease,
        {
            "case": case_id,
            "type": "lease",
            "title": "租赁合同 <新>\u000b",
            "form": "original",
            "requirement": "lease",
            "certified": {"by": "陈晓岚", "at": "2026-11-24T04:20:24.123Z"},
            "supersedes": None,
            "provenance": "certified_copy",
            "issued_at": "2026-11-01T16:00:00.000Z",
            "valid_until": None,
            "parties": [{"party": party, "role": "owner"}],
            "files": [
                {
                    "name": "租赁合同（新）.pdf",
                    "media_type": "application/pdf",
                    "size": len(PDF),
                    "digests": digests(PDF),
                }
            ],
            "status": "pending",
        },
    )
    grant = {
        "holder": party,
        "purpose": "食品经营许可",
        "use": "once",
        "approved": [photo],
        "person": party,
        "capacity": "self",
        "decided_at": "2026-11-24T04:20:26.123Z",
    }
    records["grant"] = log.add(
        "grant.granted", "grt_1", grant | {"expires_at": None, "status": "granted"}
    )
    records["verification"] = log.add(
        "verification.allowed",
        "vrf_1",
        {
            **copy.deepcopy(VERIFICATION),
            "item": photo,
            "answer": None,
            "unit": None,
        },
    )
    records["license"] = log.add(
        "license.issued",
        "lic_1",
        {
            "license_kind": "food_business_permit",
            "holder": party,
            "issuer": "11310199MB2Y01016G",
            "identifier": "1.2.156.3005.2.11100000MB0143028R002.11310199MB2Y01016G.1.001.E",
            "status": "valid",
        },
    )
    records["submitted"] = log.add(
        "case.submit", case_id, {"event": "submit", "status": "submitted"}
    )
    records["closed"] = log.add("case.close", case_id, {"event": "close", "status": "closed"})
    for number in range(5):
        log.add("other.case", f"cas_other{number}", {"status": "x"})
    checkpoint = log.checkpoint()
    head = checkpoint.checkpoint

    def at(name: str) -> str:
        return str(log.record(records[name])["at"])

    def file(path: str, name: str, media_type: str, data: bytes) -> dict[str, Any]:
        return {
            "path": path,
            "name": name,
            "media_type": media_type,
            "size": len(data),
            **digests(data),
        }

    def step(sequence: int, event: str, state: str, name: str) -> dict[str, Any]:
        return {
            "sequence": sequence,
            "event": event,
            "event_name": event,
            "state": state,
            "at": at(name),
            "role": "window",
            "officer": "陈晓岚",
            "record": records[name],
        }

    license_path = "data/licenses/0001.json"
    license_data = license_text("lic_1", [(records["license"], log.record(records["license"]))])
    case: dict[str, Any] = {
        "format": FORMAT,
        "exported_at": time_text(START + timedelta(hours=1)),
        "software": "Mianjiao test",
        "case": {
            "id": case_id,
            "number": "310199-20261124-000001",
            "matter": "310113101400",
            "matter_name": "食品经营许可（迁址新办）",
            "variant": "moved",
            "catalogue": "ab" * 32,
            "applicant": party,
            "person": party,
            "capacity": "self",
            "channel": "window",
            "window_org": "11310199MB2Y01016G",
            "department": "11310199MB2Y01016G",
            "state": "closed",
            "opened_at": at("opened"),
            "closed_at": at("closed"),
            "retention": "30",
            "records": [records["opened"], records["submitted"], records["closed"]],
        },
        "parties": [
            {
                "id": party,
                "type": "111",
                "code": "310199198802299064",
                "name": "沈云舟",
                "records": [records["party"]],
            }
        ],
        "requirements": [
            {
                "requirement": "identity",
                "name": "身份证明",
                "mandatory": True,
                "exemptible": True,
                "exempted": True,
                "route": "historic_material",
                "item": photo,
                "verification": "vrf_1",
                "at": at("verification"),
            }
        ],
        "materials": [
            {
                "id": lease,
                "number": 1,
                "own": True,
                "case": case_id,
                "type": "lease",
                "type_name": "租赁合同",
                "title": "租赁合同 <新>\u000b",
                "form": "original",
                "requirement": "lease",
                "certified": {"by": "陈晓岚", "at": "2026-11-24T04:20:24.123Z"},
                "provenance": "certified_copy",
                "status": "pending",
                "issued_at": "2026-11-01T16:00:00.000Z",
                "registered_at": at("lease"),
                "parties": [{"party": party, "role": "owner"}],
                "files": [
                    file(
                        "data/materials/0001/0001.pdf", "租赁合同（新）.pdf", "application/pdf", PDF
                    )
                ],
                "records": [records["lease"]],
            },
            {
                "id": photo,
                "number": 2,
                "own": False,
                "case": "cas_0",
                "type": "identity_card",
                "type_name": "身份证",
                "title": "身份证",
                "form": "original",
                "provenance": "certified_copy",
                "status": "reusable",
                "registered_at": at("photo"),
                "parties": [{"party": party, "role": "owner"}],
                "files": [file("data/materials/0002/0001.jpg", "正面 1.jpg", "image/jpeg", JPEG)],
                "records": [records["photo"], records["reusable"]],
            },
        ],
        "licenses": [
            {
                "id": "lic_1",
                "number": 1,
                "result": True,
                "identifier": log.record(records["license"])["identifier"],
                "kind": "food_business_permit",
                "kind_name": "食品经营许可证",
                "holder": party,
                "issuer": "11310199MB2Y01016G",
                "status": "valid",
                "path": license_path,
                "records": [records["license"]],
            }
        ],
        "verifications": [
            {
                "id": "vrf_1",
                **copy.deepcopy(VERIFICATION),
                "item": photo,
                "at": at("verification"),
                "records": [records["verification"]],
            }
        ],
        "answers": [],
        "documents": [
            {
                "id": "doc_1",
                "number": 1,
                "kind": "verification_slip",
                "title": "核验结果单",
                "requirement": "identity",
                "verification": "vrf_1",
                "at": at("verification"),
                "path": "data/documents/0001.pdf",
                "size": len(SLIP),
                "sha256": hashlib.sha256(SLIP).hexdigest(),
                "records": [records["verification"]],
            }
        ],
        "grants": [{"id": "grt_1", **grant, "status": "granted", "records": [records["grant"]]}],
        "process": [
            step(1, "open", "draft", "opened"),
            step(2, "submit", "submitted", "submitted"),
            step(3, "close", "closed", "closed"),
        ],
        "checkpoints": [
            {
                "shard": "2026",
                "origin": head.origin,
                "size": head.size,
                "root": head.root.hex(),
                "path": "checkpoints/2026",
            }
        ],
        "receipts": [
            {
                "record": entry_id,
                "entity": log.record(entry_id)["entity"],
                "kind": log.record(entry_id)["kind"],
                "at": log.record(entry_id)["at"],
                "shard": "2026",
                "index": index,
                "path": f"receipts/{entry_id}.json",
            }
            for index, (entry_id, _, _) in enumerate(log.entries)
            if entry_id in records.values()
        ],
    }
    texts = {"checkpoints/2026": checkpoint.encode()}
    for item in case["receipts"]:
        texts[item["path"]] = log.receipt(item["record"], checkpoint)
    payload = {
        "data/materials/0001/0001.pdf": PDF,
        "data/materials/0002/0001.jpg": JPEG,
        "data/documents/0001.pdf": SLIP,
        license_path: license_data,
    }
    return FakePackage(log, case, payload, texts)


@pytest.fixture
def package() -> FakePackage:
    return make_package()


@pytest.fixture(scope="session")
def written_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("packages") / "package"
    made = make_package()
    made.write(root)
    root.with_name("policy.txt").write_bytes(made.log.policy)
    return root


@pytest.fixture
def folder(written_once: Path, tmp_path: Path) -> Path:
    """A good package that the test may change; `policy.txt` lies beside it."""
    shutil.copytree(written_once, tmp_path / "package")
    shutil.copy(written_once.with_name("policy.txt"), tmp_path / "policy.txt")
    return tmp_path / "package"
