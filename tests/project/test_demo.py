"""The model of `make demo` learns the sample, and is right on the examples of README.md."""

import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from command_lines import ROOT
from test_shipped_model import README

from inference import Inference
from textclf.store.model_store import open_model

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def training_options() -> list[str]:
    """The options of the demo's training, without its folders."""
    (command,) = re.findall(r"train_model\.py (.*?)\n\t\$\(BIN\)", MAKEFILE.replace("\\\n", " "), re.DOTALL)
    words = shlex.split(command.replace("$(DEMO)", "demo"))
    for option in ("--model-dir", "--runs-dir"):
        place = words.index(option)
        del words[place : place + 2]
    return words


class Output(NamedTuple):
    """The output of the training, with seconds since the start for each piece; and the model store."""

    pieces: list[tuple[float, str]]
    store: Path


@pytest.fixture(scope="module")
def training(tmp_path_factory) -> Output:
    folder = tmp_path_factory.mktemp("demo")
    folders = ["--model-dir", str(folder / "model"), "--runs-dir", str(folder / "runs")]
    command = [sys.executable, "train_model.py", *training_options(), *folders]
    pieces = []
    start = time.monotonic()
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        while piece := process.stdout.read1():
            pieces.append((time.monotonic() - start, piece.decode()))
    assert process.returncode == 0, "".join(text for _, text in pieces)
    return Output(pieces, folder / "model")


@pytest.mark.bench
def test_the_demo_is_accurate(training):
    version = open_model(training.store)
    assert version.manifest.metrics["test"]["n"] == 100
    # It was 0.93 when this was written.
    assert version.manifest.metrics["test"]["accuracy"] >= 0.85
    for prediction in Inference(version.path).predict(list(README)):
        assert prediction.label == README[prediction.text], prediction


@pytest.mark.bench
def test_the_demo_announces_every_phase_that_takes_seconds(training):
    """A silence follows an announcement, which names about its duration; the numbers allow for a busy machine."""
    starts = [(0.0, ""), *training.pieces]
    for (before, text), (after, _) in zip(starts, training.pieces, strict=False):
        if after - before < 8:
            continue
        announced = re.search(r": about (\d+) s …\n$", text)
        assert announced, f"{after - before:.0f} s of silence after {text!r}"
        assert after - before < 4 * int(announced[1]), text
