"""serving/train in a plain folder: what SageMaker gives, and what it gets."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from serving_stack import ROOT, wait_for
from tiny_bert import write_reviews

from serving.sagemaker.metric_lines import metric_definitions
from serving.sagemaker.training_job import check_served, main
from textclf.errors import TrainingError
from textclf.stats.floor import compare_with_floor
from textclf.store.model_store import ModelStore
from train_model import Training


def job(prefix: Path, **hyperparameters: str) -> Path:
    """A job's folder without data."""
    (prefix / "input/config").mkdir(parents=True)
    (prefix / "input/data").mkdir()
    (prefix / "input/config/hyperparameters.json").write_text(json.dumps(hyperparameters), encoding="utf-8")
    return prefix


def start(prefix: Path, **environ: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(ROOT / "serving" / "train")],
        cwd=prefix,
        env={**os.environ, "PREFIX": str(prefix), **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def tiny(checkpoint: Path, **more: str) -> dict[str, str]:
    """Hyperparameters of a training of six steps."""
    return {
        "encoder": str(checkpoint),
        "epochs": "1",
        "init_lr": "5e-3",
        "batch_size": "8",
        "max_length": "32",
        "precision": "float32",
        **more,
    }


@pytest.mark.slow
@pytest.mark.usefixtures("_coarse_quantising")
def test_trains_on_the_channels(tmp_path, tiny_checkpoint, monkeypatch, capfd):
    """A job that is stopped, in a process of its own, and goes on: in this one, which has TensorFlow already."""
    prefix = job(tmp_path, **tiny(tiny_checkpoint, name="films", promote="true", checkpoint_steps="1"))
    reviews = write_reviews(tmp_path / "reviews", per_class=30)
    for part in ("train", "test"):
        (prefix / "input/data" / part).symlink_to(reviews / part)
    (prefix / "output").mkdir()
    (prefix / "output/failure").write_text("of an earlier job")
    process = start(prefix)
    wait_for(lambda: list((prefix / "checkpoints").glob("*/progress.json")) or process.poll() is not None, 120)
    process.send_signal(signal.SIGTERM)
    status, _, err = end(process)
    assert status == 143, err
    assert not (prefix / "output/failure").exists()

    monkeypatch.setenv("PREFIX", str(prefix))
    monkeypatch.setattr(sys, "argv", ["train"])
    before = signal.getsignal(signal.SIGTERM)
    try:
        main()
    finally:
        signal.signal(signal.SIGTERM, before)
    out, err = capfd.readouterr()
    assert "continuing from step " in err
    assert {item["Name"] for item in metric_definitions() if re.search(item["Regex"], out)} > {"final_test_macro_f1"}
    version = ModelStore(prefix / "model").open()
    assert version.manifest.name == "films"
    assert version.manifest.data["source"] == "dataset"
    assert "test" in version.manifest.metrics
    assert version.manifest.training["recipe"]["name"] == "probe, then fine-tuning"
    assert len(list((prefix / "checkpoints").iterdir())) <= 1, out


def test_a_job_whose_model_would_not_become_current_fails():
    """The container would answer 503, and nobody can promote a version inside model.tar.gz."""
    labels = np.array([0, 1] * 8)

    def training(recipe: str, predicted: np.ndarray) -> Training:
        trained = Training(recipe=recipe)
        # Only the floor of the results decides.
        trained._measured = cast(
            "Any", SimpleNamespace(metrics={}, floor=compare_with_floor(predicted, labels, labels))
        )
        return trained

    bad, good = np.zeros(16, int), labels
    why = training("auto", bad).why_withheld()
    with pytest.raises(TrainingError, match=r"below its floor.*no better than .*; nothing was saved: .*set promote to"):
        check_served(why, promote=False)
    check_served(why, promote=True)
    for recipe, predicted in (("none", bad), ("auto", good)):
        check_served(training(recipe, predicted).why_withheld(), promote=False)


def test_sigterm_is_no_failure(tmp_path):
    """Stopped while it waits for its hyperparameters: they come through a pipe into which nobody writes."""
    prefix = job(tmp_path)
    pipe = prefix / "input/config/hyperparameters.json"
    pipe.unlink()
    os.mkfifo(pipe)
    process = start(prefix)
    with pipe.open("w"):  # Open as soon as the other end is.
        process.send_signal(signal.SIGTERM)
        assert end(process) == (143, "", "")
    assert not (prefix / "output/failure").exists()


def test_a_failure_is_told(tmp_path):
    prefix = job(tmp_path, epoch="3")
    status, _, err = end(start(prefix))
    assert status == 1
    reason, _, rest = (prefix / "output/failure").read_text(encoding="utf-8").partition("\n")
    assert "unknown hyperparameter epoch" in reason
    assert rest.lstrip().startswith("Traceback")
    assert err == f"error: {reason}\n"


def test_no_data_is_a_failure(tmp_path):
    prefix = job(tmp_path)
    assert end(start(prefix))[0] == 1
    assert "channel train" in (prefix / "output/failure").read_text(encoding="utf-8")


def test_a_data_set_by_name_and_channels_exclude_each_other(tmp_path):
    prefix = job(tmp_path, dataset_path="reviews.csv")
    (prefix / "input/data/train").mkdir()
    assert end(start(prefix))[0] == 1
    assert (prefix / "output/failure").read_text(encoding="utf-8").startswith("dataset_path: ")


def test_without_tensorflow_it_names_the_training_image(tmp_path):
    prefix = job(tmp_path)
    # An installation without TensorFlow: nothing of its packages, click and numpy suffice to get there.
    code = (
        "import importlib.util, sys; find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *a: None if name == 'tensorflow' else find(name, *a)\n"
        "from serving.sagemaker.training_job import main; main()"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PREFIX": str(prefix)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 1
    assert "train with the training image" in result.stderr
    assert "train with the training image" in (prefix / "output/failure").read_text(encoding="utf-8")


def test_a_failure_that_can_not_be_written(tmp_path):
    prefix = job(tmp_path, epoch="3")
    (prefix / "output").write_text("not a folder")
    status, _, err = end(start(prefix))
    assert status == 1
    assert "can't be written" in err
    assert err.splitlines()[-1].startswith("error: ")
    assert "unknown hyperparameter epoch" in err.splitlines()[-1]
