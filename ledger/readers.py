"""Readers of all shards of the log: of the one in force, and of those that ended before it."""

from ledger.checkpoints import Checkpoint
from ledger.errors import LogMissing, NotInLog, NotYetLogged
from ledger.reader import LogReader
from ledger.retired import Retired


class Readers:
    """Each shard by its name. Safe from many threads."""

    def __init__(self, newest: LogReader, retired: Retired) -> None:
        self.newest = newest
        self.retired = retired

    def of(self, shard: str) -> LogReader:
        """Of this shard or an earlier one, which it has proved. `NotInLog`: it never was;
        `NotYetLogged`: begun after this process opened the log, or nothing published yet."""
        if shard == self.newest.shard:
            return self.newest
        if shard > self.newest.shard:
            raise NotYetLogged()
        try:
            found = self.retired.reader(shard)
        except LogMissing as error:
            raise NotYetLogged() from error
        if found is None:
            raise NotInLog(entry=shard)
        return found

    def all(self) -> tuple[LogReader, ...]:
        """Of all shards, the oldest first; raises what proving the earlier ones raises."""
        return (*self.retired.readers(), self.newest)

    def finals(self) -> list[Checkpoint]:
        """The last checkpoints of all earlier shards, the oldest first."""
        return [reader.final for reader in self.retired.readers() if reader.final is not None]

    def origin_of(self, shard: str) -> str:
        """The origin of a shard; raises what `of` does."""
        return self.of(shard).key.name
