"""Adopting a catalogue: a change of the rules goes into the ledger before it rules.

Cases name the catalogue under which they were opened; every version that was
ever in force is kept.
"""

from datetime import datetime

from sqlalchemy import insert, select

from ledger.journal import Journal
from ledger.leaves import PublicLeaf, parse_leaf
from ledger.tables import ledger_entries
from materials_api.catalogue import Catalogue
from materials_api.catalogue.changes import changes
from materials_api.tables import catalogue_versions
from storage.database import ReadTx, WriteTx

CATALOGUE_ENTITY = "catalogue"
_CHANGED = "catalogue.changed"


def newest(tx: ReadTx) -> tuple[bytes, Catalogue] | None:
    """SHA-256 and content of the catalogue adopted last; None in a store that never had one.

    The hash is that of the stored bytes: a later program may write the same
    catalogue otherwise.
    """
    row = tx.one(
        select(catalogue_versions.c.sha256, catalogue_versions.c.content)
        .order_by(catalogue_versions.c.adopted_at.desc())
        .limit(1)
    )
    return None if row is None else (row["sha256"], Catalogue.parse(row["content"]))


def adopt(tx: WriteTx, at: datetime, journal: Journal, catalogue: Catalogue) -> bool:
    """Put `catalogue` in force; False when it already is.

    The public leaf `catalogue.changed` names what was added, removed and
    changed by code, so that monitors see which rules were in force when.
    A version that was in force before comes back by a new leaf alone.
    """
    last = newest(tx)
    if last is not None and last[0] == catalogue.sha256:
        return False
    before = None if last is None else last[1]
    entry = journal.publish(tx, at, _CHANGED, changes(before, catalogue))
    known = tx.scalar(
        select(catalogue_versions.c.sha256).where(catalogue_versions.c.sha256 == catalogue.sha256)
    )
    if known is None:
        tx.execute(
            insert(catalogue_versions),
            {
                "sha256": catalogue.sha256,
                "version": catalogue.version,
                "content": catalogue.canonical,
                "entry_id": entry.entry_id,
                "adopted_at": at,
            },
        )
    else:
        tx.execute(
            catalogue_versions.update()
            .where(catalogue_versions.c.sha256 == catalogue.sha256)
            .values(adopted_at=at, entry_id=entry.entry_id)
        )
    return True


def follow_log(tx: WriteTx, catalogue: Catalogue) -> None:
    """After a restore: let the rows tell what the log's leaves do, newer ones as well.

    Of a version that is neither among the rows nor this program's own the content is
    lost; `fsck` names it.
    """
    columns = ledger_entries.c
    query = (
        select(columns.entry_id, columns.leaf, columns.at)
        .where(columns.kind == _CHANGED, columns.public.is_(True))
        .order_by(columns.leaf_index.is_(None), columns.shard, columns.leaf_index, columns.position)
    )
    for row in tx.all(query):
        leaf = parse_leaf(row["leaf"])
        if not isinstance(leaf, PublicLeaf):
            continue
        digest = bytes.fromhex(str(leaf.body["sha256"]))
        told = {"entry_id": row["entry_id"], "adopted_at": row["at"]}
        done = tx.execute(
            catalogue_versions.update().where(catalogue_versions.c.sha256 == digest).values(told)
        )
        if not done.rowcount and digest == catalogue.sha256:
            tx.execute(
                insert(catalogue_versions),
                {
                    "sha256": digest,
                    "version": catalogue.version,
                    "content": catalogue.canonical,
                    **told,
                },
            )
