"""The environment of SageMaker: port, limits of a batch transform job, and GET /execution-parameters."""

import pytest
from serving_models import settings

from serving.app import create_app
from serving.hosting import execution_parameters, read_settings
from serving.settings import Settings
from textclf.errors import ConfigError

MIB = 1024**2


def test_the_port_of_a_pipeline_wins():
    assert read_settings({"PORT": "8080", "SAGEMAKER_BIND_TO_PORT": "9000"}).port == 9000
    assert read_settings({"PORT": "8081", "SAGEMAKER_BIND_TO_PORT": ""}).port == 8081


@pytest.mark.parametrize(
    ("job", "payload", "transforms"),
    [
        ({}, 6, 2),
        ({"SAGEMAKER_MAX_PAYLOAD_IN_MB": "20", "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS": "5"}, 20, 5),
        ({"SAGEMAKER_MAX_PAYLOAD_IN_MB": "100"}, 100, 1),
        ({"SAGEMAKER_MAX_PAYLOAD_IN_MB": "0", "SAGEMAKER_BATCH_STRATEGY": "SingleRecord"}, 100, 1),
        ({"SAGEMAKER_MAX_CONCURRENT_TRANSFORMS": "16"}, 6, 16),
    ],
)
def test_the_requests_of_a_job_fit(job, payload, transforms):
    job = {"MODEL_SERVER_WORKERS": "2", "SAGEMAKER_BATCH": "true", **job}
    found = read_settings(job)
    assert found.max_body_bytes >= payload * MIB
    assert found.max_batch == min(10**6, found.max_body_bytes // 2)
    # Lists use half of a worker's slots, and all may reach one worker.
    assert found.max_concurrent // 2 >= transforms
    assert found.max_request_wordpieces >= min(10**9, found.max_body_bytes)
    assert found.max_worker_wordpieces >= found.max_request_wordpieces
    # nginx: half is for large bodies, and an address has half of it.
    assert found.max_pending_body_bytes // 4 // (found.max_body_bytes * 9 // 8) >= transforms
    assert found.model_server_timeout == 3600
    parameters = execution_parameters(found)
    assert parameters["MaxConcurrentTransforms"] == transforms
    assert parameters["MaxPayloadInMB"] <= payload
    assert parameters["MaxConcurrentTransforms"] * parameters["MaxPayloadInMB"] <= 100
    assert parameters["BatchStrategy"] == ("SINGLE_RECORD" if "SAGEMAKER_BATCH_STRATEGY" in job else "MULTI_RECORD")


def test_limits_of_the_operator_that_are_higher_stay():
    given = {"MAX_BODY_BYTES": str(50 * MIB), "MAX_CONCURRENT": "99", "MODEL_SERVER_TIMEOUT": "4000"}
    found = read_settings({"SAGEMAKER_BATCH": "true", **given})
    assert (found.max_body_bytes, found.max_concurrent, found.model_server_timeout) == (50 * MIB, 99, 4000)


def test_nothing_is_raised_without_a_job():
    job = {"SAGEMAKER_MAX_PAYLOAD_IN_MB": "20", "SAGEMAKER_BATCH": "false"}
    assert read_settings(job) == Settings.from_environment(job)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SAGEMAKER_BATCH", "maybe"),
        ("SAGEMAKER_MAX_PAYLOAD_IN_MB", "101"),
        ("SAGEMAKER_BATCH_STRATEGY", "ALL"),
        ("SAGEMAKER_BIND_TO_PORT", "0"),
    ],
)
def test_a_wrong_value_is_named(name, value):
    with pytest.raises(ConfigError, match=f"^{name}: expected"):
        read_settings({name: value})


def test_execution_parameters_need_no_model_and_no_key(tmp_path):
    app = create_app(settings(tmp_path, api_key="s3cret", max_body_bytes=7 * MIB, model_server_workers=3), None)
    response = app.test_client().get("/execution-parameters")
    assert response.get_json() == {
        "MaxConcurrentTransforms": 3,
        "BatchStrategy": "MULTI_RECORD",
        "MaxPayloadInMB": 7,
    }
