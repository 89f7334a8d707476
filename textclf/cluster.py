"""The hosts of a training and the rank of this process, as TF_CONFIG, --hosts or SageMaker name them."""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from textclf.errors import ConfigError

TF_CONFIG = "TF_CONFIG"
# A key of our own in it.
_STARTER = "textclf_starter"
_ADDRESS = re.compile(r"(?P<host>[^\s:/]+|\[[0-9A-Fa-f:]+\]):(?P<port>\d{1,5})")
_MAX_PORT = 65535


@dataclass(frozen=True)
class Cluster:
    """The processes of one training.

    Attributes:
        addresses: HOST:PORT of each process, which listens there; the first one is the chief.
        rank: position of this process.
        children: process ids of the others in the order of their ranks, if this process started them; else ().

    Raises:
        ConfigError: if there are fewer than two addresses, two equal ones, one that is no address, or no such rank.
    """

    addresses: tuple[str, ...]
    rank: int
    children: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for address in self.addresses:
            split_address(address)
        if len(self.addresses) < 2 or len(set(self.addresses)) < len(self.addresses):
            raise ConfigError(
                f"hosts: expected at least two different addresses, got {', '.join(self.addresses) or 'none'}"
            )
        if not 0 <= self.rank < len(self.addresses):
            raise ConfigError(f"hosts: expected a rank from 0 to {len(self.addresses) - 1}, got {self.rank}")

    @property
    def is_chief(self) -> bool:
        """Whether this process reads the data, writes checkpoints, and saves the version."""
        return self.rank == 0

    @property
    def size(self) -> int:
        """Number of processes."""
        return len(self.addresses)

    def has_ended(self, rank: int) -> bool:
        """Whether a process that this one started has ended; False for a process elsewhere."""
        if not self.children:
            return False
        try:
            # Without WNOWAIT it would be gone for the one that waits for its exit status.
            return os.waitid(os.P_PID, self.children[rank - 1], os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True

    def next_address(self) -> str:
        """Address of the process after this one; that of the first one after the last."""
        return self.addresses[(self.rank + 1) % self.size]


def split_address(address: str) -> tuple[str, int]:
    """Host and port of an address.

    Raises:
        ConfigError: if it is no HOST:PORT.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None or not 0 < int(found["port"]) <= _MAX_PORT:
        raise ConfigError(f"hosts: expected HOST:PORT, got {address!r:.100}")
    return found["host"].strip("[]"), int(found["port"])


def cluster_of_tf_config(text: str) -> Cluster | None:
    """The cluster of TensorFlow's variable TF_CONFIG; None if it has no cluster, or one process only.

    The chief is the task `chief`, or worker 0 without one.

    Raises:
        ConfigError: if it is not such a JSON object, or names a parameter server or an evaluator as this process.
    """
    try:
        config = json.loads(text) if text.strip() else {}
        tasks = config.get("cluster", {})
        addresses = [*_list(tasks.get("chief", [])), *_list(tasks.get("worker", []))]
        if len(addresses) < 2:
            return None
        task = config["task"]
        kind, index = task["type"], int(task["index"])
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(
            f"{TF_CONFIG}: expected a JSON object with `cluster` (`chief` and `worker`, lists of HOST:PORT) and `task` "
            f"(`type` and `index`), got {text!r:.100} ({error!r:.100})"
        ) from error
    if kind not in ("chief", "worker"):
        raise ConfigError(f"{TF_CONFIG}: expected the task chief or worker, got {kind!r:.100}; start none on this host")
    return Cluster(tuple(addresses), index if kind == "chief" else index + len(_list(tasks.get("chief", []))))


def cluster_of_hosts(hosts: Sequence[str], this_host: str, port: int) -> Cluster | None:
    """The cluster of hosts that are listed without ports, as SageMaker lists them; None for a single one.

    Raises:
        ConfigError: if `this_host` is not among them.
    """
    if len(hosts) < 2:
        return None
    if this_host not in hosts:
        raise ConfigError(f"expected the current host among {', '.join(hosts)}, got {this_host!r:.100}")
    return Cluster(tuple(f"{host}:{port}" for host in hosts), hosts.index(this_host))


def tf_config(cluster: Cluster, rank: int, starter: int | None = None) -> str:
    """TF_CONFIG of the process `rank`; `starter` is the process id of the one that starts it, see starter_of()."""
    task = {"type": "worker", "index": rank}
    started = {} if starter is None else {_STARTER: starter}
    return json.dumps({"cluster": {"worker": list(cluster.addresses)}, "task": task, **started})


def starter_of(text: str) -> int | None:
    """The process id of the chief that started this process by `--hosts N`; None if a TF_CONFIG names none.

    The text is one that cluster_of_tf_config() accepts.
    """
    found = json.loads(text).get(_STARTER) if text.strip() else None
    return found if type(found) is int else None


def _list(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise TypeError(f"{value!r:.50} is no list of addresses")
    return value
