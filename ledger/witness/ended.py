"""What is asked of witnesses about closed shards: cosignatures of their last checkpoints.

Receipts of their entries stand on these for ever, so the quorum is asked until it is met.
That needs none of the log's own keys, which are destroyed by then.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from kernel.clock import Clock
from kernel.errors import CodedError
from ledger.checkpoints import SignedCheckpoint
from ledger.errors import LogMissing
from ledger.policy import Policy, TrustedLog
from ledger.reader import LogReader
from ledger.witness.cosigning import Cosigning, quorum_met

PAUSE = 5.0  # seconds between two looks; doubled each time
LONGEST_PAUSE = 300.0
_log = logging.getLogger(__name__)


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
        self._clock = clock
        self._seconds = seconds
        self._leading = leading
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def collect(self) -> list[str]:
        """Ask once; the origins whose quorum is still unmet. Raises what reading raises."""
        return [reader.key.name for reader in self._readers() if not self._met(reader)]

    def _met(self, reader: LogReader) -> bool:
        final = reader.refresh()
        if quorum_met(self._policy_for(reader), final):
            return True
        with self._asking(reader) as asking:
            done = asking.round(final, everyone=True)
        if len(done.signed.note.signatures) > len(final.note.signatures):
            self._publish(reader.shard, done.signed)
            reader.advance(done.signed)
        return done.met

    def compare(self, reader: LogReader, signed: SignedCheckpoint | None) -> bool:
        """`Cosigning.compare` for the shard of `reader`, before its last checkpoint is signed."""
        with self._asking(reader) as asking:
            return asking.compare(signed)

    def _policy_for(self, reader: LogReader) -> Policy:
        """The witnesses of the policy count for each shard, whichever logs it still lists."""
        return replace(self._policy, logs=tuple(map(TrustedLog, reader.keys)))

    @contextmanager
    def _asking(self, reader: LogReader) -> Iterator[Cosigning]:
        policy = self._policy_for(reader)
        asking = Cosigning(policy, reader, lambda _signed: False, self._clock, self._seconds)
        try:
            yield asking
        finally:
            asking.stop()

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="ended", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        pause = 0.0
        while not self._stopping.wait(pause):
            pause = min(LONGEST_PAUSE, pause * 2 or PAUSE)
            if not self._leading():
                pause = PAUSE
                continue
            try:
                if not self.collect():
                    return
            except LogMissing:
                pass  # nothing published yet
            except (CodedError, OSError) as error:
                _log.warning("an ended shard was not cosigned: %s", type(error).__name__)
