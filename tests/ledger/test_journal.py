"""The journal and the records: in the business transaction, sealed, checked, erasable."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select, update

from kernel.clock import time_text
from kernel.ids import IdKind, new_id
from ledger.errors import (
    EntryUnknown,
    ErasurePending,
    NotInLog,
    NotYetLogged,
    PublicEntry,
    RecordCorrupt,
    RecordErased,
    RecordInvalid,
    RecordTooLarge,
)
from ledger.leaves import (
    BlindedLeaf,
    LeafMalformed,
    PublicLeaf,
    commitment,
    parse_leaf,
    public_leaf,
)
from ledger.receipts import Evidence, verify_receipt
from ledger.tables import ledger_entries
from storage.database import WriteTx


class Refused(Exception):
    pass


def row_of(store: Any, entry_id: str) -> Any:
    with store.database.read() as tx:
        return tx.one(select(ledger_entries).where(ledger_entries.c.entry_id == entry_id))


def opened(store: Any, entry_id: str) -> Any:
    with store.database.read() as tx:
        return store.ledger.records.open(tx, entry_id)


@pytest.mark.both_engines
def test_a_record_commits_with_its_transaction_or_not_at_all(store: Any) -> None:
    ids: list[str] = []

    def fails(tx: WriteTx) -> None:
        ids.append(store.ledger.journal.record(tx, store.now, "case.opened", "cas_1", {}).entry_id)
        raise Refused

    with pytest.raises(Refused):
        store.database.write(fails)
    with pytest.raises(EntryUnknown):
        opened(store, ids[0])
    assert store.sequence() == 0


def test_a_record_is_flat_and_opens_to_what_was_written(store: Any) -> None:
    entry = store.record({"title": "租赁合同", "status": "pending"}, "mat_x")
    record = opened(store, entry.entry_id)
    assert record.body == {
        "v": 1,
        "kind": "material.registered",
        "entity": "mat_x",
        "at": time_text(entry.at),
        "title": "租赁合同",
        "status": "pending",
    }
    leaf = parse_leaf(record.leaf)
    assert leaf == BlindedLeaf(commitment(record.salt, record.canonical))
    assert (record.shard, record.leaf_index) == (None, None)


def test_leaves_of_the_same_record_differ_and_show_nothing(store: Any) -> None:
    first = opened(store, store.record({"name": "顾明远"}, "mat_x").entry_id)
    second = opened(store, store.record({"name": "顾明远"}, "mat_x").entry_id)
    assert first.leaf != second.leaf
    assert len(first.leaf) == len(second.leaf)
    row = row_of(store, first.entry_id)
    for column in ("leaf", "sealed", "wrapped_key"):
        assert "顾明远".encode() not in row[column]


def test_many_records_keep_their_order(store: Any) -> None:
    entries = store.record_many(600)
    assert len({entry.entry_id for entry in entries}) == 600
    store.sequence()
    records = [opened(store, entry.entry_id) for entry in entries]
    assert [record.leaf_index for record in records] == list(range(1, 601))
    assert [record.body["number"] for record in records] == list(range(600))


@pytest.mark.parametrize(
    ("kind", "entity", "body", "error"),
    [
        ("material.registered", "mat_x", {"kind": "x"}, RecordInvalid),
        ("material.registered", "mat_x", {"at": "x"}, RecordInvalid),
        ("material.registered", "mat_x", {"v": 2}, RecordInvalid),
        ("material.registered", "mat_x", {"entity": "x"}, RecordInvalid),
        ("material.registered", "mat_x", {"a": 1.5}, RecordInvalid),
        ("material.registered", "mat_x", {"a": 1 << 53}, RecordInvalid),
        ("material.registered", "mat_x", {"a": "\ud800"}, RecordInvalid),
        ("material.registered", "mat_x", {"名": 1}, RecordInvalid),
        ("Material", "mat_x", {}, RecordInvalid),
        ("", "mat_x", {}, RecordInvalid),
        ("a.", "mat_x", {}, RecordInvalid),
        ("k" * 65, "mat_x", {}, RecordInvalid),
        ("material.registered", "", {}, RecordInvalid),
        ("material.registered", "m" * 65, {}, RecordInvalid),
        ("material.registered", "mat_x", {"a": "x" * 600_000}, RecordTooLarge),
    ],
)
def test_a_bad_record_is_refused_and_nothing_is_stored(
    store: Any, kind: str, entity: str, body: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        store.database.write(
            lambda tx: store.ledger.journal.record(tx, store.now, kind, entity, body)
        )
    assert store.sequence() == 0


def test_a_record_nested_as_deep_as_allowed_still_gets_a_receipt(store: Any) -> None:
    value: Any = "x"
    for _ in range(14):
        value = [value]
    entry = store.record({"a": value})
    store.sequence()
    assert isinstance(verify_receipt(store.receipt(entry.entry_id), store.policy), Evidence)
    with pytest.raises(RecordInvalid):
        store.record({"a": [value]})


def test_latest_and_history_follow_the_entity(store: Any) -> None:
    for status in ("pending", "accepted", "invalid"):
        store.record({"status": status}, "mat_x")
        store.record({"status": "other"}, "mat_y")
    with store.database.read() as tx:
        assert store.ledger.records.latest(tx, "mat_x").body["status"] == "invalid"
        statuses = [one.body["status"] for one in store.ledger.records.history(tx, "mat_x")]
        assert statuses == ["pending", "accepted", "invalid"]
        for read in (store.ledger.records.latest, store.ledger.records.history):
            with pytest.raises(EntryUnknown):
                read(tx, "mat_z")


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "material.verified"},
        {"entity": "mat_y"},
        {"leaf": b'{"commitment":"sha256:' + b"0" * 64 + b'","v":1}'},
        {"leaf": b"junk"},
        {"sealed": b"x" * 100},
        {"sealed": b""},
        {"wrapped_key": b"x" * 60},
        {"key_epoch": 2},
        {"public": True},
    ],
)
def test_an_edited_row_is_not_believed(store: Any, change: dict[str, Any]) -> None:
    entry = store.record(entity="mat_x")
    statement = (
        update(ledger_entries).where(ledger_entries.c.entry_id == entry.entry_id).values(**change)
    )
    store.database.write(lambda tx: tx.execute(statement).rowcount)
    with pytest.raises(RecordCorrupt):
        opened(store, entry.entry_id)


def test_a_record_moved_to_another_row_does_not_open(store: Any) -> None:
    one, two = store.record(entity="mat_x"), store.record(entity="mat_x")
    row = row_of(store, one.entry_id)
    moved = {name: row[name] for name in ("sealed", "wrapped_key", "leaf", "at")}
    statement = (
        update(ledger_entries).where(ledger_entries.c.entry_id == two.entry_id).values(**moved)
    )
    store.database.write(lambda tx: tx.execute(statement).rowcount)
    with pytest.raises(RecordCorrupt):
        opened(store, two.entry_id)


def test_a_record_is_proved_by_the_published_tiles(store: Any) -> None:
    entry = store.record()
    with pytest.raises(NotYetLogged):
        store.ledger.records.prove(opened(store, entry.entry_id))
    with pytest.raises(NotYetLogged):
        store.receipt(entry.entry_id)
    store.sequence()
    record = opened(store, entry.entry_id)
    inclusion = store.ledger.records.prove(record)
    assert (inclusion.shard, inclusion.index, inclusion.size) == ("2026", 1, 2)
    assert inclusion.root == store.ledger.checkpoint().root
    evidence = verify_receipt(store.receipt(entry.entry_id), store.policy)
    assert isinstance(evidence, Evidence)
    assert evidence.record == record.body


def test_a_row_with_anothers_index_is_not_in_the_log(store: Any) -> None:
    one, two = store.record(), store.record()
    store.sequence()
    columns = ledger_entries.c

    def forge(tx: WriteTx) -> None:
        tx.execute(delete(ledger_entries).where(columns.entry_id == one.entry_id))
        tx.execute(
            update(ledger_entries).where(columns.entry_id == two.entry_id).values(leaf_index=1)
        )

    store.database.write(forge)
    with pytest.raises(NotInLog):
        store.ledger.records.prove(opened(store, two.entry_id))
    store.database.write(
        lambda tx: (
            tx.execute(
                update(ledger_entries).where(columns.entry_id == two.entry_id).values(shard="2025")
            ).rowcount
        )
    )
    with pytest.raises(NotInLog):
        store.receipt(two.entry_id)


def test_a_public_leaf_is_readable_by_everyone(store: Any) -> None:
    entry = store.database.write(
        lambda tx: store.ledger.journal.publish(tx, store.now, "catalogue.changed", {"version": 2})
    )
    store.sequence()
    leaf = parse_leaf(store.ledger.reader.entry(1))
    assert leaf == PublicLeaf("catalogue.changed", {"at": time_text(entry.at), "version": 2})
    assert opened(store, entry.entry_id).body == leaf.body
    with pytest.raises(PublicEntry):
        store.receipt(entry.entry_id)


def test_a_public_leaf_over_the_limit_of_a_bundle_is_refused(store: Any) -> None:
    for body, error in [({"a": "x" * 65_600}, RecordTooLarge), ({"at": "x"}, RecordInvalid)]:
        with pytest.raises(error):
            store.database.write(
                lambda tx, body=body: store.ledger.journal.publish(tx, store.now, "x", body)
            )
    public_leaf("x", {"a": "x" * 65_000})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b'{"commitment":"sha256:' + b"0" * 63 + b'","v":1}',
        b'{"commitment":"sha256:' + b"A" * 64 + b'","v":1}',
        b'{"commitment":"sha256:' + b"0" * 64 + b'","v":2}',
        b'{"v":1,"commitment":"sha256:' + b"0" * 64 + b'"}',
        b'{"body":{},"kind":"x","v":true}',
        b'{"body":[],"kind":"x","v":1}',
        b'{"body":{},"kind":"X","v":1}',
        b'{"body":{},"kind":"x","v":1} ',
        b'{"body":{},"extra":1,"kind":"x","v":1}',
        b'{"body":{},"kind":"x","v":1.0}',
        b"\xff",
        b'{"body":{"a":"' + b"x" * 66_000 + b'"},"kind":"x","v":1}',
    ],
)
def test_an_entry_of_another_form_is_refused(data: bytes) -> None:
    with pytest.raises(LeafMalformed):
        parse_leaf(data)


def test_erasing_destroys_every_record_of_the_entity_and_says_so(store: Any) -> None:
    gone = [store.record({"title": "秘密"}, "mat_x") for _ in range(3)]
    kept = store.record({"title": "其他"}, "mat_y")

    def erase(tx: WriteTx) -> Any:
        return store.ledger.journal.erase(tx, store.now, "mat_x")

    with pytest.raises(ErasurePending):
        store.database.write(erase)
    assert opened(store, gone[0].entry_id).body["title"] == "秘密"
    store.sequence()
    receipt = store.receipt(kept.entry_id)
    ended = store.database.write(erase)
    for entry in gone:
        with pytest.raises(RecordErased):
            opened(store, entry.entry_id)
        row = row_of(store, entry.entry_id)
        assert (row["sealed"], row["wrapped_key"], row["key_epoch"]) == (None, None, None)
        assert row["leaf_index"] is not None
    assert store.database.write(erase) == ended
    store.sequence()
    leaf = parse_leaf(store.ledger.reader.entry(5))
    assert isinstance(leaf, PublicLeaf)
    assert leaf.kind == "ended"
    assert leaf.body["reason"] == "erased"
    assert leaf.body["indexes"] == [1, 2, 3]
    assert leaf.body["shard"] == "2026"
    assert "mat_x" not in str(leaf.body)
    assert isinstance(verify_receipt(receipt, store.policy), Evidence)
    assert isinstance(verify_receipt(store.receipt(kept.entry_id), store.policy), Evidence)
    assert store.fsck() == []
    with pytest.raises(EntryUnknown):
        store.database.write(lambda tx: store.ledger.journal.erase(tx, store.now, "mat_nobody"))


@pytest.mark.sqlite_only  # what PostgreSQL forgets is decided by the keys
def test_an_erased_title_is_in_no_file_of_the_store(store: Any) -> None:
    entry = store.record({"title": "身份证号码三一零一九九"}, "mat_x")
    store.sequence()
    key = row_of(store, entry.entry_id)["wrapped_key"]
    store.database.write(lambda tx: store.ledger.journal.erase(tx, store.now, "mat_x"))
    assert store.database.forget_deleted()
    for file in store.directory.rglob("*"):
        if file.is_file():
            assert key not in file.read_bytes(), file


@pytest.mark.both_engines
def test_an_erasure_of_many_records_is_said_in_several_leaves(store: Any) -> None:
    rows = [("material.noted", "mat_x", {"n": number}) for number in range(4_100)]
    at = store.now
    store.database.write(lambda tx: store.ledger.journal.record_many(tx, at, rows))
    store.sequence()
    store.database.write(lambda tx: store.ledger.journal.erase(tx, store.now, "mat_x"))
    assert store.sequence() == 3
    assert store.fsck() == []


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 53) + 1, (1 << 53) - 1)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(max_codepoint=126), max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.mark.both_engines
def test_any_record_survives_the_way_through_the_log(store: Any) -> None:
    @given(st.dictionaries(st.sampled_from(["a", "b", "title", "files"]), JSON, max_size=4))
    @settings(max_examples=25, deadline=None)
    def check(body: dict[str, Any]) -> None:
        entry = store.record(body, new_id(IdKind.MATERIAL))
        store.sequence()
        evidence = verify_receipt(store.receipt(entry.entry_id), store.policy)
        assert isinstance(evidence, Evidence)
        assert {name: evidence.record[name] for name in body} == body

    check()


def test_a_waiter_is_woken_by_publication(store: Any) -> None:
    store.ledger.start()
    done: list[bool] = []

    def one() -> None:
        entry = store.record()
        done.append(store.ledger.wait_for(entry.entry_id, 20))
        assert store.receipt(entry.entry_id)

    threads = [threading.Thread(target=one) for _ in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == [True] * 24
    store.ledger.stop()
    assert store.fsck() == []


def test_waiting_ends_when_nobody_sequences(store: Any) -> None:
    entry = store.record()
    assert store.ledger.wait_for(entry.entry_id, 0.05) is False
    with pytest.raises(EntryUnknown):
        store.ledger.wait_for("ent_unknown", 1)


def test_a_waiter_sees_what_another_process_published(
    store: Any, open_store: Callable[..., Any]
) -> None:
    entry = store.record()
    other = open_store(store.directory)
    try:
        timer = threading.Timer(0.3, other.sequence)
        timer.start()
        assert store.ledger.wait_for(entry.entry_id, 20)
        timer.join()
    finally:
        other.close()
