"""Who outside remembers the log, asked before a process signs for the first time."""

from collections.abc import Callable
from typing import TypeAlias

from ledger.checkpoints import SignedCheckpoint
from ledger.errors import OutsideUnreachable
from ledger.reader import LogReader

# Compares the database's head of a shard (None: it is empty) with what somebody outside
# remembers of it; the reader reads that shard up to the head.
# Whether they answered; `DatabaseOlderThanLog` or `LogDiverged` when they contradict it.
Memory: TypeAlias = Callable[[LogReader, SignedCheckpoint | None], bool]


class Outside:
    """The witnesses, the chain: each of them is asked, and one that answers is enough."""

    def __init__(self) -> None:
        self._memories: list[Memory] = []

    def add(self, memory: Memory) -> None:
        self._memories.append(memory)

    def compare(self, reader: LogReader, signed: SignedCheckpoint | None) -> None:
        """What the memories raise; `OutsideUnreachable` if there are some and none answers."""
        answered = [memory(reader, signed) for memory in self._memories]
        if answered and not any(answered):
            raise OutsideUnreachable()
