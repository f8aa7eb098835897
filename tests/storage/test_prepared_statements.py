from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from sqlalchemy import bindparam, delete, insert, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from storage.database import Database, WriteTx
from storage.database.prepared import Prepared, read_ahead
from storage.errors import StorageFailed
from storage.tables import audit, objects

pytestmark = pytest.mark.both_engines

ADD = Prepared(insert(objects), objects.c.keys())
NOTE = Prepared(insert(audit), ["at", "principal", "role", "action", "entity", "outcome"])
ALL = Prepared(
    select(objects.c.object_key, objects.c.cipher_sha256, objects.c.created_at).order_by(
        objects.c.object_key
    )
)
ONE = Prepared(select(objects).where(objects.c.object_key == bindparam("key")))
CLAIM = Prepared(
    update(objects)
    .where(objects.c.object_key == bindparam("key"), objects.c.created_at <= bindparam("at"))
    .values(claimed_by=bindparam("owner"))
)
REMOVE = Prepared(delete(objects).where(objects.c.object_key == bindparam("key")))


def row(key: str, at: datetime) -> dict[str, object]:
    return {
        "object_key": key,
        "size": 1,
        "cipher_size": 73,
        "cipher_sha256": bytes(32),
        "wrapped_key": None,
        "key_epoch": 1,
        "created_at": at,
        "claimed_by": None,
        "erased_at": None,
        "retain_until": None,
        "locked_until": None,
        "forgotten_at": None,
    }


def note(at: datetime, entity: str) -> dict[str, object]:
    return {
        "at": at,
        "principal": "crd_x",
        "role": "window",
        "action": "test",
        "entity": entity,
        "outcome": "done",
    }


def test_prepared_statements_and_core_see_the_same_values(database: Database, at: datetime) -> None:
    database.write(lambda tx: ADD.run(tx, row("a", at)))
    with database.read() as tx:
        prepared = ONE.one(tx, {"key": "a"})
        core = tx.one(select(objects))
    assert core is not None
    assert prepared == dict(core) == row("a", at)
    assert prepared is not None
    assert prepared["created_at"].tzinfo is UTC


def test_parameters_are_converted_by_their_column_types(database: Database, at: datetime) -> None:
    database.write(lambda tx: ADD.run(tx, row("a", at)))
    give = {"key": "a", "owner": "mat_x", "at": at}
    assert database.write(lambda tx: CLAIM.run(tx, give)) == 1
    assert database.write(lambda tx: CLAIM.run(tx, {**give, "key": "b"})) == 0
    with database.read() as tx:
        assert tx.scalar(select(objects.c.claimed_by)) == "mat_x"


def test_rows_come_in_order_and_none_is_none(database: Database, at: datetime) -> None:
    for key in "cab":
        database.write(lambda tx, key=key: ADD.run(tx, row(key, at)))
    with database.read() as tx:
        assert [found["object_key"] for found in ALL.all(tx, {})] == ["a", "b", "c"]
        assert ALL.all(tx, {})[0]["created_at"] == at
        assert ONE.one(tx, {"key": "z"}) is None
        with pytest.raises(ValueError, match="more than one"):
            ALL.one(tx, {})
    assert database.write(lambda tx: REMOVE.run(tx, {"key": "a"})) == 1


def test_values_in_the_statement_itself_are_kept_and_converted(
    database: Database, at: datetime
) -> None:
    first = Prepared(
        select(objects.c.object_key)
        .where(objects.c.created_at == at, objects.c.size == bindparam("size"))
        .limit(1)
    )
    for key in "ba":
        database.write(lambda tx, key=key: ADD.run(tx, row(key, at)))
    with database.read() as tx:
        assert first.one(tx, {"size": 1}) is not None
        assert first.one(tx, {"size": 2}) is None


def test_a_list_of_unknown_length_is_refused(database: Database) -> None:
    some = Prepared(select(objects.c.size).where(objects.c.object_key.in_(["a", "b"])))
    with pytest.raises(ValueError, match="IN"), database.read() as tx:
        some.all(tx, {})


def test_a_missing_parameter_is_an_error(database: Database) -> None:
    with pytest.raises(KeyError), database.read() as tx:
        ONE.all(tx, {})


def test_errors_are_those_of_core_without_the_parameters(database: Database, at: datetime) -> None:
    database.write(lambda tx: ADD.run(tx, row("secret", at)))
    with pytest.raises(IntegrityError) as caught:
        database.write(lambda tx: ADD.run(tx, row("secret", at)))
    assert "secret" not in str(caught.value)


def test_a_prepared_write_is_part_of_its_unit_of_work(database: Database, at: datetime) -> None:
    class Refused(Exception):
        pass

    def work(tx: object) -> None:
        ADD.run(tx, row("a", at))  # type: ignore[arg-type]
        raise Refused

    with pytest.raises(Refused):
        database.write(work)
    with database.read() as tx:
        assert ALL.all(tx, {}) == []


def test_inserts_that_wait_keep_their_order_and_are_seen_by_what_follows(
    database: Database, at: datetime
) -> None:
    def work(tx: WriteTx) -> list[object]:
        for key in "abc":  # one table: not to be parts of one statement
            ADD.add(tx, row(key, at))
        for number, key in enumerate("xyz"):
            NOTE.add(tx, note(at, key))
            ADD.add(tx, row(f"d{number}", at))
        return [found["object_key"] for found in ALL.all(tx, {})]

    assert database.write(work) == ["a", "b", "c", "d0", "d1", "d2"]
    with database.read() as tx:
        noted = tx.all(select(audit.c.entity, audit.c.at).order_by(audit.c.id))
    assert [(entry["entity"], entry["at"]) for entry in noted] == [(key, at) for key in "xyz"]


def test_core_sees_the_inserts_that_wait(database: Database, at: datetime) -> None:
    def work(tx: WriteTx) -> int:
        ADD.add(tx, row("a", at))
        return tx.execute(update(objects).values(claimed_by="mat_x")).rowcount

    assert database.write(work) == 1


def test_a_waiting_insert_that_is_refused_takes_its_unit_of_work_alone(
    database: Database, at: datetime
) -> None:
    def work(key: str) -> Callable[[WriteTx], None]:
        def add(tx: WriteTx) -> None:
            NOTE.add(tx, note(at, key))
            ADD.add(tx, row(key, at))

        return add

    # Submitted together, so that they share a commit.
    done = [database.submit(work(key)) for key in ("a", "secret", "secret", "b")]
    refused = [one.exception() for one in done]
    assert [error is None for error in refused] == [True, True, False, True]
    assert isinstance(refused[2], IntegrityError)
    assert "secret" not in str(refused[2])
    with database.read() as tx:
        assert [found["object_key"] for found in ALL.all(tx, {})] == ["a", "b", "secret"]
        assert len(tx.all(select(audit))) == 3


def test_only_inserts_wait(database: Database) -> None:
    with pytest.raises(ValueError, match="insert"):
        database.write(lambda tx: REMOVE.add(tx, {"key": "a"}))


def test_what_was_read_ahead_is_read_once_in_its_snapshot(database: Database, at: datetime) -> None:
    database.write(lambda tx: ADD.run(tx, row("a", at)))
    with database.read() as tx:
        read_ahead(tx, [(ONE, {"key": "a"}), (ONE, {"key": "b"}), (ALL, {}), (ALL, {})])
        first = ONE.one(tx, {"key": "a"})
        assert first is not None
        assert first["cipher_sha256"] == bytes(32)
        assert first["created_at"] == at
        assert ONE.one(tx, {"key": "b"}) is None
        first["size"] = 2  # the caller's own: the next one gets rows of its own
        database.write(lambda tx: ADD.run(tx, row("b", at)))
        assert ONE.one(tx, {"key": "b"}) is None
        assert [one["object_key"] for one in ALL.all(tx, {})] == ["a"]
        again = ONE.one(tx, {"key": "a"})
        assert again is not None
        assert again["size"] == 1
        read_ahead(tx, [(ONE, {"key": "b"})])
        assert ONE.one(tx, {"key": "b"}) is None
        assert ONE.one(tx, {"key": "c"}) is None  # not asked ahead
    with database.read() as tx:
        assert ONE.one(tx, {"key": "b"}) is not None


def test_a_question_ahead_that_fails_is_an_error_of_core(database: Database) -> None:
    broken = Prepared(select(objects.c.object_key).where(text("no_such_column = 1")))
    with pytest.raises(DBAPIError), database.read() as tx:
        read_ahead(tx, [(ALL, {}), (broken, {})])
        broken.all(tx, {})


def test_what_was_read_ahead_of_writing_is_asked_anew_after_it(
    database: Database, at: datetime
) -> None:
    """However it is written: the answer is never older than what this transaction did."""
    noted = Prepared(select(audit.c.entity).order_by(audit.c.id))

    def work(tx: WriteTx) -> list[list[str]]:
        seen = []

        def look() -> None:
            seen.append([one["object_key"] for one in ALL.all(tx, {})])

        read_ahead(tx, [(ALL, {}), (ONE, {"key": "a"}), (noted, {})])
        look()
        ADD.add(tx, row("a", at))
        assert ONE.one(tx, {"key": "a"}) is not None
        look()
        read_ahead(tx, [(ALL, {})])
        ADD.run(tx, row("b", at))
        look()
        read_ahead(tx, [(ALL, {})])
        REMOVE.run(tx, {"key": "a"})
        look()
        read_ahead(tx, [(ALL, {})])
        tx.execute(delete(objects))
        look()
        assert noted.all(tx, {}) == []
        NOTE.add(tx, note(at, "x"))
        assert [one["entity"] for one in noted.all(tx, {})] == ["x"]
        return seen

    assert database.write(work) == [[], ["a"], ["a", "b"], ["b"], []]


def test_rows_of_one_table_wait_in_their_order(database: Database, at: datetime) -> None:
    """However many there are and whatever stands between them."""

    def work(tx: WriteTx) -> None:
        for number in range(11):
            NOTE.add(tx, note(at, str(number)))
            if number % 3 == 0:
                ADD.add(tx, row(str(number), at))

    database.write(work)
    with database.read() as tx:
        rows = tx.all(select(audit.c.entity).order_by(audit.c.id))
        assert [one["entity"] for one in rows] == [str(number) for number in range(11)]
        assert len(ALL.all(tx, {})) == 4


def test_each_glance_sees_what_was_committed_before(database: Database, at: datetime) -> None:
    with database.glance() as tx:
        assert ONE.one(tx, {"key": "a"}) is None
    database.write(lambda tx: ADD.run(tx, row("a", at)))
    with database.glance() as tx:
        assert ONE.one(tx, {"key": "a"}) is not None
    with pytest.raises(StorageFailed), database.glance() as tx:
        tx.execute(delete(objects))  # readers cannot write
    with database.read() as tx:
        assert ONE.one(tx, {"key": "a"}) is not None
