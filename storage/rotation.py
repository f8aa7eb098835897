"""Rotation of key-encryption keys: a new epoch, every live key wrapped anew, the old one destroyed.

What was erased before is then beyond reach in every copy of the rows that was ever
made: in backups, in dead rows and write-ahead logs of a server. Safe while the
store is served, by any number of processes, and to repeat: a rotation that was cut
off anywhere is finished by the next.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import Column, bindparam, func, select, update

from storage.database import Database, ReadTx, WriteTx
from storage.keyvault import FileKeyVault, WrappedKey

BATCH = 500  # rows in one transaction: the writer is held for some ten milliseconds

# (name of the table, rows looked at, rows in all)
Tell = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class WrappedColumn:
    """A table that keeps wrapped keys in `wrapped_key` and `key_epoch`.

    `key` is its primary key; the context of a wrap is the text in `context`.
    """

    key: "Column[Any]"
    context: "Column[Any]"

    @property
    def wrapped(self) -> "Column[Any]":
        return self.key.table.c.wrapped_key

    @property
    def epoch(self) -> "Column[Any]":
        return self.key.table.c.key_epoch


@dataclass(frozen=True, slots=True)
class Rotation:
    """The epoch in force, and how many keys were wrapped anew."""

    epoch: int
    rewrapped: int


def rotate(
    database: Database, vault: FileKeyVault, tables: Sequence[WrappedColumn], tell: Tell
) -> Rotation:
    """Rotate the keys, or finish a rotation that was begun.

    `tables`: every table with wrapped keys. The old key is destroyed in a write
    transaction that sees no row under it; whoever wrapped under it and has not
    committed yet is refused by `KeyVault.require` in its own.
    """
    # In a transaction, so that of two rotations at once the second joins the first.
    epoch = database.write(lambda _tx: vault.begin_epoch())
    rewrapped = 0
    while True:
        for table in tables:
            rewrapped += _rewrap(database, vault, table, epoch, tell)
        if database.write(lambda tx: _destroy(tx, vault, tables)):
            break
    database.forget_deleted()
    return Rotation(epoch, rewrapped)


def waiting(tx: ReadTx, tables: Sequence[WrappedColumn], epoch: int) -> int:
    """How many live keys are wrapped under another epoch than this."""
    return sum(
        int(tx.scalar(select(func.count()).where(*_live(table), table.epoch != epoch)) or 0)
        for table in tables
    )


def _destroy(tx: WriteTx, vault: FileKeyVault, tables: Sequence[WrappedColumn]) -> bool:
    if waiting(tx, tables, vault.current_epoch):
        return False
    vault.destroy_older()
    return True


def _rewrap(
    database: Database, vault: FileKeyVault, table: WrappedColumn, epoch: int, tell: Tell
) -> int:
    name = table.key.table.name
    with database.read() as tx:
        total = int(tx.scalar(select(func.count()).where(*_live(table))) or 0)
    looked = done = 0
    after: Any = None
    while True:
        page = select(table.key, table.epoch).where(*_live(table)).order_by(table.key).limit(BATCH)
        with database.read() as tx:
            rows = tx.all(page if after is None else page.where(table.key > after))
        old = [row[table.key.name] for row in rows if row[table.epoch.name] != epoch]
        if old:
            done += database.write(partial(_batch, vault=vault, table=table, keys=old))
        looked += len(rows)
        tell(name, looked, max(total, looked))
        if len(rows) < BATCH:
            return done
        after = rows[-1][table.key.name]


def _batch(tx: WriteTx, vault: FileKeyVault, table: WrappedColumn, keys: Sequence[Any]) -> int:
    """Read again inside the transaction: a row may have been erased since."""
    columns = (table.key.label("row"), table.context.label("context"), table.wrapped, table.epoch)
    rows = tx.all(select(*columns).where(table.key.in_(keys), *_live(table)))
    contexts = [row["context"].encode() for row in rows]
    plain = [
        vault.unwrap(WrappedKey(row["key_epoch"], row["wrapped_key"]), context)
        for row, context in zip(rows, contexts, strict=True)
    ]
    wrapped = vault.wrap_many(plain, contexts)
    if rows:
        tx.execute(
            update(table.key.table)
            .where(table.key == bindparam("row"))
            .values(wrapped_key=bindparam("blob"), key_epoch=bindparam("epoch")),
            [
                {"row": row["row"], "blob": one.blob, "epoch": one.epoch}
                for row, one in zip(rows, wrapped, strict=True)
            ],
        )
    return len(rows)


def _live(table: WrappedColumn) -> "tuple[Any, ...]":
    return (table.wrapped.is_not(None),)
