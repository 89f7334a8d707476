"""A chief and its workers on loopback."""

import socket
import struct
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from helpers.tiny_fit import labelled_words, word_classifier

from textclf.cli.hosts import joined_cluster
from textclf.cluster import Cluster
from textclf.config import ModelOptions, TrainingOptions
from textclf.errors import LostHostError, TrainingError
from textclf.training.distributed import chief
from textclf.training.distributed.chief import led_team
from textclf.training.distributed.gradients import SplitStep
from textclf.training.distributed.joining import is_to_itself
from textclf.training.distributed.worker import work
from textclf.training.fitting.checkpoints import RunDirectory
from textclf.training.fitting.training_loop import fit, plan_epochs, planned_optimiser

NAMES = ("neg", "pos")
OPTIONS = TrainingOptions(epochs=3, init_lr=0.05, batch_size=12, tokens_per_batch=100, class_weights=True)


def cluster(size: int) -> Cluster:
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(size)]
    addresses = tuple(f"127.0.0.1:{server.getsockname()[1]}" for server in servers)
    for server in servers:
        server.close()
    return Cluster(addresses, 0)


def build(job: Mapping[str, Any], rank: int) -> SplitStep:
    model, options = word_classifier(seed=100 + rank), TrainingOptions(**job["training"])
    return SplitStep(model, planned_optimiser(model, options, job["steps"]), options.r_drop, job["precision"])


def run_of(tmp_path, size: int, options: TrainingOptions = OPTIONS):
    """Train with so many hosts; return the weights and the result."""
    labels = np.random.default_rng(0).integers(0, 2, 61)
    train, select, model = labelled_words(labels), labelled_words(labels[:9], seed=7), word_classifier()
    steps = sum(map(len, plan_epochs(train.texts.lengths, options)))
    arguments = model, train, select, NAMES, options, "float32", 0, RunDirectory(tmp_path / f"run{size}")
    if size == 1:
        return fit(*arguments), model.get_weights()
    hosts = cluster(size)
    with ThreadPoolExecutor(size) as pool:
        others = [pool.submit(work, Cluster(hosts.addresses, rank), build) for rank in range(1, size)]
        with led_team(hosts) as team:
            how = options, steps, "float32", "float32", 0.0
            result = fit(*arguments, team.trainer(model, ModelOptions(), NAMES, *how))
        assert [other.result(20) for other in others] == [steps] * (size - 1)
    return result, model.get_weights()


@pytest.mark.parametrize("size", [2, 3])
def test_the_weights_are_those_of_one_host(tmp_path, size):
    one, expected = run_of(tmp_path, 1)
    several, weights = run_of(tmp_path, size)
    for found, wanted in zip(weights, expected, strict=True):
        assert found == pytest.approx(wanted, abs=1e-5)
    assert several.history["val_loss"] == pytest.approx(one.history["val_loss"], abs=1e-5)
    assert several.history["loss"] == pytest.approx(one.history["loss"], abs=1e-5)
    assert several.best_epoch == one.best_epoch


def test_a_worker_that_can_not_build_the_model_ends_the_training(tmp_path):
    def refuse(job: Mapping[str, Any], rank: int) -> SplitStep:
        raise TrainingError("no such encoder here")

    hosts = cluster(2)
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(work, Cluster(hosts.addresses, 1), refuse)
        model, how = word_classifier(), (OPTIONS, 3, "float32", "float32", 0.0)
        with pytest.raises(TrainingError, match=r"worker .*: no such encoder here"), led_team(hosts) as team:
            team.trainer(model, ModelOptions(), NAMES, *how)
        assert isinstance(other.exception(20), TrainingError)


def message(header: bytes) -> bytes:
    return struct.pack(">I", len(header)) + header


@pytest.mark.parametrize(
    "content",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        message(b'{"fields": {"kind": "other"}, "arrays": []}'),
        message(b"[" * 1_000_000),
        message(b'{"fields": {}, "arrays": [["float32", [1000000000]]]}'),
    ],
)
def test_other_connections_do_not_disturb(content):
    hosts = cluster(2)
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(work, Cluster(hosts.addresses, 1), build)
        stray = None
        while stray is None:
            try:
                stray = socket.create_connection(("127.0.0.1", int(hosts.addresses[1].partition(":")[2])))
            except ConnectionRefusedError:
                continue
        stray.sendall(content)
        with led_team(hosts):
            pass
        stray.close()
        assert other.result(20) == 0


def test_a_worker_that_ends_before_it_listens_is_noticed_at_once(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "")
    monkeypatch.setattr(sys, "orig_argv", [sys.executable, "-c", "raise SystemExit(3)"])
    started = time.monotonic()
    with (
        pytest.raises(TrainingError, match=r"worker .*: expected it to listen, but its process has ended"),
        joined_cluster("2", 0) as hosts,
        led_team(hosts),
    ):
        pass
    assert time.monotonic() - started < 30


def test_a_connection_of_a_port_with_itself():
    with socket.socket() as channel, socket.create_server(("127.0.0.1", 0)) as server:
        channel.connect(server.getsockname())
        assert not is_to_itself(channel)
    with socket.socket() as channel:
        channel.bind(("127.0.0.1", 0))
        channel.connect(channel.getsockname())
        assert is_to_itself(channel)


def test_a_silent_worker_counts_as_lost(monkeypatch):
    """As a stopped process: its kernel still answers."""
    monkeypatch.setattr(chief, "MAX_SILENCE_SECONDS", 0.5)
    hosts, model = cluster(2), word_classifier()
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(work, Cluster(hosts.addresses, 1), lambda job, rank: time.sleep(2) or build(job, rank))
        with pytest.raises(LostHostError, match=r"worker .* is lost \(timed out\)"), led_team(hosts) as team:
            team.trainer(model, ModelOptions(), NAMES, OPTIONS, 3, "float32", "float32", 0.0)
        assert isinstance(other.exception(20), LostHostError)


def test_hosts_of_another_list_are_refused():
    hosts = cluster(3)
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(work, Cluster((hosts.addresses[2], hosts.addresses[1]), 1), build)
        with (
            pytest.raises(TrainingError, match=r"expected the addresses .* give the same command on all hosts"),
            led_team(Cluster(hosts.addresses[:2], 0)),
        ):
            pass
        assert isinstance(other.exception(20), TrainingError)
