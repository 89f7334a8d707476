"""Command lines of the project in subprocesses, in a separate folder."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Shell:
    """Runs scripts of this project in `folder`; leaving the block kills what still runs.

    Several may run at a time: a short command mostly imports TensorFlow.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: list[subprocess.Popen[str]] = []

    def __enter__(self) -> "Shell":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._started:
            self.kill(process)

    def start(self, script: str, *arguments: object) -> subprocess.Popen[str]:
        """Start `python SCRIPT ARGUMENTS`."""
        process = subprocess.Popen(
            [sys.executable, str(ROOT / script), *map(str, arguments)],
            cwd=self.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self._started.append(process)
        return process

    def finish(self, process: subprocess.Popen[str], answers: str = "") -> tuple[str, str]:
        """Type `answers` and wait for a process that must succeed; return its stdout and stderr."""
        with process:
            out, err = process.communicate(answers, timeout=300)
        assert process.returncode == 0, f"status {process.returncode} of {process.args}\n{out}\n{err}"
        return out, err

    def run(self, script: str, *arguments: object) -> str:
        """Return the stdout of a command that must succeed."""
        return self.finish(self.start(script, *arguments))[0]

    def kill(self, process: subprocess.Popen[str]) -> None:
        """Send SIGKILL: the process cannot tidy up."""
        process.kill()
        with process:
            pass
