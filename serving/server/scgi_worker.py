"""gunicorn's worker behind nginx: each of its threads takes a connection, reads the request, answers and closes it.

nginx has read and checked a request before a worker hears of it, so HTTP is not parsed a second time: what comes is a
list of names and values, those of a WSGI environ already, and the body (SCGI, https://python.ca/scgi/protocol.txt).
In gunicorn's gthread a main thread accepts connections, hands them out, takes them back and closes them, which costs
more than scoring a text with a linear stage. Whoever listens to clients itself needs gthread.
"""

import io
import logging
import os
import select
import socket
import struct
import sys
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from gunicorn.workers.base import Worker

from serving.api.errors import ErrorCode, error_body, redacted_traceback

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

# So often a thread that waits for a connection looks whether the worker is to end.
_ACCEPT_SECONDS = 0.5
# nginx holds the whole request, and takes 256 KiB of an answer before the client does: only an nginx that was stopped
# takes longer, or a slow client with a long answer, whom nginx drops before (send_timeout).
_READ_SECONDS = 15.0
_WRITE_SECONDS = 60.0
_NOTIFY_SECONDS = 1.0
# Where there are no file numbers left, say, there is no sense in asking again at once.
_FAILURE_SECONDS = 0.1
# All of nearly every request.
_BLOCK_BYTES = 64 * 1024
# No request is shorter, and none has a longer size at its beginning.
_SHORTEST_BYTES = 16
_SAME_FOR_ALL = {
    "SCRIPT_NAME": "",
    "wsgi.version": (1, 0),
    "wsgi.url_scheme": "http",
    "wsgi.errors": sys.stderr,
    "wsgi.multithread": True,
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
}

_LOG = logging.getLogger(__name__)


class ScgiWorker(Worker):  # type: ignore[misc]
    """Serves a unix socket that no other process accepts on, in `threads` threads; a connection has one request.

    Of gunicorn's settings it knows threads and graceful_timeout, not max_requests. It is for Linux.
    """

    def run(self) -> None:
        """Serve until the worker is told to end or gunicorn is gone; then finish what is in hand."""
        (listener,) = self.sockets
        # It blocks, as a connection then wakes one of the threads that wait, and not all.
        listener.setblocking(True)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(_ACCEPT_SECONDS))
        threads = [threading.Thread(target=self._serve, args=(listener,), daemon=True) for _ in range(self.cfg.threads)]
        for thread in threads:
            thread.start()
        while self.alive and self.ppid == os.getppid():  # type: ignore[has-type]
            self.notify()
            if select.select([self.PIPE[0]], [], [], _NOTIFY_SECONDS)[0]:  # A signal ends the wait.
                os.read(self.PIPE[0], _BLOCK_BYTES)  # And not the next one, if the worker is to go on.
        self.alive = False
        end = time.monotonic() + self.cfg.graceful_timeout
        for thread in threads:
            while thread.is_alive() and time.monotonic() < end:
                self.notify()
                thread.join(_NOTIFY_SECONDS)

    def _serve(self, listener: socket.socket) -> None:
        while self.alive:
            try:
                connection, _ = listener.accept()
            except BlockingIOError:
                continue
            except OSError as error:
                _LOG.error("no connection can be accepted: %s", error)
                time.sleep(_FAILURE_SECONDS)
                continue
            with connection:
                self._serve_one(connection)

    def _serve_one(self, connection: socket.socket) -> None:
        try:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(_READ_SECONDS))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(_WRITE_SECONDS))
            connection.sendall(answer_of(self.wsgi, read_request(connection)))
        except OSError:
            pass  # nginx has given the request up, or ended.
        except Exception as error:  # noqa: BLE001 the thread is needed for others
            _LOG.error("a request failed\n%s", redacted_traceback(error))


def read_request(connection: socket.socket) -> "WSGIEnvironment":
    """The WSGI environ of the request that comes, with its whole body.

    Raises:
        OSError: it does not come, or not to its end.
        ValueError, KeyError: it is no SCGI.
    """
    data = _read(connection, b"", _SHORTEST_BYTES)
    size = data.partition(b":")[0]
    start = len(size) + 1
    end = start + int(size)
    data = _read(connection, data, end + 1)
    fields = data[start:end].decode("latin-1").split("\0")  # A zero is behind each of them.
    names, values = fields[:-1:2], fields[1::2]
    environ: WSGIEnvironment = dict(zip(names, values, strict=True))
    if len(environ) < len(names):
        environ = _joined(names, values)
    length = int(environ["CONTENT_LENGTH"])
    body = _read(connection, data[end + 1 :], length)
    path, _, query = environ["REQUEST_URI"].partition("#")[0].partition("?")
    environ["PATH_INFO"] = unquote_to_bytes(path).decode("latin-1") if "%" in path else path
    environ["QUERY_STRING"] = query
    environ["wsgi.input"] = io.BytesIO(body[:length])
    environ.update(_SAME_FOR_ALL)
    return environ


def answer_of(app: "WSGIApplication", environ: "WSGIEnvironment") -> bytes:
    """What an app answers, as SCGI has it."""
    head: list[Any] = []
    content: list[bytes] = []

    def start_response(status: str, headers: list[tuple[str, str]], _exc_info: Any = None) -> Any:
        # Nothing is sent before all is there: a second call is free to replace the first.
        head[:] = [status, headers]
        return content.append

    try:
        parts = app(environ, start_response)
        try:
            content.extend(parts)
        finally:
            if hasattr(parts, "close"):
                parts.close()
    except Exception as error:  # noqa: BLE001 whatever it is, nginx waits for an answer
        _LOG.error("request %s failed\n%s", environ.get("HTTP_X_REQUEST_ID"), redacted_traceback(error))
        head[:] = ["500 Internal Server Error", [("Content-Type", "application/json")]]
        content[:] = [error_body(ErrorCode.INTERNAL_ERROR, ErrorCode.INTERNAL_ERROR.meaning[:-1])]
    status, headers = head
    lines = [f"Status: {status}\r\n", *(f"{name}: {value}\r\n" for name, value in headers), "\r\n"]
    return b"".join(["".join(lines).encode("latin-1"), *content])


def _read(connection: socket.socket, data: bytes, count: int) -> bytes:
    """`data` and what comes behind it, `count` bytes at least."""
    while len(data) < count:
        block = connection.recv(max(_BLOCK_BYTES, count - len(data)))
        if not block:
            raise ConnectionResetError("the request ends before its end")
        data += block
    return data


def _joined(names: Sequence[str], values: Sequence[str]) -> dict[str, Any]:
    """The environ where a header comes several times (RFC 9110, 5.3)."""
    environ: dict[str, Any] = {}
    for name, value in zip(names, values, strict=True):
        environ[name] = f"{environ[name]},{value}" if name in environ else value
    return environ


def _timeval(seconds: float) -> bytes:
    whole = int(seconds)
    return struct.pack("ll", whole, int((seconds - whole) * 1e6))
