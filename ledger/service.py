"""The ledger as the other rooms see it: journal, records, receipts, checkpoint, waiting."""

import re
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path

from sqlalchemy import select

from kernel.canonical import JsonValue, canonical_bytes, parse_record
from kernel.clock import Clock
from ledger import heads
from ledger.anchoring.rows import covering
from ledger.anchors import with_proof
from ledger.checkpoints import Checkpoint, SignedCheckpoint, parse_checkpoint
from ledger.errors import (
    CommitmentMismatch,
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
    ReceiptElsewhere,
)
from ledger.follower import Follower
from ledger.high_water import HeadMemory
from ledger.journal import Journal
from ledger.keys import (
    create_key_file,
    create_mldsa44_key_file,
    open_key_file,
    open_mldsa44_key_file,
)
from ledger.leaves import OPENED, blinded_leaf
from ledger.lock import SequencerLock, lock_of
from ledger.merkle import leaf_hash
from ledger.notes import NoteSigner, is_key_name
from ledger.outside import Outside
from ledger.pkcs11.signers import Tokens
from ledger.policy import Policy
from ledger.reader import LogReader
from ledger.receipts import build_receipt, parse_receipt
from ledger.records import OpenedRecord, Records
from ledger.sequencer import Sequencer, reason_of
from ledger.stops import Stops
from ledger.tables import ledger_entries
from ledger.tilestore import FolderShards, Shards, TileStore
from ledger.witness.cosigning import Cosigning, quorum_met
from ledger.worker import INTERVAL, Worker
from storage.database import Database, ReadTx, WriteTx
from storage.errors import StoreAway, StoreMissing
from storage.keyvault import KeyVault
from storage.objects import FilesystemStore, ObjectStore

_SHARD = re.compile(r"[0-9]{4}(-[0-9]{1,3})?", re.ASCII)
_POLL = 0.2  # seconds between looks at the store when another process sequences
MAX_ORIGIN_BYTES = 255  # tlog-cosignature: the origin has a one-byte length

STOPS = "stops"  # folder in which stops are noted


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
        stops: ObjectStore,
        signers: Sequence[NoteSigner],
        lock: SequencerLock,
        clock: Clock,
        shard: str,
        interval: float = INTERVAL,
        memory: HeadMemory | None = None,
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
        self.stops = Stops(stops, vault)
        self.records = Records(vault, self.reader, self.stops)
        self.sequencer = Sequencer(
            database=database,
            tiles=tiles,
            signers=signers,
            reader=self.reader,
            stops=self.stops,
            shard=shard,
            memory=memory,
        )
        self.outside = Outside()
        self.sequencer.vouch = self.outside.compare
        self._worker = Worker(self.sequencer, lock, clock, interval)
        self._follower = Follower(self.reader, lambda: self.leading)
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
        shards: Shards | None = None,
        stops: ObjectStore | None = None,
        tokens: Tokens | None = None,
    ) -> "Ledger":
        """Bring a log into being: keys, place, head, first leaf, first checkpoint.

        The origin is `name/shard`. The first leaf is public, `shard.opened`,
        with the origin and both verifier keys. `shards` and `stops`: where its
        tiles and the notes of stops lie, by default in `directory`. `tokens`: the PKCS#11
        token in which the Ed25519 key is made, if they name one. The only way
        a log is born; `LogExists` if any part of it is there. Not started on
        return.
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
            create_key_file(key_path(directory, shard), origin, tokens),
            create_mldsa44_key_file(mldsa44_key_path(directory, shard), origin),
        ]
        shards = shards or FolderShards(log_path(directory))
        tiles = shards.create(shard)
        ledger = cls(
            database=database,
            vault=vault,
            tiles=tiles,
            stops=stops or stops_store(directory),
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
        return cls.open(
            directory,
            database=database,
            vault=vault,
            clock=clock,
            shards=shards,
            stops=stops,
            tokens=tokens,
        )

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        database: Database,
        vault: KeyVault,
        clock: Clock,
        interval: float = INTERVAL,
        shards: Shards | None = None,
        stops: ObjectStore | None = None,
        memory: HeadMemory | None = None,
        tokens: Tokens | None = None,
    ) -> "Ledger":
        """Open the newest shard. Makes nothing: every missing part is a named error.

        `shards`, `stops`: where they lie, as for `create`. `tokens`: how a key in a
        PKCS#11 token is reached; that happens first when the log is to be written.
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
            signers = open_signers(directory, shard, tokens)
        except FileNotFoundError:
            raise DatabaseWithoutKey() from None
        tiles = (shards or FolderShards(log_path(directory))).open(shard)
        return cls(
            database=database,
            vault=vault,
            tiles=tiles,
            stops=stops or stops_store(directory),
            signers=signers,
            lock=lock_of(database, lock_path(directory, shard), shard),
            clock=clock,
            shard=shard,
            interval=interval,
            memory=memory,
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
        self.cosigning = Cosigning(
            policy, self.reader, self.sequencer.republish, self.clock, seconds, lambda: self.leading
        )
        if self.cosigning.states():
            self.outside.add(self.cosigning.compare)
        self._hold_back = hold_back

    def start(self) -> None:
        """Compare, recover, and sequence in the background. Raises what recovery raises."""
        self._worker.start()
        self._begin_beside()

    def stand_by(self) -> None:
        """Sequence in the background as soon as no other process does, taking over when
        it ends. Raises nothing: what recovery raises is the sequencer's `failure`."""
        self._worker.stand_by()
        self._begin_beside()

    def follow(self) -> None:
        """Only keep up with what another process publishes."""
        self._follower.start()

    def _begin_beside(self) -> None:
        self._follower.start()
        if self.cosigning is not None:
            self.cosigning.start()

    def stop(self) -> None:
        """Publish what waits and stop the background threads, if there are any."""
        self._follower.stop()
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
        known = self.leading or self._follower.fresh
        return self.reader.published() if known else self.reader.refresh()

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
        index = self.records.prove(record).index
        proof = self.reader.inclusion(index, self.checkpoint_for(index)).proof()
        anchors = self.anchors_of(tx, index)
        return build_receipt(record.canonical, record.salt, proof, anchors)

    def anchors_of(self, tx: ReadTx, index: int) -> list[dict[str, JsonValue]]:
        """Evidence from outside for the entry at `index`, each with its own proof."""
        return [
            with_proof(
                parse_record(kept.evidence),
                self.reader.proof_under(index, parse_checkpoint(kept.checkpoint)),
            )
            for kept in covering(tx, self.shard, index)
        ]

    def refreshed(self, tx: ReadTx, receipt: bytes) -> bytes:
        """A receipt of this log with the newest proof, and all evidence there is by now.

        Record and salt come from the receipt itself: it works for whoever holds one, also
        after the record was erased here. What parsing raises; `CommitmentMismatch`,
        `ReceiptElsewhere` for a receipt of another log, `InclusionInvalid` for one whose
        entry does not stand where it says.
        """
        old = parse_receipt(receipt)
        canonical = canonical_bytes(old.record)
        if blinded_leaf(old.salt, canonical) != old.entry:
            raise CommitmentMismatch()
        if old.proof.checkpoint.checkpoint.origin != self.origin:
            raise ReceiptElsewhere()
        index = old.proof.index
        proof = self.reader.inclusion(index, self.checkpoint_for(index)).proof()
        proof.verify_leaf(leaf_hash(old.entry))
        return build_receipt(canonical, old.salt, proof, self.anchors_of(tx, index))

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
        except StoreAway:
            return self.reader.size  # nothing is published meanwhile

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


def log_path(directory: Path) -> Path:
    """Where the shards lie exactly as they are served, unless they lie in a bucket."""
    return directory / "log"


def stops_store(directory: Path) -> FilesystemStore:
    """Where stops are noted; made where a store is older than they are."""
    folder = directory / STOPS
    try:
        return FilesystemStore(folder)
    except StoreMissing:
        return FilesystemStore(folder, create=True)


def key_path(directory: Path, shard: str) -> Path:
    return signer_paths(directory / "keys", shard)[0]


def open_signers(directory: Path, shard: str, tokens: Tokens | None = None) -> list[NoteSigner]:
    """The log's own keys, Ed25519 first. `FileNotFoundError`, `KeyFileUnsafe`."""
    return signers_in(directory / "keys", shard, tokens)


def signers_in(keys: Path, shard: str, tokens: Tokens | None = None) -> list[NoteSigner]:
    """`open_signers` from a folder of keys."""
    classical, post_quantum = signer_paths(keys, shard)
    return [open_key_file(classical, tokens), open_mldsa44_key_file(post_quantum)]


def signer_paths(keys: Path, shard: str) -> tuple[Path, Path]:
    """The files of the log's own keys in a folder `keys`, Ed25519 first."""
    return keys / f"log-{shard}.key", keys / f"log-{shard}.mldsa44.key"


def mldsa44_key_path(directory: Path, shard: str) -> Path:
    return signer_paths(directory / "keys", shard)[1]


def lock_path(directory: Path, shard: str) -> Path:
    return directory / f"sequencer-{shard}.lock"
