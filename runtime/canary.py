"""The canary: writes an object and a ledger entry now and then, reads both back, proves them.

What clients notice first in other stores is noticed here first: bytes that do not
come back, entries that never reach the log, proofs that do not hold.
"""

import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable

from kernel.clock import Clock
from kernel.errors import CodedError
from kernel.ids import IdKind, new_id
from ledger.sequencer import reason_of
from ledger.service import Ledger
from runtime.errors import CanaryFailed
from runtime.metrics import CANARY_STEPS, Metrics
from runtime.settings import Settings
from runtime.unexpected import describe
from storage.database import Database
from storage.objects import SealedObjects

log = logging.getLogger("mianjiao.canary")

KIND = "canary.written"
_BYTES = 4096


class Canary:
    """Checks in a thread of its own between `start` and `stop`; `failure` says how it went."""

    def __init__(
        self,
        *,
        settings: Settings,
        clock: Clock,
        database: Database,
        objects: SealedObjects,
        ledger: Ledger,
        metrics: Metrics,
        paused: Callable[[], bool],
    ) -> None:
        """`paused`: whether writes are refused anyway, so that the check would only add to it."""
        self._settings = settings
        self._clock = clock
        self._database = database
        self._objects = objects
        self._ledger = ledger
        self._metrics = metrics
        self._paused = paused
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.failure: str | None = None
        """Why the last check failed, as `step:reason`; None: it did not."""

    def start(self) -> None:
        """The first check comes after one interval; none if the interval is 0."""
        if self._settings.canary_seconds > 0:
            self._thread = threading.Thread(target=self._run, name="canary", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(self._settings.canary_seconds):
            if not self._paused():
                self.check()

    def check(self) -> None:
        """One check. Never raises: what went wrong is in `failure`, the metrics and the log."""
        began = time.monotonic()
        first, second = CANARY_STEPS
        step = first
        try:
            digest = self._object()
            step = second
            self._entry(digest)
        except Exception as error:  # noqa: BLE001 - any failure is the finding
            if self._stopping.is_set():
                return  # the log is closing
            self.failure = f"{step}:{reason_of(error)}"
            self._metrics.canary_failed(step)
            told = {"step": step, "reason": reason_of(error)}
            if not isinstance(error, CodedError):
                told["error"] = describe(error)
            log.error("canary_failed", extra=told)
            return
        self.failure = None
        self._metrics.canary_seconds.observe(time.monotonic() - began)
        self._metrics.canary_success.set(self._clock.now().timestamp())

    def _object(self) -> str:
        """Store random bytes, read them back, delete them; their digest."""
        data = os.urandom(_BYTES)
        stored = self._objects.put([data], limit=_BYTES)
        try:
            if b"".join(self._objects.read(stored.ref())) != data:
                raise CanaryFailed()
        finally:
            self._objects.store.delete(stored.object_key)
        return f"sha256:{hashlib.sha256(data).hexdigest()}"

    def _entry(self, digest: str) -> None:
        """Record the digest, wait for the log, open the record and prove its leaf."""
        at, ledger = self._clock.now(), self._ledger
        canary = new_id(IdKind.CANARY)
        entry = self._database.write(
            lambda tx: ledger.journal.record(tx, at, KIND, canary, {"digest": digest})
        )
        if not ledger.wait_for(entry.entry_id, self._settings.canary_timeout_seconds):
            raise CanaryFailed()
        with self._database.read() as tx:
            record = ledger.records.open(tx, entry.entry_id)
        if record.body.get("digest") != digest:
            raise CanaryFailed()
        ledger.records.prove(record)
