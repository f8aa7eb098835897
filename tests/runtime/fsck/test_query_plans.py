"""No question that a person waits for, and none that a check asks again and again, reads a
whole table that grows with the city (SQLite's own plans, of what is really asked)."""

import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from kernel.clock import FixedClock
from runtime.commands.fsck import run_checks
from runtime.store import DATABASE, create_store, open_store
from storage.database.metadata import metadata
from tests.runtime.fsck.conftest import NOON, make

pytestmark = [pytest.mark.sqlite_only, pytest.mark.timeout(300)]

# Few rows, whatever the size of the city: one each shard, catalogue, request to erase,
# package that waits, principal that guessed.
FEW = {
    "alembic_version",
    "catalogue_versions",
    "code_tries",
    "erasures",
    "exports",
    "ledger_heads",
}
# What is asked of a page of rows is asked once for each page of the city.
PAGED = re.compile(r"_(?:id|key)\b IN \(\?|\b(?:position|entity|id) IN \(\?")
OFTEN = 9  # a check reads a whole table once for each kind of thing that it looks for


class Asked:
    """Statements with their values, by their form, and how often each was asked."""

    def __init__(self) -> None:
        self.example: dict[str, str] = {}
        self.times: Counter[str] = Counter()

    def note(self, statement: str) -> None:
        if re.match(r"\s*(SELECT|UPDATE|DELETE|WITH)\b", statement, re.IGNORECASE):
            form = re.sub(r"X?'(?:[^']|'')*'|(?<![\w.])\d+(?![\w.])", "?", statement)
            form = re.sub(r"\?(\s*,\s*\?)+", "?, …", re.sub(r"\s+", " ", form))
            self.example.setdefault(form, statement)
            self.times[form] += 1

    def scans(self, data: Path) -> dict[str, set[str]]:
        """Large tables that statements read from end to end, by statement."""
        large = set(metadata.tables) - FEW
        found: dict[str, set[str]] = {}
        with closing(sqlite3.connect(data / DATABASE)) as driver:
            for form, statement in self.example.items():
                for *_, step in driver.execute(f"EXPLAIN QUERY PLAN {statement}"):
                    scan = re.match(r"SCAN (\w+)(?!.*ix_ledger_entries_unsequenced)", step)
                    if scan and scan[1] in large:
                        found.setdefault(form, set()).add(scan[1])
        return found


@contextmanager
def listening() -> Iterator[Asked]:
    """What is asked on connections that are opened meanwhile."""
    asked = Asked()

    def connected(connection: Any, _record: object) -> None:
        connection.set_trace_callback(asked.note)

    event.listen(Engine, "connect", connected)
    try:
        yield asked
    finally:
        event.remove(Engine, "connect", connected)


def test_nothing_reads_a_whole_table_where_it_must_not(tmp_path: Path) -> None:
    clock, data = FixedClock(NOON), tmp_path / "store"
    create_store(data, "test.example", clock)
    with listening() as asked, open_store(data, clock=clock) as store:
        make(store, clock, tmp_path)
        store.sweep()
    assert len(asked.example) > 100
    assert asked.scans(data) == {}
    with listening() as asked, open_store(data, clock=clock) as store:
        assert run_checks(store, lambda *_: None) == []
    scans = asked.scans(data)
    assert {form for form in scans if asked.times[form] > OFTEN} == set()
    assert {form for form in scans if PAGED.search(form)} == set()


def test_a_scan_is_seen(tmp_path: Path) -> None:
    data = tmp_path / "store"
    create_store(data, "test.example", FixedClock(NOON))
    asked = Asked()
    asked.note("SELECT audit.id FROM audit WHERE audit.outcome = 'done'")
    asked.note("SELECT audit.id FROM audit WHERE audit.outcome = 'x' AND audit.id = 1")
    assert list(asked.scans(data).values()) == [{"audit"}]
