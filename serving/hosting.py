"""The settings of a server that SageMaker hosts: its port, and the limits of a batch transform job.

SageMaker describes both in environment variables. The only client of a job's server is the job, so limits that protect
a server from its clients are raised until the job's requests fit.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from serving.settings import Settings

_MIB = 1024**2
# A job's requests may have this many MiB together, and so may a single one.
_MAX_MIB = 100
MULTI_RECORD = "MULTI_RECORD"
SINGLE_RECORD = "SINGLE_RECORD"
# The longest time that a job can set for a request (InvocationsTimeoutInSeconds).
_BATCH_TIMEOUT = 3600
_MAX_BATCH = 10**6
_MAX_WORDPIECES = 10**9
# A character has at most four bytes, and normalisation makes several wordpieces of some characters.
_WORDPIECES_PER_BYTE = 4
# nginx gives an address a quarter of MAX_PENDING_BODY_BYTES for large bodies, each with an eighth more for chunks.
_PENDING_PER_BYTE = 5


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Return the settings in the environment, with SageMaker's port and the limits of its job.

    Raises:
        ConfigError: if a value is outside its bounds; names the variable.
    """
    settings = Settings.from_environment(environ)
    if settings.sagemaker_bind_to_port is not None:
        settings = dataclasses.replace(settings, port=settings.sagemaker_bind_to_port)
    return raised_to_job(settings) if settings.sagemaker_batch else settings


def raised_to_job(settings: Settings) -> Settings:
    """Return the settings with limits that the requests of a batch transform job keep."""
    max_body = max(settings.max_body_bytes, (settings.sagemaker_max_payload_in_mb or _MAX_MIB) * _MIB)
    transforms = _transforms(settings, max_body)
    wordpieces = max(settings.max_request_wordpieces, min(_MAX_WORDPIECES, _WORDPIECES_PER_BYTE * max_body))
    return dataclasses.replace(
        settings,
        max_body_bytes=max_body,
        max_batch=max(settings.max_batch, min(_MAX_BATCH, max_body // 2)),
        # All requests may reach one worker, and lists use half of its slots.
        max_concurrent=max(settings.max_concurrent, 2 * transforms),
        max_request_wordpieces=wordpieces,
        max_worker_wordpieces=max(settings.max_worker_wordpieces, min(_MAX_WORDPIECES, transforms * wordpieces)),
        max_pending_body_bytes=max(settings.max_pending_body_bytes, _PENDING_PER_BYTE * max_body * transforms),
        model_server_timeout=max(settings.model_server_timeout, _BATCH_TIMEOUT),
    )


def execution_parameters(settings: Settings) -> dict[str, Any]:
    """Return the response of GET /execution-parameters: values that a batch transform job may use here.

    SageMaker uses them for the values that the job does not set.
    """
    transforms = _transforms(settings, settings.max_body_bytes)
    is_single = settings.sagemaker_batch_strategy.lower().startswith("single")
    return {
        "MaxConcurrentTransforms": transforms,
        "BatchStrategy": SINGLE_RECORD if is_single else MULTI_RECORD,
        "MaxPayloadInMB": max(1, min(_MAX_MIB // transforms, settings.max_body_bytes // _MIB)),
    }


def _transforms(settings: Settings, max_body: int) -> int:
    """Concurrent requests of a job: as the job sets them, or one per worker within the MiB of a job."""
    possible = max(1, _MAX_MIB * _MIB // max(max_body, _MIB))
    return settings.sagemaker_max_concurrent_transforms or min(settings.model_server_workers, possible)
