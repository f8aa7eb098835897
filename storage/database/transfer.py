"""All rows from one database into another of the same schema, whatever the engines."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Table, bindparam, func, insert, select, update

from storage.database.metadata import metadata
from storage.database.unit_of_work import ReadTx, WriteTx

BATCH = 1000

# (name of the table, rows copied, rows in all)
Tell = Callable[[str, int, int], None]


def copy_all(source: ReadTx, target: WriteTx, tell: Tell) -> dict[str, int]:
    """Copy every row of every table of `metadata`, from one snapshot into empty tables.

    How many, by table. Parents before children; a reference inside one table is filled
    in afterwards. A row that cannot be read raises `RowUnreadable`: a copy is whole or none.
    """
    counts = {}
    for table in metadata.sorted_tables:
        total = int(source.scalar(select(func.count()).select_from(table)) or 0)
        counts[table.name] = _copy(source.connection, target, table, total, tell)
    return counts


def continue_numbers(target: WriteTx) -> None:
    """On PostgreSQL: the sequences of numbered tables go on after the rows just copied."""
    if target.connection.dialect.name != "postgresql":
        return
    for table in metadata.sorted_tables:
        column = table.autoincrement_column
        if column is None:
            continue
        sequence = func.pg_get_serial_sequence(table.name, column.name)
        if target.scalar(select(sequence)) is None:
            continue
        last = target.scalar(select(func.max(column)))
        if last is not None:
            target.execute(select(func.setval(sequence, last)))


def _copy(source: Connection, target: WriteTx, table: Table, total: int, tell: Tell) -> int:
    key = list(table.primary_key.columns)
    within = [
        column.name
        for column in table.c
        if any(reference.column.table is table for reference in column.foreign_keys)
    ]
    later: list[dict[str, Any]] = []
    done = 0
    query = select(table).order_by(*key).execution_options(yield_per=BATCH)
    for part in source.execute(query).mappings().partitions(BATCH):
        rows = [dict(row) for row in part]
        for row in rows:
            if any(row[name] is not None for name in within):
                names = {f"new_{name}": row[name] for name in within}
                later.append({**{f"old_{one.name}": row[one.name] for one in key}, **names})
                row.update(dict.fromkeys(within))
        target.execute(insert(table), rows)
        done += len(rows)
        tell(table.name, done, max(done, total))
    if later:
        put = update(table).where(*(one == bindparam(f"old_{one.name}") for one in key))
        target.execute(put.values({name: bindparam(f"new_{name}") for name in within}), later)
    return done
