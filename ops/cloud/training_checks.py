"""Rules of training jobs that AWS's description of its API does not have, checked before a call."""

from typing import Any

from textclf.errors import ConfigError


def check_definition(definition: dict[str, Any], path: str = "training-job-definition") -> None:
    """Check what `train` and spot instances need.

    Raises:
        ConfigError: if the definition asks for Pipe mode, gives each of several instances a part of the data only, has
            no channel train, or contradicts spot training.
    """
    channels = definition.get("InputDataConfig", [])
    count = definition.get("ResourceConfig", {}).get("InstanceCount", 1)
    sources = [channel.get("DataSource", {}).get("S3DataSource", {}) for channel in channels]
    if count > 1 and any(source.get("S3DataDistributionType") == "ShardedByS3Key" for source in sources):
        raise ConfigError(
            f"{path}: S3DataDistributionType: expected FullyReplicated with {count} instances, found ShardedByS3Key; "
            f"correct it"
        )
    modes = [channel.get("InputMode") for channel in channels]
    if "Pipe" in (*modes, definition.get("AlgorithmSpecification", {}).get("TrainingInputMode")):
        raise ConfigError(f"{path}: expected the input mode File or FastFile, found Pipe; correct it")
    names = [str(channel.get("ChannelName")) for channel in channels]
    if "train" not in names:
        raise ConfigError(
            f"{path}: InputDataConfig: expected a channel train, found {', '.join(names) or 'none'}; add it"
        )
    _check_times(definition, path)


def _check_times(definition: dict[str, Any], path: str) -> None:
    stopping = definition.get("StoppingCondition", {})
    run, wait = stopping.get("MaxRuntimeInSeconds", 86400), stopping.get("MaxWaitTimeInSeconds")
    is_spot = definition.get("EnableManagedSpotTraining", False)
    if is_spot and (wait is None or wait < run):
        raise ConfigError(
            f"{path}: spot training needs MaxWaitTimeInSeconds of at least MaxRuntimeInSeconds ({run}), found {wait}; "
            f"add it to StoppingCondition"
        )
    if wait is not None and not is_spot:
        raise ConfigError(f"{path}: MaxWaitTimeInSeconds needs EnableManagedSpotTraining; add that, or remove it")
    if is_spot and "CheckpointConfig" not in definition:
        raise ConfigError(
            f"{path}: spot training needs CheckpointConfig, or an interrupted job starts from the beginning; add it"
        )
