"""A hostile request: its bytes, the way it is sent, and the answers that are right."""

import enum
import random
from collections.abc import Collection
from dataclasses import dataclass

JSON = "application/json"
CSV = "text/csv"
LINES = "application/jsonlines"
# Codes that stand for an answer without an error, and for any answer below 500.
OK = "ok"
ANY = "any"
# Most requests may be refused for lack of a free slot.
BUSY = "too_many_requests"


class Way(enum.Enum):
    """How a request is sent."""

    SHARED = enum.auto()  # On a kept connection, pipelined with others.
    ALONE = enum.auto()  # On its own connection, which the client closes after the first response.
    PROBE = enum.auto()  # On its own connection; a second request shows whether the server lost its place.
    ABORT = enum.auto()  # On its own connection, which the client closes without reading.


@dataclass(frozen=True, slots=True)
class World:
    """Facts that a request depends on, next to seed and index.

    Attributes:
        class_names: classes of the model.
        key: the server's API key; "" if it has none.
        nginx: whether nginx is in front.
    """

    class_names: tuple[str, ...] = ("neg", "pos")
    key: str = ""
    nginx: bool = True


@dataclass(frozen=True, slots=True)
class Hostile:
    """A request to send.

    Attributes:
        index: number of the request.
        parts: bytes; the client pauses before each part except the first.
        codes: error codes that are right answers; OK stands for no error, ANY for any answer below 500.
        method: method, for the form of the response.
        pause: seconds between two parts.
        may_be_silent: whether the server may close the connection, or wait for more, without a response.
        control: number of the control text whose answer is known; -1 if it is no control.
    """

    index: int
    kind: str
    parts: tuple[bytes, ...]
    codes: frozenset[str]
    way: Way = Way.SHARED
    method: str = "GET"
    pause: float = 0.0
    may_be_silent: bool = False
    control: int = -1


class Maker:
    """Builds the requests of one index; `random` depends on seed and index only."""

    def __init__(self, world: World, chance: random.Random, index: int, kind: str = "") -> None:
        self.world = world
        self.random = chance
        self.index = index
        self.kind = kind

    @property
    def own_id(self) -> str:
        """The X-Request-Id of the request."""
        return f"h-{self.index}"

    @property
    def smuggled_id(self) -> str:
        """The X-Request-Id of a request that the server must not see."""
        return f"smuggled-{self.index}"

    @property
    def canary(self) -> str:
        """A word that no log line and no answer to another request may contain."""
        return f"cn{self.index}y{self.index}x"

    def headers(self, *more: str, key: bool = True) -> list[str]:
        """Return the usual header lines and more; with the server's key unless `key` is false."""
        lines = ["Host: localhost", f"X-Request-Id: {self.own_id}", *more]
        if self.world.key and key:
            lines.append(f"X-API-Key: {self.world.key}")
        return lines

    def head(self, method: str, path: str, lines: Collection[str]) -> bytes:
        """Return a request line and header lines."""
        return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode("utf-8", "surrogateescape")

    def get(
        self, path: str, *codes: str, method: str = "GET", lines: Collection[str] = (), key: bool = True
    ) -> Hostile:
        """Return a request without a body."""
        data = self.head(method, path, self.headers(*lines, key=key))
        return self.done(data, *codes, BUSY, method=method)

    def post(
        self,
        path: str,
        body: bytes,
        *codes: str,
        content_type: str | None = JSON,
        lines: Collection[str] = (),
        method: str = "POST",
        key: bool = True,
        way: Way = Way.SHARED,
        control: int = -1,
    ) -> Hostile:
        """Return a request with a body and its length."""
        types = [] if content_type is None else [f"Content-Type: {content_type}"]
        data = self.head(method, path, self.headers(*types, f"Content-Length: {len(body)}", *lines, key=key)) + body
        return self.done(data, *codes, BUSY, method=method, way=way, control=control)

    def done(
        self,
        data: bytes | tuple[bytes, ...],
        *codes: str,
        method: str = "GET",
        way: Way = Way.SHARED,
        pause: float = 0.0,
        may_be_silent: bool = False,
        control: int = -1,
    ) -> Hostile:
        """Return the request with these bytes, or with these parts."""
        parts = (data,) if isinstance(data, bytes) else data
        return Hostile(self.index, self.kind, parts, frozenset(codes), way, method, pause, may_be_silent, control)
