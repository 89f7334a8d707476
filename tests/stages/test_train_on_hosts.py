"""A training that two processes on loopback share."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_lines import ROOT
from serving_stack import free_port
from tiny_bert import write_checkpoint, write_reviews

from textclf.store.model_store import open_model

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("hosts")
    # Dropout would make results differ by the number of hosts.
    rates = dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob"), 0.0)
    return write_checkpoint(root / "encoder", **rates), write_reviews(root / "reviews")


def train(data: tuple[Path, Path], folder: Path, *options: str, **environment: str) -> subprocess.Popen[str]:
    encoder, reviews = data
    command = [sys.executable, "train_model.py", "--dataset-path", str(reviews), "--encoder", str(encoder)]
    command += ["--max-length", "32", "--batch-size", "8", "--recipe", "none", "--precision", "float32"]
    command += ["--runs-dir", str(folder / "runs"), "--model-dir", str(folder / "model"), *options]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **environment},
        start_new_session=True,
    )


def test_two_hosts_train_the_version_of_one(data, tmp_path):
    options = "--epochs", "6", "--init-lr", "5e-3", "--dropout", "0"
    addresses = [f"127.0.0.1:{port}" for port in (free_port(), free_port())]
    configs = [
        json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": rank}}) for rank in range(2)
    ]
    hosts = [
        train(data, tmp_path / ("two" if config else "one"), *options, TF_CONFIG=config) for config in ("", *configs)
    ]
    outputs = [host.communicate(timeout=240)[0] for host in hosts]
    assert [host.returncode for host in hosts] == [0, 0, 0], outputs
    assert "rank 1 is done after" in outputs[2]
    assert f"hosts:         2, {', '.join(addresses)}" in outputs[1]
    one, two = (open_model(tmp_path / name / "model").manifest for name in ("one", "two"))
    assert two.metrics["test"]["accuracy"] == one.metrics["test"]["accuracy"] > 0.8
    for key, values in one.training["history"].items():
        assert two.training["history"][key] == pytest.approx(values, abs=1e-4)


def test_a_lost_worker_ends_the_training_and_the_command_continues(data, tmp_path):
    options = "--hosts", "2", "--epochs", "400", "--checkpoint-steps", "5", "--init-lr", "1e-3"
    chief = train(data, tmp_path, *options)
    deadline = time.monotonic() + 200
    while not list(tmp_path.glob("runs/*/progress.json")):
        assert chief.poll() is None, chief.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    (worker,) = Path(f"/proc/{chief.pid}/task/{chief.pid}/children").read_text().split()
    os.kill(int(worker), signal.SIGKILL)
    output, _ = chief.communicate(timeout=100)
    assert chief.returncode == 1
    assert "is lost" in output.splitlines()[-1]
    assert "give the same command again on all hosts: the training continues" in output.splitlines()[-1]
    assert "Traceback" not in output
    again = train(data, tmp_path, *options)
    line = ""
    while "continuing from step" not in line and again.poll() is None:
        line = again.stdout.readline()
    assert "continuing from step" in line
    # The chief ends both.
    children = Path(f"/proc/{again.pid}/task/{again.pid}/children").read_text().split()
    again.terminate()
    assert again.wait(60) == 143
    again.stdout.close()
    assert not any(Path(f"/proc/{child}").exists() for child in children)


def test_ctrl_c_saves_the_step_and_ends_both(data, tmp_path):
    """A terminal sends it to all processes of the command."""
    chief = train(data, tmp_path, "--hosts", "2", "--epochs", "400", "--checkpoint-steps", "5", "--init-lr", "1e-3")
    deadline = time.monotonic() + 200
    while not list(tmp_path.glob("runs/*/progress.json")):
        assert chief.poll() is None, chief.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    children = Path(f"/proc/{chief.pid}/task/{chief.pid}/children").read_text().split()
    os.killpg(chief.pid, signal.SIGINT)
    output, _ = chief.communicate(timeout=100)
    assert chief.returncode == 130, output
    assert "which is saved" in output
    assert not re.search(r"worker \S+ is lost", output), "the worker took part in the step"
    assert "Traceback" not in output
    assert not any(Path(f"/proc/{child}").exists() for child in children)
