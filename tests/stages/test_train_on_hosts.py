"""A training that two processes on loopback share."""

import json
import os
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
    return write_checkpoint(root / "encoder"), write_reviews(root / "reviews")


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
    )


def test_two_hosts_train_a_version(data, tmp_path):
    addresses = [f"127.0.0.1:{port}" for port in (free_port(), free_port())]
    tasks = {"cluster": {"worker": addresses}}
    hosts = [
        train(
            data,
            tmp_path,
            "--epochs",
            "4",
            "--init-lr",
            "5e-3",
            TF_CONFIG=json.dumps({**tasks, "task": {"type": "worker", "index": rank}}),
        )
        for rank in range(2)
    ]
    outputs = [host.communicate(timeout=240)[0] for host in hosts]
    assert [host.returncode for host in hosts] == [0, 0], outputs
    assert "rank 1 is done after" in outputs[1]
    assert f"hosts:         2, {', '.join(addresses)}" in outputs[0]
    assert open_model(tmp_path / "model").manifest.metrics["test"]["accuracy"] > 0.8


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
