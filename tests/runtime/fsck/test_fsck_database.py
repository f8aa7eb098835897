"""`fsck` names an edit of any column, the loss of any row, and a flip of any byte with meaning.

The edits are generated from the schema, so that a new column is tested before
anybody thinks of it. What cannot be found is listed in `SILENT`, with the reason.
"""

import copy
import random
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Boolean, DateTime, Integer, LargeBinary, Table
from sqlalchemy.dialects.sqlite.pysqlite import dialect

from archive.fsck import fsck as check_archive
from archive.room import ArchiveRoom
from kernel.clock import FixedClock
from kernel.errors import CodedError
from ledger.anchoring.fsck import check_anchoring
from ledger.fsck import fsck as check_ledger
from ledger.fsck_reading import UNREADABLE
from ledger.problems import Problem, quiet
from ledger.service import Ledger
from license_service.fsck import fsck as check_licenses
from license_service.licenses import Licenses
from license_service.sources import LocalSource
from materials_api.fsck.checking import fsck as check_materials
from parties import Parties
from parties.fsck import fsck as check_parties
from runtime.commands.fsck import not_opened, run_checks
from runtime.fsck_checks import check
from runtime.fsck_replies import check_replies
from runtime.store import DATABASE, Store, open_store
from storage.database import Database
from storage.database.metadata import UtcDateTime, metadata
from storage.errors import RowUnreadable

Row = dict[str, Any]
_SQLITE = dialect()


FLIPS = 24  # of the database file; a third hits something that has meaning


@dataclass(frozen=True)
class Silent:
    """Columns of a table whose edit no check can see, and why. `when`: in which rows only."""

    table: str
    columns: str  # one or more words; `*` for all, `-` for the loss of a row
    why: str
    when: Callable[[Row], bool] = lambda _: True


def _erased(row: Row) -> bool:
    return row["erased_at"] is not None


def _of_erased_material(row: Row) -> bool:
    return bool(row.get("_erased"))


GONE = "the record that would contradict it was destroyed, as the holder asked"
SILENT = (
    Silent("idempotency", "-", "an answer kept for retries: the records tell what happened"),
    Silent("anchors", "position at expires_at -", "when it was kept, and when it is renewed: a "
           "stamp says itself when it was made; a lost row loses evidence alone"),
    Silent("chain_transactions", "block block_hash signed_at changed_at -", "what the chain said "
           "last: it is asked again, and a lost row is not believed in either"),
    Silent("evidence_in_log", "anchor expires_at", "which row it was made from: another answer "
           "has it named twice, or not again"),
    Silent("case_numbers", "* -", "a counter that heals itself: numbers that are taken are "
           "stepped over"),
    Silent("audit", "case_id detail", "what no row or record beside it repeats"),
    Silent("audit", "at action entity outcome -", "the audit of mere reading has no record",
           lambda row: row["action"] in ("grant.code", "document.read", "upload.store")
           or row["outcome"] in ("wrong_code", "blocked")),
    Silent("ledger_entries", "entity entry_id", "of a public leaf both are only names in the "
           "database; where a row refers to one, that row is named", lambda row: row["public"]),
    Silent("ledger_entries", "position", "its order alone counts, and only within one thing"),
    Silent("ledger_entries", "kind at", GONE, _erased),
    Silent("ledger_heads", "epoch", "it tells two writers apart; any number serves"),
    Silent("ledger_heads", "updated_at", "shown on the front page, and used for nothing"),
    Silent("objects", "* -", "of content that was erased only the time of it has meaning",
           _erased),
    Silent("parties", "kind", GONE, _erased),
    Silent("credentials", "secret_sha256 unit officer created_at expires_at revoked_at",
           "who may log in is the operator's word and has no record; a record names who acted"),
    Silent("credentials", "* -", "likewise, while it was used for nothing",
           lambda row: row["_idle"]),
    Silent("tickets", "secret_sha256", "a digest of random bits that nobody keeps"),
    Silent("case_documents", "document_id", "slips and notices share the record of what they "
           "tell of, which does not name them",
           lambda row: row["kind"] not in ("commitment", "assistance_letter")),
    Silent("grants", "code_mac", "a keyed digest of a code that nobody keeps, and that lives a "
           "minute"),
    Silent("imported_rows", "row_key", "a keyed digest of paths that are not kept; at worst a "
           "file is imported twice"),
    Silent("materials", "type project provenance form issued_at valid_until supersedes", GONE,
           _of_erased_material),
    Silent("material_files", "position size media_type", GONE, _of_erased_material),
    Silent("material_parties", "* -", GONE, _of_erased_material),
    Silent("case_requirements", "* -", GONE, _of_erased_material),
)  # fmt: skip


def silent(table: str, column: str, row: Row) -> Silent | None:
    for one in SILENT:
        words = one.columns.split()
        named = column in words or ("*" in words and column != "-")
        if one.table == table and named and one.when(row):
            return one
    return None


class Rows:
    """Edits rows behind the store's back, one at a time, and puts them back."""

    def __init__(self, store: Store, ids: dict[str, str]) -> None:
        self.store = store
        self.ids = ids
        self.driver = sqlite3.connect(store.database.place, isolation_level=None)

    def of(self, table: Table) -> list[Row]:
        """All rows with their `rowid`, and what `SILENT` asks of them."""
        with closing(self.driver.execute(f"SELECT rowid AS _rowid, * FROM {table.name}")) as cursor:  # noqa: S608
            names = [one[0] for one in cursor.description]
            rows = [dict(zip(names, one, strict=True)) for one in cursor]
        used = {one[0] for one in self.driver.execute("SELECT DISTINCT principal FROM audit")}
        for row in rows:
            row["_erased"] = self.ids["erased"] in (row.get("material_id"), row.get("item"))
            row["_idle"] = row.get("credential_id") not in used
        return rows

    @contextmanager
    def edited(self, table: Table, row: Row, column: str, value: Any) -> Iterator[bool]:
        """False when the schema itself refuses the value."""
        self.driver.execute("BEGIN")
        where = f"UPDATE {table.name} SET {column} = ? WHERE rowid = ?"  # noqa: S608
        try:
            self.driver.execute(where, (value, row["_rowid"]))
        except sqlite3.IntegrityError:
            self.driver.execute("ROLLBACK")
            yield False
            return
        self.driver.execute("COMMIT")
        try:
            yield True
        finally:
            # A number that is the key moves the row.
            moved = value if column == _rowid_of(table) else row["_rowid"]
            self.driver.execute(where, (row[column], moved))

    @contextmanager
    def deleted(self, table: Table, row: Row) -> Iterator[None]:
        self.driver.execute(f"DELETE FROM {table.name} WHERE rowid = ?", (row["_rowid"],))  # noqa: S608
        names = [column.name for column in table.c]
        try:
            yield
        finally:
            columns = ", ".join(["rowid", *names])
            marks = ", ".join("?" * (len(names) + 1))
            self.driver.execute(
                f"INSERT INTO {table.name} ({columns}) VALUES ({marks})",  # noqa: S608
                [row["_rowid"], *(row[name] for name in names)],
            )


def _rowid_of(table: Table) -> str | None:
    """The column that SQLite keeps as the row's number, if there is one."""
    keys = list(table.primary_key.columns)
    return keys[0].name if len(keys) == 1 and isinstance(keys[0].type, Integer) else None


def checks_of(store: Store, table: str) -> Callable[[], list[Problem]]:
    """The checks that look at a table: all of them would take four times as long."""
    records = store.ledger.records
    ledger = lambda: check_ledger(store.ledger)  # noqa: E731
    parties = lambda: check_parties(store.database, store.vault, records)  # noqa: E731
    licenses = lambda: check_licenses(store.database, records)  # noqa: E731
    bytes_too = table in ("objects", "uploads", "material_files", "ledger_entries")
    materials = lambda: check_materials(store.materials, contents=bytes_too)  # noqa: E731
    archive = lambda: check_archive(store.archive)  # noqa: E731
    audit = lambda: [*check(store, "audit", quiet), *check(store, "audited", quiet)]  # noqa: E731
    anchoring = lambda: check_anchoring(store.ledger)  # noqa: E731
    replies = lambda: check_replies(store.database, store.vault).problems  # noqa: E731
    several: dict[str, Sequence[Callable[[], list[Problem]]]] = {
        "ledger_entries": (ledger, materials),
        "ledger_heads": (ledger,),
        "idempotency": (replies,),
        "anchors": (anchoring,),
        "chain_transactions": (anchoring,),
        "evidence_in_log": (anchoring,),
        "parties": (parties,),
        "capacities": (parties,),
        "credentials": (parties, audit),
        "licenses": (licenses,),
        "license_events": (licenses,),
        "license_snapshots": (licenses,),
        "exports": (archive,),
        "grants": (materials, audit),
        "objects": (materials, archive),
        "uses": (materials, archive),
        "audit": (audit,),
        "code_tries": (audit,),
        "uploads": (materials, audit),
        "tickets": (materials, audit),
        "verifications": (materials, audit),
    }
    return lambda: [one for check in several.get(table, (materials,)) for one in check()]


def other_value(column: Any, value: Any) -> Any:
    """Another value of the column's type."""
    if isinstance(column.type, Boolean):
        return 1 - value
    if isinstance(value, bytes):
        return bytes([value[0] ^ 1]) + value[1:]
    if isinstance(value, int):
        return value + 1
    if isinstance(column.type, DateTime) or re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:.*", value):
        return (datetime.fromisoformat(value) + timedelta(days=1)).strftime("%Y-%m-%d %H:%M:%S.%f")
    return value[:-1] + ("0" if value[-1] != "0" else "1")


def some_value(column: Any, rows: list[Row]) -> Any:
    """A value for a column that is null in this row: that of another row, if there is one."""
    for row in rows:
        if row[column.name] is not None:
            return row[column.name]
    if isinstance(column.type, LargeBinary):
        return b"x" * 32
    if isinstance(column.type, Integer):
        return 7
    return "2027-01-01 00:00:00.000000" if "DATE" in str(column.type) else "x1"


def edits_of(table: Table, rows: list[Row]) -> Iterator[tuple[Row, str, Any]]:
    """For each column: another value, none where there was one, one where there was none.

    The rows are taken in turn, so that all kinds of rows have theirs.
    """
    for number, column in enumerate(table.c):
        name = column.name
        loud = [row for row in rows if silent(table.name, name, row) is None]
        if not loud:
            continue
        loud = loud[number % len(loud) :] + loud[: number % len(loud)]
        full = [row for row in loud if row[name] is not None]
        empty = [row for row in loud if row[name] is None]
        for row in full[:1]:
            yield row, name, other_value(column, row[name])
        for row in empty[:1]:
            yield row, name, some_value(column, rows)
        if column.nullable and full and not empty:
            yield full[-1], name, None


_NAME = re.compile(r"[a-z]{3}_[0-9a-z]{26}|[0-9a-f]{32}")


def names_of(table: Table, *rows: Row) -> set[str]:
    """What a problem of one of these rows may be named after."""
    names = {f"{table.name}/", table.name, f"audit/{rows[0].get('id')}"}
    for row in rows:
        names |= {str(one) for one in row.values() if _NAME.fullmatch(str(one))}
        if row.get("shard") is not None:
            names.add(f"{row['shard']}/")
    return names


@pytest.fixture(scope="module")
def rows(module_office: Any) -> Iterator[Rows]:
    editor = Rows(module_office.store, module_office.ids)
    yield editor
    editor.driver.close()


TABLES = list(metadata.sorted_tables)


def test_every_table_has_rows_in_the_store_under_test(rows: Rows) -> None:
    assert [table.name for table in TABLES if not rows.of(table)] == []
    assert run_checks(rows.store, quiet) == []


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_an_edit_of_any_column_is_named(rows: Rows, table: Table) -> None:
    check, before = checks_of(rows.store, table.name), rows.of(table)
    unseen, elsewhere = [], []
    for row, column, value in edits_of(table, before):
        with rows.edited(table, row, column, value) as done:
            problems = check() if done else []
        if done and not problems:
            unseen.append((column, row[column], value, row))
        names = names_of(table, row, {**row, column: value})
        if problems and not any(name in one.where for one in problems for name in names):
            elsewhere.append((column, value, row, problems))
    assert unseen == []
    assert elsewhere == []
    assert check() == []
    assert rows.of(table) == before


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_the_loss_of_any_row_is_named(rows: Rows, table: Table) -> None:
    check = checks_of(rows.store, table.name)
    loud = [row for row in rows.of(table) if silent(table.name, "-", row) is None]
    unseen, elsewhere = [], []
    for row in loud[:1] + loud[1:][-1:]:
        with rows.deleted(table, row):
            problems = check()
        if not problems:
            unseen.append(row)
        elif not any(name in one.where for one in problems for name in names_of(table, row)):
            elsewhere.append((row, problems))
    assert unseen == []
    assert elsewhere == []
    assert check() == []


@pytest.mark.parametrize("entry", SILENT, ids=lambda one: f"{one.table}: {one.columns}")
def test_what_is_listed_as_silent_is_not_found_indeed(rows: Rows, entry: Silent) -> None:
    table = metadata.tables[entry.table]
    check, all_rows = checks_of(rows.store, entry.table), rows.of(table)
    found = [row for row in all_rows if entry.when(row)]
    assert found, "no such row in the store: the entry excuses nothing"
    for word in entry.columns.split():
        if word in ("*", "-"):
            continue
        heard = 0
        for row in found:
            column = table.c[word]
            value = some_value(column, all_rows) if row[word] is None else None
            value = other_value(column, row[word]) if value is None else value
            with rows.edited(table, row, word, value) as done:
                if not done or not check():
                    break
            heard += 1
        assert heard < len(found), f"every edit of {word} is found: take it off the list"


# --- The database file ------------------------------------------------------------


@contextmanager
def reopened(store: Store) -> Iterator[Store]:
    """The store as a new process would find it, but for the catalogue, whose loading
    from its files takes longer than all the rest."""
    again = copy.copy(store)
    with closing(Database(store.database.place)) as database:
        again.database = database
        again.ledger = Ledger.open(
            store.data, database=database, vault=store.vault, clock=store.clock
        )
        journal, records = again.ledger.journal, again.ledger.records
        parties = Parties(journal, records, store.vault)
        licenses = Licenses(journal, records, parties, store.licenses.kinds)
        again.materials = replace(
            store.materials,
            database=database,
            ledger=again.ledger,
            parties=parties,
            licenses=licenses,
            license_source=LocalSource(database, parties, licenses),
        )
        again.archive = ArchiveRoom(materials=again.materials, exports=store.archive.exports)
        yield again


def meaning(column: Any, value: Any) -> Any:
    """The value that the store reads: it passes over what follows a time."""
    if not isinstance(column.type, UtcDateTime) or not isinstance(value, bytes):
        return value
    read = column.type.dialect_impl(_SQLITE).result_processor(_SQLITE, None)
    try:
        return read(value.decode())
    except (ValueError, RowUnreadable):
        return value


def content_of(path: Path) -> dict[str, set[Any]] | None:
    """All values of all rows, as `(row, column, value)`; None if they cannot be read."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as driver:
            driver.text_factory = bytes
            if driver.execute("PRAGMA integrity_check").fetchall() != [(b"ok",)]:
                return None
            found: dict[str, set[Any]] = {}
            for table in metadata.sorted_tables:
                cursor = driver.execute(f"SELECT rowid, * FROM {table.name}")  # noqa: S608
                names = [one[0].lower() for one in cursor.description]
                found[table.name] = {
                    (row[0], name, type(value).__name__, meaning(table.c[name], value))
                    for row in cursor
                    for name, value in zip(names[1:], row[1:], strict=True)
                }
            version = driver.execute("SELECT version_num FROM alembic_version").fetchall()
            found["alembic_version"] = {(0, "version_num", "", str(version))}
            return found
    except (sqlite3.DatabaseError, UnicodeDecodeError):
        return None


NEVER = {(one.table, word) for one in SILENT for word in one.columns.split()}
"""Columns that are silent in some row at least: a flip there proves nothing."""


def whole_table(table: str) -> bool:
    return (table, "*") in NEVER and (table, "-") in NEVER


def test_a_flip_of_any_byte_of_the_database_file_is_named_or_has_no_meaning(
    small: tuple[Path, dict[str, str], FixedClock],
    tmp_path: Path,
) -> None:
    folder, _, clock = small
    shutil.copytree(folder, tmp_path / "store")
    path = tmp_path / "store" / DATABASE
    with open_store(tmp_path / "store", clock=clock) as store:
        pass
    assert sorted(one.name for one in path.parent.glob(f"{DATABASE}*")) == [DATABASE]
    whole, before = path.read_bytes(), content_of(path)
    assert before is not None
    choose = random.Random(20261124)
    meant = 0
    for at in sorted(choose.randrange(len(whole)) for _ in range(FLIPS)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << at % 8)]) + whole[at + 1 :])
        after = content_of(path)
        if after == before:
            continue  # free space, or a counter of SQLite's own
        changed = {
            (table, name)
            for table in before
            for _, name, *_ in (after or {}).get(table, set()) ^ before[table]
        }
        if after is not None and all(one in NEVER or whole_table(one[0]) for one in changed):
            continue
        meant += 1
        assert problems_of(store) != [], (at, changed)
        for extra in path.parent.glob(f"{DATABASE}-*"):
            extra.unlink()
    assert meant >= FLIPS // 5
    path.write_bytes(whole)
    assert problems_of(store) == []


def problems_of(store: Store) -> list[Problem]:
    """What `mianjiao fsck` would say: a store that does not open is one problem."""
    try:
        with reopened(store) as again:
            return run_checks(again, quiet)
    except (CodedError, *UNREADABLE) as error:
        return [not_opened(error)]
