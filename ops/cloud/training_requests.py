"""Requests for training jobs and tuning jobs; pure functions of configuration files and names."""

import contextlib
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ops.cloud.calls import Call
from ops.cloud.tags import tags_parameter
from serving.sagemaker.other_names import SYNONYMS
from textclf.errors import ConfigError

Json = dict[str, Any]
# Hyperparameters that SageMaker adds to the jobs of a tuning job.
_PLATFORM = "_tuning_"


def training_call(
    name: str,
    image: str,
    definition: Json,
    hyperparameters: Mapping[str, str],
    metrics: Sequence[Mapping[str, str]],
    tags: Sequence[Mapping[str, str]],
) -> Call:
    """Start one training job.

    Args:
        name: name of the job.
        image: URI of the training image.
        definition: content of training-job-definition.
        hyperparameters: as `train` takes them.
        metrics: MetricDefinitions.
        tags: Key and Value of each tag.
    """
    return Call(
        "sagemaker",
        "CreateTrainingJob",
        {
            "TrainingJobName": name,
            **definition,
            "AlgorithmSpecification": _algorithm(image, definition, metrics),
            "HyperParameters": dict(hyperparameters),
            **tags_parameter(tags),
        },
    )


def tuning_call(
    name: str,
    image: str,
    definition: Json,
    tuning: Json,
    ranges: Json,
    hyperparameters: Mapping[str, str],
    metrics: Sequence[Mapping[str, str]],
    tags: Sequence[Mapping[str, str]],
    warm_start: Json | None = None,
) -> Call:
    """Start one tuning job.

    Args:
        name: name of the job.
        image: URI of the training image.
        definition: content of training-job-definition.
        tuning: content of hyperparameter-job-config.
        ranges: ParameterRanges of the search space.
        hyperparameters: the ones with one value for all jobs; those of the search space are left out.
        metrics: MetricDefinitions.
        tags: Key and Value of each tag.
        warm_start: content of warm-start-config with the parents; None without parents.

    Raises:
        ConfigError: if the objective is not one of the metrics.
    """
    check_objective(tuning, [metric["Name"] for metric in metrics])
    parameters = {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": {**tuning, "ParameterRanges": ranges},
        "TrainingJobDefinition": {
            **definition,
            "AlgorithmSpecification": _algorithm(image, definition, metrics),
            "StaticHyperParameters": static_hyperparameters(hyperparameters, ranges),
        },
        **({"WarmStartConfig": warm_start} if warm_start else {}),
        **tags_parameter(tags),
    }
    return Call("sagemaker", "CreateHyperParameterTuningJob", parameters)


def check_objective(tuning: Json, metrics: Collection[str]) -> None:
    """Check that train prints the objective.

    Raises:
        ConfigError: if the objective is missing or not one of the metrics.
    """
    objective = tuning.get("HyperParameterTuningJobObjective", {}).get("MetricName")
    if objective not in metrics:
        raise ConfigError(
            f"hyperparameter-job-config: expected as objective one of {', '.join(metrics)}, found {objective}"
        )


def warm_start_config(config: Json, parents: Sequence[str]) -> Json:
    """WarmStartConfig with the names of its parents."""
    return {
        **config,
        "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": parent} for parent in parents],
    }


def check_parent(parent: Json, call: Call) -> None:
    """Check that a tuning job may start from the results of an earlier one.

    Args:
        parent: response to DescribeHyperParameterTuningJob.
        call: the new tuning job, with its WarmStartConfig.

    Raises:
        ConfigError: if the parent still runs, or has another objective or another number of hyperparameters.
    """
    name = parent["HyperParameterTuningJobName"]
    status = parent["HyperParameterTuningJobStatus"]
    if status not in ("Completed", "Stopped", "Failed"):
        raise ConfigError(f"--parent {name}: expected a job that has ended, found the status {status}; wait for it")
    new_config, old_config = call.parameters["HyperParameterTuningJobConfig"], parent["HyperParameterTuningJobConfig"]
    new, old = (config.get("HyperParameterTuningJobObjective") for config in (new_config, old_config))
    if new != old:
        raise ConfigError(
            f"--parent {name}: expected the objective {new}, found {old}; change hyperparameter-job-config"
        )
    new_definition, old_definition = call.parameters["TrainingJobDefinition"], parent.get("TrainingJobDefinition", {})
    counts = [
        len(range_names(config["ParameterRanges"])) + len(_own(definition.get("StaticHyperParameters", {})))
        for config, definition in ((new_config, new_definition), (old_config, old_definition))
    ]
    if counts[0] != counts[1]:
        raise ConfigError(
            f"--parent {name}: expected {counts[0]} hyperparameters, static and searched, as the new job has, found "
            f"{counts[1]}; use the hyperparameters of the parent"
        )


def check_parent_image(parent: Json, call: Call) -> None:
    """Check that a warm start of the type IdenticalDataAndAlgorithm has the image of its parent.

    Args:
        parent: response to DescribeHyperParameterTuningJob.
        call: the new tuning job, with its WarmStartConfig.

    Raises:
        ConfigError: if it has another image.
    """
    name = parent["HyperParameterTuningJobName"]
    definitions = (call.parameters["TrainingJobDefinition"], parent.get("TrainingJobDefinition", {}))
    new, old = (one.get("AlgorithmSpecification", {}).get("TrainingImage") for one in definitions)
    if call.parameters["WarmStartConfig"].get("WarmStartType") == "IdenticalDataAndAlgorithm" and new != old:
        raise ConfigError(
            f"--parent {name}: expected the image {new}, found {old}; give the parent's image, or set WarmStartType to "
            f"TransferLearning"
        )


def range_names(ranges: Json) -> set[str]:
    """Names of the hyperparameters that a tuning job searches."""
    return {one["Name"] for kind in ranges.values() for one in kind}


def replaced_names(hyperparameters: Collection[str], ranges: Json) -> list[str]:
    """The hyperparameters that a search replaces, under any name that `train` takes."""
    searched = range_names(ranges)
    return sorted(name for name in hyperparameters if SYNONYMS.get(name, name) in searched)


def static_hyperparameters(hyperparameters: Mapping[str, str], ranges: Json) -> dict[str, str]:
    """The hyperparameters that all jobs of a search share."""
    replaced = replaced_names(hyperparameters, ranges)
    return {name: value for name, value in hyperparameters.items() if name not in replaced}


def resumed_definition(definition: Json, earlier: Json) -> Json:
    """The definition of a job that continues from the checkpoints of an earlier one.

    Args:
        definition: content of training-job-definition, filled for the new job.
        earlier: the same file, filled for the earlier job.

    Raises:
        ConfigError: if the file has no folder of checkpoints that belongs to one job.
    """
    found = earlier.get("CheckpointConfig", {}).get("S3Uri", "none")
    if found == definition.get("CheckpointConfig", {}).get("S3Uri", "none"):
        raise ConfigError(
            f"--resume: expected a CheckpointConfig whose S3Uri contains <JOB_NAME> in training-job-definition, found "
            f"{found}; without it the checkpoints of the earlier job can't be found"
        )
    return {**definition, "CheckpointConfig": earlier["CheckpointConfig"]}


def tuned_hyperparameters(job: Json) -> dict[str, str]:
    """The hyperparameters of a training job, from the response to DescribeTrainingJob, without SageMaker's own.

    A tuning job writes texts as JSON, with quotes; these are removed.
    """
    return {key: _unquoted(value) for key, value in _own(job.get("HyperParameters", {})).items()}


def model_uri(definition: Json, job: str) -> str:
    """Where the model of a training job will be."""
    return f"{definition['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{job}/output/model.tar.gz"


def _own(hyperparameters: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in hyperparameters.items() if not key.startswith(_PLATFORM)}


def _unquoted(value: str) -> str:
    if len(value) > 1 and value.startswith('"') and value.endswith('"'):
        with contextlib.suppress(ValueError):
            decoded = json.loads(value)
            return decoded if isinstance(decoded, str) else value
    return value


def _algorithm(image: str, definition: Json, metrics: Sequence[Mapping[str, str]]) -> Json:
    return {
        **definition.get("AlgorithmSpecification", {"TrainingInputMode": "File"}),
        "TrainingImage": image,
        "MetricDefinitions": [dict(metric) for metric in metrics],
    }
