"""What differs between the engines, as one port; `sqlite` and `postgres` implement it."""

from typing import Any, Protocol

from sqlalchemy import Engine


class Backend(Protocol):
    """One kind of database, opened. Safe to share between threads.

    `driver` is always the driver's own connection, in the caller's hands. Whatever
    the engine: while one transaction of a writer is open no other process's begins,
    a commit that returned is durable, and a reader sees one snapshot.
    """

    @property
    def name(self) -> str:
        """What messages call it: a path, or a URL without password."""
        ...

    @property
    def writer_engine(self) -> Engine: ...

    @property
    def reader_engine(self) -> Engine: ...

    @property
    def glance_engine(self) -> Engine:
        """The readers once more, where each statement is a transaction of its own."""
        ...

    @property
    def driver_error(self) -> type[Exception]: ...

    @property
    def group_limit(self) -> int:
        """Units of work in one commit: bounds the latency of the last one."""
        ...

    def coded(self, error: BaseException) -> BaseException:
        """Errors of the device or the engine as coded errors; all others as they are."""
        ...

    def lock(self, driver: Any) -> None:
        """The first step of a write transaction: waits until no other process writes.
        `DatabaseBusy`, as the driver's own error, if that takes too long."""
        ...

    def move_savepoint(self, driver: Any, name: str) -> None:
        """Keep what was done since the savepoint, and put it here. On the driver's
        connection: through SQLAlchemy it costs ten times as much."""
        ...

    def is_open(self, driver: Any) -> bool:
        """Whether the transaction still lives, so that a savepoint can be rolled back to."""
        ...

    def can_commit(self, driver: Any) -> bool:
        """Whether a commit would store something: no statement of it failed unnoticed."""
        ...

    def is_lost(self, driver: Any) -> bool:
        """Whether the connection is gone. Then nothing that was not committed is stored,
        and of a commit without an answer nobody knows."""
        ...

    def forget_deleted(self, driver: Any) -> bool:
        """See `Database.forget_deleted`. Between transactions only."""
        ...

    def damage(self, driver: Any) -> list[str]:
        """See `Database.damage`."""
        ...

    def warnings(self) -> list[str]:
        """What an operator should know though all works, Chinese first."""
        ...
