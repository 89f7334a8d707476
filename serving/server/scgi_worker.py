"""gunicorn's worker behind nginx: each thread accepts a connection, reads the request, responds and closes it.

nginx has read and checked the request, so HTTP is not parsed again. The worker gets a list of names and values, which
are already a WSGI environ, and the body (SCGI, https://python.ca/scgi/protocol.txt). In gunicorn's gthread a main
thread accepts, hands out and closes connections, which costs more than scoring a text with a linear stage. A server
without nginx needs gthread.

Compared with gthread and gunicorn's own uwsgi protocol behind nginx (gunicorn 27, two cores of an Intel Xeon, one
worker), a request takes 0.04 to 0.07 ms of the worker's CPU instead of 0.29. With an app that computes 1.8 ms per
request, that is 11 to 13% more requests per second.
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

from gunicorn.workers.base import Worker

from serving.api.deadline import CONNECTION
from serving.api.errors import ErrorCode, error_body, redacted_traceback
from serving.server.worker_files import hide

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

# Seconds between two checks of a waiting thread whether the worker must end.
_ACCEPT_SECONDS = 0.5
# nginx has the whole request and buffers 256 KiB of a response. Only a stopped nginx takes longer, or a slow client
# with a long response, which nginx drops earlier (send_timeout).
_READ_SECONDS = 15.0
_WRITE_SECONDS = 60.0
_NOTIFY_SECONDS = 1.0
# Pause after a failed accept, for example without free file descriptors.
_FAILURE_SECONDS = 0.1
# Most requests fit into one block.
_BLOCK_BYTES = 64 * 1024
# Every request is at least this long, and has its size within these bytes.
_MIN_BYTES = 16
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
    """Serves a unix socket in `threads` threads; no other process accepts on it, and a connection has one request.

    It supports gunicorn's settings threads and graceful_timeout, but not max_requests. It needs Linux.
    """

    def run(self) -> None:
        """Serve until the worker is stopped or gunicorn is gone; then finish the requests it has and those queued."""
        (listener,) = self.sockets
        # Blocking, so that a connection wakes only one of the waiting threads.
        listener.setblocking(True)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(_ACCEPT_SECONDS))
        threads = [threading.Thread(target=self._serve, args=(listener,), daemon=True) for _ in range(self.cfg.threads)]
        for thread in threads:
            thread.start()
        while self.alive and self.ppid == os.getppid():  # type: ignore[has-type]
            self.notify()
            if select.select([self.PIPE[0]], [], [], _NOTIFY_SECONDS)[0]:  # A signal ends the wait.
                os.read(self.PIPE[0], _BLOCK_BYTES)  # Empty the pipe for the next wait.
        self.alive = False
        hide(self)
        end = time.monotonic() + self.cfg.graceful_timeout
        for thread in threads:
            while thread.is_alive() and time.monotonic() < end:
                self.notify()
                thread.join(_NOTIFY_SECONDS)

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except BlockingIOError:
                if self.alive:
                    continue
                return
            except OSError as error:
                _LOG.error("connections can't be accepted: %s", error)
                if not self.alive:
                    return
                time.sleep(_FAILURE_SECONDS)
                continue
            with connection:
                self._serve_one(connection)

    def _serve_one(self, connection: socket.socket) -> None:
        try:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(_READ_SECONDS))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(_WRITE_SECONDS))
            environ = read_request(connection)
            environ[CONNECTION] = connection
            connection.sendall(render(self.wsgi, environ))
        except OSError:
            pass  # nginx has ended, or dropped the request.
        except Exception as error:  # noqa: BLE001 the thread must serve other requests
            _LOG.error("a request failed\n%s", redacted_traceback(error))


def read_request(connection: socket.socket) -> "WSGIEnvironment":
    """Read a request; return its WSGI environ with the whole body.

    Raises:
        OSError: if the request does not arrive, or is incomplete.
        ValueError, KeyError: if it is not SCGI.
    """
    data = _read(connection, b"", _MIN_BYTES)
    size = data.partition(b":")[0]
    start = len(size) + 1
    end = start + int(size)
    data = _read(connection, data, end + 1)
    fields = data[start:end].decode("latin-1").split("\0")  # Each field ends with a zero.
    names, values = fields[:-1:2], fields[1::2]
    environ: WSGIEnvironment = dict(zip(names, values, strict=True))
    if len(environ) < len(names):
        environ = _joined(names, values)
    length = int(environ["CONTENT_LENGTH"])
    body = _read(connection, data[end + 1 :], length)
    path, _, query = environ["REQUEST_URI"].partition("#")[0].partition("?")
    # As sent: no path of the app needs %, and another spelling of a path is another path.
    environ["PATH_INFO"] = path
    environ["QUERY_STRING"] = query
    environ["wsgi.input"] = io.BytesIO(body[:length])
    environ.update(_SAME_FOR_ALL)
    return environ


def render(app: "WSGIApplication", environ: "WSGIEnvironment") -> bytes:
    """Call the app; return its response in SCGI form."""
    head: list[Any] = []
    content: list[bytes] = []

    def start_response(status: str, headers: list[tuple[str, str]], _exc_info: Any = None) -> Any:
        # Nothing is sent before the response is complete, so a second call may replace the first.
        head[:] = [status, headers]
        return content.append

    try:
        parts = app(environ, start_response)
        try:
            content.extend(parts)
        finally:
            if hasattr(parts, "close"):
                parts.close()
    except Exception as error:  # noqa: BLE001 nginx waits for a response
        _LOG.error("request %s failed\n%s", environ.get("HTTP_X_REQUEST_ID"), redacted_traceback(error))
        head[:] = ["500 Internal Server Error", [("Content-Type", "application/json")]]
        content[:] = [error_body(ErrorCode.INTERNAL_ERROR, ErrorCode.INTERNAL_ERROR.meaning[:-1])]
    status, headers = head
    lines = [f"Status: {status}\r\n", *(f"{name}: {value}\r\n" for name, value in headers), "\r\n"]
    return b"".join(["".join(lines).encode("latin-1"), *content])


def _read(connection: socket.socket, data: bytes, count: int) -> bytes:
    """Read until there are at least `count` bytes, including `data`."""
    if len(data) >= count:
        return data
    received = bytearray(data)  # With bytes, each block of a large body would copy all before it.
    while len(received) < count:
        block = connection.recv(max(_BLOCK_BYTES, count - len(received)))
        if not block:
            raise ConnectionResetError("the request is incomplete")
        received += block
    return bytes(received)


def _joined(names: Sequence[str], values: Sequence[str]) -> dict[str, Any]:
    """Join the values of repeated headers (RFC 9110, 5.3)."""
    environ: dict[str, Any] = {}
    for name, value in zip(names, values, strict=True):
        environ[name] = f"{environ[name]},{value}" if name in environ else value
    return environ


def _timeval(seconds: float) -> bytes:
    whole = int(seconds)
    return struct.pack("ll", whole, int((seconds - whole) * 1e6))
