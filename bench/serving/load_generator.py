"""A load generator in one process: keep-alive connections over one selector, every answer timed.

Requests are bytes made beforehand, and an answer is only cut where it ends, so that the client costs some tens of
microseconds a request (Run.cpu_seconds says how much) and leaves the cores to the server it measures.

closed_loop: so many clients, each of which sends its next request when its last was answered: what a server can do.
open_loop: requests come at a given rate, whether or not the ones before were answered: what it does when that is
more than it can.
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

# A client that never leaves may share a worker with all others while the next worker is idle; real ones come and go.
REQUESTS_PER_CONNECTION = 100
TIMEOUT = 30.0
NO_ANSWER = 0
_LARGEST_READ = 1 << 18

Address = tuple[str, int]


class Answer(NamedTuple):
    """One request and what came of it.

    Attributes:
        number: of the request, counted over the run from 0; `requests[number % len(requests)]` was sent.
        status: HTTP status; NO_ANSWER where the connection broke or the time was up.
        start: when it was sent, or should have been (open_loop), in seconds since the run began.
        seconds: from `start` to the last byte of the answer.
        body: of the answer.
    """

    number: int
    status: int
    start: float
    seconds: float
    body: bytes

    @property
    def end(self) -> float:
        """When it was complete, in seconds since the run began."""
        return self.start + self.seconds


@dataclass(frozen=True)
class Run:
    """All answers of a run, in the order in which they came.

    Attributes:
        answers: one a request that was sent.
        seconds: how long requests were sent; what was still open then was waited for, but is no part of the rate.
        cpu_seconds: of the client itself.
    """

    answers: Sequence[Answer]
    seconds: float
    cpu_seconds: float


def post(path: str, content: object) -> bytes:
    """The bytes of a POST of `content` as JSON."""
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
        requests: sent in turn, and again from the first one.
        clients: connections, each with one request at a time.
        seconds, count: the first that is reached ends the run.
        timeout: seconds that open requests are waited for at the end.
        requests_per_connection: then the client leaves and comes again.

    Raises:
        BenchError: the server can't be reached, or answers something other than HTTP/1.1 with a Content-Length.
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
        # A run that ended by its count was over with its last answer.
        return session.run(sent_for if count is None or number < count else session.now())


def open_loop(
    address: Address,
    requests: Sequence[bytes],
    arrivals: Sequence[float],
    *,
    connections: int,
    timeout: float = TIMEOUT,
) -> Run:
    """Send a request at each of `arrivals`, seconds since the start, ascending; all times count from there.

    A request for which no connection is free waits in the client, and that wait is part of its time: a slow server
    can't slow down its own measurement.

    Args:
        address, requests, timeout: see closed_loop.
        arrivals: when requests come.
        connections: at most so many requests are open at a time.

    Raises:
        BenchError: see closed_loop.
    """
    with _Session(address, requests, REQUESTS_PER_CONNECTION) as session:
        idle = [_Connection() for _ in range(connections)]
        for number, arrival in enumerate(arrivals):
            while session.now() < arrival or not idle:
                wait = arrival - session.now() if idle else timeout
                idle += session.poll(max(0.0, wait))
                if session.now() > arrivals[-1] + timeout:
                    raise BenchError(f"{address[0]}:{address[1]}: the server has stopped to answer")
            session.send(idle.pop(), number, arrival)
        sent_for = session.now()
        session.drain(timeout)
        return session.run(sent_for)


class _Connection:
    """A client: its socket, if it has one, and what it waits for."""

    __slots__ = ("answered", "number", "received", "socket", "start")

    def __init__(self) -> None:
        self.socket: socket.socket | None = None
        self.answered = 0
        self.number = 0
        self.start = 0.0
        self.received = b""


class _Session:
    """The connections of one run and the answers so far; its clock starts when it is entered."""

    def __init__(self, address: Address, requests: Sequence[bytes], requests_per_connection: int) -> None:
        self._address = address
        self._requests = requests
        self._requests_per_connection = requests_per_connection
        self._selector = selectors.DefaultSelector()
        self._waiting: set[_Connection] = set()
        self._answers: list[Answer] = []
        self._began = self._cpu_began = 0.0

    def __enter__(self) -> "_Session":
        self._began, self._cpu_began = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        for key in list(self._selector.get_map().values()):
            key.data.socket.close()
        self._selector.close()

    def now(self) -> float:
        """Seconds since the run began."""
        return time.perf_counter() - self._began

    def run(self, seconds: float) -> Run:
        """What happened, with `seconds` as its length."""
        return Run(self._answers, seconds, time.process_time() - self._cpu_began)

    def send(self, connection: _Connection, number: int, start: float) -> None:
        """Send request `number`, whose time counts from `start`, on an idle connection."""
        connection.number, connection.start, connection.received = number, start, b""
        self._waiting.add(connection)
        request = self._requests[number % len(self._requests)]
        opened = connection.socket or self._connect(connection)
        # The server may have closed it while it was idle: poll() sees that, and sends again.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            opened.sendall(request)

    def poll(self, timeout: float) -> list[_Connection]:
        """Wait for something to arrive; gives the connections that are idle now."""
        idle: list[_Connection] = []
        for key, _ in self._selector.select(timeout):
            connection: _Connection = key.data
            try:
                part = key.fileobj.recv(_LARGEST_READ)  # type: ignore[union-attr]
            except ConnectionResetError:
                part = b""
            if connection not in self._waiting:
                self._disconnect(connection)  # The server is done with an idle connection.
            elif not part:
                self._broken(connection, idle)
            else:
                connection.received += part
                self._complete(connection, idle)
        return idle

    def drain(self, timeout: float) -> None:
        """Wait for what is open; what does not come within `timeout` has no answer."""
        end = self.now() + timeout
        while self._waiting and self.now() < end:
            self.poll(end - self.now())
        for connection in list(self._waiting):
            self._record(connection, NO_ANSWER, b"")

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
        """The server closed the connection: between two requests it may, and the request is sent again, once."""
        self._disconnect(connection)
        if connection.answered and not connection.received:
            self.send(connection, connection.number, connection.start)
        else:
            self._record(connection, NO_ANSWER, b"")
            idle.append(connection)

    def _complete(self, connection: _Connection, idle: list[_Connection]) -> None:
        received = connection.received
        head_end = received.find(b"\r\n\r\n") + 4
        if head_end < 4:
            return
        head = received[:head_end].lower()
        at = head.find(b"\r\ncontent-length:")
        if at < 0 or not head.startswith(b"http/1.1 "):
            raise BenchError(f"expected an HTTP/1.1 answer with a Content-Length, got {received[:200]!r}")
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
        self._answers.append(Answer(connection.number, status, start, self.now() - start, body))
