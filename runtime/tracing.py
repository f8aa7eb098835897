"""Traces (OpenTelemetry), when `MIANJIAO_TRACES_URL` says where they go.

Nothing of OpenTelemetry is imported otherwise. Spans are made where the service
observes itself anyway: a request, an object put, a commit, a round of the log. A span
holds route template, method, status, codes and counts; no path, no query, no header
but `traceparent`, no text of an error.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from runtime.errors import TracesUnavailable
from runtime.settings import Settings

if TYPE_CHECKING:
    from contextvars import Token

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.trace import Span

_CARRIED = {b"traceparent", b"tracestate"}


class Tracing:
    """Makes spans and sends them off in the background. Safe from many threads."""

    def __init__(self, processor: "SpanProcessor", ratio: float = 1.0) -> None:
        """`processor`: where finished spans go. `ratio`: which part of new traces is kept;
        a caller that traces already decides for its own."""
        from opentelemetry import context, trace
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._context = context
        self._trace = trace
        self._propagator = TraceContextTextMapPropagator()
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(ratio)),
            resource=Resource.create({"service.name": "mianjiao"}),
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("mianjiao")

    def begin(self, headers: Iterable[tuple[bytes, bytes]]) -> "RequestSpan":
        """The span of a request, current from now on in this task."""
        carried = {
            name.decode(): value.decode("latin-1") for name, value in headers if name in _CARRIED
        }
        parent = self._propagator.extract(carried) if carried else self._context.Context()
        span = self._tracer.start_span("request", context=parent, kind=self._trace.SpanKind.SERVER)
        token = self._context.attach(self._trace.set_span_in_context(span, parent))
        return RequestSpan(self, span, token)

    def detach(self, token: "Token[Context]") -> None:
        self._context.detach(token)

    # --- Observers: what they are told is over ---

    def committed(self, units: int, seconds: float) -> None:
        self._past("database.commit", seconds, {"mianjiao.units": units})

    def sequenced(self, entries: int, seconds: float) -> None:
        self._past("log.round", seconds, {"mianjiao.entries": entries})

    def stored(self, seconds: float) -> None:
        self._past("object.put", seconds, {})

    def close(self) -> None:
        """Send what is left, for a few seconds at most."""
        self._provider.shutdown()

    def _past(self, name: str, seconds: float, attributes: dict[str, Any]) -> None:
        from time import time_ns

        end = time_ns()
        span = self._tracer.start_span(
            name, attributes=attributes, start_time=end - int(seconds * 1e9)
        )
        span.end(end)


class RequestSpan:
    """The span of one request that is under way."""

    def __init__(self, tracing: Tracing, span: "Span", token: "Token[Context]") -> None:
        self._tracing = tracing
        self._span = span
        self._token = token
        self.trace_id = format(span.get_span_context().trace_id, "032x")

    def end(self, method: str, route: str, status: int, refusal: str | None) -> None:
        span = self._span
        span.update_name(f"{method} {route}")
        span.set_attribute("http.request.method", method)
        span.set_attribute("http.route", route)
        span.set_attribute("http.response.status_code", status)
        if refusal is not None:
            span.set_attribute("error.type", refusal)
        span.end()
        self._tracing.detach(self._token)


def open_tracing(settings: Settings) -> Tracing | None:
    """Traces as the settings ask for, or None. `TracesUnavailable` without the extra `otel`."""
    if settings.traces_url is None:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise TracesUnavailable() from None
    return Tracing(
        BatchSpanProcessor(OTLPSpanExporter(endpoint=settings.traces_url)), settings.traces_ratio
    )
