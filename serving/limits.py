"""How many requests a worker has in hand at a time; one more is refused at once instead of waiting."""

import threading
from types import TracebackType

from serving.errors import Kind, RefusedError

RETRY_AFTER_SECONDS = 1


class Slots:
    """`with slots:` holds one of `count` slots, or raises RefusedError if none is free; it never waits."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._free = threading.BoundedSemaphore(count)

    def __enter__(self) -> None:
        if not self._free.acquire(blocking=False):
            raise RefusedError(
                Kind.TOO_MANY_REQUESTS,
                f"{self.count} requests are in hand already; come again in a second, or run more workers",
                {"Retry-After": str(RETRY_AFTER_SECONDS)},
            )

    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._free.release()
