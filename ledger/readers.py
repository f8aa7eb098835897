"""Readers of all shards of the log: of the one in force, and of those that ended before it."""

from ledger.checkpoints import Checkpoint
from ledger.errors import LogMissing, NotInLog, NotYetLogged
from ledger.reader import LogReader
from ledger.retired import Retired
from ledger.unfinished import Unfinished


class Readers:
    """Each shard by its name. Safe from many threads."""

    def __init__(self, newest: LogReader, retired: Retired, unfinished: Unfinished) -> None:
        """`retired`: what the newest shard proves of the earlier ones; `unfinished`: how they
        are read until it has published something that could prove it."""
        self.newest = newest
        self.retired = retired
        self._unfinished = unfinished

    def of(self, shard: str) -> LogReader:
        """Of this shard or an earlier one, which it has proved. `NotInLog`: it never was;
        `NotYetLogged`: begun after this process opened the log, or nothing published yet."""
        if shard == self.newest.shard:
            return self.newest
        if shard > self.newest.shard:
            raise NotYetLogged()
        try:
            found = self._earlier(shard)
        except LogMissing as error:
            raise NotYetLogged() from error
        if found is None:
            raise NotInLog(entry=shard)
        return found

    def _earlier(self, shard: str) -> LogReader | None:
        try:
            return self.retired.reader(shard)
        except LogMissing:
            held = self._unfinished.readers()
            if held:
                return next((one for one in held if one.shard == shard), None)
            # Their keys may have been destroyed in between: then it is published by now.
            return self.retired.reader(shard)

    def all(self) -> tuple[LogReader, ...]:
        """Of all shards, the oldest first; raises what proving the earlier ones raises."""
        try:
            earlier = self.retired.readers()
        except LogMissing:
            earlier = self._unfinished.readers() or self.retired.readers()
        return (*earlier, self.newest)

    def finals(self) -> list[Checkpoint]:
        """The last checkpoints of all earlier shards, the oldest first."""
        return [reader.final for reader in self.retired.readers() if reader.final is not None]

    def origin_of(self, shard: str) -> str:
        """The origin of a shard; raises what `of` does."""
        return self.of(shard).key.name
