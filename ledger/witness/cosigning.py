"""Collects the cosignatures that the trust policy asks for, after each published checkpoint."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeAlias

from kernel.clock import Clock
from kernel.errors import CodedError
from ledger.checkpoints import SignedCheckpoint
from ledger.errors import LogMissing, QuorumNotMet
from ledger.notes import VerifierKey
from ledger.policy import Policy, TrustedLog, evaluate
from ledger.reader import LogReader
from ledger.witness.asking import Witnesses, WitnessState, require_uncontradicted

_LOOK = 0.5  # seconds between looks for a new checkpoint, and for witnesses to ask again

# Publishes the same head with more signatures, if it still is the head.
Republish: TypeAlias = Callable[[SignedCheckpoint], bool]
_log = logging.getLogger(__name__)


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
    failures: dict[str, CodedError]


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
        self.witnesses = Witnesses(policy, clock, seconds)
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
        """`newest`, or the published checkpoint where another process collected for it since."""
        signed, known = self._reader.published(), self._met
        newer = known is None or known.signed.checkpoint.size < signed.checkpoint.size
        return Met(signed, None) if newer and quorum_met(self.policy, signed) else known

    def recall(self, signed: SignedCheckpoint, at: datetime) -> None:
        """Take up what an earlier process kept, if it meets the quorum of today's policy."""
        if self._met is None and quorum_met(self.policy, signed):
            self._met = Met(signed, at)

    def states(self) -> list[WitnessState]:
        """Of each witness, in the policy's order."""
        return self.witnesses.states()

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
        self.witnesses.close()

    def compare(self, signed: SignedCheckpoint | None) -> bool:
        """Before a process signs for the first time: no witness knows more than we do.

        `signed`: the database's head. Whether any answered; `DatabaseOlderThanLog` and
        `LogDiverged` when a witness saw a larger or another tree.
        """
        if signed is None:
            return True  # nothing was ever offered to them
        done = self.round(signed, everyone=True)
        require_uncontradicted(signed, done.failures.values())
        return len(done.failures) < len(self.witnesses)

    def round(self, signed: SignedCheckpoint, *, everyone: bool = False) -> Round:
        """See `Witnesses.ask`; one at a time. What met the quorum is `newest` from then on."""
        with self._mutex:
            done = self.witnesses.ask(self._reader, signed, everyone=everyone)
            met = quorum_met(self.policy, done.signed)
            size, known = signed.checkpoint.size, self._met
            if met and (known is None or known.signed.checkpoint.size <= size):
                same = known is not None and known.signed.checkpoint.size == size
                at = known.at if known is not None and same else self._clock.now()
                self._met = Met(done.signed, at)
            return Round(done.signed, met, done.failures)

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


def quorum_met(policy: Policy, signed: SignedCheckpoint) -> bool:
    """Whether the policy accepts this checkpoint as it stands."""
    try:
        evaluate(policy, signed)
    except QuorumNotMet:
        return False
    return True
