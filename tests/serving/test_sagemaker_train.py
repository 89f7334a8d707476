"""serving/train in a plain folder: what SageMaker gives, and what it gets."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from serving_stack import ROOT
from tiny_bert import write_reviews

from serving.sagemaker.job_config import read_job
from serving.sagemaker.metric_lines import metric_definitions
from serving.sagemaker.training_job import check_served, main
from textclf.cluster import Cluster
from textclf.errors import ConfigError, TrainingError
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


def files_below(folder: Path) -> dict[str, bytes]:
    """Path to content; object storage knows no empty folders."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
@pytest.mark.usefixtures("_coarse_quantising")
def test_a_stopped_job_continues_elsewhere(tmp_path, tiny_checkpoint, monkeypatch, capfd):
    """Stopped in a process of its own; what it left is put into a new folder, and continues in this process."""
    reviews = write_reviews(tmp_path / "reviews", per_class=30)

    def prepared(prefix: Path) -> Path:
        # Only SIGTERM leaves a checkpoint before the last step.
        more = {"epochs": "40", "recipe": "none", "select": "last", "checkpoint_steps": "100000", "name": '"films"'}
        job(prefix, **tiny(tiny_checkpoint, **more))
        for part in ("train", "test"):
            (prefix / "input/data" / part).symlink_to(reviews / part)
        return prefix

    others = {"other-job/progress.json": b"{}", "other-job/checkpoints/step-1.index": b"x", "notes.txt": b"mine"}
    first = prepared(tmp_path / "first")
    for name, content in others.items():
        (first / "checkpoints" / name).parent.mkdir(parents=True, exist_ok=True)
        (first / "checkpoints" / name).write_bytes(content)
    (first / "output").mkdir()
    (first / "output/failure").write_text("of an earlier job")
    process = start(first)
    before = ""
    for line in process.stdout:
        before += line
        if "textclf:epoch=1;" in line:
            break
    process.send_signal(signal.SIGTERM)
    started = time.monotonic()
    status, more, err = end(process)
    assert status == 143, err
    assert time.monotonic() - started < 120
    assert not (first / "output/failure").exists()
    assert not (first / "model/current").exists()
    stopped_at = int(re.search(r"stopped after step (\d+), which is saved", err)[1])
    done = len(epochs_of(before + more))
    assert 0 < done < 40

    second = prepared(tmp_path / "second")
    left = files_below(first / "checkpoints")
    assert {name: left[name] for name in others} == others
    for name, content in left.items():
        (second / "checkpoints" / name).parent.mkdir(parents=True, exist_ok=True)
        (second / "checkpoints" / name).write_bytes(content)
    monkeypatch.setenv("PREFIX", str(second))
    monkeypatch.setattr(sys, "argv", ["train"])
    main()
    out, err = capfd.readouterr()
    assert f"continuing from step {stopped_at} of " in err
    assert epochs_of(before + more) + epochs_of(out) == list(range(1, 41))
    after = files_below(second / "checkpoints")
    assert {name: after[name] for name in others} == others
    assert not any(name.endswith(("progress.json", ".index")) for name in after.keys() - others.keys())

    version = ModelStore(second / "model").open()
    assert version.manifest.name == "films"
    assert version.manifest.data["source"] == "dataset"
    found = {item["Name"] for item in metric_definitions() if re.search(item["Regex"], out)}
    assert found >= {"train_loss", "val_macro_f1", "final_validation_accuracy", "final_test_macro_f1"}
    results = json.loads((second / "output/data/metrics.json").read_text(encoding="utf-8"))
    assert results["version"] == version.id
    assert results["metrics"] == version.manifest.metrics
    assert len(results["history"]["val_loss"]) == 40
    plots = {path.name for path in (version.path / "plots").iterdir()}
    assert {path.name for path in (second / "output/data/plots").iterdir()} == plots


def epochs_of(log: str) -> list[int]:
    return [int(epoch) for epoch in re.findall(r"textclf:epoch=(\d+);", log)]


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


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        (
            "resourceconfig.json",
            {"current_host": "algo-3", "hosts": ["algo-1", "algo-2"]},
            r"resourceconfig\.json: expected the current host among algo-1, algo-2, got 'algo-3'",
        ),
        ("resourceconfig.json", {"hosts": "algo-1"}, r"resourceconfig\.json: expected a list of hosts, got 'algo-1'"),
        (
            "inputdataconfig.json",
            {"train": {"TrainingInputMode": "FastFile"}, "test": {"TrainingInputMode": "Pipe"}},
            r"inputdataconfig\.json: channel test: expected the input mode File or FastFile, got Pipe",
        ),
        ("inputdataconfig.json", [], r"inputdataconfig\.json: expected a JSON object of the channels of the job"),
    ],
)
def test_jobs_that_are_refused(tmp_path, name, content, says):
    (tmp_path / name).write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ConfigError, match=says):
        read_job(tmp_path)


def test_the_files_of_a_plain_job_are_accepted(tmp_path):
    assert read_job(tmp_path) is None
    assert read_job(ROOT / "local_test/test_dir/input/config") is None


def test_the_hosts_of_a_job(tmp_path):
    resources = {"current_host": "algo-2", "hosts": ["algo-1", "algo-2"]}
    (tmp_path / "resourceconfig.json").write_text(json.dumps(resources), encoding="utf-8")
    assert read_job(tmp_path) == Cluster(("algo-1:7777", "algo-2:7777"), 1)
    channels = {"train": {"TrainingInputMode": "File", "S3DistributionType": "ShardedByS3Key"}}
    (tmp_path / "inputdataconfig.json").write_text(json.dumps(channels), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"channel train: expected all files on each host, .* FullyReplicated"):
        read_job(tmp_path)


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
