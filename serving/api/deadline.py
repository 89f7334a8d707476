"""When a response must be ready, and whether its client still waits: a request that nobody waits for ends early."""

import select
import time
from collections.abc import Callable, Mapping
from typing import Any

from serving.api.errors import ApiError, ErrorCode

# Keys of the connection: of nginx's (serving/server/scgi_worker.py), and of the client's if gunicorn listens itself.
CONNECTION = "textclf.connection"
_CLIENT_CONNECTION = "gunicorn.socket"
# Key of the time when nginx had the whole request, in seconds since the epoch.
_START = "REQUEST_START"
# Share of the time-out that is used: the response must be sent before nginx gives up.
_USED = 0.95
# Seconds between two checks of the connection.
_LOOK_SECONDS = 0.2
_GONE = select.POLLRDHUP | select.POLLHUP | select.POLLERR

_Environ = Mapping[str, Any]


class Deadline:
    """The end of the time for a request.

    Behind nginx the time began when nginx had the whole request, so waiting for a free thread counts.

    Args:
        environ: WSGI environ of the request.
        timeout: seconds after which nginx gives up the request.
        clock: seconds since the epoch, nginx's clock.

    Attributes:
        timeout: as given.
        usable: seconds that a request may take if it does not wait.
    """

    def __init__(
        self,
        environ: _Environ,
        timeout: float,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.timeout = timeout
        self.usable = _USED * timeout
        self._environ = environ
        self._monotonic = monotonic
        now = monotonic()
        waited = _waited(environ, timeout, clock)
        self._end = now + self.usable - waited
        self._next_look = now + _LOOK_SECONDS - waited

    @property
    def seconds(self) -> float:
        """Seconds that are left."""
        return self._end - self._monotonic()

    def check(self) -> None:
        """Check that there is time left and, some times per second, that the client still waits.

        Raises:
            ApiError: if the time is over, or the client closed the connection.
        """
        now = self._monotonic()
        if now >= self._next_look or now >= self._end:
            self._next_look = now + _LOOK_SECONDS
            if is_client_gone(self._environ):
                raise ApiError(ErrorCode.CLIENT_GONE, ErrorCode.CLIENT_GONE.meaning[:-1])
        if now >= self._end:
            raise ApiError(
                ErrorCode.TIMED_OUT,
                f"no response within {self.timeout:g} s (MODEL_SERVER_TIMEOUT); send fewer texts at a time",
            )


def is_client_gone(environ: _Environ) -> bool:
    """Return whether the client, or nginx for it, closed the connection; false if the server does not expose it.

    A client that only ends its own sending counts as gone, as in nginx: over TCP both look the same until we write.
    """
    connection = environ.get(CONNECTION) or environ.get(_CLIENT_CONNECTION)
    if connection is None or connection.fileno() < 0:
        return False
    look = select.poll()
    look.register(connection, _GONE)
    return any(event & _GONE for _, event in look.poll(0))


def _waited(environ: _Environ, timeout: float, clock: Callable[[], float]) -> float:
    """Seconds since nginx had the request; a clock that was set meanwhile counts as no time."""
    try:
        waited = clock() - float(environ[_START])
    except (KeyError, ValueError):
        return 0.0
    return waited if 0 <= waited <= 10 * timeout else 0.0
