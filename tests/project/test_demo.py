"""The model of `make demo` learns the sample, and is right on the examples of README.md."""

import re
import shlex

import pytest
from command_lines import ROOT
from test_shipped_model import README

from inference import Inference
from textclf.__main__ import main
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


@pytest.mark.bench
def test_the_demo_is_accurate(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    folders = ["--model-dir", str(tmp_path / "model"), "--runs-dir", str(tmp_path / "runs")]
    with pytest.raises(SystemExit) as end:
        main(["train", *training_options(), *folders], prog_name="textclf")
    assert end.value.code in (None, 0)
    version = open_model(tmp_path / "model")
    assert version.manifest.metrics["test"]["n"] == 100
    # It was 0.93 when this was written.
    assert version.manifest.metrics["test"]["accuracy"] >= 0.85
    for prediction in Inference(version.path).predict(list(README)):
        assert prediction.label == README[prediction.text], prediction
