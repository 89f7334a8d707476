"""Load generator in one process, with keep-alive connections on one selector.

Requests are bytes made beforehand, and responses are not parsed beyond their length. The client takes some tens of
microseconds per request (Run.cpu_seconds), and leaves the cores to the server.

closed_loop: each client sends its next request after the response to its last one. It measures capacity.
open_loop: requests arrive at a given rate, whether or not earlier ones got a response. It measures overload.
"""

import contextlib
import json
import selectors
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bench.errors import BenchError

# Clients that stay connected may all share one worker while another is idle; real clients come and go.
REQUESTS_PER_CONNECTION = 100
TIMEOUT = 30.0
NO_RESPONSE = 0
_MAX_READ = 1 << 18

Address = tuple[str, int]


class Response(NamedTuple):
    """Response to one request.

    Attributes:
        number: index of the request in the run, from 0; `requests[number % len(requests)]` was sent.
        status: HTTP status; NO_RESPONSE if the connection broke or the time was up.
        start: time when the request was sent, or was due (open_loop), in seconds since the run began.
        seconds: seconds from `start` to the last byte of the response.
        body: body of the response.
    """

    number: int
    status: int
    start: float
    seconds: float
    body: bytes

    @property
    def end(self) -> float:
        """Return the time of the last byte, in seconds since the run began."""
        return self.start + self.seconds


@dataclass(frozen=True)
class Run:
    """Responses of a run, in the order of arrival.

    Attributes:
        responses: one per request.
        seconds: seconds during which requests were sent; responses that arrive later do not count in the rate.
        cpu_seconds: CPU time of the client.
    """

    responses: Sequence[Response]
    seconds: float
    cpu_seconds: float


def post(path: str, content: object) -> bytes:
    """Return the bytes of a POST request with `content` as JSON."""
    body = json.dumps(content, ensure_ascii=False).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def closed_loop(
    address: Address,
    requests: Sequence[bytes],
    clients: int,
    *,
    seconds: float = TIMEOUT,
    count: int | None = None,
    timeout: float = TIMEOUT,
    requests_per_connection: int = REQUESTS_PER_CONNECTION,
) -> Run:
    """Send for `seconds`, or until `count` requests are sent, with `clients` connections that are never idle.

    Args:
        address: host and port.
        requests: requests to send in turn, starting again after the last one.
        clients: number of connections, each with one request at a time.
        seconds, count: limits of the run; the first that is reached ends it.
        timeout: seconds to wait for open requests at the end.
        requests_per_connection: number of requests after which a client connects again.

    Raises:
        BenchError: if the server cannot be reached, or a response is not HTTP/1.1 with a Content-Length.
    """
    with _Session(address, requests, requests_per_connection) as session:
        idle = [_Connection() for _ in range(clients)]
        number = 0
        while session.now() < seconds and (count is None or number < count):
            for connection in idle[: None if count is None else count - number]:
                session.send(connection, number, session.now())
                number += 1
            idle = session.poll(max(0.0, seconds - session.now()))
        sent_for = min(seconds, session.now())
        session.drain(timeout)
        # A run that ended by its count was over with its last response.
        return session.run(sent_for if count is None or number < count else session.now())


def open_loop(
    address: Address,
    requests: Sequence[bytes],
    arrivals: Sequence[float],
    *,
    connections: int,
    timeout: float = TIMEOUT,
) -> Run:
    """Send a request at each time of `arrivals`.

    A request without a free connection waits in the client, and the wait counts: a slow server cannot slow down its own
    measurement.

    Args:
        address, requests, timeout: same as for closed_loop.
        arrivals: times of the requests in seconds since the start, ascending.
        connections: maximum number of open requests.

    Raises:
        BenchError: if the server cannot be reached or hangs, or a response is not HTTP/1.1 with a Content-Length.
    """
    with _Session(address, requests, REQUESTS_PER_CONNECTION) as session:
        idle = [_Connection() for _ in range(connections)]
        for number, arrival in enumerate(arrivals):
            while session.now() < arrival or not idle:
                wait = arrival - session.now() if idle else timeout
                idle += session.poll(max(0.0, wait))
                if session.now() > arrivals[-1] + timeout:
                    raise BenchError(f"{address[0]}:{address[1]}: the server no longer responds")
            session.send(idle.pop(), number, arrival)
        sent_for = session.now()
        session.drain(timeout)
        return session.run(sent_for)


class _Connection:
    """Connection of a client, with its socket and its open request."""

    __slots__ = ("answered", "number", "received", "socket", "start")

    def __init__(self) -> None:
        self.socket: socket.socket | None = None
        self.answered = 0
        self.number = 0
        self.start = 0.0
        self.received = b""


class _Session:
    """Connections and responses of one run; the clock starts on entry."""

    def __init__(self, address: Address, requests: Sequence[bytes], requests_per_connection: int) -> None:
        self._address = address
        self._requests = requests
        self._requests_per_connection = requests_per_connection
        self._selector = selectors.DefaultSelector()
        self._waiting: set[_Connection] = set()
        self._answers: list[Response] = []
        self._began = self._cpu_began = 0.0

    def __enter__(self) -> "_Session":
        self._began, self._cpu_began = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        for key in list(self._selector.get_map().values()):
            key.data.socket.close()
        self._selector.close()

    def now(self) -> float:
        """Return the seconds since the run began."""
        return time.perf_counter() - self._began

    def run(self, seconds: float) -> Run:
        """Return the responses so far, as a run of `seconds`."""
        return Run(self._answers, seconds, time.process_time() - self._cpu_began)

    def send(self, connection: _Connection, number: int, start: float) -> None:
        """Send request `number`, whose time counts from `start`, on an idle connection."""
        connection.number, connection.start, connection.received = number, start, b""
        self._waiting.add(connection)
        request = self._requests[number % len(self._requests)]
        opened = connection.socket or self._connect(connection)
        # The server may have closed an idle connection: poll() notices, and sends again.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            opened.sendall(request)

    def poll(self, timeout: float) -> list[_Connection]:
        """Wait for data; return the connections that are idle now."""
        idle: list[_Connection] = []
        for key, _ in self._selector.select(timeout):
            connection: _Connection = key.data
            try:
                part = key.fileobj.recv(_MAX_READ)  # type: ignore[union-attr]
            except ConnectionResetError:
                part = b""
            if connection not in self._waiting:
                self._disconnect(connection)  # The server closed an idle connection.
            elif not part:
                self._broken(connection, idle)
            else:
                connection.received += part
                self._complete(connection, idle)
        return idle

    def drain(self, timeout: float) -> None:
        """Wait up to `timeout` seconds for open requests; the others get NO_RESPONSE."""
        end = self.now() + timeout
        while self._waiting and self.now() < end:
            self.poll(end - self.now())
        for connection in list(self._waiting):
            self._record(connection, NO_RESPONSE, b"")

    def _connect(self, connection: _Connection) -> socket.socket:
        try:
            opened = socket.create_connection(self._address, timeout=TIMEOUT)
        except OSError as error:
            host, port = self._address
            raise BenchError(f"{host}:{port}: the server can't be reached ({error}); see its log") from error
        opened.settimeout(None)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector.register(opened, selectors.EVENT_READ, connection)
        connection.socket, connection.answered = opened, 0
        return opened

    def _disconnect(self, connection: _Connection) -> None:
        if connection.socket is not None:
            self._selector.unregister(connection.socket)
            connection.socket.close()
            connection.socket = None

    def _broken(self, connection: _Connection, idle: list[_Connection]) -> None:
        """Handle a closed connection. A server may close it between two requests; then the request is sent again."""
        self._disconnect(connection)
        if connection.answered and not connection.received:
            self.send(connection, connection.number, connection.start)
        else:
            self._record(connection, NO_RESPONSE, b"")
            idle.append(connection)

    def _complete(self, connection: _Connection, idle: list[_Connection]) -> None:
        received = connection.received
        head_end = received.find(b"\r\n\r\n") + 4
        if head_end < 4:
            return
        head = received[:head_end].lower()
        at = head.find(b"\r\ncontent-length:")
        if at < 0 or not head.startswith(b"http/1.1 "):
            raise BenchError(f"expected an HTTP/1.1 response with a Content-Length, got {received[:200]!r}")
        length = int(head[at + 17 : head.index(b"\r\n", at + 17)])
        if len(received) < head_end + length:
            return
        self._record(connection, int(received[9:12]), received[head_end:])
        connection.answered += 1
        if connection.answered >= self._requests_per_connection or b"\r\nconnection: close" in head:
            self._disconnect(connection)
        idle.append(connection)

    def _record(self, connection: _Connection, status: int, body: bytes) -> None:
        self._waiting.discard(connection)
        start = connection.start
        self._answers.append(Response(connection.number, status, start, self.now() - start, body))
