"""Asks the witnesses of a policy, all at once, for cosignatures of one checkpoint."""

import logging
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from kernel.clock import Clock
from kernel.errors import CodedError
from ledger.checkpoints import SignedCheckpoint
from ledger.errors import DatabaseOlderThanLog, LogDiverged
from ledger.merkle import consistency_proof
from ledger.notes import Note, Signature, VerifierKey
from ledger.policy import Policy
from ledger.reader import LogReader
from ledger.witness.client import TRIES, WitnessClient
from ledger.witness.errors import WitnessAhead, WitnessSawAnother, WitnessUnavailable

FIRST_PAUSE = 1.0  # seconds in which a witness that failed is left alone; doubled each time
LONGEST_PAUSE = 60.0

Outcome: TypeAlias = tuple[Signature, ...] | CodedError
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
    answer: Future[Outcome] | None = None  # to the newest question; it may owe it still


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
class Collected:
    """The checkpoint with all cosignatures, and by URL why others gave none."""

    signed: SignedCheckpoint
    failures: dict[str, CodedError]


class Witnesses:
    """The witnesses of a policy, each with what it did last. One round at a time; `close` once."""

    def __init__(self, policy: Policy, clock: Clock, seconds: float) -> None:
        """`seconds`: how long one witness may take to answer one question."""
        self._clock = clock
        # For all that one is asked at once; each answer is bounded by itself.
        self._longest = TRIES * seconds
        by_url: dict[str, list[VerifierKey]] = {}
        for witness in policy.witnesses.values():
            if witness.url is not None:
                by_url.setdefault(witness.url, []).append(witness.key)
        self._asked = [
            _Asked(keys[0].name, WitnessClient(url, keys, seconds)) for url, keys in by_url.items()
        ]
        self.observe: Callable[[str, str | None], None] = _unobserved
        """Told each time a witness was asked: its name, and the code of why it gave nothing."""
        # One thread for each: who is slow takes nobody else's.
        self._pool = ThreadPoolExecutor(max(1, len(self._asked)), thread_name_prefix="witness")

    def __len__(self) -> int:
        return len(self._asked)

    def states(self) -> list[WitnessState]:
        """Of each witness, in the policy's order."""
        return [
            WitnessState(one.name, one.failure, one.size, one.succeeded_at) for one in self._asked
        ]

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        for one in self._asked:
            one.client.close()

    def ask(
        self, reader: LogReader, signed: SignedCheckpoint, *, everyone: bool = False
    ) -> Collected:
        """Ask each witness that is not paused (with `everyone`, all), and wait for them, at most
        three times `seconds`. `reader`: of the checkpoint's log.

        What `signed` carries already counts, and who signed it is not asked again.
        """
        nodes, size = reader.nodes(signed.checkpoint.size), signed.checkpoint.size

        def prove(old: int) -> list[bytes]:
            return consistency_proof(nodes, old, size)

        def question(one: _Asked) -> Outcome:
            try:
                return one.client.cosign(signed, prove)
            except CodedError as error:
                return error

        now = time.monotonic()
        due = [one for one in self._asked if everyone or one.not_before <= now]
        # One that still owes the answer to an earlier question is not asked another.
        free = [one for one in due if one.answer is None or one.answer.done()]
        asked = {one.client.url: self._pool.submit(question, one) for one in free}
        for one in free:
            one.answer = asked[one.client.url]
        answered, _ = wait(asked.values(), self._longest)
        failures: dict[str, CodedError] = {}
        lines = {(one.name, one.key_id): one for one in signed.note.signatures}
        for one in due:
            answer = asked.get(one.client.url)
            outcome: Outcome = WitnessUnavailable(url=one.client.url, reason="no end of an answer")
            if answer is not None and answer in answered:
                outcome = answer.result()
            self._note(one, outcome, size)
            if isinstance(outcome, CodedError):
                failures[one.client.url] = outcome
            else:
                lines |= {(line.name, line.key_id): line for line in outcome}
        whole = SignedCheckpoint(signed.checkpoint, Note(signed.note.text, tuple(lines.values())))
        return Collected(whole, failures)

    def _note(self, one: _Asked, outcome: Outcome, size: int) -> None:
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


def require_uncontradicted(signed: SignedCheckpoint, failures: Iterable[CodedError]) -> None:
    """`DatabaseOlderThanLog` and `LogDiverged` if a witness gave no cosignature because it saw
    a larger tree than this, or another one."""
    for error in failures:
        if isinstance(error, WitnessAhead):
            seen = error.details["size"]
            raise DatabaseOlderThanLog(database=signed.checkpoint.size, published=seen)
        if isinstance(error, WitnessSawAnother):
            raise LogDiverged(reason="a witness has cosigned another tree")


def _unobserved(name: str, code: str | None) -> None:
    """Nobody asked."""
