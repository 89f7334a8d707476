"""gunicorn's worker without nginx: gthread, which also responds while no model is loaded, and sends errors in JSON."""

import contextlib
import json
import logging
import os
import select
import selectors
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from gunicorn.http.errors import LimitRequestHeaders, LimitRequestLine, ParseException
from gunicorn.workers.gthread import _DEFER, ThreadWorker

from serving.api.errors import ErrorCode, error_body, redacted_traceback
from serving.server.worker_files import draining_file, is_any_warm

_BLOCK_BYTES = 64 * 1024
_HEAD_END = b"\r\n\r\n"
# Limits of all headers together, and of the time from their first byte to their last (as in nginx).
_MAX_HEAD_BYTES = 64 * 1024
_HEAD_SECONDS = 15.0
# Time for which a thread waits for the first byte.
_FIRST_MILLISECONDS = 10
_MAX_OPEN = 256
# Limit for sending headers and for reading the response while no worker is ready.
_SECONDS = 2.0
_POLL_SECONDS = 0.05
# Pause after a failed accept, because the connection stays in the queue.
_FAILURE_SECONDS = 0.1
_HEAD = "HTTP/1.1 {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n{}\r\n"

_LOG = logging.getLogger(__name__)


class HttpWorker(ThreadWorker):  # type: ignore[misc]
    """Serves the listener that all workers share."""

    def load_wsgi(self) -> None:
        """Load the app; meanwhile a thread refuses requests if no other worker is ready."""
        is_loaded = threading.Event()
        runtime = Path(self.cfg.worker_tmp_dir)
        self._draining_file = str(draining_file(runtime))

        def is_needed() -> bool:
            return not is_loaded.is_set() and not is_any_warm(runtime)

        threading.Thread(target=refuse_while, args=(self.sockets, is_needed), daemon=True).start()
        try:
            super().load_wsgi()
        finally:
            is_loaded.set()

    def set_accept_enabled(self, enabled: bool) -> None:
        """Start or stop to accept; a stopping worker first accepts every queued connection, then stops to listen."""
        if self.alive:
            super().set_accept_enabled(enabled)
            return
        for listener in self.sockets:
            if listener.sock is not None:
                self._accept_all(listener)
        super().set_accept_enabled(False)
        for listener in self.sockets:
            listener.close()

    def accept(self, listener: Any) -> None:
        """Accept a connection if there is one; a failure, for example too many open files, must not end the worker."""
        try:
            super().accept(listener)
        except OSError as error:
            _LOG.error("connections can't be accepted: %s", error)
            if self.alive:
                time.sleep(_FAILURE_SECONDS)

    def _accept_all(self, listener: Any) -> None:
        before = -1
        while before < self.nr_conns:
            before = self.nr_conns
            self.accept(listener)  # Counts a connection, or finds none.

    def handle(self, conn: Any) -> Any:
        """Serve a request after all its headers arrived, so that no thread waits for a slow client.

        A stopping worker takes no connection back, so there a thread waits.
        """
        if not self.alive:
            conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        elif _HEAD_END not in _buffered(conn):
            arrived = _arrived(conn)
            if arrived is None or not arrived.is_over:
                return self._wait_for_head(conn, 0 if arrived is None else arrived.size)
        conn.head_deadline = None
        return super().handle(conn)

    def _wait_for_head(self, conn: Any, arrived: int) -> Any:
        if arrived + len(_buffered(conn)) >= _MAX_HEAD_BYTES:
            self.handle_error(None, conn.sock, conn.client, LimitRequestHeaders("too many bytes"))
            return False
        if getattr(conn, "head_deadline", None) is None:
            conn.head_deadline = time.monotonic() + _HEAD_SECONDS
        elif time.monotonic() >= conn.head_deadline:
            return False
        # The socket becomes readable with the next byte.
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, arrived + 1)
        return _DEFER

    def finish_request(self, conn: Any, fs: Any) -> None:
        """Take a connection back from a thread."""
        super().finish_request(conn, fs)
        if getattr(conn, "head_deadline", None) is not None and conn.timeout is not None:
            conn.timeout = min(conn.timeout, conn.head_deadline)

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Respond to a request, and close the connection afterwards if the server drains."""
        # The app gets the path as sent: it needs no %, and another spelling of a path is another path.
        req.path = req.path.replace("%", "%25")
        if os.path.exists(self._draining_file):
            req.force_close()
        return super().handle_request(req, conn)

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: Exception) -> None:
        """Respond to a request that gunicorn could not read, or that failed outside the app."""
        with contextlib.suppress(OSError):
            client.sendall(error_response(exc))


class _Arrived(NamedTuple):
    """Bytes that wait in a connection; `is_over` if the headers end in them, or no more will come."""

    size: int
    is_over: bool


def _buffered(conn: Any) -> bytes:
    """Bytes that gunicorn read together with the request before."""
    return conn.parser.unreader.buf.getvalue() if conn.initialized else b""


def _arrived(conn: Any) -> _Arrived | None:
    """Look at the bytes in a connection without taking them; None if there are none yet."""
    connection = conn.sock
    connection.setblocking(False)
    # Usually the headers follow the connection at once.
    if not conn.initialized:
        wait = select.poll()
        wait.register(connection, select.POLLIN)
        wait.poll(_FIRST_MILLISECONDS)
    try:
        content = connection.recv(_MAX_HEAD_BYTES, socket.MSG_PEEK)
    except BlockingIOError:
        return None
    except OSError:
        return _Arrived(0, True)
    # Readable, but with no byte more than it was to wait for: the client has closed its side.
    lowest = connection.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT)
    is_closed = len(content) < lowest
    if lowest > 1:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
    return _Arrived(len(content), is_closed or _HEAD_END in _buffered(conn)[-3:] + content)


def error_response(error: Exception) -> bytes:
    """Return the response to a request that is not HTTP, is too large, or failed; log a failure of the server."""
    if isinstance(error, LimitRequestLine):
        body = {"error": {"code": "uri_too_long", "message": "The path and query have more than 8 KiB"}}
        return _response("414 URI Too Long", json.dumps(body).encode())
    if isinstance(error, LimitRequestHeaders):
        body = {
            "error": {"code": "headers_too_large", "message": "A header has more than 8 KiB, or there are over 1000"}
        }
        return _response("431 Request Header Fields Too Large", json.dumps(body).encode())
    if isinstance(error, ParseException):
        return _response("400 Bad Request", _body(ErrorCode.BAD_REQUEST))
    _LOG.error("a request failed\n%s", redacted_traceback(error))
    return _response("500 Internal Server Error", _body(ErrorCode.INTERNAL_ERROR))


def refuse_while(listeners: Iterable[socket.socket], is_needed: Callable[[], bool]) -> None:
    """Respond with 503 to new connections while `is_needed()`; /health/live gets 200.

    Clients that are slow to send or to read are dropped after some seconds.
    """
    with selectors.DefaultSelector() as selector:
        for listener in listeners:
            selector.register(listener, selectors.EVENT_READ)
        deadlines: dict[socket.socket, float] = {}
        requests: dict[socket.socket, bytes] = {}
        while is_needed() or deadlines:
            for key, _ in selector.select(_POLL_SECONDS):
                connection: Any = key.fileobj
                if connection in deadlines:
                    if not _advance(connection, requests):
                        deadlines[connection] = 0.0
                elif is_needed():
                    if len(deadlines) >= _MAX_OPEN:
                        deadlines[next(iter(deadlines))] = 0.0  # Make room: the oldest one is dropped.
                    with contextlib.suppress(OSError):  # Another worker accepted it.
                        accepted, _ = connection.accept()
                        accepted.setblocking(False)
                        selector.register(accepted, selectors.EVENT_READ)
                        deadlines[accepted], requests[accepted] = time.monotonic() + _SECONDS, b""
                else:
                    selector.unregister(connection)
            for connection in [each for each, deadline in deadlines.items() if deadline < time.monotonic()]:
                selector.unregister(connection)
                connection.close()
                del deadlines[connection]
                requests.pop(connection, None)


def _advance(connection: socket.socket, requests: dict[socket.socket, bytes]) -> bool:
    """Read from a connection, and respond once its headers are complete; False if the client has gone."""
    try:
        block = connection.recv(_BLOCK_BYTES)
        if connection in requests:  # Later blocks are discarded, so that the client is not reset.
            requests[connection] += block
            if b"\r\n\r\n" in requests[connection] or len(requests[connection]) > _BLOCK_BYTES:
                connection.sendall(_while_loading(requests.pop(connection)))
                connection.shutdown(socket.SHUT_WR)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return bool(block)


def _while_loading(request: bytes) -> bytes:
    if request.startswith((b"GET /health/live ", b"GET /health/live?")):
        return _response("200 OK", b'{"status":"ok"}')
    return _response("503 Service Unavailable", _body(ErrorCode.NOT_READY), "Retry-After: 1\r\n")


def _body(code: ErrorCode) -> bytes:
    return error_body(code, code.meaning[:-1])


def _response(status: str, body: bytes, headers: str = "") -> bytes:
    return _HEAD.format(status, len(body), f"{headers}X-Request-Id: {uuid.uuid4().hex}\r\n").encode() + body
