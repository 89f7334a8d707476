"""The hosts of a training job and the modes of its channels, which SageMaker writes into input/config."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serving.sagemaker.json_files import read_object
from textclf.errors import ConfigError

RESOURCES_FILE = "resourceconfig.json"
CHANNELS_FILE = "inputdataconfig.json"


def check_job(config: Path) -> None:
    """Refuse a job that this container can't run; `config` is the folder of the files, each of which may be missing.

    Raises:
        ConfigError: if the job has several hosts or a channel in Pipe mode, or a file is not a JSON object.
    """
    for name, content, check in (
        (RESOURCES_FILE, "the hosts of the job", _check_hosts),
        (CHANNELS_FILE, "the channels of the job", _check_modes),
    ):
        path = config / name
        try:
            check(read_object(path, content))
        except ConfigError as error:
            raise ConfigError(str(error) if str(error).startswith(str(path)) else f"{path}: {error}") from error


def _check_hosts(resources: Mapping[str, Any]) -> None:
    hosts = resources.get("hosts", [])
    if not isinstance(hosts, list):
        raise ConfigError(f"expected a list of hosts, got {hosts!r:.100}")
    if len(hosts) > 1:
        raise ConfigError(
            f"expected one host, got {len(hosts)} ({', '.join(map(str, hosts))}): each would train the same model; "
            f"set InstanceCount to 1"
        )


def _check_modes(channels: Mapping[str, Any]) -> None:
    for name, channel in channels.items():
        if isinstance(channel, dict) and channel.get("TrainingInputMode") == "Pipe":
            raise ConfigError(
                f"channel {name}: expected the input mode File or FastFile, got Pipe, which gives no files; set "
                f"TrainingInputMode to File"
            )
