"""Run a retraining in its own process, which contains its errors and frees TensorFlow's memory."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Sequence

from textclf.retrain_outcome import RetrainOutcome

# Time between SIGTERM and SIGKILL. Files are written atomically, so a kill leaves no partial file.
_SECONDS_TO_END = 1.0


def run_retraining(command: Sequence[str]) -> RetrainOutcome:
    """Run a command with its output passed on, and return its outcome; an exception also ends the process.

    Raises:
        OSError: if the command can't be started.
    """
    with started(command) as process:
        return RetrainOutcome.of_exit_status(process.wait())


@contextlib.contextmanager
def started(command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process that ends with the block."""
    process = subprocess.Popen(command)  # noqa: S603  what it runs is this project's own
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[bytes], seconds: float = _SECONDS_TO_END) -> None:
    """End a process: send SIGTERM, wait up to `seconds`, then kill it."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()
