"""The monitor against a real log behind a real web server, honest and lying."""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from kernel.canonical import canonical_bytes
from ledger.checkpoints import Checkpoint, sign_checkpoint
from ledger.keys import Ed25519Signer
from ledger.leaves import CLOSED, EVIDENCE, public_leaf
from ledger.splitview import parse_split_view
from runtime.cli import run
from tests.ledger.monitor.conftest import ORIGIN, SIGNER, Served, Watch


def entries(start: int, end: int, word: str = "entry") -> list[bytes]:
    return [f"{word} {number}".encode() for number in range(start, end)]


def test_it_follows_a_log_as_it_grows(log: Served, watch: Watch, tmp_path: Path) -> None:
    size = 0
    for count in (3, 0, 252, 1, 1, 700, 9000):
        log.publish(entries(size, size + count))
        size += count
        code, facts = watch("--metrics", str(tmp_path / "m.prom"))
        assert (code, facts["size"], facts["grown"]) == (0, size, count)
    assert f"mianjiao_monitor_log_size {size}.0" in (tmp_path / "m.prom").read_text()


def test_a_log_that_does_not_grow_is_late(log: Served, watch: Watch) -> None:
    log.publish(entries(0, 3))
    assert watch()[0] == 0
    code, facts = watch("--stall", "0")
    assert (code, facts["stalled"]) == (4, True)


def closing(origin: str = ORIGIN) -> bytes:
    successor = {
        "origin": "log.other.example/8",
        "shard": "8",
        "vkey": SIGNER.key.text,
        "mldsa44_vkey": SIGNER.key.text,
    }
    return public_leaf(CLOSED, {"origin": origin, "shard": "7", "successor": successor})


@pytest.mark.parametrize("size", [2, 255, 9000])
def test_a_log_that_ended_is_never_late(
    log: Served, watch: Watch, tmp_path: Path, size: int
) -> None:
    log.publish([*entries(0, size), closing()])
    for _ in range(2):
        code, facts = watch("--stall", "0", "--metrics", str(tmp_path / "m.prom"))
        assert (code, facts["stalled"], facts["successor"]) == (0, False, "log.other.example/8")
    assert "mianjiao_monitor_ended 1.0" in (tmp_path / "m.prom").read_text()
    log.publish(entries(size + 1, size + 2))
    assert watch()[1]["code"] == "log_damaged"


def test_entries_after_the_one_that_closes_a_log(log: Served, watch: Watch) -> None:
    """Also seen by a monitor that looks for the first time; words of others mean nothing."""
    log.publish([closing("another.example/7"), *entries(0, 9000)])
    code, facts = watch()
    assert (code, facts["successor"]) == (0, None)
    log.publish([closing(), *entries(0, 8400)])
    assert watch()[1]["code"] == "log_damaged"


@pytest.mark.parametrize("sizes", [(300, 300), (300, 700), (256, 257), (7, 9)])
def test_two_trees_are_noticed_and_proved(
    log: Served, watch: Watch, tmp_path: Path, sizes: tuple[int, int]
) -> None:
    log.publish(entries(0, sizes[0]))
    assert watch()[0] == 0
    log.restart()
    log.publish([*entries(0, 5), *entries(5, sizes[1], "other")])
    code, facts = watch()
    assert (code, facts["code"]) == (1, "log_split")
    (proof,) = (tmp_path / "state").glob("split-view-*.json")
    parse_split_view(proof.read_bytes()).verify([SIGNER.key])
    policy = str(tmp_path / "policy.txt")
    assert run(["split-view", str(proof), "--policy", policy]) == 0
    assert watch()[0] == 1, "what is wrong is never taken for verified"


def test_a_wrong_address_is_no_damage_but_a_log_that_vanishes_is(log: Served, watch: Watch) -> None:
    log.publish(entries(0, 300))
    (log.folder / "checkpoint").rename(log.folder / "aside")
    code, facts = watch()
    assert (code, facts["code"]) == (3, "log_unreachable")
    (log.folder / "aside").rename(log.folder / "checkpoint")
    assert watch()[0] == 0
    (log.folder / "checkpoint").unlink()
    code, facts = watch()
    assert (code, facts["code"]) == (1, "log_damaged")


def test_a_log_that_goes_back_is_noticed(log: Served, watch: Watch) -> None:
    log.publish(entries(0, 300))
    earlier = (log.folder / "checkpoint").read_bytes()
    log.publish(entries(300, 400))
    assert watch()[0] == 0
    (log.folder / "checkpoint").write_bytes(earlier)
    code, facts = watch()
    assert (code, facts["code"]) == (1, "log_rolled_back")


@pytest.mark.parametrize(
    "name", ["tile/0/000", "tile/0/002.p/88", "tile/1/000.p/2", "tile/entries/001"]
)
@pytest.mark.parametrize("how", ["flip", "cut", "remove"])
def test_every_tile_and_bundle_counts(log: Served, watch: Watch, name: str, how: str) -> None:
    log.publish(entries(0, 600))
    path = log.folder / name
    data = path.read_bytes()
    if how == "remove":
        path.unlink()
    else:
        path.write_bytes(data[:-1] if how == "cut" else data[:9] + bytes([data[9] ^ 1]) + data[10:])
    code, facts = watch()
    assert (code, facts["code"]) == (1, "log_damaged")


def test_another_key_is_refused(log: Served, watch: Watch) -> None:
    log.publish(entries(0, 3), Ed25519Signer(ORIGIN, b"\x0b" * 32))
    assert watch() == (1, watch()[1])
    assert watch()[1]["code"] == "log_not_trusted"


def test_an_unmet_quorum_is_late_not_wrong(log: Served, watch: Watch, tmp_path: Path) -> None:
    from ledger.keys import Ed25519Cosigner

    witness = Ed25519Cosigner("w.example", b"\x01" * 32).key.text
    text = f"log {SIGNER.key.text}\nwitness w {witness}\nquorum w\n"
    (tmp_path / "policy.txt").write_text(text)
    log.publish(entries(0, 3))
    code, facts = watch()
    assert (code, facts["quorum_met"]) == (4, False)


def test_a_log_that_cannot_be_read_is_not_called_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = tmp_path / "policy.txt"
    policy.write_text(f"log {SIGNER.key.text}\nquorum none\n")
    arguments = ["--policy", str(policy), "--state", str(tmp_path / "state")]
    assert run(["monitor", "http://127.0.0.1:9", *arguments]) == 3
    assert "log_unreachable" in capsys.readouterr().err


def test_a_damaged_state_is_named(log: Served, watch: Watch, tmp_path: Path) -> None:
    log.publish(entries(0, 300))
    assert watch()[0] == 0
    state = tmp_path / "state" / "verified.json"
    state.write_bytes(state.read_bytes().replace(b"300", b"299"))
    code, facts = watch()
    assert (code, facts["code"]) == (2, "monitor_state_unreadable")


@pytest.mark.parametrize("gone", [True, False])
def test_a_damaged_bundle_of_the_state_is_named(
    log: Served, watch: Watch, tmp_path: Path, gone: bool
) -> None:
    log.publish(entries(0, 300))
    assert watch()[0] == 0
    log.publish(entries(300, 310))
    assert watch()[0] == 0
    (bundle,) = (tmp_path / "state").glob("bundle-*")
    assert bundle.name == "bundle-310"
    if gone:
        bundle.unlink()
    else:
        bundle.write_bytes(bundle.read_bytes()[:-1] + b"?")
    code, facts = watch()
    assert (code, facts["code"]) == (2, "monitor_state_unreadable")


def named(log: Served, kind: str = "quorum", size: int | None = None) -> tuple[bytes, Path]:
    """A leaf that names the served checkpoint as evidence, and the file of that evidence."""
    text = (log.folder / "checkpoint").read_text()
    data = canonical_bytes(
        {"type": "mianjiao.evidence/v1", "kind": kind, "source": kind, "checkpoint": text,
         "evidence": None}
    )  # fmt: skip
    digest = sha256(data).hexdigest()
    file = log.folder / "evidence" / "sha256" / digest
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    told = {"kind": kind, "origin": ORIGIN, "size": size or log.tail.size, "sha256": digest}
    return public_leaf(EVIDENCE, {"at": "2026-11-24T04:00:00.000Z", "evidence": [told]}), file


def test_evidence_that_entries_name_is_fetched_and_compared(log: Served, watch: Watch) -> None:
    log.publish([b"one", b"two"])
    leaf, _ = named(log)
    log.publish([leaf])
    code, facts = watch()
    assert (code, facts["evidence"], facts["evidence_missed"]) == (0, 1, [])
    more, gone = named(log, "chain")
    log.publish([more])
    gone.unlink()
    code, facts = watch()
    assert code == 1
    assert facts["evidence_missed"] == [f"chain 3 {gone.name}: not served"]
    code, facts = watch()
    assert (code, facts["evidence_missed"]) == (0, []), "said once: the tree stands without it"


@pytest.mark.parametrize(
    ("tamper", "reason"),
    [
        (lambda data: data.replace(b"quorum", b"quorun", 1), "another digest"),
        (lambda data: b"", "another digest"),
    ],
)
def test_evidence_that_was_changed_is_missed(
    log: Served, watch: Watch, tamper: Callable[[bytes], bytes], reason: str
) -> None:
    log.publish([b"one"])
    leaf, file = named(log)
    file.write_bytes(tamper(file.read_bytes()))
    log.publish([leaf])
    code, facts = watch()
    assert code == 1
    assert facts["evidence_missed"] == [f"quorum 1 {file.name}: {reason}"]


def test_evidence_about_something_else_or_signed_by_nobody_is_missed(
    log: Served, watch: Watch
) -> None:
    log.publish([b"one"])
    elsewhere, _ = named(log, size=7)
    signed = (log.folder / "checkpoint").read_bytes()
    other = Ed25519Signer(ORIGIN, b"\x0b" * 32)
    head = Checkpoint(ORIGIN, log.tail.size, log.tail.root)
    (log.folder / "checkpoint").write_bytes(sign_checkpoint(head, [other]).encode())
    forged, _ = named(log)
    (log.folder / "checkpoint").write_bytes(signed)
    log.publish([elsewhere, forged])
    code, facts = watch()
    assert code == 1
    reasons = [one.split(": ")[1] for one in facts["evidence_missed"]]
    assert reasons == ["about something else", "its checkpoint is not signed by the log"]
