"""OpenTelemetry traces: when they are sent, and what a request notes for them; a light import.

They are on if OTEL_EXPORTER_OTLP_ENDPOINT is set. The SDK is the extra `otel`; trace_export.py imports it, and is
imported only if traces are on. The SDK reads its standard variables itself.
"""

import importlib.util
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from textclf.errors import ConfigError

if TYPE_CHECKING:
    from serving.observability.trace_export import RequestTracer

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
_PROTOCOL = "http/protobuf"
_PACKAGES = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")


@dataclass(slots=True)
class RequestTrace:
    """The beginning of a request, for its spans.

    Attributes:
        nanoseconds: time of the beginning, since the epoch.
        clock: the same moment on time.perf_counter, which the stages use.
        carrier: the headers of W3C Trace Context by name, if the request has them.
        trace_id: set when the request ends: 32 hex digits.
    """

    nanoseconds: int
    clock: float
    carrier: dict[str, str]
    trace_id: str = ""


def begin_trace(environ: Mapping[str, Any]) -> RequestTrace:
    """Return the beginning of the request with this WSGI environ."""
    headers = {"traceparent": "HTTP_TRACEPARENT", "tracestate": "HTTP_TRACESTATE"}
    carrier = {name: environ[key] for name, key in headers.items() if key in environ}
    return RequestTrace(time.time_ns(), time.perf_counter(), carrier)


def are_traces_on(environ: Mapping[str, str]) -> bool:
    """Return whether the environment names a collector, and does not turn traces off."""
    return (
        any(environ.get(name, "").strip() for name in ENDPOINTS)
        and environ.get("OTEL_SDK_DISABLED", "").strip().lower() != "true"
        and environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() != "none"
    )


def check_tracing(environ: Mapping[str, str]) -> None:
    """Check that traces can be sent, if they are on.

    Raises:
        ConfigError: if a package is missing, or a variable has a value that can't be used.
    """
    if not are_traces_on(environ):
        return
    for name in ENDPOINTS:
        value = environ.get(name, "").strip()
        if value and not value.lower().startswith(("http://", "https://")):
            raise ConfigError(
                f"{name}: expected the address of a collector, such as http://127.0.0.1:4318, got a value without "
                f"http:// or https://; correct it, or unset it to send no traces"
            )
    for name in _PROTOCOLS:
        value = environ.get(name, "").strip()
        if value not in ("", _PROTOCOL):
            raise ConfigError(f"{name}: expected {_PROTOCOL}, got {value[:50]!r}; correct it, or unset it")
    if not all(map(_is_installed, _PACKAGES)):
        raise ConfigError(
            f"{ENDPOINTS[0]}: expected the packages of the extra `otel` for traces, found none; install textclf with "
            f"its extra `otel`, build the image with EXTRAS=otel, or unset the variable"
        )


def tracer_of(environ: Mapping[str, str]) -> "RequestTracer | None":
    """Return what sends the traces of this process; None if they are off. Call it after a fork.

    Raises:
        ConfigError: if check_tracing raises it.
    """
    if not are_traces_on(environ):
        return None
    check_tracing(environ)
    from serving.observability.trace_export import start_tracer

    return start_tracer(environ)


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # A part of its name.
        return False
