"""The ledger as the other rooms see it: journal, records, receipts, checkpoint, waiting."""

import re
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path

from sqlalchemy import select

from kernel.clock import Clock
from ledger import heads
from ledger.checkpoints import Checkpoint, SignedCheckpoint
from ledger.errors import (
    DatabaseWithoutKey,
    EntryUnknown,
    KeyWithoutDatabase,
    LedgerStopped,
    LogDiverged,
    LogExists,
    LogMissing,
    LogNotTrusted,
    NotYetLogged,
    OriginInvalid,
    PublicEntry,
)
from ledger.journal import Journal
from ledger.keys import (
    create_key_file,
    create_mldsa44_key_file,
    open_key_file,
    open_mldsa44_key_file,
)
from ledger.leaves import OPENED
from ledger.lock import SequencerLock, lock_of
from ledger.notes import NoteSigner, is_key_name
from ledger.policy import Policy
from ledger.reader import LogReader
from ledger.receipts import build_receipt
from ledger.records import OpenedRecord, Records
from ledger.sequencer import Sequencer, reason_of
from ledger.tables import ledger_entries
from ledger.tilestore import FilesystemTiles, TileStore
from ledger.witness.cosigning import Cosigning, quorum_met
from ledger.worker import INTERVAL, Worker
from storage.database import Database, ReadTx, WriteTx
from storage.keyvault import KeyVault

_SHARD = re.compile(r"[0-9]{4}(-[0-9]{1,3})?", re.ASCII)
_POLL = 0.2  # seconds between looks at the store when another process sequences
MAX_ORIGIN_BYTES = 255  # tlog-cosignature: the origin has a one-byte length


class Ledger:
    """One shard of the log, ready for use. Safe from many threads.

    Reading and journalling work at once; entries get their place in the log
    between `start` and `stop`, or by `sequence`.
    """

    def __init__(
        self,
        *,
        database: Database,
        vault: KeyVault,
        tiles: TileStore,
        signers: Sequence[NoteSigner],
        lock: SequencerLock,
        clock: Clock,
        shard: str,
        interval: float = INTERVAL,
    ) -> None:
        """From its parts; they must be of one log: see `create` and `open`."""
        self.database = database
        self.vault = vault
        self.tiles = tiles
        self.shard = shard
        self.key = signers[0].key
        self.keys = tuple(signer.key for signer in signers)
        self.clock = clock
        self.reader = LogReader(tiles, shard, *self.keys)
        self.records = Records(vault, self.reader)
        self.sequencer = Sequencer(
            database=database, tiles=tiles, signers=signers, reader=self.reader, shard=shard
        )
        self._worker = Worker(self.sequencer, lock, clock, interval)
        self.journal = Journal(vault, wake=self._worker.wake)
        self.cosigning: Cosigning | None = None
        self._hold_back = False

    # --- Birth and opening ---

    @classmethod
    def create(
        cls,
        directory: Path,
        *,
        database: Database,
        vault: KeyVault,
        clock: Clock,
        name: str,
        shard: str,
    ) -> "Ledger":
        """Bring a log into being: keys, folder, head, first leaf, first checkpoint.

        The origin is `name/shard`. The first leaf is public, `shard.opened`,
        with the origin and both verifier keys. The only way a log is born;
        `LogExists` if any part of it is there. Not started on return.
        """
        origin = f"{name}/{shard}"
        if not is_key_name(origin) or len(origin.encode()) > MAX_ORIGIN_BYTES:
            raise OriginInvalid(reason="1 to 255 bytes, no spaces, no plus sign")
        if not _SHARD.fullmatch(shard) or not name or name.startswith("/") or name.endswith("/"):
            raise OriginInvalid(reason="name without outer slashes, shard a year")
        with database.read() as tx:
            if heads.newest_shard(tx) is not None:
                raise LogExists()
        signers: list[NoteSigner] = [
            create_key_file(key_path(directory, shard), origin),
            create_mldsa44_key_file(mldsa44_key_path(directory, shard), origin),
        ]
        tiles = FilesystemTiles.create(log_path(directory, shard))
        ledger = cls(
            database=database,
            vault=vault,
            tiles=tiles,
            signers=signers,
            lock=lock_of(database, lock_path(directory, shard), shard),
            clock=clock,
            shard=shard,
        )
        at = clock.now()

        def open_shard(tx: WriteTx) -> None:
            heads.create(tx, at, shard, origin)
            body = {"origin": origin, "shard": shard}
            body |= {"vkey": signers[0].key.text, "mldsa44_vkey": signers[1].key.text}
            ledger.journal.publish(tx, at, OPENED, body)

        database.write(open_shard)
        ledger.sequence(at)
        return cls.open(directory, database=database, vault=vault, clock=clock)

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        database: Database,
        vault: KeyVault,
        clock: Clock,
        interval: float = INTERVAL,
    ) -> "Ledger":
        """Open the newest shard. Makes nothing: every missing part is a named error.

        `LogMissing`, `KeyWithoutDatabase`, `DatabaseWithoutKey`, `KeyFileUnsafe`.
        Whether the parts belong together is checked before the first signature,
        by `start` and `sequence`: `fsck` must be able to open what does not fit.
        """
        try:
            with database.read() as tx:
                shard = heads.newest_shard(tx)
        except (ValueError, TypeError) as error:
            raise LogDiverged(reason="the head row cannot be read") from error
        if shard is None:
            keys = list((directory / "keys").glob("log-*.key"))
            raise KeyWithoutDatabase() if keys else LogMissing()
        try:
            signers = open_signers(directory, shard)
        except FileNotFoundError:
            raise DatabaseWithoutKey() from None
        tiles = FilesystemTiles(log_path(directory, shard))
        return cls(
            database=database,
            vault=vault,
            tiles=tiles,
            signers=signers,
            lock=lock_of(database, lock_path(directory, shard), shard),
            clock=clock,
            shard=shard,
            interval=interval,
        )

    # --- Sequencing ---

    def use_witnesses(self, policy: Policy, *, seconds: float, hold_back: bool) -> None:
        """Ask the witnesses of a policy that trusts this log; once, before `start`.

        Before the first signature their heads are compared with ours; afterwards each
        published checkpoint is cosigned, each witness having `seconds` to answer. While
        the quorum is unmet receipts carry what there is, or, with `hold_back`, there are
        none yet (`NotYetLogged`). `LogNotTrusted` if the policy does not list this log.
        """
        if all(log.key != self.key for log in policy.logs):
            raise LogNotTrusted()
        self.cosigning = Cosigning(policy, self.reader, self.sequencer.republish, seconds)
        self.sequencer.vouch = self.cosigning.compare
        self._hold_back = hold_back

    def start(self) -> None:
        """Compare, recover, and sequence in the background. Raises what recovery raises."""
        self._worker.start()
        if self.cosigning is not None:
            self.cosigning.start()

    def stand_by(self) -> None:
        """Sequence in the background as soon as no other process does, taking over when
        it ends. Raises nothing: what recovery raises is the sequencer's `failure`."""
        self._worker.stand_by()

    def stop(self) -> None:
        """Publish what waits and stop the background thread, if there is one."""
        self._worker.stop()
        if self.cosigning is not None:
            self.cosigning.stop()
        self.reader.wake()

    def sequence(self, at: datetime) -> int:
        """Publish all that waits, in this thread, for commands that do not `start`."""
        return self._worker.once(at)

    def observe_rounds(self, observe: Callable[[int, float], None]) -> None:
        """Have every round told that gives entries a place: how many, in how many seconds."""
        self._worker.observe = observe

    @property
    def running(self) -> bool:
        return self._worker.running and self.sequencer.failure is None

    @property
    def leading(self) -> bool:
        """Whether this process writes the log now, and does not stand by."""
        return self._worker.leading and self.sequencer.failure is None

    def require_running(self) -> None:
        """`LedgerStopped` with the reason, unless the log is being written."""
        failure = self.sequencer.failure
        if failure is not None:
            raise LedgerStopped(reason=reason_of(failure)) from failure
        if not self._worker.running:
            raise LedgerStopped(reason="not_started")

    # --- Evidence ---

    @property
    def origin(self) -> str:
        return self.key.name

    @property
    def vkey(self) -> str:
        """The log's verifier key, for trust policies."""
        return self.key.text

    def policy_text(self) -> str:
        """A tlog-policy that trusts this log alone, without witnesses.

        It lists all of the log's keys, so that what each one signed is verified and reported.
        """
        return "".join(f"log {key.text}\n" for key in self.keys) + "quorum none\n"

    def signed_checkpoint(self) -> SignedCheckpoint:
        """The newest published checkpoint, verified."""
        return self.reader.published() if self.leading else self.reader.refresh()

    def checkpoint(self) -> Checkpoint:
        return self.signed_checkpoint().checkpoint

    def receipt(self, tx: ReadTx, entry_id: str) -> bytes:
        """The receipt of an entry: canonical JSON and a newline.

        `EntryUnknown`, `RecordErased`, `PublicEntry`; `NotYetLogged` until its
        checkpoint is published.
        """
        record = self.records.open(tx, entry_id)
        if not record.salt:
            raise PublicEntry()
        inclusion = self.records.prove(record)
        if self.cosigning is not None:
            inclusion = self.reader.inclusion(inclusion.index, self.checkpoint_for(inclusion.index))
        return build_receipt(record.canonical, record.salt, inclusion.proof())

    def checkpoint_for(self, index: int) -> SignedCheckpoint:
        """The checkpoint on which evidence about the entries up to `index` stands.

        The newest that met the quorum of witnesses, if there are any and it covers them;
        otherwise the published one, or `NotYetLogged` when evidence is held back.
        """
        published = self.signed_checkpoint()
        if self.cosigning is None:
            return published
        witnessed = self.cosigning.newest
        if witnessed is not None and index < witnessed.checkpoint.size:
            return witnessed
        if self._hold_back and not quorum_met(self.cosigning.policy, published):
            raise NotYetLogged()
        return published

    def wait_for(self, entry_id: str, seconds: float) -> bool:
        """Wait until the entry's checkpoint is published: True, or False after `seconds`.

        False at once when the log has stopped. `EntryUnknown` if there is no
        such entry. Any number of threads may wait.
        """
        deadline = time.monotonic() + seconds
        index: int | None = None
        size = -1
        while True:
            if index is None:
                index = self._leaf_index(entry_id)
            published = self._published_size(size)
            if index is not None and index < published:
                return True
            remaining = deadline - time.monotonic()
            if remaining <= 0 or self.sequencer.failure is not None:
                return False
            size = published
            self.reader.wait_beyond(size, min(remaining, _POLL))

    def unpublished(self, records: Iterable[OpenedRecord]) -> list[str]:
        """The entries among them that no published checkpoint covers yet, in their order."""
        size = self._published_size(0)
        return [
            record.entry_id
            for record in records
            if record.leaf_index is None or record.leaf_index >= size
        ]

    def wait_for_all(self, entries: Iterable[str], seconds: float) -> bool:
        """`wait_for` all of them, within `seconds` together."""
        deadline = time.monotonic() + seconds
        return all(
            self.wait_for(entry_id, max(0.0, deadline - time.monotonic())) for entry_id in entries
        )

    def _published_size(self, known: int) -> int:
        try:
            return self.checkpoint().size
        except LogMissing:
            return max(known, 0)

    def _leaf_index(self, entry_id: str) -> int | None:
        columns = ledger_entries.c
        with self.database.read() as tx:
            row = tx.one(
                select(columns.shard, columns.leaf_index).where(columns.entry_id == entry_id)
            )
        if row is None:
            raise EntryUnknown()
        index: int | None = row["leaf_index"]
        return index


def log_path(directory: Path, shard: str) -> Path:
    """Where a shard lies exactly as it is served."""
    return directory / "log" / shard


def key_path(directory: Path, shard: str) -> Path:
    return directory / "keys" / f"log-{shard}.key"


def open_signers(directory: Path, shard: str) -> list[NoteSigner]:
    """The log's own keys, Ed25519 first. `FileNotFoundError`, `KeyFileUnsafe`."""
    return [
        open_key_file(key_path(directory, shard)),
        open_mldsa44_key_file(mldsa44_key_path(directory, shard)),
    ]


def mldsa44_key_path(directory: Path, shard: str) -> Path:
    return directory / "keys" / f"log-{shard}.mldsa44.key"


def lock_path(directory: Path, shard: str) -> Path:
    return directory / f"sequencer-{shard}.lock"
