"""Waiting until entries stand under a published checkpoint, of whichever shard."""

import time
from collections.abc import Callable, Iterable

from sqlalchemy import select

from ledger.checkpoints import Checkpoint
from ledger.errors import EntryUnknown, LogMissing, NotInLog, NotYetLogged
from ledger.readers import Readers
from ledger.records import OpenedRecord
from ledger.sequencer import Sequencer
from ledger.tables import ledger_entries
from storage.database import Database
from storage.errors import StoreAway

_POLL = 0.2  # seconds between looks at the store when another process sequences


class Waiting:
    """See the methods of `Ledger` with these names. Any number of threads may wait."""

    def __init__(
        self,
        database: Database,
        readers: Readers,
        sequencer: Sequencer,
        published: Callable[[], Checkpoint],
        call: Callable[[], None],
    ) -> None:
        """`published`: the newest published checkpoint of the newest shard. `call`: has it
        looked for soon."""
        self._database = database
        self._readers = readers
        self._sequencer = sequencer
        self._published = published
        self._call = call

    def wait_for(self, entry_id: str, seconds: float) -> bool:
        """Wait until the entry's checkpoint is published: True, or False after `seconds`.

        False at once when the log has stopped. `EntryUnknown` if there is no
        such entry. Any number of threads may wait.
        """
        deadline = time.monotonic() + seconds
        place: tuple[str, int] | None = None
        size = -1
        while True:
            if place is None:
                place = self._place(entry_id)
            published = self._published_size(size)
            if place is not None and self._covered(*place, published):
                return True
            remaining = deadline - time.monotonic()
            if remaining <= 0 or self._sequencer.failure is not None:
                return False
            size = published
            self._call()
            self._readers.newest.wait_beyond(size, min(remaining, _POLL))

    def unpublished(self, records: Iterable[OpenedRecord]) -> list[str]:
        """The entries among them that no published checkpoint covers yet, in their order."""
        # What an older checkpoint covers a newer one does: mostly none has to be read.
        waiting = self._uncovered(records, self._readers.newest.size)
        if waiting:
            waiting = self._uncovered(waiting, self._published_size(0))
        return [record.entry_id for record in waiting]

    def _uncovered(self, records: Iterable[OpenedRecord], size: int) -> list[OpenedRecord]:
        return [
            record
            for record in records
            if record.leaf_index is None
            or record.shard is None
            or not self._covered(record.shard, record.leaf_index, size)
        ]

    def _covered(self, shard: str, index: int, size: int) -> bool:
        """Whether it is published, `size` entries of this shard being so."""
        if shard == self._readers.newest.shard:
            return index < size
        try:
            reader = self._readers.of(shard)
        except (NotYetLogged, NotInLog):
            return False
        return index < (reader.final or reader.published().checkpoint).size

    def wait_for_all(self, entries: Iterable[str], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        return all(
            self.wait_for(entry_id, max(0.0, deadline - time.monotonic())) for entry_id in entries
        )

    def _published_size(self, known: int) -> int:
        try:
            return self._published().size
        except LogMissing:
            return max(known, 0)
        except StoreAway:
            return self._readers.newest.size  # nothing is published meanwhile

    def _place(self, entry_id: str) -> tuple[str, int] | None:
        columns = ledger_entries.c
        with self._database.read() as tx:
            row = tx.one(
                select(columns.shard, columns.leaf_index).where(columns.entry_id == entry_id)
            )
        if row is None:
            raise EntryUnknown()
        return None if row["leaf_index"] is None else (row["shard"], row["leaf_index"])
