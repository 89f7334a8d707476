"""Explanations give way to predictions: a request for a prediction waits for at most one batch of an explanation."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from textclf.runtime.turns import Turns

# Longest pause of an explanation between two batches. Under a constant load of predictions it still goes on.
MAX_PAUSE = 0.05


class GivingWay:
    """Lets the explanations of a worker pause while it predicts, and take turns with each other after each batch.

    Only one explanation computes at a time, so they also leave Python's lock to the predictions.

    Args:
        max_pause: seconds after which an explanation computes its next batch next to predictions.
    """

    def __init__(self, max_pause: float = MAX_PAUSE) -> None:
        self._max_pause = max_pause
        self._predictions = 0
        self._changed = threading.Condition()
        self._turns = Turns()

    @contextlib.contextmanager
    def prediction(self) -> Iterator[None]:
        """Let explanations pause during the block."""
        with self._changed:
            self._predictions += 1
        try:
            yield
        finally:
            with self._changed:
                self._predictions -= 1
                if not self._predictions:
                    self._changed.notify_all()

    @contextlib.contextmanager
    def explanation(self) -> Iterator[Callable[[], None]]:
        """Compute an explanation in the block, which gets a function to call between its batches."""
        with contextlib.ExitStack() as turn:

            def give_way() -> None:
                end = time.monotonic() + self._max_pause
                while True:
                    turn.close()
                    self._pause(end)
                    turn.enter_context(self._turns.taken())
                    # A prediction may have come during the wait for the turn.
                    if not self._predictions or time.monotonic() >= end:
                        return

            give_way()
            yield give_way

    def _pause(self, end: float) -> None:
        """Wait until no prediction is in progress, or until `end`."""
        with self._changed:
            self._changed.wait_for(lambda: not self._predictions, max(0.0, end - time.monotonic()))
