"""A log whose Ed25519 key is in a token: the sequencer waits for it, and trusts it with nothing."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ledger.closing import close_shard, prepare_successor
from ledger.errors import KeyMismatch
from ledger.fsck import fsck
from ledger.keys import create_key_file, open_key_file
from ledger.pkcs11.errors import TokenKeyNotFound, TokenNotConfigured, TokenNotFound
from ledger.pkcs11.uris import TokenUri
from ledger.receipts import Evidence, verify_receipt
from ledger.shard_keys import key_path
from tests.engines import Engine
from tests.ledger.conftest import Store
from tests.servers.softhsm import Token

PATIENCE = 30.0


@pytest.fixture
def log(tmp_path: Path, engine: Engine, token: Token) -> Iterator[Store]:
    made = Store.create(tmp_path / "store", engine, token.tokens)
    yield made
    made.close()


def until(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def failure(log: Store) -> type[BaseException]:
    return type(log.ledger.sequencer.failure)


def test_its_receipts_verify_and_its_first_entry_names_the_key(log: Store) -> None:
    entry = log.record()
    log.sequence()
    assert isinstance(verify_receipt(log.receipt(entry.entry_id), log.policy), Evidence)
    body = json.loads(log.ledger.reader.entry(0))["body"]
    reference = key_path(log.directory, "2026").read_text()
    assert reference.split() == [reference.split()[0], body["vkey"]]
    assert reference.startswith("pkcs11:")
    assert fsck(log.ledger) == []


def test_reading_needs_neither_module_nor_pin_and_writing_does(log: Store) -> None:
    log.record()
    log.sequence()
    log.tokens = None
    unset = log.reopen()
    assert fsck(unset.ledger) == []
    unset.record()
    with pytest.raises(TokenNotConfigured):
        unset.sequence()
    assert unset.ledger.checkpoint().size == 2
    unset.close()


def test_a_token_taken_out_while_it_runs_is_waited_for(log: Store, token: Token) -> None:
    log.ledger.start()
    assert log.ledger.wait_for(log.record().entry_id, PATIENCE)
    token.take_out()
    late = log.record()
    until(lambda: failure(log) is TokenNotFound)
    assert not log.ledger.running
    size = log.ledger.checkpoint().size
    token.put_back()
    assert _published(log, late.entry_id)
    assert log.ledger.checkpoint().size == size + 1
    assert log.ledger.running
    log.ledger.stop()
    assert fsck(log.ledger) == []


def _published(log: Store, entry_id: str) -> bool:
    """`wait_for` ends at once while the log has stopped: ask until it goes on."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if log.ledger.wait_for(entry_id, 0.5):
            return True
        time.sleep(0.05)
    return False


def test_a_token_that_is_away_at_the_start_refuses_it(log: Store, token: Token) -> None:
    token.take_out()
    again = log.reopen()
    with pytest.raises(TokenNotFound):
        again.ledger.start()
    token.put_back()
    again.ledger.sequencer.restart()
    again.ledger.start()
    assert again.ledger.wait_for(again.record().entry_id, PATIENCE)
    again.close()


def test_a_key_that_is_gone_stops_the_log_for_good(log: Store, token: Token) -> None:
    log.ledger.start()
    assert log.ledger.wait_for(log.record().entry_id, PATIENCE)
    uri = key_path(log.directory, "2026").read_text().partition(" ")[0]
    token.tokens.destroy(TokenUri.parse(uri))
    log.record()
    until(lambda: failure(log) is TokenKeyNotFound and not log.ledger._worker.running)
    assert log.ledger.checkpoint().size == 2


def test_another_reference_is_another_log_s(log: Store, token: Token) -> None:
    path = key_path(log.directory, "2026")
    path.unlink()
    create_key_file(path, log.ledger.origin, token.tokens)
    stranger = log.reopen()
    with pytest.raises(KeyMismatch):
        stranger.sequence()
    stranger.close()


def test_a_log_that_is_not_born_leaves_no_checkpoint(
    tmp_path: Path, engine: Engine, token: Token
) -> None:
    token.take_out()
    with pytest.raises(TokenNotFound):
        Store.create(tmp_path / "store", engine, token.tokens)
    assert not key_path(tmp_path / "store", "2026").exists()
    token.put_back()


def test_the_key_of_a_shard_that_ended_is_destroyed_in_its_token(log: Store, token: Token) -> None:
    ended = key_path(log.directory, "2026")
    old = open_key_file(ended, token.tokens)
    old.prepare()
    successor = prepare_successor(log.ledger, "2027")
    close_shard(log.ledger, successor, log.now)
    following = log.reopen()
    token.take_out()
    with pytest.raises(TokenNotFound):
        following.sequence()
    assert ended.exists(), "it would never be destroyed"
    token.put_back()
    following.ledger.sequencer.restart()
    following.sequence()
    assert not ended.exists()
    with pytest.raises(TokenKeyNotFound):
        old.prepare()
    assert key_path(following.directory, "2027").read_text().startswith("pkcs11:")
    following.record()
    following.sequence()
    assert fsck(following.ledger) == []
    following.close()
