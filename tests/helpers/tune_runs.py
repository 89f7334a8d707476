"""`textclf tune` with a tiny encoder: its arguments, and a run that is killed inside a trial."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from command_lines import ROOT
from serving_stack import wait_for


def tune_arguments(data: Path, encoder: Path, folder: Path, *more: str, trials: int = 2) -> list[str]:
    """Arguments of a search over two options; its study is `folder`/study."""
    fixed = "--search dropout --search batch_size --epochs 1 --init-lr 5e-3 --checkpoint-steps 5 --max-length 32"
    named = ["--dataset-path", str(data), "--encoder", str(encoder), "--study-dir", str(folder / "study")]
    rest = f"--precision float32 --recipe none --trials {trials} --no-prune"
    return [*named, *fixed.split(), *rest.split(), *more]


def killed_in_a_trial(arguments: Sequence[str], folder: Path) -> None:
    """Run the command with these arguments, and kill it when a trial has a checkpoint in `folder`/study."""
    words = [sys.executable, "-m", "textclf", "tune", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        trials = folder / "study/trials"
        wait_for(lambda: list(trials.glob("*/*/progress.json")) or process.poll() is not None, 200)
        process.kill()
        output = process.communicate()[0]
    assert process.returncode == -signal.SIGKILL, output
