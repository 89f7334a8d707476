"""Run and end child processes: a process of its own contains errors and frees TensorFlow's memory."""

import subprocess
from collections.abc import Sequence

from textclf.retrain_outcome import RetrainOutcome

# Time between SIGTERM and SIGKILL. Files are written atomically, so a kill leaves no partial file.
_SECONDS_TO_END = 1.0


def run_retraining(command: Sequence[str]) -> RetrainOutcome:
    """Run a command with its output passed on, and return its outcome; an exception also ends the process.

    Raises:
        OSError: if the command can't be started.
    """
    process = subprocess.Popen(command)  # noqa: S603  what it runs is this project's own
    try:
        return RetrainOutcome.of_exit_status(process.wait())
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
