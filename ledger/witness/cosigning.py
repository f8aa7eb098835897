"""Collects the cosignatures that the trust policy asks for, after each published checkpoint."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeAlias

from kernel.clock import Clock
from kernel.errors import CodedError
from ledger.checkpoints import SignedCheckpoint
from ledger.errors import (
    DatabaseOlderThanLog,
    LogDiverged,
    LogMissing,
    QuorumNotMet,
)
from ledger.merkle import consistency_proof
from ledger.notes import Note, Signature, VerifierKey
from ledger.policy import Policy, TrustedLog, evaluate
from ledger.reader import LogReader
from ledger.witness.client import WitnessClient
from ledger.witness.errors import WitnessAhead, WitnessSawAnother, WitnessUnavailable

FIRST_PAUSE = 1.0  # seconds in which a witness that failed is left alone; doubled each time
LONGEST_PAUSE = 60.0
_LOOK = 0.5  # seconds between looks for a new checkpoint, and for witnesses to ask again

Outcome: TypeAlias = tuple[Signature, ...] | CodedError
# Publishes the same head with more signatures, if it still is the head.
Republish: TypeAlias = Callable[[SignedCheckpoint], bool]
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Asked:
    name: str
    client: WitnessClient
    pause: float = 0.0
    not_before: float = 0.0
    failure: str | None = None
    size: int = 0
    succeeded_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class WitnessState:
    """What one witness did when last asked. `failure`: the code of why it gave nothing, None:
    it cosigned, or was not asked yet; `size`, `succeeded_at`: of its newest cosignature to
    this process."""

    name: str
    failure: str | None
    size: int
    succeeded_at: datetime | None

    @property
    def reachable(self) -> bool | None:
        """None: not asked yet."""
        if self.failure is not None:
            return False
        return None if self.succeeded_at is None else True


@dataclass(frozen=True, slots=True)
class Met:
    """The newest checkpoint that met the quorum, and when it did; None: not seen here."""

    signed: SignedCheckpoint
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Round:
    """One round: the checkpoint with all that was collected, and why others gave nothing."""

    signed: SignedCheckpoint
    met: bool  # the policy's quorum
    failures: dict[str, CodedError] = field(default_factory=dict)


class Cosigning:
    """Asks the witnesses of `policy` in parallel. `start` once, `stop` once.

    Nothing here ever delays the sequencer: it publishes first, witnesses follow. `newest`
    is the newest checkpoint that met the quorum, for receipts.
    """

    def __init__(
        self,
        policy: Policy,
        reader: LogReader,
        republish: Republish,
        clock: Clock,
        seconds: float,
        leading: Callable[[], bool] = lambda: True,
    ) -> None:
        """`seconds`: how long one witness may take to answer. `leading`: whether this
        process writes the log; one that stands by asks nobody."""
        self._leading = leading
        self._clock = clock
        self.policy = policy
        self._reader = reader
        self._republish = republish
        by_url: dict[str, list[VerifierKey]] = {}
        for witness in policy.witnesses.values():
            if witness.url is not None:
                by_url.setdefault(witness.url, []).append(witness.key)
        self._asked = [
            _Asked(keys[0].name, WitnessClient(url, keys, seconds)) for url, keys in by_url.items()
        ]
        self.observe: Callable[[str, str | None], None] = _unobserved
        """Told each time a witness was asked: its name, and the code of why it gave nothing."""
        self._pool = ThreadPoolExecutor(max(1, len(self._asked)), thread_name_prefix="witness")
        self._mutex = threading.Lock()  # one round at a time
        self._met: Met | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def newest(self) -> SignedCheckpoint | None:
        """The newest checkpoint that meets the quorum, with its cosignatures."""
        return None if self._met is None else self._met.signed

    @property
    def met(self) -> Met | None:
        """`newest`, or the published checkpoint where another process collected for it."""
        if self._met is not None:
            return self._met
        signed = self._reader.published()
        return Met(signed, None) if quorum_met(self.policy, signed) else None

    def recall(self, signed: SignedCheckpoint, at: datetime) -> None:
        """Take up what an earlier process kept, if it meets the quorum of today's policy."""
        if self._met is None and quorum_met(self.policy, signed):
            self._met = Met(signed, at)

    def states(self) -> list[WitnessState]:
        """Of each witness, in the policy's order."""
        return [
            WitnessState(one.name, one.failure, one.size, one.succeeded_at) for one in self._asked
        ]

    def vouched(self, signed: SignedCheckpoint, keys: Sequence[VerifierKey]) -> bool:
        """Whether the quorum cosigned a checkpoint that these keys of an earlier shard signed:
        the witnesses of the policy count, whichever logs it still lists."""
        return quorum_met(replace(self.policy, logs=tuple(map(TrustedLog, keys))), signed)

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="cosigning", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; a round in progress ends within the time-out."""
        self._stopping.set()
        self._reader.wake()
        if self._thread is not None:
            self._thread.join()
        self._pool.shutdown()
        for one in self._asked:
            one.client.close()

    def compare(self, signed: SignedCheckpoint | None) -> bool:
        """Before a process signs for the first time: no witness knows more than we do.

        `signed`: the database's head. Whether any answered; `DatabaseOlderThanLog` and
        `LogDiverged` when a witness saw a larger or another tree.
        """
        if signed is None:
            return True  # nothing was ever offered to them
        done = self.round(signed, everyone=True)
        for error in done.failures.values():
            if isinstance(error, WitnessAhead):
                seen = error.details["size"]
                raise DatabaseOlderThanLog(database=signed.checkpoint.size, published=seen)
            if isinstance(error, WitnessSawAnother):
                raise LogDiverged(reason="a witness has cosigned another tree")
        return len(done.failures) < len(self._asked)

    def round(self, signed: SignedCheckpoint, *, everyone: bool = False) -> Round:
        """Ask each witness that is not paused (with `everyone`, all), and wait for them.

        What `signed` carries already counts, and who signed it is not asked again.
        """
        with self._mutex:
            now = time.monotonic()
            due = [one for one in self._asked if everyone or one.not_before <= now]
            nodes = self._reader.nodes(signed.checkpoint.size)
            size = signed.checkpoint.size

            def prove(old: int) -> list[bytes]:
                return consistency_proof(nodes, old, size)

            def ask(one: _Asked) -> Outcome:
                try:
                    return one.client.cosign(signed, prove)
                except CodedError as error:
                    return error

            outcomes = list(self._pool.map(ask, due))
            failures: dict[str, CodedError] = {}
            lines = {(one.name, one.key_id): one for one in signed.note.signatures}
            for one, outcome in zip(due, outcomes, strict=True):
                self._note_outcome(one, outcome, size)
                if isinstance(outcome, CodedError):
                    failures[one.client.url] = outcome
                else:
                    lines |= {(line.name, line.key_id): line for line in outcome}
            whole = SignedCheckpoint(
                signed.checkpoint, Note(signed.note.text, tuple(lines.values()))
            )
            met = quorum_met(self.policy, whole)
            known = self._met
            if met and (known is None or known.signed.checkpoint.size <= size):
                same = known is not None and known.signed.checkpoint.size == size
                at = known.at if known is not None and same else self._clock.now()
                self._met = Met(whole, at)
            return Round(whole, met, failures)

    def _note_outcome(self, one: _Asked, outcome: Outcome, size: int) -> None:
        if not isinstance(outcome, CodedError):
            one.pause, one.not_before, one.failure = 0.0, 0.0, None
            one.size, one.succeeded_at = size, self._clock.now()
            self.observe(one.name, None)
            return
        self.observe(one.name, outcome.code)
        if one.failure != outcome.code:
            _log.warning("no cosignature from %s: %s", one.client.url, outcome.code)
        one.failure = outcome.code
        if isinstance(outcome, WitnessUnavailable):
            one.pause = min(LONGEST_PAUSE, one.pause * 2 or FIRST_PAUSE)
            one.not_before = time.monotonic() + one.pause

    def _run(self) -> None:
        """A round for each newer head; for the same head again while its quorum is unmet."""
        done: SignedCheckpoint | None = None
        while not self._stopping.is_set():
            try:
                head = self._reader.published() if self._leading() else None
            except LogMissing:
                head = None
            if head is None:
                self._stopping.wait(_LOOK)
                continue
            if done is None or done.checkpoint.size < head.checkpoint.size:
                done = self._collect(head)
            elif not quorum_met(self.policy, done):
                done = self._collect(done)
            self._reader.wait_beyond(done.checkpoint.size, _LOOK)

    def _collect(self, signed: SignedCheckpoint) -> SignedCheckpoint:
        try:
            done = self.round(signed)
            if len(done.signed.note.signatures) > len(signed.note.signatures):
                self._republish(done.signed)
        except Exception as error:  # noqa: BLE001 - a full disk, say: asked again at the next look
            _log.warning("cosignatures were not kept: %s", type(error).__name__)
            return signed
        return done.signed


def _unobserved(name: str, code: str | None) -> None:
    """Nobody asked."""


def quorum_met(policy: Policy, signed: SignedCheckpoint) -> bool:
    """Whether the policy accepts this checkpoint as it stands."""
    try:
        evaluate(policy, signed)
    except QuorumNotMet:
        return False
    return True
