"""Requests that no worker answered, or whose client did not get the whole response: counted, and logged like others.

nginx writes a line for each to a named pipe. A thread of `serve` reads it, which lives as long as nginx and needs no
process of its own. A unix socket (syslog) would lose lines, because in a container its queue has room for ten. The pipe
has room for thousands. nginx waits while it is full, so the thread never waits for whoever reads stdout.
"""

import contextlib
import fcntl
import json
import os
import select
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import IO

from serving.observability.access_log import AccessLog
from serving.observability.request_record import (
    ERROR_COUNTER,
    PREFIX,
    REQUEST_COUNTER,
    UNKNOWN_ROUTE,
    RequestRecord,
    public_method,
)
from serving.observability.value_file import ValueFile, value_key, value_path

# Name of the pipe in the runtime folder (nginx.conf.template).
PIPE = "unanswered"
# Error code of a client that closed its connection, or did not read.
CLIENT_GONE = "client_gone"
# A code that is not nginx's own becomes this one, so that no client can add a label.
_FALLBACK = "internal_error"
# Codes that nginx.conf.template adds to those of nginx's responses.
_ADDED_CODES = {CLIENT_GONE, "request_timeout"}
# Linux allows it to all users.
_PIPE_BYTES = 1024 * 1024
_BLOCK_BYTES = 64 * 1024
# A flood of refused requests is counted, but not logged line by line.
_LINES_PER_SECOND = 50
_STOP_SECONDS = 2.0
# nginx's statuses of requests without a response.
_NO_RESPONSE = {408, 499}
_GONE_STATUS = 499


class LineLimit:
    """Limit on lines per second; counts those that are left out."""

    def __init__(self, per_second: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.left_out = 0
        self._per_second = per_second
        self._clock = clock
        self._lines = 0
        self._end = 0.0

    def allows(self) -> bool:
        """Return whether another line may be written."""
        if self._clock() >= self._end:
            self._lines, self._end = 0, self._clock() + 1.0
        self._lines += 1
        return self._lines <= self._per_second

    def seconds_left(self) -> float | None:
        """Return the seconds until the lines that were left out can be reported; None if there are none."""
        return max(0.0, self._end - self._clock()) if self.left_out else None


class UnansweredRequests:
    """Counts and logs the requests in the pipe.

    Args:
        folder: runtime folder, for the pipe.
        metrics: folder with the metrics of all workers.
        codes: error codes of nginx's responses.
        stream: receives the lines of the access log.
        messages: receives the number of lines that were left out.
    """

    def __init__(
        self,
        folder: Path,
        metrics: Path,
        codes: Collection[str],
        stream: IO[str],
        messages: IO[str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pipe = folder / PIPE
        self._keys: dict[tuple[str, tuple[str, ...]], str] = {}
        self._counts: Counter[str] = Counter()
        self._file = ValueFile(value_path(metrics, "counter", "", "nginx"), clock)
        self._codes = frozenset(codes) | _ADDED_CODES
        self._stream = stream
        self._log = AccessLog(stream)
        self._messages = messages
        self._limit = LineLimit(_LINES_PER_SECOND, clock)

    @contextlib.contextmanager
    def reading(self) -> Iterator[Callable[[], None]]:
        """Make the pipe; the block gets a function that starts the thread. At the end the thread reads what is left."""
        os.mkfifo(self._pipe, 0o600)
        reader = os.open(self._pipe, os.O_RDONLY | os.O_NONBLOCK)
        writer = os.open(self._pipe, os.O_WRONLY)  # While it is open, the reader sees no end.
        with contextlib.suppress(OSError):
            fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        thread = threading.Thread(target=self._read, args=(reader,), daemon=True)
        try:
            yield thread.start
        finally:
            os.close(writer)
            if thread.ident is not None:
                thread.join(_STOP_SECONDS)

    def take(self, line: bytes) -> None:
        """Count a line of nginx; log it if no worker has, and if the limit and the stream allow it."""
        try:
            record, by_worker = parse_line(line, self._codes)
        except (KeyError, TypeError, ValueError):  # The thread must count the others.
            self._limit.left_out += 1
            return
        self._count(ERROR_COUNTER, record.error)
        if by_worker:
            return
        self._count(REQUEST_COUNTER, record.route, record.method, str(record.status))
        if self._limit.allows() and _can_write(self._stream):
            self._log(record)
        else:
            self._limit.left_out += 1

    def _read(self, pipe: int) -> None:
        rest = b""
        try:
            while True:
                ready, _, _ = select.select([pipe], [], [], self._limit.seconds_left())
                if self._limit.seconds_left() == 0:
                    self._report()
                if ready:
                    block = os.read(pipe, _BLOCK_BYTES)
                    if not block:
                        break
                    *lines, rest = (rest + block).split(b"\n")
                    for line in lines:
                        self.take(line)
            if self._limit.left_out:
                self._report()
        finally:
            os.close(pipe)  # After a fault nginx must not wait for a reader.

    def _report(self) -> None:
        message = f"serve: {self._limit.left_out} more requests that no worker answered are not logged\n"
        self._limit.left_out = 0
        with contextlib.suppress(OSError, ValueError):
            if _can_write(self._messages):
                self._messages.write(message)
                self._messages.flush()

    def _count(self, counter: Sequence[str], *labels: str) -> None:
        name, meaning, *label_names = counter
        key = self._keys.get((name, labels))
        if key is None:
            names = dict(zip(label_names, labels, strict=True))
            key = self._keys[name, labels] = value_key(f"{PREFIX}_{name}", f"{PREFIX}_{name}_total", names, meaning)
        self._counts[key] += 1
        self._file.write(key, self._counts[key])


def parse_line(line: bytes, codes: Collection[str]) -> tuple[RequestRecord, bool]:
    """Return the record of a line of nginx (its log_format), and whether a worker has counted and logged the request.

    Raises:
        KeyError, TypeError, ValueError: if the line is damaged.
    """
    fields = json.loads(line)
    route, status = fields["route"], fields["status"]
    record = RequestRecord(
        fields["request_id"],
        public_method(fields["method"]),
        path="" if route == UNKNOWN_ROUTE else route,
        route=route,
        status=int(status),
        error=fields["code"] if fields["code"] in codes else _FALLBACK,
        seconds=float(fields["seconds"]),
    )
    if record.error != CLIENT_GONE:
        return record, False
    is_sent = record.status not in _NO_RESPONSE and fields["worker_status"] == status
    if not is_sent:
        record.status = _GONE_STATUS  # nginx has 400 if the client left within its body.
    return record, is_sent


def _can_write(stream: IO[str]) -> bool:
    """Return whether a line can be written without a wait."""
    with contextlib.suppress(OSError, ValueError):  # The stream is closed.
        return bool(select.select([], [stream], [], 0)[1])
    return False
