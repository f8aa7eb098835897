"""The ledger as the other rooms see it: journal, records, receipts, checkpoint, waiting."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

from kernel.clock import Clock
from ledger import heads
from ledger.checkpoints import Checkpoint, SignedCheckpoint
from ledger.errors import (
    DatabaseWithoutKey,
    KeyWithoutDatabase,
    LogDiverged,
    LogExists,
    LogMissing,
    LogNotTrusted,
)
from ledger.finishing import finisher
from ledger.follower import Follower
from ledger.high_water import HeadMemory
from ledger.journal import Journal
from ledger.layout import lock_path, log_path, origin_of, stops_store
from ledger.leaves import OPENED
from ledger.lock import SequencerLock, lock_of
from ledger.log_evidence import LogEvidence
from ledger.notes import NoteSigner
from ledger.outside import Outside
from ledger.pkcs11.signers import Tokens
from ledger.policy import Policy
from ledger.reader import LogReader
from ledger.readers import Readers
from ledger.records import OpenedRecord, Records
from ledger.retired import Retired
from ledger.sequencer import Sequencer
from ledger.shard_keys import KeyFolder, create_signers, open_signers
from ledger.stops import Stops
from ledger.succession import Succession
from ledger.tilestore import FolderShards, Shards, TileStore
from ledger.unfinished import Unfinished
from ledger.waiting import Waiting
from ledger.witness.cosigning import Cosigning
from ledger.witness.ended import EndedCosigning
from ledger.worker import INTERVAL, Worker
from storage.database import Database, WriteTx
from storage.keyvault import KeyVault
from storage.objects import ObjectStore


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
        directory: Path,
        shards: Shards,
        interval: float = INTERVAL,
        memory: HeadMemory | None = None,
        tokens: Tokens | None = None,
    ) -> None:
        """From its parts, of one log; `keys/` lie in `directory`: see `create` and `open`."""
        self.database = database
        self.vault = vault
        self.tiles = tiles
        self.shard = shard
        self.key = signers[0].key
        self.keys = tuple(signer.key for signer in signers)
        self.clock = clock
        self.directory = directory
        self.shards = shards
        self.reader = LogReader(tiles, shard, *self.keys)
        keys = KeyFolder(directory, tokens)
        self.readers = Readers(
            self.reader, Retired(self.reader, shards), Unfinished(database, keys, shards, shard)
        )
        self.stops = Stops(stops, vault)
        self.records = Records(vault, self.readers.of, self.stops)
        self.evidence = LogEvidence(database, self.readers, self.records, self.signed_checkpoint)
        self.tokens = tokens
        self.outside = Outside()
        self.sequencer = Sequencer(
            database=database,
            tiles=tiles,
            signers=signers,
            reader=self.reader,
            stops=self.stops,
            shard=shard,
            memory=memory,
            succession=Succession(
                database=database,
                keys=keys,
                shards=shards,
                retired=self.readers.retired,
                shard=shard,
                finish=finisher(
                    database=database,
                    keys=keys,
                    shards=shards,
                    stops=self.stops,
                    memory=memory,
                    outside=self.outside,
                ),
            ),
        )
        self.sequencer.vouch = partial(self.outside.compare, self.reader)
        self._worker = Worker(self.sequencer, lock, clock, interval)
        self._follower = Follower(self.reader, lambda: self.leading)
        self._waiting = Waiting(
            database, self.readers, self.sequencer, self.checkpoint, self._follower.call
        )
        self.journal = Journal(vault, wake=self._worker.wake)
        self.cosigning: Cosigning | None = None
        self._ended: EndedCosigning | None = None

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
        with the origin and both verifier keys. `shards` and `stops`: where its tiles and
        the notes of stops lie, by default in `directory`. `tokens`: where the Ed25519 key is
        made, if not in a file. The only way a log is born; `LogExists` if any part of it is
        there. Not started on return.
        """
        origin = origin_of(name, shard)
        with database.read() as tx:
            if heads.newest_shard(tx) is not None:
                raise LogExists()
        signers = create_signers(directory, shard, origin, tokens)
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
            directory=directory,
            shards=shards,
            tokens=tokens,
        )
        at = clock.now()

        def open_shard(tx: WriteTx) -> None:
            heads.create(tx, at, shard, origin)
            vkeys = {"vkey": signers[0].key.text, "mldsa44_vkey": signers[1].key.text}
            body = {"origin": origin, "shard": shard, **vkeys}
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

        `shards`, `stops`, `tokens`: as for `create`; a token is opened by the first round.
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
        shards = shards or FolderShards(log_path(directory))
        return cls(
            database=database,
            vault=vault,
            tiles=shards.open(shard),
            directory=directory,
            shards=shards,
            stops=stops or stops_store(directory),
            signers=signers,
            lock=lock_of(database, lock_path(directory, shard), shard),
            clock=clock,
            shard=shard,
            interval=interval,
            memory=memory,
            tokens=tokens,
        )

    # --- Sequencing ---

    def use_witnesses(self, policy: Policy, *, seconds: float, hold_back: bool) -> None:
        """Ask the witnesses of a policy that trusts this log (`LogNotTrusted`); before `start`.

        Before the first signature heads are compared; then each published checkpoint is
        cosigned, each witness having `seconds` to answer. While the quorum is unmet receipts
        carry what there is, or, with `hold_back`, there are none yet (`NotYetLogged`).
        """
        if all(log.key != self.key for log in policy.logs):
            raise LogNotTrusted()
        cosigning = Cosigning(
            policy, self.reader, self.sequencer.republish, self.clock, seconds, lambda: self.leading
        )
        ended = EndedCosigning(
            policy,
            self.readers.retired.readers,
            lambda shard, signed: self.shards.open(shard).publish(signed.encode()),
            self.clock,
            seconds,
            lambda: self.leading,
        )

        def compare(reader: LogReader, signed: SignedCheckpoint | None) -> bool:
            if reader is self.reader:
                return cosigning.compare(signed)
            return ended.compare(reader, signed)

        if cosigning.states():
            self.outside.add(compare)
        self.cosigning, self._ended = cosigning, ended
        self.evidence.use_witnesses(cosigning, hold_back=hold_back)

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
        if self._ended is not None:
            self._ended.start()

    def stop(self) -> None:
        """Publish what waits and stop the background threads, if there are any."""
        self._follower.stop()
        self._worker.stop()
        if self.cosigning is not None:
            self.cosigning.stop()
        if self._ended is not None:
            self._ended.stop()
        self.reader.wake()

    def sequence(self, at: datetime, then: Callable[[], None] = lambda: None) -> int:
        """Publish what waits, in this thread; `then` is called while the log is still held."""
        return self._worker.once(at, then)

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

    def cosign_ended(self) -> list[str]:
        """Ask once for the ends of earlier shards: origins whose quorum is unmet still."""
        return [] if self._ended is None else self._ended.collect()

    # --- What it is, and what is published ---

    @property
    def origin(self) -> str:
        return self.key.name

    @property
    def vkey(self) -> str:
        """The log's verifier key, for trust policies."""
        return self.key.text

    def policy_text(self) -> str:
        """A tlog-policy that trusts this log alone, without witnesses.

        It lists all keys of all its shards, so that what each one signed is verified and
        reported. How earlier shards ended is for `demands_text`.
        """
        keys = (key for reader in self.readers.all() for key in reader.keys)
        return "".join(f"log {key.text}\n" for key in keys) + "quorum none\n"

    def signed_checkpoint(self) -> SignedCheckpoint:
        """The newest published checkpoint, verified."""
        return self._follower.newest()

    def checkpoint(self) -> Checkpoint:
        return self.signed_checkpoint().checkpoint

    # --- Waiting ---

    def wait_for(self, entry_id: str, seconds: float) -> bool:
        """Wait until the entry's checkpoint is published: True, or False after `seconds`.

        False at once when the log has stopped. `EntryUnknown` if there is no
        such entry. Any number of threads may wait.
        """
        return self._waiting.wait_for(entry_id, seconds)

    def wait_for_all(self, entries: Iterable[str], seconds: float) -> bool:
        """`wait_for` all of them, within `seconds` together."""
        return self._waiting.wait_for_all(entries, seconds)

    def unpublished(self, records: Iterable[OpenedRecord]) -> list[str]:
        """The entries among them that no published checkpoint covers yet, in their order."""
        return self._waiting.unpublished(records)
