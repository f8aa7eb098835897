"""What a shard still owes to the one before it: its last checkpoint, and the end of its keys.

A shard ends, and the next begins, in one transaction (`closing`). What follows is done by
whoever recovers the new shard, so that a close that was cut off anywhere is finished by
the next start.
"""

from collections.abc import Callable
from datetime import datetime

from ledger import heads
from ledger.errors import LogDiverged, LogMissing
from ledger.heads import Head
from ledger.reader import LogReader
from ledger.retired import Retired, shard_of
from ledger.shard_keys import ShardKeys
from ledger.tilestore import OpensShards
from ledger.unfinished import named_before
from storage.database import Database


class Succession:
    """The shard before `shard`, as its recovery needs it. Used by the one sequencer."""

    def __init__(
        self,
        *,
        database: Database,
        keys: ShardKeys,
        shards: OpensShards,
        retired: Retired,
        shard: str,
        finish: Callable[[str, datetime], None],
    ) -> None:
        """`finish(shard, at)`: recovers that shard with its own keys, and publishes it."""
        self._database = database
        self._keys = keys
        self._shards = shards
        self._retired = retired
        self._shard = shard
        self._finish = finish
        self._before: LogReader | None = None

    def prepare(self, at: datetime, head: Head, opened: bytes | None) -> None:
        """Before anything is signed here: the shard before is published to its end, and
        that end is the one which the first entry, `opened`, names.

        `LogDiverged` if it is not; what recovering that shard raises.
        """
        if head.size > 0 or opened is None:
            return  # signed already: what it says of the shard before stands in the log
        ended = named_before(self._database, self._shard)
        if ended is None:
            return
        try:
            keys = tuple(one.key for one in self._keys.open(ended.shard))
        except FileNotFoundError:
            raise LogDiverged(reason="the keys of the shard before are gone too early") from None
        if keys != ended.keys:
            raise LogDiverged(reason="the shard's opening names other keys before it")
        self._finish(ended.shard, at)
        reader = ended.reader(self._shards)
        reader.refresh()
        self._before = reader

    def settle(self, head: Head) -> None:
        """Once this shard has signed: the keys of the one before are of no use to anybody."""
        if head.size == 0:
            return
        with self._database.read() as tx:
            before = heads.predecessor(tx, self._shard)
        if before is not None and before.size == before.staged_size:
            self._keys.destroy(before.shard)

    def reader(self, origin: str) -> LogReader | None:
        """Of an earlier shard by its origin; None if there is no such shard."""
        if self._before is not None and self._before.key.name == origin:
            return self._before
        try:
            found = self._retired.reader(shard_of(origin))
        except LogMissing:
            return None
        return found if found is not None and found.key.name == origin else None
