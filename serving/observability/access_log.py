"""The access log: one JSON line per request, without users' texts unless LOG_TEXT is on."""

import contextlib
import json
import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import IO, Any

from serving.observability.request_record import RequestRecord

_MAX_PATH_CHARS = 200

_encode: Callable[[object], str] = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def _now() -> datetime:
    return datetime.now(UTC)


class AccessLog:
    """Writes one line per record.

    Args:
        stream: receives each line in one write, so that lines of several processes do not mix.
        log_text: whether to write the texts too.
    """

    def __init__(self, stream: IO[str], log_text: bool = False, clock: Callable[[], datetime] = _now) -> None:
        self._stream = stream
        self._log_text = log_text
        self._clock = clock
        self._writing = threading.Lock()

    def __call__(self, record: RequestRecord) -> None:
        """Write one line, except for a request that nginx logs; a failed write is ignored."""
        if record.is_left_to_nginx:
            return
        line = _encode(self._fields(record)) + "\n"
        # A closed pipe, a full disk, a stream closed at the end of the process.
        with contextlib.suppress(OSError, ValueError), self._writing:
            self._stream.write(line)
            self._stream.flush()

    def _fields(self, record: RequestRecord) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "time": self._clock().isoformat(timespec="milliseconds"),
            "method": record.method,
            "path": record.path[:_MAX_PATH_CHARS],
            "status": record.status,
            "latency_ms": round(record.seconds * 1000, 3),
            "texts": record.texts,
            "tokens": record.tokens,
            "truncated": record.truncated,
            "model": record.model,
            "request_id": record.request_id,
            "pid": os.getpid(),
        }
        if record.linear is not None:
            fields["linear"] = record.linear
        if record.explain_seconds is not None:
            fields["explanations"] = record.explanations
            fields["evaluations"] = record.evaluations
            fields["explain_ms"] = round(record.explain_seconds * 1000, 3)
        if record.trace is not None and record.trace.trace_id:
            fields["trace_id"] = record.trace.trace_id
        if record.error:
            fields["error"] = record.error
        if self._log_text:
            fields["text"] = record.scored
        return fields
