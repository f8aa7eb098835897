"""How often a verification asks the database: reads must not creep back."""

import re
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event

_WAITS = re.compile(r"\tF\t\d+\t(Sync|Query)\b")  # "F": from us, to the server

# Three waves are asked for, the first with the beginning of the snapshot, and it ends.
POSTGRESQL = ["Sync", "Sync", "Sync", "Query"]

pytestmark = pytest.mark.both_engines


@contextmanager
def reading(database: Any) -> Iterator[Callable[[], list[str]]]:
    """What the readers send from here on, by the driver's own trace: statements of SQLite,
    or the messages to PostgreSQL for whose answer they wait."""
    engine = database.reader_engine
    engine.dispose()
    with tempfile.TemporaryFile("w+") as trace:
        asked: list[str] = []
        drivers: list[Any] = []

        def connected(driver: Any, _record: object) -> None:
            if isinstance(driver, sqlite3.Connection):
                driver.set_trace_callback(asked.append)
            else:
                drivers.append(driver)
                driver.pgconn.trace(trace.fileno())

        def told() -> list[str]:
            for driver in drivers:
                driver.pgconn.untrace()  # writes what is left
            trace.seek(0)
            return asked + _WAITS.findall(trace.read())

        event.listen(engine, "connect", connected)
        try:
            yield told
        finally:
            event.remove(engine, "connect", connected)
            engine.dispose()


def test_a_verification_asks_each_question_once_in_few_waits(desk) -> None:
    lease, case = desk.lease(), desk.case()
    desk.granted(case.case_id, lease)
    desk.verify(case.case_id, lease)  # statements are prepared at their first use
    with reading(desk.room.database) as told:
        assert desk.verify(case.case_id, lease)["outcome"] == "allowed"
        asked = told()
    if desk.room.database.reader_engine.dialect.name == "postgresql":
        assert asked == POSTGRESQL
        return
    selects = Counter(statement for statement in asked if statement.startswith("SELECT"))
    assert max(selects.values()) == 1
    assert sum(selects.values()) <= 24
    assert sum(statement.startswith("BEGIN") for statement in asked) == 1


def test_more_items_of_a_call_cost_no_more_waits(desk) -> None:
    leases, case = [desk.lease() for _ in range(3)], desk.case()
    for lease in leases:
        desk.granted(case.case_id, lease)
    desk.verify(case.case_id, *leases)
    with reading(desk.room.database) as told:
        assert desk.verify(case.case_id, *leases)["outcome"] == "allowed"
        asked = told()
    if desk.room.database.reader_engine.dialect.name == "postgresql":
        assert asked == POSTGRESQL
        return
    selects = Counter(statement for statement in asked if statement.startswith("SELECT"))
    assert max(selects.values()) == 1
