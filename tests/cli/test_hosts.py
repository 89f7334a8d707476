"""The options of a training on several hosts."""

import ctypes
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from command_lines import ROOT

from textclf.cli.hosts import end_with, joined_cluster
from textclf.cluster import Cluster, tf_config
from textclf.errors import ConfigError

PAIR = Cluster(("a:1", "b:1"), 1)


@pytest.mark.parametrize(
    ("hosts", "host_rank", "config", "cluster"),
    [
        ("", 0, "", None),
        ("1", 0, "", None),
        ("", 0, tf_config(PAIR, 1), PAIR),
        ("a:1,b:1", 1, "", PAIR),
        # A process that --hosts 2 started.
        ("2", 0, tf_config(PAIR, 1, os.getppid()), PAIR),
    ],
)
def test_clusters(monkeypatch, hosts, host_rank, config, cluster):
    monkeypatch.setenv("TF_CONFIG", config)
    with joined_cluster(hosts, host_rank) as found:
        assert found == cluster


@pytest.mark.parametrize("hosts", ["a:1,b:1", "2"])
def test_the_option_or_tf_config(monkeypatch, hosts):
    monkeypatch.setenv("TF_CONFIG", tf_config(PAIR, 1))
    with pytest.raises(ConfigError, match="either --hosts or TF_CONFIG, got both"), joined_cluster(hosts, 0):
        pass


def test_a_worker_ends_with_the_process_that_started_it():
    """Also before the chief has connected, when no closed connection would tell."""
    worker = "import os, time; from textclf.cli.hosts import end_with; end_with(os.getppid())"
    worker += "; print('waits', flush=True)"
    starter = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {worker + '; time.sleep(60)'!r}])"
    with subprocess.Popen([sys.executable, "-c", starter], stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout.readline() == b"waits\n"
        process.kill()
        started = time.monotonic()
        # The worker has the other end of the pipe.
        assert process.stdout.read() == b""
        assert time.monotonic() - started < 30


def test_a_worker_whose_starter_has_ended_does_not_start(monkeypatch):
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace(prctl=lambda *_: 0))
    with pytest.raises(SystemExit, match="143"):
        end_with(process.pid)


@pytest.mark.parametrize("hosts", ["a:1,b", "a:1,", "a:1,a:1", "a:1", "-2", "a:70000,b:1", "0", "100000"])
def test_bad_values(monkeypatch, hosts):
    monkeypatch.setenv("TF_CONFIG", "")
    with pytest.raises(ConfigError, match=r"hosts: expected"), joined_cluster(hosts, 0):
        pass


@pytest.mark.parametrize("hosts", ["", "1", "2"])
def test_a_rank_needs_addresses(monkeypatch, hosts):
    monkeypatch.setenv("TF_CONFIG", "")
    with pytest.raises(ConfigError, match=r"host_rank: expected the addresses"), joined_cluster(hosts, 1):
        pass
