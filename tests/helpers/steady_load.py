"""A service that balances connections over endpoints, and clients that send requests at a steady rate.

Both run in one event loop in a thread of its own. Like the proxies of a cluster, the service chooses an endpoint for
each connection, and knows nothing of HTTP. The clients keep connections open and repeat no request.
"""

import asyncio
import contextlib
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple

_HEAD_END = b"\r\n\r\n"


class Sent(NamedTuple):
    """The end of a request: seconds since the start, its status or error, its duration, and the model that answered."""

    at: float
    outcome: str
    seconds: float
    model: str


class Balancer:
    """The service; its port is free to choose."""

    def __init__(self) -> None:
        self.port = 0
        self._endpoints: list[int] = []
        self._turn = 0
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def has_endpoints(self) -> bool:
        return bool(self._endpoints)

    def set_endpoints(self, ports: list[int]) -> None:
        """Send new connections to these ports; connections that exist stay."""
        self._endpoints = ports

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Accept connections in the block; at its end, wait until the clients have closed theirs."""
        server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield
        if self._connections:
            await asyncio.wait(self._connections, timeout=20)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        self._turn += 1
        with contextlib.closing(writer), contextlib.suppress(OSError):
            port = self._endpoints[self._turn % len(self._endpoints)]
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(_pump(reader, server_writer), _pump(server_reader, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.closing(writer), contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


class Load:
    """Requests at a steady rate, whether or not those before have been answered.

    Attributes:
        sent: every request that has ended.
    """

    def __init__(self, balancer: Balancer, text: str, rate: float) -> None:
        self.sent: list[Sent] = []
        self._balancer = balancer
        self._rate = rate
        body = json.dumps({"text": text}).encode()
        head = (
            f"POST /predict HTTP/1.1\r\nHost: service\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        )
        self._request = head.encode() + _HEAD_END + body
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._stop = threading.Event()

    @property
    def outcomes(self) -> Counter[str]:
        return Counter(sent.outcome for sent in self.sent)

    @contextlib.contextmanager
    def running(self) -> Iterator["Load"]:
        """Send requests in the block, and wait for the last of them."""
        thread = threading.Thread(target=lambda: asyncio.run(self._send_all()))
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            thread.join(60)

    async def _send_all(self) -> None:
        async with self._balancer.running():
            while not self._balancer.has_endpoints:
                await asyncio.sleep(0.05)
            began = time.monotonic()
            async with asyncio.TaskGroup() as requests:
                for count in itertools.count(1):
                    if self._stop.is_set():
                        break
                    requests.create_task(self._send(began))
                    await asyncio.sleep(max(0.0, began + count / self._rate - time.monotonic()))
            for _, writer in self._idle:
                writer.close()

    async def _send(self, began: float) -> None:
        started = time.monotonic()
        model = ""
        try:
            async with asyncio.timeout(30), self._connection() as (reader, writer):
                writer.write(self._request)
                status, headers, body = await _response(reader)
                if "connection: close" not in headers:
                    self._idle.append((reader, writer))
            outcome = str(status)
            model = json.loads(body).get("model", "")
        except (OSError, EOFError, TimeoutError) as error:
            outcome = type(error).__name__
        now = time.monotonic()
        self.sent.append(Sent(now - began, outcome, now - started, model))

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """An idle connection that the server has not closed, or a new one; closed unless it is idle again."""
        while self._idle:
            connection = self._idle.pop()
            if not connection[0].at_eof():
                break
            connection[1].close()
        else:
            connection = await asyncio.open_connection("127.0.0.1", self._balancer.port)
        try:
            yield connection
        finally:
            if connection not in self._idle:
                connection[1].close()


async def _response(reader: asyncio.StreamReader) -> tuple[int, str, bytes]:
    """Return status, headers in lower case, and body."""
    head = (await reader.readuntil(_HEAD_END)).decode("latin-1").lower()
    length = next(line for line in head.split("\r\n") if line.startswith("content-length:"))
    return int(head.split()[1]), head, await reader.readexactly(int(length.partition(":")[2]))
