"""The witness's server, over real HTTP, against C2SP tlog-witness line by line."""

from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import httpx2
import pytest

from ledger.checkpoints import Checkpoint, parse_any_checkpoint, parse_checkpoint, sign_checkpoint
from ledger.cosignatures import verify_signatures
from ledger.keys import Ed25519Signer
from ledger.notes import Note, Signature, SignatureType, sign_note
from ledger.splitview import parse_split_view
from ledger.witness.requests import encode_request
from runtime.cli import run
from tests.nursery import nursery

from .conftest import ORIGIN, SIGNER, RunningWitness, StartWitness, Tree

TREE = Tree([b"entry %d" % number for number in range(200)])
FORK = Tree([b"entry %d" % number if number < 5 else b"other" for number in range(200)])
STRANGER = Ed25519Signer(ORIGIN, b"\x09" * 32)


def test_it_cosigns_with_both_keys_and_monitors_read_it(witness: RunningWitness) -> None:
    answer = witness.add(TREE.request(0, 7))
    assert answer.status_code == 200
    note = parse_checkpoint(TREE.signed(7).encode() + answer.content)
    verified = verify_signatures(note, witness.keys)
    assert [one.key.type for one in verified] == [
        SignatureType.COSIGNATURE_ED25519,
        SignatureType.COSIGNATURE_MLDSA44,
    ]
    assert all(one.time for one in verified)

    assert witness.add(TREE.request(7, 130)).status_code == 200
    read = httpx2.get(f"{witness.url}/{sha256(ORIGIN.encode()).hexdigest()}/checkpoint")
    latest = parse_checkpoint(read.content)
    assert latest.checkpoint == TREE.signed(130).checkpoint
    assert len(verify_signatures(latest, [SIGNER.key, *witness.keys])) == 3
    assert (
        f'mianjiao_witness_log_size{{origin="{ORIGIN}"}} 130.0'
        in httpx2.get(f"{witness.url}/metrics").text
    )


def test_the_same_checkpoint_again_is_cosigned_again(witness: RunningWitness) -> None:
    assert witness.add(TREE.request(0, 7)).status_code == 200
    assert witness.add(TREE.request(7, 7)).status_code == 200


def test_an_empty_tree_is_cosigned(witness: RunningWitness) -> None:
    assert witness.add(TREE.request(0, 0)).status_code == 200
    assert witness.add(TREE.request(0, 3)).status_code == 200


def test_an_old_size_that_is_not_the_recorded_one_gets_it(witness: RunningWitness) -> None:
    assert witness.add(TREE.request(0, 7)).status_code == 200
    for body in (TREE.request(0, 9), TREE.request(6, 9), TREE.request(8, 9), TREE.request(0, 3)):
        answer = witness.add(body)
        assert answer.status_code == 409
        assert answer.content == b"7\n"
        assert answer.headers["content-type"] == "text/x.tlog.size"


REFUSED: list[tuple[bytes, int]] = [
    (b"", 400),
    (b"old 0\n\n", 400),
    (b"old 00\n\n" + TREE.signed(7).encode(), 400),
    (b"old  0\n\n" + TREE.signed(7).encode(), 400),
    (b"old 0\n" + TREE.signed(7).encode(), 400),
    (b"old 0\r\n\n" + TREE.signed(7).encode(), 400),
    (b"old 0\nAAAA\n\n" + TREE.signed(7).encode(), 400),
    (encode_request(0, [b"\0" * 32] * 64, TREE.signed(7).encode()), 400),
    (encode_request(8, [], TREE.signed(7).encode()), 400),  # old > size
    (b"old 0\n\n" + b"x" * (1 << 20), 400),
    (encode_request(0, [b"\0" * 32], TREE.signed(7).encode()), 422),  # proof for old 0
    (Tree([b"a"], STRANGER).request(0, 1), 403),
    (Tree([b"a"], Ed25519Signer("other.example", b"\1" * 32)).request(0, 1), 404),
]


def test_refusals(witness: RunningWitness) -> None:
    answers = [witness.add(body).status_code for body, _ in REFUSED]
    assert answers == [status for _, status in REFUSED]
    assert witness.add(TREE.request(0, 7)).status_code == 200, "nothing was recorded"


def test_a_known_key_with_a_bad_signature_is_refused(witness: RunningWitness) -> None:
    signed = TREE.signed(7)
    line = signed.note.signatures[0]
    bad = Signature(line.name, line.key_id, bytes([line.blob[0] ^ 1]) + line.blob[1:])
    body = encode_request(0, [], Note(signed.note.text, (bad,)).encode())
    assert witness.add(body).status_code == 403


def test_the_empty_tree_has_one_root(witness: RunningWitness) -> None:
    head = sign_checkpoint(Checkpoint(ORIGIN, 0, b"\1" * 32), [SIGNER])
    assert witness.add(encode_request(0, [], head.encode())).status_code == 422


def test_signatures_of_others_are_ignored_and_not_kept(witness: RunningWitness) -> None:
    both = sign_note(TREE.signed(7).note.text, [STRANGER, SIGNER])
    assert witness.add(encode_request(0, [], both.encode())).status_code == 200
    read = httpx2.get(f"{witness.url}/{sha256(ORIGIN.encode()).hexdigest()}/checkpoint")
    lines = parse_checkpoint(read.content).note.signatures
    assert [one.key_id for one in lines] == [one.key_id for one in (SIGNER.key, *witness.keys)]


def test_extension_lines_of_other_logs_are_cosigned_too(witness: RunningWitness) -> None:
    text = TREE.signed(7).note.text + "of another kind of log\n"
    note = sign_note(text, [SIGNER])
    answer = witness.add(encode_request(0, [], note.encode()))
    assert answer.status_code == 200
    whole = parse_any_checkpoint(note.encode() + answer.content)
    assert whole.checkpoint.extension == "of another kind of log\n"
    assert len(verify_signatures(whole, witness.keys)) == 2


def test_a_tree_that_does_not_extend_the_recorded_one_is_refused(witness: RunningWitness) -> None:
    assert witness.add(TREE.request(0, 7)).status_code == 200
    assert witness.add(FORK.request(7, 9)).status_code == 422
    assert witness.add(TREE.request(7, 9)).status_code == 200


def test_two_roots_for_one_size_are_refused_and_proved(
    witness: RunningWitness, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert witness.add(TREE.request(0, 7)).status_code == 200
    assert witness.add(FORK.request(7, 7)).status_code == 422
    (proof,) = (witness.folder / "state").glob("split-view-*.json")
    parse_split_view(proof.read_bytes()).verify([SIGNER.key])

    policy = tmp_path / "policy.txt"
    policy.write_text(f"log {SIGNER.key.text}\nquorum none\n")
    assert run(["split-view", str(proof), "--policy", str(policy)]) == 0
    assert TREE.root(7).hex() in capsys.readouterr().out
    policy.write_text(f"log {STRANGER.key.text}\nquorum none\n")
    assert run(["split-view", str(proof), "--policy", str(policy)]) == 1


def test_unknown_origins_have_no_checkpoint(witness: RunningWitness) -> None:
    for name in (sha256(ORIGIN.encode()).hexdigest(), "0" * 64, "lock"):
        assert httpx2.get(f"{witness.url}/{name}/checkpoint").status_code == 404


def test_requests_at_once_never_roll_back(witness: RunningWitness) -> None:
    assert witness.add(TREE.request(0, 1)).status_code == 200
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda size: witness.add(TREE.request(1, size)), range(2, 34)))
    assert sorted(one.status_code for one in answers) == [200] + [409] * 31
    (winner,) = [size for size, one in enumerate(answers, start=2) if one.status_code == 200]
    assert {one.content for one in answers if one.status_code == 409} == {b"%d\n" % winner}


def test_what_was_cosigned_survives_a_kill(start_witness: StartWitness) -> None:
    first = start_witness()
    assert first.add(TREE.request(0, 7)).status_code == 200
    first.kill()
    again = start_witness()
    assert again.add(FORK.request(0, 9)).content == b"7\n"
    assert again.add(TREE.request(7, 9)).status_code == 200


def test_a_damaged_record_stops_the_start(start_witness: StartWitness) -> None:
    first = start_witness()
    assert first.add(TREE.request(0, 7)).status_code == 200
    first.kill()
    record = first.folder / "state" / sha256(ORIGIN.encode()).hexdigest() / "checkpoint"
    record.write_bytes(record.read_bytes().replace(b"\n7\n", b"\n6\n"))
    again = nursery().run("witness", "serve", "--config", first.folder / "witness.toml")
    assert again.returncode == 1
    assert "witness_state_corrupt" in again.stderr


def test_a_second_process_on_the_same_state_is_refused(start_witness: StartWitness) -> None:
    first = start_witness()
    again = nursery().run("witness", "serve", "--config", first.folder / "witness.toml")
    assert again.returncode == 1
    assert "witness_busy" in again.stderr
