"""Limits on the work of one worker; a request above a limit is refused at once instead of waiting."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from serving.api.errors import ApiError, ErrorCode

RETRY_AFTER_SECONDS = 1


class RequestSlots:
    """Slots for concurrent requests; acquiring one never waits.

    A request that keeps waiting for its client loses its slot to a new request. Otherwise a few clients that send
    half a body would block all others.

    Args:
        count: maximum number of concurrent requests.
        patience: seconds that a request may wait for its client before it can lose its slot.
    """

    def __init__(self, count: int, patience: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.count = count
        self.patience = patience
        self._clock = clock
        self._lock = threading.Lock()
        self._used = 0
        # Requests that wait for their clients and the start of the wait, longest wait first.
        self._waiting: dict[Permit, float] = {}

    @contextlib.contextmanager
    def acquire(self) -> Iterator["Permit"]:
        """Hold a slot during the block.

        Raises:
            ApiError: if no slot is free.
        """
        permit = self._try_acquire()
        try:
            yield permit
        finally:
            with self._lock:
                self._used -= not permit.is_revoked

    def _try_acquire(self) -> "Permit":
        with self._lock:
            permit = Permit(self._lock, self._waiting, self._clock)
            if self._used < self.count:
                self._used += 1
                return permit
            longest = next(iter(self._waiting), None)
            if longest is not None and self._clock() - self._waiting[longest] >= self.patience:
                longest.revoke()
                return permit
        raise _too_many(f"{self.count} requests are in progress")


class Permit:
    """A request's slot, from `RequestSlots.acquire`; `lock` protects `waiting`."""

    def __init__(self, lock: threading.Lock, waiting: dict["Permit", float], clock: Callable[[], float]) -> None:
        self.is_revoked = False
        self._lock = lock
        self._waiting = waiting
        self._clock = clock
        self._interrupt: Callable[[], None] = lambda: None

    @contextlib.contextmanager
    def waiting_for_client(self, interrupt: Callable[[], None]) -> Iterator[None]:
        """Mark the block as a wait for the client; another thread calls `interrupt` to end it.

        Raises:
            ApiError: if another request took the slot.
        """
        self._interrupt = interrupt
        with self._lock:
            self._waiting[self] = self._clock()
        try:
            yield
        finally:
            with self._lock:
                self._waiting.pop(self, None)
            if self.is_revoked:
                raise ApiError(
                    ErrorCode.REQUEST_TIMEOUT,
                    "expected the body sooner, because other requests were waiting; send it again, faster",
                ) from None

    def revoke(self) -> None:
        """Give the slot to another request; the caller holds the lock."""
        del self._waiting[self]
        self.is_revoked = True
        self._interrupt()


class BatchBudget:
    """Limit on the texts of lists that are scored at a time, over all requests.

    Single texts do not count: the engine takes one batch from each request in turn, so a single text neither waits
    long nor delays others.
    """

    def __init__(self, max_texts: int) -> None:
        self.max_texts = max_texts
        self._lock = threading.Lock()
        self._used = 0

    @contextlib.contextmanager
    def acquire(self, count: int) -> Iterator[None]:
        """Hold `count` texts of the budget during the block; a list is always accepted if it is the only one.

        Raises:
            ApiError: if the texts exceed the budget.
        """
        if count == 1:
            yield
            return
        with self._lock:
            if self._used and self._used + count > self.max_texts:
                raise _too_many(
                    f"{self._used} texts are in progress, and {count} more would exceed the limit of {self.max_texts}"
                )
            self._used += count
        try:
            yield
        finally:
            with self._lock:
                self._used -= count


def _too_many(reason: str) -> ApiError:
    return ApiError(
        ErrorCode.TOO_MANY_REQUESTS,
        f"{reason}; retry in a second, or run more workers",
        {"Retry-After": str(RETRY_AFTER_SECONDS)},
    )
