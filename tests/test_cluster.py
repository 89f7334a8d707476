"""The hosts of a training, as they are named."""

import json
import subprocess
import sys

import pytest

from textclf.cluster import Cluster, cluster_of_hosts, cluster_of_tf_config, starter_of, tf_config
from textclf.errors import ConfigError

TASKS = {"chief": ["a:1"], "worker": ["b:1", "c:1"]}


@pytest.mark.parametrize(
    ("tasks", "kind", "index", "addresses", "rank"),
    [
        (TASKS, "chief", 0, ("a:1", "b:1", "c:1"), 0),
        (TASKS, "worker", 1, ("a:1", "b:1", "c:1"), 2),
        ({"worker": ["b:1", "[::1]:22"]}, "worker", 0, ("b:1", "[::1]:22"), 0),
    ],
)
def test_tf_config(tasks, kind, index, addresses, rank):
    text = json.dumps({"cluster": tasks, "task": {"type": kind, "index": index}})
    assert cluster_of_tf_config(text) == Cluster(addresses, rank)


@pytest.mark.parametrize("text", ["", " ", "{}", '{"cluster": {"worker": ["a:1"]}}', '{"cluster": {}}'])
def test_one_host_is_no_cluster(text):
    assert cluster_of_tf_config(text) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[", "TF_CONFIG: expected a JSON object with `cluster`"),
        ("[1]", "TF_CONFIG: expected a JSON object"),
        ('{"cluster": {"worker": "a:1"}}', "is no list of addresses"),
        (json.dumps({"cluster": TASKS}), "TF_CONFIG: expected a JSON object .*'task'"),
        (json.dumps({"cluster": TASKS, "task": {"type": "ps", "index": 0}}), "expected the task chief or worker"),
        (json.dumps({"cluster": TASKS, "task": {"type": "worker", "index": 2}}), "expected a rank from 0 to 2, got 3"),
        (
            json.dumps({"cluster": {"worker": ["a", "b:1"]}, "task": {"type": "worker", "index": 0}}),
            "expected HOST:PORT, got 'a'",
        ),
        (
            json.dumps({"cluster": {"worker": ["b:1", "b:1"]}, "task": {"type": "worker", "index": 0}}),
            "two different addresses",
        ),
    ],
)
def test_faults_are_one_error(text, says):
    with pytest.raises(ConfigError, match=says):
        cluster_of_tf_config(text)


def test_hosts_without_ports():
    hosts = ["algo-1", "algo-2"]
    assert cluster_of_hosts(hosts, "algo-2", 7) == Cluster(("algo-1:7", "algo-2:7"), 1)
    assert cluster_of_hosts(hosts[:1], "algo-1", 7) is None
    with pytest.raises(ConfigError, match="the current host among algo-1, algo-2, got 'algo-3'"):
        cluster_of_hosts(hosts, "algo-3", 7)


def test_a_configuration_names_the_rank():
    cluster = Cluster(("a:1", "b:1"), 0)
    assert cluster_of_tf_config(tf_config(cluster, 1)) == Cluster(cluster.addresses, 1)


@pytest.mark.parametrize(
    ("text", "starter"),
    [("", None), (tf_config(Cluster(("a:1", "b:1"), 0), 1), None), (tf_config(Cluster(("a:1", "b:1"), 0), 1, 7), 7)],
)
def test_the_starter_of_a_process(text, starter):
    assert starter_of(text) == starter


def test_a_child_that_has_ended():
    addresses = ("a:1", "b:1", "c:1")
    with (
        subprocess.Popen([sys.executable, "-c", ""]) as ended,
        subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as running,
    ):
        cluster = Cluster(addresses, 0, (ended.pid, running.pid))
        while not cluster.has_ended(1):
            pass
        assert not cluster.has_ended(2)
        assert ended.wait() == 0, "its exit status can still be read"
        assert cluster.has_ended(1)
        running.kill()
    assert not Cluster(addresses, 0).has_ended(1), "it runs elsewhere"
