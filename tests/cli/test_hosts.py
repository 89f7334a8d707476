"""The options of a training on several hosts."""

import pytest

from textclf.cli.hosts import joined_cluster
from textclf.cluster import Cluster, tf_config
from textclf.errors import ConfigError

PAIR = Cluster(("a:1", "b:1"), 1)


@pytest.mark.parametrize(
    ("hosts", "rank", "config", "cluster"),
    [
        ("", 0, "", None),
        ("1", 0, "", None),
        ("", 0, tf_config(PAIR, 1), PAIR),
        ("a:1,b:1", 1, "", PAIR),
        # A process that --hosts 2 started.
        ("2", 0, tf_config(PAIR, 1), PAIR),
    ],
)
def test_clusters(monkeypatch, hosts, rank, config, cluster):
    monkeypatch.setenv("TF_CONFIG", config)
    with joined_cluster(hosts, rank) as found:
        assert found == cluster


def test_addresses_in_the_option_or_in_tf_config(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", tf_config(PAIR, 1))
    with pytest.raises(ConfigError, match="either --hosts or TF_CONFIG, got both"), joined_cluster("a:1,b:1", 0):
        pass


@pytest.mark.parametrize("hosts", ["a:1,b", "a:1,", "a:1,a:1", "a:1", "-2", "a:70000,b:1"])
def test_bad_values(monkeypatch, hosts):
    monkeypatch.setenv("TF_CONFIG", "")
    with pytest.raises(ConfigError, match=r"hosts: expected"), joined_cluster(hosts, 0):
        pass
