"""The end of a job: waited for, and its results printed and saved as a file."""

import json
import time
from pathlib import Path
from typing import Any

import click

from ops.cloud.calls import Cloud
from ops.cloud.errors import CloudError
from ops.cloud.training_requests import tuned_hyperparameters
from ops.cloud.waiting import TRAINING_JOB, Followed, follow
from textclf.files import atomic_file


def say(line: str) -> None:
    """Print a line on standard error; standard output has results only."""
    click.echo(line, err=True)


def wait_for_end(cloud: Cloud, kind: Followed, name: str) -> dict[str, Any]:
    """Wait until a job has ended or an endpoint is ready, and print each change; return AWS's last description.

    Raises:
        JobFailedError: if it failed; the message contains AWS's reason.
    """
    return follow(kind, name, cloud.call, say, time.sleep)


def print_model(job: dict[str, Any]) -> None:
    """Print the URI of the model of a training job, from the response to DescribeTrainingJob."""
    click.echo(job["ModelArtifacts"]["S3ModelArtifacts"])


def save_best(cloud: Cloud, job: dict[str, Any], target: Path) -> None:
    """Save the hyperparameters of the best training job as a file that `train` takes, and print its model.

    Args:
        cloud: makes the calls.
        job: response to DescribeHyperParameterTuningJob.
        target: the file.

    Raises:
        CloudError: if no training job succeeded.
    """
    best = job.get("BestTrainingJob", {})
    name = best.get("TrainingJobName")
    if not name:
        raise CloudError(f"tuning job {job['HyperParameterTuningJobName']}: no training job succeeded; read their logs")
    found = cloud.call(TRAINING_JOB.describe(name))
    with atomic_file(target) as file:
        file.write(json.dumps(tuned_hyperparameters(found), indent=2, ensure_ascii=False) + "\n")
    metric = best.get("FinalHyperParameterTuningJobObjectiveMetric", {})
    say(f"best training job: {name}, {metric.get('MetricName', 'objective')} {metric.get('Value', 'unknown')}")
    say(f"hyperparameters: {target}")
    print_model(found)
