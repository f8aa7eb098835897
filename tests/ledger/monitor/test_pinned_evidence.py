"""Evidence that a log names, against what its monitor pins: chains, authorities, ends of shards."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from kernel.canonical import JsonValue, canonical_bytes
from kernel.errors import CodedError
from ledger.anchors import chain_fields, stamp_fields
from ledger.demands import FORMAT, parse_demands
from ledger.errors import RefusedEvidenceInvalid
from ledger.evm.origins import origin_id
from ledger.leaves import EVIDENCE, public_leaf
from ledger.merkle import TILE_WIDTH
from ledger.monitor.evidence import MOST, MOST_PROVED, NewestNamed
from ledger.monitor.looking import BATCH_BYTES
from ledger.named_evidence import named_in
from ledger.policy import parse_policy
from ledger.refused_evidence import RefusedEvidence, parse_refused_evidence
from runtime.cli import run
from tests.ledger.evm.world import ADDRESSES, CODE, CONTRACT, World
from tests.ledger.monitor.conftest import ORIGIN, SIGNER, Served, Watch
from tests.servers.stamp_authority import StampAuthority

CHAIN = f"""
[[chain]]
name = "city chain"
contract = "0x{CONTRACT.hex()}"
code_hash = "0x{CODE.hex()}"
consensus = "qbft"
validators = [{", ".join(f'"0x{one.hex()}"' for one in ADDRESSES[:4])}]
"""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StampAuthority]:
    made = StampAuthority(tmp_path_factory.mktemp("stamps") / "authority")
    yield made
    made.close()


@pytest.fixture
def demands(tmp_path: Path, authority: StampAuthority) -> Path:
    path = tmp_path / "demands.toml"
    roots = authority.roots.decode()
    path.write_text(f'format = "{FORMAT}"\n{CHAIN}\n[[stamp]]\nname = "t"\nroots = """{roots}"""\n')
    return path


@dataclass
class Office:
    """Whoever writes the log, and gets evidence about the checkpoint that is served."""

    log: Served
    authority: StampAuthority

    def tell(self, kind: str, evidence: JsonValue) -> bytes:
        """The leaf that names this evidence, which is served from now on."""
        text = (self.log.folder / "checkpoint").read_text()
        data = canonical_bytes(
            {
                "type": "mianjiao.evidence/v1",
                "kind": kind,
                "source": kind,
                "checkpoint": text,
                "evidence": evidence,
            }
        )
        digest = sha256(data).hexdigest()
        file = self.log.folder / "evidence" / "sha256" / digest
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        told = {"kind": kind, "origin": ORIGIN, "size": self.log.tail.size, "sha256": digest}
        return public_leaf(EVIDENCE, {"evidence": [told]})

    def chain(self, *seals: int, contract: bytes = CONTRACT, root: bytes | None = None) -> bytes:
        tail = self.log.tail
        held = tail.root if root is None else root
        world = World(origin=origin_id(ORIGIN), size=tail.size, root=held, contract=contract)
        return self.tell(
            "chain", chain_fields(1, world.evidence(world.qbft(*(seals or (0, 1, 2)))))
        )

    def stamp(self, other: bytes = b"") -> bytes:
        token = self.authority.stamp((self.log.folder / "checkpoint").read_bytes() + other)
        between = x509.load_pem_x509_certificates(self.authority.between)
        certificates = [one.public_bytes(Encoding.DER) for one in between]
        tokens = [token, self.authority.stamp(token)]
        return self.tell("stamp", stamp_fields(tokens, certificates))


@pytest.fixture
def office(log: Served, authority: StampAuthority) -> Office:
    log.publish([b"one", b"two", b"three"])
    return Office(log, authority)


def test_chain_and_stamp_that_hold_are_counted(
    office: Office, watch: Watch, demands: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    office.log.publish([office.chain(), office.stamp(), office.tell("quorum", None)])
    metrics = tmp_path / "m.prom"
    code, facts = watch("--demands", str(demands), "--metrics", str(metrics))
    assert (code, facts["evidence"], facts["evidence_missed"]) == (0, 3, [])
    assert facts["evidence_pins"] == {"held": 2, "unchecked": [], "refused": []}
    assert "mianjiao_monitor_evidence_refused 0.0" in metrics.read_text()
    code, facts = watch("--demands", str(demands))
    assert (code, facts["evidence_pins"]) == (0, {"held": 0, "unchecked": [], "refused": []})


def test_without_demands_it_is_fetched_and_said_not_to_be_checked(
    office: Office, watch: Watch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    office.log.publish([office.chain(0)])  # too few seals
    code, facts = watch("--metrics", str(tmp_path / "m.prom"))
    assert (code, facts["evidence"]) == (0, 1)
    assert facts["evidence_pins"] == "not checked against pins"
    assert "evidence_refused" not in (tmp_path / "m.prom").read_text()
    told = ["--policy", str(tmp_path / "policy.txt"), "--state", str(tmp_path / "another")]
    assert run(["monitor", office.log.url, *told]) == 0
    assert "named evidence: 1, not checked against pins" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("lie", "why"),
    [
        (lambda office: office.chain(0, 1), "chain_not_trusted"),
        (lambda office: office.chain(0, 1, 4), "chain_not_trusted"),
        (lambda office: office.chain(root=bytes(range(32))), "chain_evidence_invalid"),
        (lambda office: office.stamp(b"x"), "stamp_invalid"),
        (lambda office: office.tell("chain", None), "receipt_malformed"),
        (lambda office: office.tell("chain", {"type": "mianjiao.chain/v2"}), "anchor_unknown"),
    ],
    ids=["few seals", "a stranger's seal", "another root", "another text", "none", "unknown"],
)
def test_evidence_that_fails_is_an_alarm_with_a_proof_for_others(
    office: Office, watch: Watch, demands: Path, tmp_path: Path, lie, why: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # type: ignore[no-untyped-def]  # fmt: skip
    office.log.publish([b"more"] * 300)
    leaf = lie(office)
    office.log.publish([b"before", leaf, office.chain()])
    metrics = tmp_path / "m.prom"
    code, facts = watch("--demands", str(demands), "--metrics", str(metrics))
    assert (code, facts["evidence_pins"]["held"]) == (1, 1)
    (refused,) = facts["evidence_pins"]["refused"]
    assert f": {why}; proof: " in refused
    assert "mianjiao_monitor_evidence_refused 1.0" in metrics.read_text()
    assert "mianjiao_monitor_exit_code 1.0" in metrics.read_text()
    proof = Path(refused.split("proof: ")[1])
    assert proof.parent == tmp_path / "state"
    # Others need the file, their own policy and their own pins; the log is gone.
    policy = tmp_path / "policy.txt"
    told = ["--policy", str(policy), "--demands", str(demands)]
    assert run(["refused-evidence", str(proof), *told]) == 0
    assert f"[{why}]" in capsys.readouterr().out
    code, facts = watch("--demands", str(demands))
    assert (code, facts["evidence_pins"]["refused"]) == (0, []), "said once"


def test_sources_that_the_demands_do_not_know_are_unchecked(
    office: Office, watch: Watch, tmp_path: Path, demands: Path
) -> None:
    other = office.chain(contract=b"\xc1" * 20)
    stamp = office.stamp()
    office.log.publish([other, stamp])
    demands.write_text(f'format = "{FORMAT}"\n{CHAIN}')
    code, facts = watch("--demands", str(demands))
    assert code == 0
    kinds = [one.split()[0] for one in facts["evidence_pins"]["unchecked"]]
    assert (kinds, facts["evidence_pins"]["held"]) == (["chain", "stamp"], 0)


def test_a_head_behind_the_end_that_is_pinned_is_refused(
    office: Office, watch: Watch, demands: Path, tmp_path: Path
) -> None:
    root = office.log.tail.root
    pin = f'\n[[retired]]\norigin = "{ORIGIN}"\nsize = 3\nroot = "0x{root.hex()}"\n'
    demands.write_text(f'format = "{FORMAT}"\n{pin}')
    assert watch("--demands", str(demands))[0] == 0
    office.log.publish([b"four"])
    code, facts = watch("--demands", str(demands))
    assert (code, facts["code"]) == (1, "checkpoint_after_end")
    kept = tmp_path / "state" / "after-end.checkpoint"
    assert kept.read_bytes() == (office.log.folder / "checkpoint").read_bytes()


@pytest.mark.parametrize("text", [f'format = "{FORMAT}"\n', "format = 1", "="])
def test_demands_that_say_nothing_are_unusable(
    office: Office, tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "policy.txt").write_text(f"log {SIGNER.key.text}\nquorum none\n")
    (tmp_path / "d").write_text(text)
    told = ["--policy", str(tmp_path / "policy.txt"), "--state", str(tmp_path / "s")]
    assert run(["monitor", office.log.url, *told, "--demands", str(tmp_path / "d")]) == 2
    assert not (tmp_path / "s").exists()


# --- The proof file ---


@pytest.fixture
def proved(office: Office, watch: Watch, demands: Path) -> RefusedEvidence:
    office.log.publish([office.chain(0), office.chain()])
    (refused,) = watch("--demands", str(demands))[1]["evidence_pins"]["refused"]
    return parse_refused_evidence(Path(refused.split("proof: ")[1]).read_bytes())


def test_a_proof_that_shows_nothing_is_refused(
    office: Office, proved: RefusedEvidence, demands: Path
) -> None:
    policy = parse_policy(f"log {SIGNER.key.text}\nquorum none\n".encode())
    pins = parse_demands(demands.read_bytes())
    assert proved.verify(policy, pins)[1].name == "city chain"
    assert parse_refused_evidence(proved.encode()) == proved
    folder = office.log.folder / "evidence" / "sha256"
    others = [one.read_bytes() for one in folder.iterdir() if one.read_bytes() != proved.document]
    unknown = replace(pins, chains=(), stamps=())
    believed = replace(pins, chains=(replace(pins.chains[0], validators=frozenset(ADDRESSES[:1])),))
    for wrong, told in (
        (replace(proved, document=others[0]), pins),  # named by another entry
        (replace(proved, document=proved.document + b" "), pins),
        (proved, unknown),
        (proved, believed),
    ):
        with pytest.raises(RefusedEvidenceInvalid):
            wrong.verify(policy, told)
    for wrong in (
        replace(proved, entry=proved.entry + b" "),
        replace(proved, proof=replace(proved.proof, index=4)),
    ):
        with pytest.raises(CodedError):
            wrong.verify(policy, pins)


def test_every_changed_byte_of_the_proof_is_refused(proved: RefusedEvidence, demands: Path) -> None:
    policy = parse_policy(f"log {SIGNER.key.text}\nquorum none\n".encode())
    pins = parse_demands(demands.read_bytes())
    data = proved.encode()
    for at in range(0, len(data), 7):
        changed = bytearray(data)
        changed[at] ^= 1 << at % 8
        with pytest.raises(CodedError):
            parse_refused_evidence(bytes(changed)).verify(policy, pins)
    for broken in (data[:-1], data + b"\n", data.replace(b"evidence/v1", b"evidence/v2"), b"{}\n"):
        with pytest.raises(CodedError):
            parse_refused_evidence(broken)
    shown = base64.b64encode(proved.entry)
    assert shown in data


def test_of_very_much_that_is_refused_the_first_are_proved(
    office: Office, watch: Watch, demands: Path, tmp_path: Path
) -> None:
    office.log.publish([office.chain(0)] * (MOST_PROVED + 3))
    code, facts = watch("--demands", str(demands))
    refused = facts["evidence_pins"]["refused"]
    assert (code, len(refused)) == (1, MOST_PROVED + 3)
    assert ["proof: " in one for one in refused] == [True] * MOST_PROVED + [False] * 3


def test_only_the_newest_names_are_held(office: Office, watch: Watch) -> None:
    """However many a log names: they are counted, and the newest are looked at."""
    leaf = public_leaf(
        EVIDENCE,
        {
            "evidence": [
                {"kind": "chain", "origin": ORIGIN, "size": 1, "sha256": f"{number:064x}"}
                for number in range(300)
            ]
        },
    )
    held = NewestNamed()
    for first in range(20):
        held.add(first, [leaf])
    assert (held.count, len(held.newest), held.newest[-1].index) == (6000, MOST, 19)
    office.log.publish([leaf] * 4)
    _, facts = watch()
    assert (facts["evidence"], len(facts["evidence_missed"])) == (1200, MOST)


@pytest.mark.parametrize("digest", ["../" * 21 + "x", "A" * 64, "/" * 64, "0" * 63 + "?"])
def test_what_is_no_digest_never_gets_into_an_address(digest: str) -> None:
    told: JsonValue = {"kind": "chain", "origin": ORIGIN, "size": 1, "sha256": digest}
    assert len(digest) == 64
    assert list(named_in(public_leaf(EVIDENCE, {"evidence": [told]}))) == []


def test_long_entries_are_read_a_few_bundles_at_a_time(log: Served, watch: Watch) -> None:
    """A log of others may fill whole bundles; what is held at once is bounded in bytes."""
    long = [b"%4d" % number + b"x" * 60_000 for number in range(TILE_WIDTH * 2 + 100)]
    assert TILE_WIDTH * 2 * len(long[0]) > BATCH_BYTES
    log.publish(long)
    code, facts = watch()
    assert (code, facts["size"]) == (0, len(long))
    log.publish(long)
    assert watch()[1]["size"] == 2 * len(long)
