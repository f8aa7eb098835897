"""Prepared statements past the driver's cursors: kept, too many, refused, broken off."""

from typing import Any

import pytest
from sqlalchemy import bindparam, literal_column, select, text

from storage.database import Database, ReadTx, WriteTx
from storage.database import statements as statements_module
from storage.database.prepared import Prepared, read_ahead
from storage.errors import DatabaseUnavailable
from storage.tables import objects

pytestmark = pytest.mark.postgresql_only

ALL = Prepared(select(objects.c.object_key))
ONE = Prepared(select(objects.c.size).where(objects.c.object_key == bindparam("key")))
END = Prepared(select(literal_column("pg_terminate_backend(pg_backend_pid())").label("ended")))
KEPT = text("SELECT count(*) FROM pg_prepared_statements")


class Refused(Exception):
    """By a rule of the work itself."""


def kept(database: Database) -> Any:
    return database.write(lambda tx: tx.scalar(KEPT))


def test_statements_outlive_a_refusal(database: Database) -> None:
    """Every refusal rolls back; what comes after it is not prepared anew."""

    def refused(tx: WriteTx) -> None:
        ALL.all(tx, {})
        raise Refused

    database.write(lambda tx: ONE.all(tx, {"key": "a"}))
    before = kept(database)
    for _ in range(3):
        with pytest.raises(Refused):
            database.write(refused)
        assert database.write(lambda tx: ONE.all(tx, {"key": "a"})) == []
        assert kept(database) == before + 1


def test_no_more_are_kept_than_a_connection_should_hold(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statements_module, "_MOST_KEPT", kept(database) + 1)
    one_by_one = [Prepared(select(literal_column(str(n)).label("n"))) for n in range(5)]

    def work(tx: WriteTx) -> list[Any]:
        read_ahead(tx, [(part, {}) for part in one_by_one[:2]])
        return [part.all(tx, {})[0]["n"] for part in one_by_one]

    for _ in range(2):
        assert database.write(work) == [0, 1, 2, 3, 4]
    assert kept(database) <= statements_module._MOST_KEPT


@pytest.mark.parametrize("together", [True, False])
def test_a_connection_that_ends_under_a_question_is_told_and_replaced(
    database: Database, together: bool
) -> None:
    def ask(tx: ReadTx) -> None:
        if together:
            read_ahead(tx, [(ONE, {"key": "a"}), (END, {}), (ALL, {})])
        END.all(tx, {})

    for _ in range(2):
        with pytest.raises(DatabaseUnavailable), database.read() as tx:
            ask(tx)
        with pytest.raises(DatabaseUnavailable):
            database.write(ask)
        with database.read() as tx:
            read_ahead(tx, [(ONE, {"key": "a"}), (ALL, {})])
            assert ALL.all(tx, {}) == []
        assert database.write(lambda tx: ALL.all(tx, {})) == []
