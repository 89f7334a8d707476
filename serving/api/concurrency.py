"""Limits on the work of one worker; a request above a limit is refused at once instead of waiting."""

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator

from serving.api.errors import ApiError, ErrorCode

MIN_RETRY_AFTER = 1
# A request with less work ends soon, whatever the others need: the engine takes one batch from each in turn.
SHORT_SECONDS = 1.0


class RequestSlots:
    """Slots for concurrent requests; acquiring one never waits.

    A request that keeps waiting for its client loses its slot to a new request. Otherwise a few clients that send
    half a body would block all others.

    Args:
        count: maximum number of concurrent requests.
        patience: seconds that a request may wait for its client before it can lose its slot.
        name: what has the slots, for the message of a refusal.
    """

    def __init__(
        self,
        count: int,
        patience: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
        name: str = "requests",
    ) -> None:
        self.count = count
        self.patience = patience
        self._name = name
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

    @contextlib.contextmanager
    def lent(self) -> Iterator[None]:
        """Let another request use the caller's slot during the block, which holds one of other slots."""
        with self._lock:
            self._used -= 1
        try:
            yield
        finally:
            with self._lock:
                self._used += 1

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
        raise _too_many(f"{self.count} {self._name} are in progress")


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


class WorkBudget:
    """Limits on the work that a worker accepts: wordpieces to hold, and seconds of the encoder.

    Single short texts do not count: the engine takes one batch from each request in turn, so a short text neither
    waits long nor delays others.

    Args:
        max_request: maximum number of wordpieces of a request.
        max_worker: maximum number of wordpieces of all requests together; a request alone may have more.
    """

    def __init__(self, max_request: int, max_worker: int) -> None:
        self.max_request = max_request
        self.max_worker = max_worker
        self.lock = threading.Lock()
        self._jobs: set[Job] = set()

    @property
    def wordpieces(self) -> int:
        """Wordpieces of all requests; threads that share the budget hold the lock."""
        return sum(job.wordpieces for job in self._jobs)

    @property
    def seconds(self) -> float:
        """Seconds that the encoder needs for all requests; threads that share the budget hold the lock."""
        # Summed each time, because a running sum of floats keeps a rest when all requests have ended.
        return sum(job.seconds for job in self._jobs)

    @contextlib.contextmanager
    def job(self) -> Iterator["Job"]:
        """Account for a request during the block; what it took is free again at the end."""
        job = Job(self)
        with self.lock:
            self._jobs.add(job)
        try:
            yield job
        finally:
            with self.lock:
                self._jobs.remove(job)


class Job:
    """The work of a request, from `WorkBudget.job`."""

    def __init__(self, budget: WorkBudget) -> None:
        self.wordpieces = 0
        self.seconds = 0.0
        self._budget = budget

    def read(self, wordpieces: int) -> None:
        """Add wordpieces that were read.

        Raises:
            ApiError: if the request, or all requests together, have too many.
        """
        budget = self._budget
        with budget.lock:
            total = self.wordpieces + wordpieces
            others = budget.wordpieces - self.wordpieces
            if total > budget.max_request:
                raise ApiError(
                    ErrorCode.TOO_MUCH_WORK,
                    f"expected texts with at most {budget.max_request} wordpieces together (MAX_REQUEST_WORDPIECES), "
                    f"found more; send fewer or shorter texts at a time",
                )
            if others and others + total > budget.max_worker:
                raise _too_many(
                    f"texts with {others} wordpieces are in progress, and these would exceed the limit of "
                    f"{budget.max_worker} (MAX_WORKER_WORDPIECES)",
                    budget.seconds,
                )
            self.wordpieces = total

    def accept(self, seconds: float, available: float, min_seconds: float = 0.0) -> None:
        """Add the seconds that the encoder will need; a request that is in time and short, or alone, is accepted.

        Args:
            seconds: time at the current speed.
            available: time that is left.
            min_seconds: time at the best speed.

        Raises:
            ApiError: if the request can't end in the available seconds, because it waited or because of others.
        """
        budget = self._budget
        with budget.lock:
            others = budget.seconds
            if min_seconds > available:
                raise _too_many(
                    f"the texts need about {min_seconds:.1f} seconds, and {max(0.0, available):.1f} are left after "
                    f"waiting",
                    others + min_seconds - available,
                )
            excess = others + seconds - available
            if seconds > SHORT_SECONDS and others > 0 and excess > 0:
                raise _too_many(
                    f"the texts in progress need about {others:.0f} seconds, these about {seconds:.0f} more", excess
                )
            self.seconds += seconds

    def done(self, seconds: float) -> None:
        """Give back seconds of work that is computed."""
        with self._budget.lock:
            self.seconds = max(0.0, self.seconds - seconds)


def _too_many(reason: str, wait: float = 0.0) -> ApiError:
    """Return the refusal of a request that may come again after `wait` seconds, which are rounded up."""
    retry_after = max(MIN_RETRY_AFTER, math.ceil(wait))
    return ApiError(
        ErrorCode.TOO_MANY_REQUESTS,
        f"{reason}; retry in {retry_after} second{'s' * (retry_after != 1)}, or run more workers",
        {"Retry-After": str(retry_after)},
    )
