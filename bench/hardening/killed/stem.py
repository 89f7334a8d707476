"""The process that forks the jobs."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.errors import BenchError

_JOBS = Path(__file__).with_name("jobs.py")


class Stem:
    """Forks jobs of bench.hardening.killed.jobs; the end of the block ends it.

    Args:
        checkout: checkout whose code the jobs run.
        log: file for the output of the jobs.
        tensorflow: whether to import TensorFlow before the forks.
    """

    def __init__(self, checkout: Path, log: Path, *, tensorflow: bool = False) -> None:
        self._checkout = checkout
        self._log = log
        self._arguments = ["tensorflow"] if tensorflow else []

    def __enter__(self) -> "Stem":
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
        environment["PYTHONPATH"] = str(self._checkout)
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 (a program of ours, by its full path)
                [sys.executable, "-P", str(_JOBS), *self._arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment,
                cwd=self._log.parent,
            )
        return self

    def __exit__(self, *_: object) -> None:
        with self._process:
            self._process.kill()

    def fork(self, job: str, *arguments: Any) -> int:
        """Start a job; return its process id. A path becomes a text."""
        return self._ask(job, *(str(item) if isinstance(item, Path) else item for item in arguments))

    def wait(self, pid: int) -> int:
        """Wait for a job; return its exit status, or minus the number of the signal that ended it."""
        return self._ask("wait", pid)

    def run(self, job: str, *arguments: Any) -> None:
        """Run a job to its end.

        Raises:
            BenchError: if it fails.
        """
        if status := self.wait(self.fork(job, *arguments)):
            raise BenchError(f"{job}: ended with status {status}; {self._log} has the reason")

    def _ask(self, *order: Any) -> int:
        assert self._process.stdin is not None  # noqa: S101 both are pipes
        assert self._process.stdout is not None  # noqa: S101
        self._process.stdin.write(f"{json.dumps(order)}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise BenchError(f"the process that forks the jobs ended; {self._log} has the reason")
        return int(answer)
