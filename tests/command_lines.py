"""The command lines as a user runs them: other processes, in a folder of their own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def start(folder: Path, script: str, *arguments: object, **options: object) -> subprocess.Popen[str]:
    """`python <script> <arguments>` in `folder`, running."""
    command = [sys.executable, str(ROOT / script), *map(str, arguments)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    # Colours and the width of a terminal are nothing that a test should depend on.
    environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "120"}
    return subprocess.Popen(command, cwd=folder, env=environment, text=True, encoding="utf-8", **(pipes | options))


def finish(process: subprocess.Popen[str], answers: str = "") -> tuple[int, str, str]:
    """Exit status, stdout and stderr of a process that gets `answers` typed."""
    with process:
        out, err = process.communicate(answers, timeout=300)
    return process.returncode, out, err


def run(folder: Path, script: str, *arguments: object, answers: str = "") -> str:
    """The stdout of a command that succeeds."""
    status, out, err = finish(start(folder, script, *arguments), answers)
    assert status == 0, f"{script} {arguments}: status {status}\n{out}\n{err}"
    return out
