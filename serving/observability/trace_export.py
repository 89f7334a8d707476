"""The spans of requests, made when a request ends, and sent in the background with the OpenTelemetry SDK.

The times of the stages are those of the metrics, so a request is measured once. The queue of spans is bounded. If no
collector answers, the spans are lost, and one line says so.
"""

import logging
import os
import threading
from collections.abc import Mapping, Sequence
from http import HTTPStatus

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

import textclf
from serving.observability.request_record import RequestRecord
from serving.observability.tracing import RequestTrace

SERVICE_NAME = "textclf"
# Probes and scrapes come every few seconds, and say nothing about requests.
UNTRACED = frozenset(
    (
        "/ping", "/health/live", "/health/ready", "/health_check", "/metrics", "/v2/health/live", "/v2/health/ready",
        "/v2/models/<model>/ready", "/v2/models/<model>/versions/<version>/ready",
    )
)  # fmt: skip

_LOG = logging.getLogger(__name__)


class RequestTracer:
    """Makes a span of each request, with one for each of its stages.

    Args:
        provider: sends the spans.
    """

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._propagator = TraceContextTextMapPropagator()

    def request_ended(self, record: RequestRecord) -> None:
        """Make the spans of a request that ended."""
        trace = record.trace
        if trace is None or record.route in UNTRACED:
            return
        tracer = self._provider.get_tracer(SERVICE_NAME)
        span = tracer.start_span(
            f"{record.method} {record.route}",
            self._propagator.extract(trace.carrier),
            SpanKind.SERVER,
            _attributes(record),
            start_time=trace.nanoseconds,
        )
        trace.trace_id = f"{span.get_span_context().trace_id:032x}"
        if span.is_recording():
            within = set_span_in_context(span)
            parts = None if record.timings is None else record.timings.parts
            for part in parts or ():
                seconds = {"textclf.seconds": part.seconds}
                of_part = tracer.start_span(
                    part.step, within, attributes=seconds, start_time=_moment(trace, part.start)
                )
                of_part.end(_moment(trace, part.end))
        if record.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            span.set_status(Status(StatusCode.ERROR))
        span.end(_moment(trace, trace.clock + record.seconds))

    def stop(self, seconds: float) -> None:
        """Send the waiting spans; return after `seconds`, whether or not they are sent."""
        # The SDK waits for up to 30 seconds if the collector does not answer.
        ending = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        ending.start()
        ending.join(seconds)


class ReportingExporter(SpanExporter):
    """An exporter that logs one line when another one begins to fail, and one when it works again."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._has_failed = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export spans; never raises."""
        try:
            result = self._exporter.export(spans)
        except Exception:  # noqa: BLE001 the SDK logs a traceback for each batch
            result = SpanExportResult.FAILURE
        if result is not SpanExportResult.SUCCESS and not self._has_failed:
            _LOG.warning("traces can't be sent to the collector; they are lost until it answers, requests go on")
        elif result is SpanExportResult.SUCCESS and self._has_failed:
            _LOG.info("traces are sent to the collector again")
        self._has_failed = result is not SpanExportResult.SUCCESS
        return result

    def shutdown(self) -> None:
        """End the exporter."""
        self._exporter.shutdown()


def start_tracer(environ: Mapping[str, str]) -> RequestTracer:
    """Return a tracer that sends spans as the standard variables in os.environ say; `environ` names the service."""
    about: dict[str, str | int] = {"service.version": textclf.__version__, "process.pid": os.getpid()}
    if not environ.get("OTEL_SERVICE_NAME") and "service.name=" not in environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        about["service.name"] = SERVICE_NAME
    provider = TracerProvider(resource=Resource.create(about), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(ReportingExporter(OTLPSpanExporter())))
    # A line for each lost batch or span; ReportingExporter says it once.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    return RequestTracer(provider)


def _attributes(record: RequestRecord) -> dict[str, str | int]:
    """The attributes of the span of a request; none has a part of a text, nor the path, which may have one."""
    found: dict[str, str | int] = {
        "http.request.method": record.method,
        "http.route": record.route,
        "http.response.status_code": record.status,
        "textclf.request_id": record.request_id,
        "textclf.model": record.model,
        "textclf.texts": record.texts,
        "textclf.tokens": record.tokens,
        "textclf.truncated": record.truncated,
    }
    if record.linear is not None:
        found["textclf.linear"] = record.linear
    if record.error:
        found["error.type"] = record.error
    return found


def _moment(trace: RequestTrace, clock: float) -> int:
    """Nanoseconds since the epoch of a moment on time.perf_counter."""
    return trace.nanoseconds + round(1e9 * (clock - trace.clock))
