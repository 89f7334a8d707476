"""How much a worker has in hand at a time; what is more is refused at once instead of waiting."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from serving.api.errors import ApiError, ErrorCode

RETRY_AFTER_SECONDS = 1


class RequestSlots:
    """`count` slots for requests; taking one never waits.

    A request that waits for its client all the time gives its slot up to one that comes: else a few clients that send
    half of a body would shut out all others.

    Args:
        count: requests at a time.
        patience: seconds that a request may wait for its client before another may take its slot.
        clock: seconds that only rise.
    """

    def __init__(self, count: int, patience: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.count = count
        self.patience = patience
        self._clock = clock
        self._guard = threading.Lock()
        self._taken = 0
        # Who waits for a client, and since when; the longest first.
        self._waiting: dict[Permit, float] = {}

    @contextlib.contextmanager
    def taken(self) -> Iterator["Permit"]:
        """Hold a slot.

        Raises:
            ApiError: none is free.
        """
        slot = self._take()
        try:
            yield slot
        finally:
            with self._guard:
                self._taken -= not slot.is_lost

    def _take(self) -> "Permit":
        with self._guard:
            slot = Permit(self._guard, self._waiting, self._clock)
            if self._taken < self.count:
                self._taken += 1
                return slot
            longest = next(iter(self._waiting), None)
            if longest is not None and self._clock() - self._waiting[longest] >= self.patience:
                longest.lose()
                return slot
        raise _too_many(f"{self.count} requests are in hand already")


class Permit:
    """A request's permit: what `RequestSlots.taken` gives.

    Args:
        guard: held by whoever touches `waiting`.
        waiting: all slots whose requests wait for their clients, to the time since when.
        clock: seconds that only rise.
    """

    def __init__(self, guard: threading.Lock, waiting: dict["Permit", float], clock: Callable[[], float]) -> None:
        self.is_lost = False
        self._guard = guard
        self._waiting = waiting
        self._clock = clock
        self._interrupt: Callable[[], None] = lambda: None

    @contextlib.contextmanager
    def waiting(self, interrupt: Callable[[], None]) -> Iterator[None]:
        """Wait for the client.

        Args:
            interrupt: ends the wait, called by another thread.

        Raises:
            ApiError: the slot was lost to another request.
        """
        self._interrupt = interrupt
        with self._guard:
            self._waiting[self] = self._clock()
        try:
            yield
        finally:
            with self._guard:
                self._waiting.pop(self, None)
            if self.is_lost:
                raise ApiError(
                    ErrorCode.REQUEST_TIMEOUT, "the body came too slowly while others waited; send it again, faster"
                ) from None

    def lose(self) -> None:
        """Give it to another request; the guard is held."""
        del self._waiting[self]
        self.is_lost = True
        self._interrupt()


class BatchBudget:
    """How many texts of lists are being scored at a time, over all requests.

    A single text does not count: the engine takes a batch of each request in turn, so that it neither waits for
    long nor keeps others waiting.

    Args:
        most: at a time.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._guard = threading.Lock()
        self._held = 0

    @contextlib.contextmanager
    def held(self, count: int) -> Iterator[None]:
        """Have `count` texts of a request in hand; a request that is alone is always taken.

        Raises:
            ApiError: they would be too many.
        """
        if count == 1:
            yield
            return
        with self._guard:
            if self._held and self._held + count > self.most:
                raise _too_many(
                    f"{self._held} texts are in hand already, and with {count} it would be over {self.most}"
                )
            self._held += count
        try:
            yield
        finally:
            with self._guard:
                self._held -= count


def _too_many(reason: str) -> ApiError:
    return ApiError(
        ErrorCode.TOO_MANY_REQUESTS,
        f"{reason}; come again in a second, or run more workers",
        {"Retry-After": str(RETRY_AFTER_SECONDS)},
    )
