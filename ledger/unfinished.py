"""Shards before one that has published nothing yet, read by the keys that are still here.

Between the transaction that closes a shard and its successor's first checkpoint nothing
signed names the end of the old one. Its keys lie in their files until that checkpoint is
published, so what they signed is believed exactly as it was before the close, and no more:
the rows only say which shard it is.
"""

import threading

from ledger import heads
from ledger.errors import FinalDiffers, LogDiverged
from ledger.reader import LogReader
from ledger.retired import Ended, Retired, ended_before
from ledger.shard_keys import ShardKeys
from ledger.tilestore import OpensShards
from storage.database import Database


def named_before(database: Database, shard: str) -> Ended | None:
    """The shard before, as the rows name it; None: they name none.

    `LogDiverged` if they disagree. Nothing of it is proved: for whoever compares it.
    """
    with database.read() as tx:
        head = heads.load(tx, shard)
        opened = heads.opening_leaf(tx, shard)
        before = heads.predecessor(tx, shard)
    ended = None if opened is None else ended_before(opened, head.origin)
    if ended is None and before is None:
        return None
    if ended is None or before is None or before.origin != ended.final.origin:
        raise LogDiverged(reason="the shard's opening names another one before it")
    return ended


class Unfinished:
    """Readers for as long as `shard` has published nothing. Safe from many threads."""

    def __init__(
        self, database: Database, keys: ShardKeys, shards: OpensShards, shard: str
    ) -> None:
        self._database = database
        self._keys = keys
        self._shards = shards
        self._shard = shard
        self._lock = threading.Lock()
        self._found: tuple[Ended, LogReader, Retired] | None = None

    def readers(self) -> tuple[LogReader, ...]:
        """Of all shards before, the oldest first; none once the keys of the last are gone:
        then what was published tells. `LogDiverged`, `FinalDiffers`; what reading raises."""
        with self._lock:
            found = self._found = self._found or self._find()
            if found is None:
                return ()
            ended, last, earlier = found
            if last.size == 0 or last.published().checkpoint != ended.final:
                _refresh(last, ended)
            return (*earlier.readers(), last)

    def _find(self) -> tuple[Ended, LogReader, Retired] | None:
        ended = named_before(self._database, self._shard)
        if ended is None:
            return None
        try:
            keys = tuple(one.key for one in self._keys.open(ended.shard))
        except FileNotFoundError:
            return None
        if keys != ended.keys:
            raise LogDiverged(reason="the shard's opening names other keys before it")
        last = LogReader(self._shards.open(ended.shard), ended.shard, *keys)
        return ended, last, Retired(last, self._shards)


def _refresh(reader: LogReader, ended: Ended) -> None:
    """Its last checkpoint may not be signed yet; beyond that there is none."""
    signed = reader.refresh().checkpoint
    if signed.size >= ended.final.size and signed != ended.final:
        raise FinalDiffers(shard=ended.shard)
