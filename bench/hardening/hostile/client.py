"""Sends hostile requests on raw sockets, many at a time in one thread, and reads the responses."""

import asyncio
import contextlib
import re
import socket
import struct
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from bench.hardening.hostile.request import Hostile, Way

Address = tuple[str, int]

# Requests that are sent before the response to the first one is read.
DEPTH = 8
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])(?: [ -~]*)?")
_HEADER_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([ -~\t\x80-\xff]*)")
_BLOCK_BYTES = 256 * 1024
_MAX_HEAD_BYTES = 64 * 1024
# Time for a response to a request that need not get one.
_SILENCE_SECONDS = 0.2
# For PROBE: sent after the first response, to see whether the server still knows where a request begins.
_FOLLOW_UP = b"GET /ping HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: %s\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Response:
    """A response as it was received; header names are in lower case."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


@dataclass(slots=True)
class Outcome:
    """The result of sending a request.

    Attributes:
        seconds: from the end of sending, or the response before it, to the response.
        responses: responses on the connection that belong to the request; [] if it was closed before.
        problem: what is wrong with the exchange; "" if nothing is.
        raw: bytes that are no response.
    """

    seconds: float = 0.0
    responses: list[Response] = field(default_factory=list)
    problem: str = ""
    raw: bytes = b""


class BrokenResponseError(Exception):
    """The server sent something that is not an HTTP response."""


class Closed(Exception):  # noqa: N818 it is no error of most requests
    """The server closed the connection before a whole response; `rest` has what it sent of one."""

    def __init__(self, rest: bytes) -> None:
        super().__init__("the connection was closed")
        self.rest = rest


class Connection:
    """A connection to the server; the constructor only stores."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._buffer = b""
        self._socket: socket.socket | None = None

    async def open(self) -> None:
        """Connect."""
        self._socket = socket.socket()
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(self._socket, self._address)

    async def send(self, data: bytes) -> None:
        """Send bytes; a server that has closed the connection is noticed when its response is read."""
        assert self._socket is not None  # noqa: S101 it is open
        with contextlib.suppress(ConnectionError):
            await asyncio.get_running_loop().sock_sendall(self._socket, data)

    def close(self, *, reset: bool = False) -> None:
        """Close; with `reset` the server sees an error instead of an end."""
        if self._socket is not None:
            if reset:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._socket.close()
            self._socket = None

    async def response(self, method: str) -> Response:
        """Read a response; 1xx ones are skipped.

        Raises:
            Closed: if the connection ends before.
            BrokenResponseError: if the bytes are not a response.
        """
        while True:
            while (end := self._buffer.find(b"\r\n\r\n")) < 0:
                if len(self._buffer) > _MAX_HEAD_BYTES or not b"HTTP/1."[: len(self._buffer)] == self._buffer[:7]:
                    raise BrokenResponseError(f"expected a response, got {self._buffer[:200]!r}")
                await self._receive()
            status, headers = parse_head(self._buffer[:end])
            self._buffer = self._buffer[end + 4 :]
            if status >= 200:
                return Response(status, headers, await self._body(method, status, headers))

    async def rest(self) -> bytes:
        """Read until the server closes the connection."""
        with contextlib.suppress(Closed):
            while len(self._buffer) < _MAX_HEAD_BYTES:
                await self._receive()
        return self._buffer

    async def _body(self, method: str, status: int, headers: dict[bytes, bytes]) -> bytes:
        if method == "HEAD" or status in (204, 304):
            return b""
        length = headers.get(b"content-length", b"")
        if not length.isdigit():
            if headers.get(b"connection", b"").lower() != b"close" or b"transfer-encoding" in headers:
                raise BrokenResponseError(f"expected a Content-Length, got {headers}")
            body, self._buffer = await self.rest(), b""
            return body
        size = int(length)
        while len(self._buffer) < size:
            await self._receive()
        body, self._buffer = self._buffer[:size], self._buffer[size:]
        return body

    async def _receive(self) -> None:
        assert self._socket is not None  # noqa: S101 it is open
        try:
            block = await asyncio.get_running_loop().sock_recv(self._socket, _BLOCK_BYTES)
        except ConnectionError:
            block = b""
        if not block:
            raise Closed(self._buffer)
        self._buffer += block


def parse_head(head: bytes) -> tuple[int, dict[bytes, bytes]]:
    """Return status and headers of a response's head.

    Raises:
        BrokenResponseError: if a line is not HTTP, or a header that must be there once is there twice.
    """
    first, *lines = head.split(b"\r\n")
    match = _STATUS_LINE.fullmatch(first)
    if match is None:
        raise BrokenResponseError(f"expected a status line, got {first[:200]!r}")
    headers: dict[bytes, bytes] = {}
    for line in lines:
        found = _HEADER_LINE.fullmatch(line)
        if found is None:
            raise BrokenResponseError(f"expected a header line, got {line[:200]!r}")
        name = found[1].lower()
        if name in headers:
            raise BrokenResponseError(f"expected the header {name.decode()} once, got it twice")
        headers[name] = found[2]
    return int(match[1]), headers


class Client:
    """Sends requests in lanes; a lane has one kept connection, and opens others for requests that need their own.

    Args:
        address: address of the server.
        seconds: time after which a response is late, plus the pauses of its request.
        depth: requests of a lane that are sent at a time.
        report: receives each request with its outcome.
    """

    def __init__(
        self, address: Address, seconds: float, report: Callable[[Hostile, Outcome], None], depth: int = DEPTH
    ) -> None:
        self._address = address
        self._seconds = seconds
        self._report = report
        self._depth = depth

    def run(self, requests: Iterable[Hostile], lanes: int) -> None:
        """Send all requests."""
        asyncio.run(self._run(iter(requests), lanes))

    async def _run(self, requests: "Iterable[Hostile]", lanes: int) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(lanes):
                group.create_task(self._lane(requests))

    async def _lane(self, requests: Iterable[Hostile]) -> None:
        connection = Connection(self._address)
        waiting: list[Hostile] = []
        is_open = False
        for request in requests:
            if request.way is not Way.SHARED:
                await self._alone(request)
                continue
            waiting.append(request)
            if len(waiting) == self._depth:
                is_open = await self._shared(connection, waiting, is_open=is_open)
                waiting = []
        if waiting:
            await self._shared(connection, waiting, is_open=is_open)
        connection.close()

    async def _shared(self, connection: Connection, requests: Sequence[Hostile], *, is_open: bool) -> bool:
        """Send requests on a connection, again and again until each has a response; return whether it stays open."""
        left = list(requests)
        while left:
            try:
                if not is_open:
                    connection.close()
                    connection._buffer = b""
                    await connection.open()
                    is_open = True
                await connection.send(b"".join(part for request in left for part in request.parts))
            except OSError as error:
                self._report(left.pop(0), Outcome(problem=f"no connection: {error}"))
                is_open = False
                continue
            while left and is_open:
                request = left.pop(0)
                outcome, is_open = await self._one(connection, request)
                self._report(request, outcome)
        return is_open

    async def _one(self, connection: Connection, request: Hostile) -> tuple[Outcome, bool]:
        """Read the response to a request; return it, and whether the connection can be used further."""
        began = time.monotonic()
        outcome = Outcome()
        is_open = False
        try:
            async with asyncio.timeout(self._seconds):
                response = await connection.response(request.method)
            outcome.responses.append(response)
            is_open = response.headers.get(b"connection", b"").lower() != b"close"
        except TimeoutError:
            outcome.problem = f"no response within {self._seconds:g} s"
        except BrokenResponseError as error:
            outcome.problem = str(error)
        except Closed as error:
            outcome.problem = f"closed without a response, after {error.rest[:200]!r}"
        outcome.seconds = time.monotonic() - began
        return outcome, is_open

    async def _alone(self, request: Hostile) -> None:
        connection = Connection(self._address)
        outcome = Outcome()
        try:
            await connection.open()
            for number, part in enumerate(request.parts):
                if number:
                    await asyncio.sleep(request.pause)
                await connection.send(part)
            if request.way is not Way.ABORT:
                await self._responses(connection, request, outcome)
        except OSError as error:
            outcome.problem = f"no connection: {error}"
        finally:
            connection.close(reset=request.way is Way.ABORT and request.index % 2 == 0)
        self._report(request, outcome)

    async def _responses(self, connection: Connection, request: Hostile, outcome: Outcome) -> None:
        """Read the first response, and for a PROBE all others, until the server closes the connection."""
        began = time.monotonic()
        patience = _SILENCE_SECONDS if request.may_be_silent else self._seconds
        method = request.method
        try:
            async with asyncio.timeout(patience) as limit:
                while True:
                    outcome.responses.append(await connection.response(method))
                    if len(outcome.responses) == 1:
                        outcome.seconds = time.monotonic() - began
                        if request.way is not Way.PROBE:
                            return
                        limit.reschedule(asyncio.get_running_loop().time() + self._seconds)
                        await connection.send(_FOLLOW_UP % f"follow-{request.index}".encode())
                        method = "GET"
        except TimeoutError:
            if not request.may_be_silent or outcome.responses:
                outcome.problem = f"no response within {patience:g} s"
        except BrokenResponseError as error:
            outcome.raw = await self._rest(connection)
            if "raw" not in request.codes or outcome.responses:
                outcome.problem = str(error)
        except Closed as error:
            outcome.raw = error.rest
            if error.rest or not (outcome.responses or request.may_be_silent):
                outcome.problem = f"closed without a response, after {error.rest[:200]!r}"

    async def _rest(self, connection: Connection) -> bytes:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._seconds):
                return await connection.rest()
        return b""
