"""What the pages show of the store. `runtime` builds it; the pages read it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class CheckpointState:
    """The published head of the current shard. `root` is 32 bytes, `at` when it was signed."""

    shard: str
    origin: str
    size: int
    root: bytes
    at: datetime


@dataclass(frozen=True, slots=True)
class StoreState:
    """Counts of what is kept, and the published head. Nothing about any one holder.

    Counts are those of `counted_at`, which may lie some time back. `checkpoint` is
    None until the first one is published. `pending` counts records that are durable
    and wait for their place in the log, up to the limit of the queue.
    """

    name: str
    materials: int
    licenses: int
    cases: int
    allowed: int
    denied: int
    counted_at: datetime
    pending: int
    checkpoint: CheckpointState | None


class PortalState(Protocol):
    """Where the pages get the state from.

    `snapshot` reads one consistent state; it may read the database and is called
    in a worker thread, from many threads at once.
    """

    def snapshot(self) -> StoreState: ...
