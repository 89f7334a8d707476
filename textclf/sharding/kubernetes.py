"""Manifests of Kubernetes: an Indexed Job with one pod per shard, and a Job that writes _SUCCESS."""

import json
import posixpath
from collections.abc import Sequence
from typing import Any

from textclf.errors import ConfigError
from textclf.sharding.attempts import MAX_ATTEMPTS
from textclf.sharding.locations import is_url

NAME, FINISH_NAME = "textclf-score", "textclf-score-finish"
_CLAIM = "textclf-data"
_MAX_PARALLEL = 100
# A usage error is the same in every pod; the exit status of other errors may come from the storage.
_USAGE_STATUS = 2
_MAX_FAILED = 10


def job_manifests(image: str, command: Sequence[str], places: Sequence[str], shards: int, threads: int) -> str:
    """The manifests as JSON, which kubectl reads like YAML.

    Args:
        image: image with textclf and its extra `shards`.
        command: command line of the run, without --kubernetes-job.
        places: paths and URLs of model, input, output and rules.
        shards: number of shards.
        threads: threads of a pod, which are its CPUs.

    Raises:
        ConfigError: if a path is relative, or the paths have no folder in common.
    """
    pod = _pod_spec(image, list(command), _mount(places), threads)
    parallel = min(shards, _MAX_PARALLEL)
    rules = [
        # A pod that is moved to another node is no failure.
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "FailJob", "onExitCodes": {"containerName": "score", "operator": "In", "values": [_USAGE_STATUS]}},
    ]
    score = {
        "completionMode": "Indexed",
        "completions": shards,
        "parallelism": parallel,
        "backoffLimitPerIndex": MAX_ATTEMPTS - 1,
        "maxFailedIndexes": min(shards, _MAX_FAILED),
        "podFailurePolicy": {"rules": rules},
        "template": {"spec": pod},
    }
    finish_pod = _pod_spec(image, [*command, "--finish"], _mount(places), threads)
    finish = {"backoffLimit": MAX_ATTEMPTS - 1, "template": {"spec": finish_pod}}
    items = [_job(NAME, score), _job(FINISH_NAME, finish)]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items}, indent=2, ensure_ascii=False)


def _job(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec}


def _pod_spec(image: str, command: list[str], mount: str, threads: int) -> dict[str, Any]:
    volumes: list[dict[str, Any]] = [{"name": "tmp", "emptyDir": {}}]
    mounts = [{"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108  (a folder of the pod)
    if mount:
        volumes.append({"name": "data", "persistentVolumeClaim": {"claimName": _CLAIM}})
        mounts.append({"name": "data", "mountPath": mount})
    cpu = str(threads)
    container = {
        "name": "score",
        "image": image,
        "command": command,
        "resources": {"requests": {"cpu": cpu, "memory": "1Gi"}, "limits": {"cpu": cpu, "memory": "2Gi"}},
        "volumeMounts": mounts,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "fsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": volumes,
    }


def _mount(places: Sequence[str]) -> str:
    """The folder that the volume is mounted at: the one that has all local paths; "" without local paths."""
    paths = [place for place in places if place and not is_url(place)]
    if not paths:
        return ""
    if relative := [path for path in paths if not posixpath.isabs(path)]:
        raise ConfigError(
            f"{relative[0]}: expected an absolute path for the pods, got a relative one; give the path on their volume"
        )
    common = posixpath.commonpath([posixpath.dirname(path) for path in paths])
    if common == "/":
        raise ConfigError(
            f"expected model, input and output below one folder, which the volume {_CLAIM} is mounted at, found "
            f"{', '.join(paths)}; move them together, or use URLs"
        )
    return common
