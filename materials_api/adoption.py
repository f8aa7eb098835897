"""Adopting a catalogue: a change of the rules goes into the ledger before it rules.

Cases name the catalogue under which they were opened; every version that was
ever in force is kept.
"""

from datetime import datetime

from sqlalchemy import insert, select

from ledger.journal import Journal
from materials_api.catalogue import Catalogue
from materials_api.catalogue.changes import changes
from materials_api.tables import catalogue_versions
from storage.database import ReadTx, WriteTx

CATALOGUE_ENTITY = "catalogue"


def newest(tx: ReadTx) -> Catalogue | None:
    """The catalogue adopted last, or None in a store that never had one."""
    content = tx.scalar(
        select(catalogue_versions.c.content)
        .order_by(catalogue_versions.c.adopted_at.desc())
        .limit(1)
    )
    return None if content is None else Catalogue.parse(content)


def adopt(tx: WriteTx, at: datetime, journal: Journal, catalogue: Catalogue) -> bool:
    """Put `catalogue` in force; False when it already is.

    The public leaf `catalogue.changed` names what was added, removed and
    changed by code, so that monitors see which rules were in force when.
    A version that was in force before comes back by a new leaf alone.
    """
    before = newest(tx)
    if before is not None and before.sha256 == catalogue.sha256:
        return False
    entry = journal.publish(tx, at, "catalogue.changed", changes(before, catalogue))
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
