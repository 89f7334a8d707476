"""A process of another environment that answers lines of JSON with lines of JSON."""

import json
import subprocess
from pathlib import Path
from typing import Any

from bench.errors import BenchError

Line = dict[str, Any]


class Worker:
    """Starts the process.

    Args:
        python: interpreter of the environment.
        script: program that answers each line of its input with one line.
        arguments: its arguments.
    """

    def __init__(self, python: Path, script: Path, *arguments: str) -> None:
        command = [str(python), str(script), *arguments]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603

    def ask(self, message: Line) -> Line:
        """Return the answer to a message.

        Raises:
            BenchError: if the process ended.
        """
        assert self._process.stdin is not None  # noqa: S101
        assert self._process.stdout is not None  # noqa: S101
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise BenchError(f"shap: the worker ended with status {self._process.wait()}; its error is above")
        answer: Line = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.communicate()
