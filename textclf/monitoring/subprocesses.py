"""A retraining as a process of its own: TensorFlow's memory ends with it, and so does whatever goes wrong in it."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Sequence

from textclf.retrain_outcome import RetrainOutcome

# What is asked to end gets so long before it is killed; whatever it was writing appears whole or not at all.
_SECONDS_TO_END = 1.0


def run_retraining(command: Sequence[str]) -> RetrainOutcome:
    """Run the command to its end, with its output passed on, and return how it ended.

    An exception, as SIGTERM raises one, ends the process, too.

    Raises:
        OSError: it can't be started.
    """
    with started(command) as process:
        return RetrainOutcome.of_exit_status(process.wait())


@contextlib.contextmanager
def started(command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A running process, which has ended when the block has."""
    process = subprocess.Popen(command)  # noqa: S603  what it runs is this project's own
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[bytes], seconds: float = _SECONDS_TO_END) -> None:
    """See that a process has ended: ask it, wait, then kill it."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()
