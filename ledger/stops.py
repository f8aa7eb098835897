"""Stops: what took something away is noted beside the rows, so that its loss shows.

Whoever edits the database can delete the newest records of a thing together with the
rows that tell the same: what is left then agrees with itself, and blinded leaves tell
nobody which thing lost one. So each record of a kind in `STOPPING` leaves an object in
a store that is not the database, before its checkpoint is signed: an empty
statement under a name that only the vault can compute, `mac(entity, number)`, where
`number` counts the stops of that entity from 1. A history that tells of n stops is
whole only while number n + 1 is not noted: one look, whatever the history.

The store of stops is not believed: it can only make a history be refused. Deleting from
it takes this protection away and nothing more.
"""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import bindparam, func, select

from ledger.errors import HistoryCut
from ledger.heads import Head
from ledger.tables import ledger_entries
from storage.database import Database, ReadTx
from storage.errors import ObjectMissing
from storage.keyvault import KeyVault
from storage.objects import ObjectStore

# Words of the rooms above: records after which less may be believed than before.
STOPPING = frozenset(
    {
        "material.reject",
        "material.supersede",
        "material.stop",
        "material.invalidate",
        "capacity.ended",
        "grant.revoked",
        "party.event",
        "register.replaced",
        "register.ended",
        "license.changed",
        "license.renewed",
        "license.reissued",
        "license.suspended",
        "license.withdrawn",
        "license.rescinded",
        "license.revoked",
        "license.deregistered",
        "license.annulled",
    }
)
_NOTE = b"mianjiao stop\n"
_COLUMNS = ledger_entries.c
_EARLIER = ledger_entries.alias().c
_STAGED = (
    select(
        _COLUMNS.entity,
        # The entity's stops up to this one.
        select(func.count())
        .where(_EARLIER.entity == _COLUMNS.entity, _EARLIER.position <= _COLUMNS.position)
        .where(_EARLIER.kind.in_(STOPPING), _EARLIER.public.is_(False))
        .scalar_subquery()
        .label("number"),
    )
    .where(_COLUMNS.shard == bindparam("shard"), _COLUMNS.kind.in_(STOPPING))
    .where(_COLUMNS.leaf_index >= bindparam("size"))
    .where(_COLUMNS.leaf_index < bindparam("staged_size"))
    .where(_COLUMNS.public.is_(False))
)


class Stop(NamedTuple):
    """The `number`th stop of `entity`, from 1."""

    entity: str
    number: int


class PlacedStop(NamedTuple):
    """A stop, and the entry of the log that it is."""

    entry_id: str
    shard: str
    leaf_index: int
    stop: Stop


COMPLETE = Stop("", 0)  # noted once all stops of an older store are


class Stops:
    """Notes stops and asks for them. Safe from many threads and processes."""

    def __init__(self, objects: ObjectStore, vault: KeyVault) -> None:
        """`objects`: a store of its own, which holds nothing else."""
        self._objects = objects
        self._vault = vault

    def key(self, stop: Stop) -> str:
        """The name of its object: 128 bits that tell nothing without the vault."""
        return self._vault.mac("stop", f"{stop.entity} {stop.number}".encode())[:16].hex()

    def note(self, stops: Iterable[Stop]) -> None:
        """Durable on return, and may be repeated. Raises what the object store raises."""
        self._objects.put_many((self.key(stop), _NOTE) for stop in stops)

    def noted(self, stop: Stop) -> bool:
        try:
            self._objects.size(self.key(stop))
        except ObjectMissing:
            return False
        return True

    def require_whole(self, entity: str, kinds: Iterable[str]) -> None:
        """`HistoryCut` if the log had more stops of `entity` than these records tell.

        A snapshot that is older than the newest stop looks the same: ask again in a
        new one before it is called damage.
        """
        number = sum(kind in STOPPING for kind in kinds)
        if self.noted(Stop(entity, number + 1)):
            raise HistoryCut(entity=entity)

    def catch_up(self, database: Database) -> None:
        """Note all stops of a store that is older than this, once: the rows are all that
        tells of them."""
        if self.noted(COMPLETE):
            return
        with database.read() as tx:
            stops = [placed.stop for placed in placed_stops(tx)]
        self.note(stops)
        self.note([COMPLETE])

    def take_over(self, newer: ObjectStore) -> None:
        """Note what a newer copy of this store has noted: after a restore, whatever was
        stopped since the backup is refused, not believed as it stood before."""
        own = self.key(COMPLETE)  # of that copy's rows, not of these
        keys = {key for key, _ in newer.keys()} - {own}  # noqa: SIM118 - no mapping
        self._objects.put_many((key, _NOTE) for key in sorted(keys))

    def keys_of(self, stops: Iterable[Stop]) -> set[str]:
        """All keys of a store that notes exactly these."""
        return {self.key(stop) for stop in (*stops, COMPLETE)}

    def stored(self) -> set[str]:
        """The keys of all that is noted."""
        return {key for key, _ in self._objects.keys()}  # noqa: SIM118 - no mapping


def staged_stops(tx: ReadTx, head: Head) -> list[Stop]:
    """The stops among the entries that this round gives a place."""
    place = {"shard": head.shard, "size": head.size, "staged_size": head.staged_size}
    return [Stop(row["entity"], row["number"]) for row in tx.all(_STAGED, place)]


def placed_stops(tx: ReadTx) -> list[PlacedStop]:
    """Every one that has a place in the log, whichever shard it is in."""
    rows = tx.all(
        select(_COLUMNS.entry_id, _COLUMNS.entity, _COLUMNS.shard, _COLUMNS.leaf_index)
        .where(_COLUMNS.kind.in_(STOPPING), _COLUMNS.public.is_(False))
        .where(_COLUMNS.leaf_index.is_not(None))
        .order_by(_COLUMNS.position)
    )
    seen: Counter[str] = Counter()
    found = []
    for row in rows:
        seen[row["entity"]] += 1
        stop = Stop(row["entity"], seen[row["entity"]])
        found.append(PlacedStop(row["entry_id"], row["shard"], row["leaf_index"], stop))
    return found
