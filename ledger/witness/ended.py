"""What is asked of witnesses about closed shards: cosignatures of their last checkpoints.

Receipts of their entries stand on these for ever, so the quorum is asked until it is met.
That needs none of the log's own keys, which are destroyed by then.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

from kernel.clock import Clock
from ledger.anchoring.service import EvidenceThread
from ledger.checkpoints import SignedCheckpoint
from ledger.errors import LogMissing
from ledger.policy import Policy, TrustedLog
from ledger.reader import LogReader
from ledger.witness.asking import Witnesses, require_uncontradicted
from ledger.witness.cosigning import quorum_met

PAUSE = timedelta(seconds=5)  # between two looks; doubled each time
LONGEST_PAUSE = timedelta(minutes=5)


class EndedCosigning:
    """Asks in a thread between `start` and `stop`, until all quorums are met."""

    def __init__(
        self,
        policy: Policy,
        readers: Callable[[], Sequence[LogReader]],
        publish: Callable[[str, SignedCheckpoint], None],
        clock: Clock,
        seconds: float,
        leading: Callable[[], bool] = lambda: True,
    ) -> None:
        """`readers`: of the closed shards; `publish(shard, signed)`: the same checkpoint with
        more signatures. `seconds`: how long one witness may take to answer."""
        self._policy = policy
        self._readers = readers
        self._publish = publish
        self._witnesses = Witnesses(policy, clock, seconds)
        self._pause = PAUSE
        self._next: datetime | None = None
        self._complete = False
        self._thread = EvidenceThread("ended", self, clock, leading)

    def collect(self) -> list[str]:
        """Ask once; the origins whose quorum is still unmet. Raises what reading raises."""
        return [reader.key.name for reader in self._readers() if not self._met(reader)]

    def step(self, at: datetime, *, now: bool = False) -> None:
        """`collect`, if the time has come and something is missing. Raises what that raises."""
        if self._complete or (self._next is not None and at < self._next and not now):
            return
        self._next, self._pause = at + self._pause, min(LONGEST_PAUSE, 2 * self._pause)
        with suppress(LogMissing):  # nothing published yet
            self._complete = not self.collect()

    def close(self) -> None:
        self._witnesses.close()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._thread.stop()

    def _met(self, reader: LogReader) -> bool:
        final = reader.refresh()
        if quorum_met(self._policy_for(reader), final):
            return True
        signed = self._witnesses.ask(reader, final, everyone=True).signed
        if len(signed.note.signatures) > len(final.note.signatures):
            self._publish(reader.shard, signed)
            reader.advance(signed)
        return quorum_met(self._policy_for(reader), signed)

    def compare(self, reader: LogReader, signed: SignedCheckpoint | None) -> bool:
        """`Cosigning.compare` for the shard of `reader`, before its last checkpoint is signed."""
        if signed is None:
            return True  # nothing was ever offered to them
        failures = self._witnesses.ask(reader, signed, everyone=True).failures
        require_uncontradicted(signed, failures.values())
        return len(failures) < len(self._witnesses)

    def _policy_for(self, reader: LogReader) -> Policy:
        """The witnesses of the policy count for each shard, whichever logs it still lists."""
        return replace(self._policy, logs=tuple(map(TrustedLog, reader.keys)))
