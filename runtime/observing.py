"""The parts by which one process is watched from outside, made once for a store."""

from dataclasses import dataclass

from runtime.metrics import Metrics
from runtime.tracing import Tracing


@dataclass(frozen=True, slots=True)
class Observing:
    """`metrics` always, `tracing` where it is configured."""

    metrics: Metrics
    tracing: Tracing | None = None

    def committed(self, units: int, seconds: float) -> None:
        self.metrics.committed(units, seconds)
        if self.tracing is not None:
            self.tracing.committed(units, seconds)

    def sequenced(self, entries: int, seconds: float) -> None:
        self.metrics.sequenced(entries, seconds)
        if self.tracing is not None:
            self.tracing.sequenced(entries, seconds)

    def stored(self, seconds: float) -> None:
        self.metrics.stored(seconds)
        if self.tracing is not None:
            self.tracing.stored(seconds)
