"""The hosts of a training job and its channels, which SageMaker writes into input/config."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from serving.sagemaker.json_files import read_object
from textclf.cluster import Cluster, cluster_of_hosts
from textclf.errors import ConfigError

RESOURCES_FILE = "resourceconfig.json"
CHANNELS_FILE = "inputdataconfig.json"
# Each host of a job listens there; the network of a job lets its hosts use all ports.
PORT = 7777

_Result = TypeVar("_Result")


def read_job(config: Path) -> Cluster | None:
    """The hosts of a job; None for one host. `config` is the folder of the files, each of which may be missing.

    Raises:
        ConfigError: if the job has a channel in Pipe mode, or several hosts that do not each get all data, or a file is
            not a JSON object.
    """
    cluster = _read(config / RESOURCES_FILE, "the hosts of the job", _cluster)
    _read(config / CHANNELS_FILE, "the channels of the job", lambda channels: _check_channels(channels, cluster))
    return cluster


def _read(path: Path, content: str, use: Callable[[Mapping[str, Any]], _Result]) -> _Result:
    """Apply `use` to the JSON object in a file; its errors name the file."""
    try:
        return use(read_object(path, content))
    except ConfigError as error:
        raise ConfigError(str(error) if str(error).startswith(str(path)) else f"{path}: {error}") from error


def _cluster(resources: Mapping[str, Any]) -> Cluster | None:
    hosts = resources.get("hosts", [])
    if not isinstance(hosts, list) or not all(isinstance(host, str) for host in hosts):
        raise ConfigError(f"expected a list of hosts, got {hosts!r:.100}")
    return cluster_of_hosts(hosts, resources.get("current_host", ""), PORT)


def _check_channels(channels: Mapping[str, Any], cluster: Cluster | None) -> None:
    for name, channel in channels.items():
        if not isinstance(channel, dict):
            continue
        if channel.get("TrainingInputMode") == "Pipe":
            raise ConfigError(
                f"channel {name}: expected the input mode File or FastFile, got Pipe, which gives no files; set "
                f"TrainingInputMode to File"
            )
        if cluster is not None and channel.get("S3DistributionType") == "ShardedByS3Key":
            raise ConfigError(
                f"channel {name}: expected all files on each host, got S3DistributionType ShardedByS3Key; set it to "
                f"FullyReplicated"
            )
