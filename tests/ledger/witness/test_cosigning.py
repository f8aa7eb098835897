"""The ledger's side: real witness processes cosign a real log; outages complete by themselves."""

import base64
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ledger.checkpoints import parse_checkpoint
from ledger.closing import close_shard, prepare_successor
from ledger.errors import (
    DatabaseOlderThanLog,
    LogDiverged,
    LogNotTrusted,
    NotYetLogged,
    OutsideUnreachable,
)
from ledger.keys import Ed25519Signer
from ledger.policy import evaluate, parse_policy
from ledger.receipts import Evidence, verify_receipt
from ledger.shard_keys import key_path
from ledger.witness.cosigning import Cosigning, quorum_met
from tests.ledger.conftest import Store

from .conftest import ORIGIN, RunningWitness, StartWitness, Tree

SECONDS = 20.0


def policy_of(store: Any, witnesses: list[RunningWitness], need: str = "all") -> str:
    lines = "".join(one.policy_lines(f"w{number}") for number, one in enumerate(witnesses))
    members = " ".join(f"w{number}" for number in range(len(witnesses)))
    logs = store.ledger.policy_text().replace("quorum none\n", "")
    return f"{logs}{lines}group q {need} {members}\nquorum q\n"


def use(store: Any, text: str, *, hold_back: bool = False) -> None:
    store.ledger.use_witnesses(parse_policy(text.encode()), seconds=SECONDS, hold_back=hold_back)


def eventually(met: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not met():
        assert time.monotonic() < deadline, f"not within a minute: {what}"
        time.sleep(0.05)


def published(store: Any) -> Any:
    return parse_checkpoint((store.log / "checkpoint").read_bytes())


def test_checkpoints_are_cosigned_and_receipts_meet_the_quorum(
    store: Store, start_witness: StartWitness
) -> None:
    vkeys = [store.ledger.vkey]
    text = policy_of(store, [start_witness("w1", vkeys), start_witness("w2", vkeys)])
    policy = parse_policy(text.encode())
    use(store, text)
    entry = store.record().entry_id
    store.ledger.start()
    assert store.ledger.wait_for(entry, 30)

    def complete() -> bool:
        return isinstance(verify_receipt(store.receipt(entry), policy), Evidence)

    eventually(complete, "a receipt that meets the quorum")
    outcome = verify_receipt(store.receipt(entry), policy)
    assert isinstance(outcome, Evidence)
    assert len(outcome.checkpoint.cosignatures) == 4
    assert outcome.checkpoint.post_quantum
    eventually(lambda: len(published(store).note.signatures) == 6, "the served checkpoint")
    assert evaluate(policy, published(store)).unknown_signatures == 0


def test_the_end_of_a_shard_is_cosigned_when_witnesses_are_back(
    store: Any, start_witness: StartWitness
) -> None:
    store.record()
    before = store.ledger
    close_shard(before, prepare_successor(before, "2027"), store.now)
    after = store.reopen()
    after.ledger.sequence(after.now)
    vkeys = [before.vkey, after.ledger.vkey]
    witness = start_witness("w1", vkeys)
    text = policy_of(after, [witness])
    policy = parse_policy(text.encode())
    witness.kill()
    use(after, text)
    ended = after.directory / "log" / before.shard / "checkpoint"
    try:
        assert after.ledger.cosign_ended() == [before.origin]
        assert not quorum_met(policy, parse_checkpoint(ended.read_bytes()))
        start_witness("w1", vkeys, witness.port)
        assert after.ledger.cosign_ended() == []
        evaluate(policy, parse_checkpoint(ended.read_bytes()))  # raises unless it is met
    finally:
        after.ledger.stop()


def test_a_witness_that_is_down_blocks_nothing_and_completes_later(
    store: Store, start_witness: StartWitness
) -> None:
    vkeys = [store.ledger.vkey]
    first, second = start_witness("w1", vkeys), start_witness("w2", vkeys)
    use(store, policy_of(store, [first, second]), hold_back=True)
    policy = store.ledger.cosigning.policy  # type: ignore[union-attr]
    second.kill()
    store.ledger.start()
    entry = store.record().entry_id
    assert store.ledger.wait_for(entry, 30), "the log goes on"
    with pytest.raises(NotYetLogged):
        store.receipt(entry)
    port = int(second.url.rsplit(":", 1)[1])
    start_witness("w2", vkeys, port)

    def complete() -> bool:
        try:
            return isinstance(verify_receipt(store.receipt(entry), policy), Evidence)
        except NotYetLogged:
            return False

    eventually(complete, "the receipt that was held back")


def test_a_witness_that_never_ends_its_answer_holds_up_nobody_else(
    store: Store, start_witness: StartWitness, tmp_path: Path
) -> None:
    """No silence is long enough to be a time-out, and the answer has no end."""
    good, bad = (start_witness(name, [store.ledger.vkey]) for name in ("w1", "w2"))
    bad.kill()
    done = threading.Event()

    def trickle(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while not done.wait(0.05):
                connection.sendall(b"H")

    def serve() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=trickle, args=(listener.accept()[0],), daemon=True).start()

    listener = socket.create_server(("127.0.0.1", bad.port))
    threading.Thread(target=serve, daemon=True).start()
    text = policy_of(store, [good, bad], "any")
    store.ledger.use_witnesses(parse_policy(text.encode()), seconds=0.5, hold_back=False)
    cosigning = store.ledger.cosigning
    assert cosigning is not None
    try:
        for _ in range(2):
            begun = time.monotonic()
            found = cosigning.round(store.ledger.signed_checkpoint(), everyone=True)
            assert time.monotonic() - begun < 15
            assert found.met
            assert [one.code for one in found.failures.values()] == ["witness_unavailable"]
    finally:
        done.set()
        listener.close()


def test_a_former_leader_sees_the_quorum_that_the_next_one_collected(
    store: Store, start_witness: StartWitness
) -> None:
    use(store, policy_of(store, [start_witness("w1", [store.ledger.vkey])]))
    cosigning = store.ledger.cosigning
    assert cosigning is not None
    cosigning.round(store.ledger.signed_checkpoint())
    former = cosigning.met
    store.record()
    store.sequence()
    other = Cosigning(
        cosigning.policy,
        store.ledger.reader,
        store.ledger.sequencer.republish,
        store.clock,
        SECONDS,
    )
    other._collect(store.ledger.signed_checkpoint())
    other.stop()
    assert cosigning.met is not None
    assert former is not None
    assert cosigning.met.signed.checkpoint == store.ledger.checkpoint()
    assert former.signed.checkpoint.size < store.ledger.checkpoint().size


def test_unmet_quorum_as_pending_serves_what_there_is(
    store: Store, start_witness: StartWitness
) -> None:
    vkeys = [store.ledger.vkey]
    first, second = start_witness("w1", vkeys), start_witness("w2", vkeys)
    use(store, policy_of(store, [first, second]))
    second.kill()
    store.ledger.start()
    entry = store.record().entry_id
    assert store.ledger.wait_for(entry, 30)
    assert isinstance(verify_receipt(store.receipt(entry), store.policy), Evidence)


def test_what_each_witness_did_can_be_seen(store: Store, start_witness: StartWitness) -> None:
    vkeys = [store.ledger.vkey]
    first, second = start_witness("w1", vkeys), start_witness("w2", vkeys)
    use(store, policy_of(store, [first, second]))
    cosigning = store.ledger.cosigning
    assert cosigning is not None
    assert [one.reachable for one in cosigning.states()] == [None, None]
    told: list[tuple[str, str | None]] = []
    cosigning.witnesses.observe = lambda name, code: told.append((name, code))
    second.kill()
    signed = store.ledger.signed_checkpoint()
    done = cosigning.round(signed)
    up, down = cosigning.states()
    assert (up.name, up.reachable, up.size) == ("w1.example", True, signed.checkpoint.size)
    assert (up.succeeded_at, up.failure) == (store.clock.now(), None)
    assert (down.name, down.reachable, down.size) == ("w2.example", False, 0)
    assert (down.succeeded_at, down.failure) == (None, "witness_unavailable")
    assert sorted(told) == [("w1.example", None), ("w2.example", "witness_unavailable")]
    assert not done.met
    assert cosigning.met is None
    start_witness("w2", vkeys, second.port)
    met_at = store.now
    cosigning.round(done.signed, everyone=True)
    assert cosigning.met is not None
    assert (cosigning.met.signed.checkpoint, cosigning.met.at) == (signed.checkpoint, met_at)
    assert [one.reachable for one in cosigning.states()] == [True, True]


def test_without_any_witness_work_is_accepted_and_nothing_signed(
    store: Store, start_witness: StartWitness
) -> None:
    witness = start_witness("w1", [store.ledger.vkey])
    use(store, policy_of(store, [witness]))
    witness.kill()
    before = store.ledger.checkpoint()
    store.ledger.start()
    entry = store.record().entry_id
    # It asks again every second, and never looks well in between.
    deadline = time.monotonic() + 2.5
    while time.monotonic() < deadline:
        assert isinstance(store.ledger.sequencer.failure, OutsideUnreachable)
        assert not store.ledger.running
        time.sleep(0.002)
    assert not store.ledger.wait_for(entry, 1)
    assert store.ledger.checkpoint() == before
    start_witness("w1", [store.ledger.vkey], int(witness.url.rsplit(":", 1)[1]))
    eventually(lambda: store.ledger.checkpoint().size > before.size, "the log goes on")
    assert store.ledger.running


def test_a_witness_that_saw_more_stops_an_older_database(
    store: Store, start_witness: StartWitness, tmp_path: Path
) -> None:
    witness = start_witness("w1", [store.ledger.vkey])
    larger = Tree([b"x"] * 9, forger(store, store.ledger.shard))
    assert witness.add(larger.request(0, 9)).status_code == 200
    use(store, policy_of(store, [witness]))
    with pytest.raises(DatabaseOlderThanLog):
        store.ledger.sequence(datetime.now(UTC))


def test_a_witness_that_saw_another_tree_stops_the_log(
    store: Store, start_witness: StartWitness
) -> None:
    witness = start_witness("w1", [store.ledger.vkey])
    other = Tree([b"x"], forger(store, store.ledger.shard))
    assert witness.add(other.request(0, 1)).status_code == 200
    use(store, policy_of(store, [witness]))
    with pytest.raises(LogDiverged):
        store.ledger.sequence(datetime.now(UTC))


def test_a_policy_of_another_log_is_refused(store: Store) -> None:
    other = Ed25519Signer(ORIGIN, b"\x03" * 32).key.text
    with pytest.raises(LogNotTrusted):
        use(store, f"log {other}\nquorum none\n")


def forger(store: Store, shard: str) -> Ed25519Signer:
    """Signs with the log's own key, as an operator with two trees does."""
    line = key_path(store.directory, shard).read_text().strip()
    origin = f"{store.ledger.origin.rpartition('/')[0]}/{shard}"
    return Ed25519Signer(origin, base64.b64decode(line.split("+", 4)[4])[1:])
