"""Saves a training that SIGTERM or Ctrl-C stops, so that it continues from the very step.

The handlers of signals in Python raise an exception between any two instructions. Inside a step this would leave
weights that no progress describes, so a signal waits for the end of a step.
"""

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from tqdm import tqdm

from textclf.errors import LostHostError
from textclf.training.fitting.checkpoints import Progress, RunDirectory
from textclf.training.tf_setup import tf


class StoppableRun:
    """The saved state of a run in this process: `checkpoint` with the `progress` that describes it.

    Attributes:
        saved_step: number of the step that was saved last.
    """

    def __init__(self, run: RunDirectory, checkpoint: tf.train.Checkpoint, progress: Progress) -> None:
        self.saved_step = progress.step
        self._run = run
        self._checkpoint = checkpoint
        self._progress = progress
        self._saved_epochs = progress.epochs_done
        self._handlers: dict[int, Callable[[int, FrameType | None], Any]] = {}
        self._is_postponing = False
        self._postponed: tuple[int, FrameType | None] | None = None

    def save(self) -> None:
        """Save the state, unless it is saved already: a kill while a file is written again would damage it.

        Raises:
            TrainingError: if it can't be written.
        """
        state = self._progress.step, self._progress.epochs_done
        if state != (self.saved_step, self._saved_epochs):
            self._run.save(self._checkpoint, self._progress)
            self.saved_step, self._saved_epochs = state

    @contextlib.contextmanager
    def saved_when_stopped(self) -> Iterator[None]:
        """Within the block, a signal whose handler ends the program saves the state first; so does a lost host.

        A signal has no effect outside the main thread, which alone can handle signals.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        earlier = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        # A signal without a handler kills the process, which is not to be changed here.
        self._handlers = {number: handler for number, handler in earlier.items() if callable(handler)}
        try:
            for number in self._handlers:
                signal.signal(number, self._handle)
            yield
        except (SystemExit, KeyboardInterrupt, LostHostError):
            with self.uninterrupted():
                self.save()
            tqdm.write(f"stopped after step {self._progress.step}, which is saved", file=sys.stderr)
            raise
        finally:
            for number, handler in self._handlers.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def uninterrupted(self) -> Iterator[None]:
        """Postpone signals to the end of the block, in which weights and progress may differ."""
        self._is_postponing = True
        try:
            yield
        finally:
            self._is_postponing = False
        if self._postponed is not None:
            postponed, self._postponed = self._postponed, None
            self._handle(*postponed)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._is_postponing:
            self._postponed = number, frame
        else:
            self._handlers[number](number, frame)
