"""A fair lock for threads that repeat a piece of work."""

import collections
import contextlib
import threading
from collections.abc import Iterator

# Texts with more characters together take turns: each thread that computes delays the others.
SHORT_CHARS = 4096


class Turns:
    """A fair lock, granted in the order of requests; with threading.Lock, a thread in a loop can overtake others."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._is_taken = False
        self._waiting: collections.deque[threading.Lock] = collections.deque()

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Hold the lock; wait for the threads that asked earlier."""
        with self._guard:
            mine = threading.Lock() if self._is_taken else None
            self._is_taken = True
            if mine is not None:
                mine.acquire()
                self._waiting.append(mine)
        if mine is not None:
            mine.acquire()  # The previous holder releases it.
        try:
            yield
        finally:
            with self._guard:
                if self._waiting:
                    self._waiting.popleft().release()
                else:
                    self._is_taken = False
