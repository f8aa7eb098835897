"""What Prometheus reads: every metric of the service, in one place.

No label holds what a caller sent: routes are templates, methods, codes and reasons
come from closed sets. Written where things happen, at a few microseconds each, and
read without asking database or disk, so that a scrape works when they do not.

Several processes on one port need `PROMETHEUS_MULTIPROC_DIR`, an empty folder,
set before any of them starts: each writes its numbers there, and a scrape of any
one of them adds up all. Without it a process tells of itself alone.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from materials_api.rules.reasons import ReasonCode

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SHARED = "PROMETHEUS_MULTIPROC_DIR"
CANARY_STEPS = ("object", "entry")
# Refusals that say: what is stored is not what was recorded.
DAMAGE = (
    "content_mismatch",
    "database_damaged",
    "evidence_damaged",
    "not_in_log",
    "object_missing",
    "record_corrupt",
    "tile_corrupt",
)
NO_ROUTE = "-"  # what the router matched to nothing
_OfAll = Literal["mostrecent", "livemin", "livemax", "livesum"]
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)
_DISK_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 10.0)
_GROUP = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_BATCH = (1, 4, 16, 64, 256, 1024, 4096, 8192)


@dataclass(frozen=True, slots=True)
class Described:
    """One metric, for the docs. `samples`: the names that a query may use."""

    name: str
    kind: str
    labels: tuple[str, ...]
    zh: str
    en: str

    @property
    def samples(self) -> tuple[str, ...]:
        if self.kind == "histogram":
            return tuple(f"{self.name}_{end}" for end in ("bucket", "count", "sum"))
        return (f"{self.name}_total",) if self.kind == "counter" else (self.name,)


class Metrics:
    """The metrics of one store in one process. Safe from many threads."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.described: list[Described] = []
        gauge, counter, histogram = self._gauge, self._counter, self._histogram
        self._requests = histogram(
            "http_request_seconds",
            _SECONDS,
            "请求耗时，按路由模板、方法和状态",
            "how long requests took, by route template, method and status",
            "route",
            "method",
            "status",
        )
        self._received = counter(
            "http_received_bytes", "收到的请求内容", "bytes of request bodies", "route"
        )
        self._sent = counter("http_sent_bytes", "发出的答复内容", "bytes of answers", "route")
        self._refusals = counter(
            "refusals", "未予受理的请求，按问题代码", "refused requests by problem code", "code"
        )
        self._verifications = counter(
            "verifications", "核验结果", "decided verifications by outcome", "outcome"
        )
        self._denials = counter(
            "denials", "核验未通过的原因", "reasons of denied verifications", "reason"
        )
        self.verifying = gauge(
            "verifications_under_way",
            "正在进行的核验数",
            "verifications that are under way",
            of_all="livesum",
        )
        self.ready = gauge(
            "ready", "是否就绪（1 或 0）", "whether the service is ready (1 or 0)", of_all="livemin"
        )
        self.missing = gauge(
            "missing",
            "就绪所缺的条件（1 或 0）",
            "what readiness lacks (1 or 0)",
            "what",
            of_all="livemax",
        )
        self.queue_depth = gauge(
            "log_queue_depth",
            "等待写入日志的条目数",
            "entries that wait for the log",
        )
        self.oldest_waiting = gauge(
            "log_oldest_waiting_seconds",
            "等待最久的条目已等待的时间",
            "how long the oldest waiting entry has waited",
        )
        self.checkpoint_age = gauge(
            "log_checkpoint_age_seconds",
            "最新检查点签发以来的时间；无新条目时自然增长",
            "time since the newest checkpoint was signed; it grows while nothing is written",
        )
        self.log_size = gauge("log_size", "日志条目总数", "entries in the published log")
        self._batch = histogram(
            "log_batch_entries", _BATCH, "每批写入日志的条目数", "entries in a round of the log"
        )
        self._round = histogram(
            "log_round_seconds", _DISK_SECONDS, "每批写入日志的耗时", "how long a round took"
        )
        self.log_restarts = counter(
            "log_restarts",
            "日志写入因磁盘写满停止后重新开始的次数",
            "how often the log was taken up again after a full disk had stopped it",
        )
        self._group = histogram(
            "database_group_units",
            _GROUP,
            "一次数据库提交所含的工作单元数",
            "units of work in one commit",
        )
        self._commit = histogram(
            "database_commit_seconds",
            _DISK_SECONDS,
            "一次数据库提交的耗时",
            "how long a group took until it was durable",
        )
        self._put = histogram(
            "object_put_seconds",
            _DISK_SECONDS,
            "对象写入落盘的耗时",
            "how long objects took to become durable, from the last byte",
        )
        self.disk_free = gauge(
            "disk_free_bytes", "可用磁盘空间", "free space on the disk of a folder", "place"
        )
        self.canary_success = gauge(
            "canary_success_timestamp_seconds",
            "上次自检成功的时间（Unix 时间）",
            "when the last check by writing succeeded (Unix time)",
        )
        self._canary_failures = counter(
            "canary_failures", "自检失败次数，按步骤", "failed checks by step", "step"
        )
        self.canary_seconds = histogram(
            "canary_seconds", _SECONDS, "一次自检的耗时", "how long a check by writing took"
        )
        self.scrub_finished = gauge(
            "scrub_finished_timestamp_seconds",
            "上次巡检完成的时间（Unix 时间）",
            "when the last scrub came to its end (Unix time)",
        )
        self.scrub_problems = gauge(
            "scrub_problems", "最近一次巡检发现的问题数", "problems that the newest scrub has named"
        )
        self.evidence_size = gauge(
            "evidence_size",
            "已有外部证据的最大检查点，按来源和状态",
            "entries of the newest checkpoint with evidence from outside, by source and state",
            "source",
            "state",
        )
        self.evidence_failures = counter(
            "evidence_failures",
            "收集外部证据未成的次数；自动重试，不影响服务",
            "steps towards evidence from outside that failed; tried again, the service goes on",
            "source",
        )
        self.evidence_at = gauge(
            "evidence_timestamp_seconds",
            "最新外部证据取得的时间，按来源（Unix 时间）",
            "when the newest evidence from outside was got, by source (Unix time)",
            "source",
        )
        self.evidence_pending = gauge(
            "evidence_pending_since_timestamp_seconds",
            "最早待补外部证据的条目的写入时间，按来源（Unix 时间）；0 为无待补",
            "when the oldest entry without this evidence was written (Unix time); 0: none waits",
            "source",
        )
        self.witness_up = gauge(
            "witness_up",
            "见证最近一次是否联署（1 或 0）；未询问时为 NaN，由其他进程询问时无此项",
            "whether a witness cosigned when last asked (1 or 0); NaN: not asked; only of who asks",
            "witness",
        )
        self.witness_success = gauge(
            "witness_success_timestamp_seconds",
            "见证最近一次联署的时间（Unix 时间）",
            "when a witness cosigned last (Unix time)",
            "witness",
        )
        self._witness_failures = counter(
            "witness_failures",
            "见证未给出联署的次数，按原因；自动重试，不影响服务",
            "how often a witness gave nothing, by reason; tried again, the service goes on",
            "witness",
            "code",
        )
        self.log_waits = gauge(
            "log_waits_for_outside",
            "是否因外部各方（见证、链）均不可达而暂不签署日志（1 或 0）",
            "whether nothing is signed because nobody outside can be reached (1 or 0)",
            of_all="livemax",
        )
        self.unexpected = counter(
            "unexpected_errors", "未预料的错误数", "errors that nobody expected"
        )
        # An increase from nothing to one is not seen: what an alert waits for begins at 0.
        for code in DAMAGE:
            self._refusals.labels(code)
        for reason in ReasonCode:
            self._denials.labels(reason.value)
        for outcome in ("allowed", "denied"):
            self._verifications.labels(outcome)
        for step in CANARY_STEPS:
            self._canary_failures.labels(step)
        if SHARED not in os.environ:
            ProcessCollector(registry=self.registry)
            PlatformCollector(registry=self.registry)
        # Finding a child by its labels costs more than adding to it.
        self._by_request: dict[tuple[str, str, int], Histogram] = {}
        self._by_route: dict[str, tuple[Counter, Counter]] = {}

    # --- What happens, told by those who see it ---

    def request(
        self,
        route: str,
        method: str,
        status: int,
        seconds: float,
        received: int,
        sent: int,
        refusal: str | None,
    ) -> None:
        """A request is over. `status` 0: it was given up before an answer began."""
        key = (route, method, status)
        timed = self._by_request.get(key)
        if timed is None:
            known = method if method in _METHODS else "other"
            timed = self._by_request[key] = self._requests.labels(route, known, str(status))
        timed.observe(seconds)
        counted = self._by_route.get(route)
        if counted is None:
            counted = self._received.labels(route), self._sent.labels(route)
            self._by_route[route] = counted
        if received:
            counted[0].inc(received)
        if sent:
            counted[1].inc(sent)
        if refusal is not None:
            self._refusals.labels(refusal).inc()

    def refused(self, code: str) -> None:
        """The server refused before any application was asked."""
        self._refusals.labels(code).inc()

    def decided(self, outcome: str, reasons: Iterable[str]) -> None:
        """A verification was recorded."""
        self._verifications.labels(outcome).inc()
        for reason in reasons:
            self._denials.labels(reason).inc()

    def committed(self, units: int, seconds: float) -> None:
        """A group of units of work became durable, or failed together."""
        self._group.observe(units)
        self._commit.observe(seconds)

    def sequenced(self, entries: int, seconds: float) -> None:
        """A round of the log gave `entries` their places. Empty rounds are not told."""
        self._batch.observe(entries)
        self._round.observe(seconds)

    def stored(self, seconds: float) -> None:
        """An object became durable."""
        self._put.observe(seconds)

    def witness_asked(self, witness: str, code: str | None) -> None:
        """A witness was asked; `code`: why it gave nothing."""
        if code is not None:
            self._witness_failures.labels(witness, code).inc()

    def canary_failed(self, step: str) -> None:
        self._canary_failures.labels(step).inc()

    # --- Reading ---

    def exposition(self) -> bytes:
        """What a scrape gets: this process, or all that share `PROMETHEUS_MULTIPROC_DIR`."""
        if SHARED not in os.environ:
            return generate_latest(self.registry)
        everybody = CollectorRegistry()
        MultiProcessCollector(everybody)  # type: ignore[no-untyped-call]
        return generate_latest(everybody)

    # --- Making them ---

    def _told(self, kind: str, name: str, zh: str, en: str, labels: tuple[str, ...]) -> str:
        self.described.append(Described(f"mianjiao_{name}", kind, labels, zh, en))
        return f"{zh} / {en}"

    def _gauge(
        self, name: str, zh: str, en: str, *labels: str, of_all: _OfAll = "mostrecent"
    ) -> Gauge:
        """`of_all`: what counts where processes share their numbers. They look at the same
        queue and disks, so it is the newest look, unless one bad one must be seen."""
        return Gauge(
            f"mianjiao_{name}",
            self._told("gauge", name, zh, en, labels),
            labels,
            registry=self.registry,
            multiprocess_mode=of_all,
        )

    def _counter(self, name: str, zh: str, en: str, *labels: str) -> Counter:
        text = self._told("counter", name, zh, en, labels)
        return Counter(f"mianjiao_{name}", text, labels, registry=self.registry)

    def _histogram(
        self, name: str, buckets: Iterable[float], zh: str, en: str, *labels: str
    ) -> Histogram:
        return Histogram(
            f"mianjiao_{name}",
            self._told("histogram", name, zh, en, labels),
            labels,
            buckets=tuple(buckets),
            registry=self.registry,
        )
