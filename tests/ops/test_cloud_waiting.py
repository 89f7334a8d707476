"""Following jobs to their end, and updates of endpoints, against botocore's Stubber."""

from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from cloud_parts import FILLING, IMAGE, MODEL, ROLE, fail, run

from ops import transform, update
from ops.cloud.calls import Account, Call, Cloud
from ops.cloud.deploying import delete_all, make_all
from ops.cloud.endpoint_requests import delete_calls, endpoint_call, model_call
from ops.cloud.errors import CloudError
from ops.cloud.results import save_best
from ops.cloud.waiting import ENDPOINT, POLL_SECONDS, TRAINING_JOB, TUNING_JOB, follow
from ops.update import check_updated

ARN = "arn:aws:sagemaker:us-east-1:123456789012:endpoint/reviews"


class Stubbed:
    """A session of boto3 with one client, whose responses are given."""

    def __init__(self) -> None:
        self.region_name = "us-east-1"
        self._client = boto3.session.Session("id", "key", region_name="us-east-1").client("sagemaker")
        self.stubber = Stubber(self._client)
        self.stubber.activate()

    def client(self, _service: str, **_options: Any) -> Any:
        return self._client


@pytest.fixture
def stubbed():
    stubbed = Stubbed()
    yield stubbed
    stubbed.stubber.assert_no_pending_responses()


class Told:
    """Collects lines and pauses."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.pauses: list[float] = []


def followed(kind, responses) -> tuple[dict | str, Told]:
    told, left = Told(), list(responses)
    try:
        found: dict | str = follow(kind, "x", lambda _call: left.pop(0), told.lines.append, told.pauses.append)
    except CloudError as error:
        found = str(error)
    assert not left
    return found, told


def test_a_job_that_completes():
    states = [
        ("InProgress", "Starting"),
        ("InProgress", "Training"),
        ("InProgress", "Training"),
        ("Completed", "Completed"),
    ]
    found, told = followed(
        TRAINING_JOB, [{"TrainingJobStatus": status, "SecondaryStatus": detail} for status, detail in states]
    )
    assert found == {"TrainingJobStatus": "Completed", "SecondaryStatus": "Completed"}
    assert told.lines == [
        "training job x: InProgress (Starting)",
        "training job x: InProgress (Training)",
        "training job x: Completed",
    ]
    assert told.pauses == [POLL_SECONDS] * 3


@pytest.mark.parametrize(
    ("kind", "response", "message"),
    [
        (TRAINING_JOB, {"TrainingJobStatus": "Failed", "FailureReason": "AlgorithmError:\n no data"},
         "training job x: expected Completed, found Failed: AlgorithmError: no data"),
        (TRAINING_JOB, {"TrainingJobStatus": "Stopped"},
         "training job x: expected Completed, found Stopped: no reason given"),
        (TUNING_JOB, {"HyperParameterTuningJobStatus": "Failed", "FailureReason": "all failed"},
         "tuning job x: expected Completed or Stopped, found Failed: all failed"),
        (ENDPOINT, {"EndpointStatus": "Failed", "FailureReason": "no ping"},
         "endpoint x: expected InService, found Failed: no ping"),
    ],
)  # fmt: skip
def test_a_job_that_does_not(kind, response, message):
    assert followed(kind, [response])[0] == message


def test_an_update_that_aws_takes_back():
    rolled_back = {"EndpointName": "reviews", "EndpointConfigName": "reviews-1", "FailureReason": "no ping"}
    with pytest.raises(CloudError, match="expected reviews-2, but AWS went back to reviews-1: no ping"):
        check_updated(rolled_back, "reviews-2")
    check_updated({**rolled_back, "EndpointConfigName": "reviews-2"}, "reviews-2")


@pytest.fixture
def account(stubbed, monkeypatch):
    """The stubbed client in commands, at a time that is known."""
    monkeypatch.setattr(Account, "open", lambda _self: Cloud(stubbed))
    for command in (update, transform):
        monkeypatch.setattr(command, "stamped_name", lambda name, *_: f"{name}-2")
    return stubbed.stubber


def endpoint_state(config: str, **more: str) -> dict[str, Any]:
    times = {"CreationTime": 0, "LastModifiedTime": 0}
    names = {"EndpointName": "reviews", "EndpointArn": ARN, "EndpointConfigName": config}
    return {**names, "EndpointStatus": "InService", **times, **more}


def expect_update(stubber: Stubber) -> None:
    """The calls of an update, up to the one that starts it."""
    stubber.add_response("create_model", {"ModelArn": f"{ARN}-model-of-tests"})
    stubber.add_response("create_endpoint_config", {"EndpointConfigArn": f"{ARN}-config-of-tests"})
    changed = {"EndpointName": "reviews", "EndpointConfigName": "reviews-2"}
    stubber.add_response("update_endpoint", {"EndpointArn": ARN}, changed)


UPDATE = ("reviews", "default", IMAGE, *FILLING, "--model-data", MODEL, "--wait")


def test_an_update_replaces_and_deletes_the_old_model(account):
    account.add_response("describe_endpoint", endpoint_state("reviews-1"), {"EndpointName": "reviews"})
    variants = [{"VariantName": "AllTraffic", "ModelName": "old-model"}]
    config = {"EndpointConfigName": "reviews-1", "EndpointConfigArn": f"{ARN}-1", "CreationTime": 0}
    account.add_response("describe_endpoint_config", {**config, "ProductionVariants": variants})
    expect_update(account)
    account.add_response("describe_endpoint", endpoint_state("reviews-2"))
    account.add_response("delete_endpoint_config", {}, {"EndpointConfigName": "reviews-1"})
    account.add_response("delete_model", {}, {"ModelName": "old-model"})
    result = run(update.main, *UPDATE, "--delete-old")
    assert (result.exit_code, result.stdout) == (0, "reviews\n"), result.stderr
    assert "from reviews-1 to reviews-2" in result.stderr


def test_an_update_that_aws_takes_back_is_an_error(account):
    account.add_response("describe_endpoint", endpoint_state("reviews-1"))
    expect_update(account)
    account.add_response("describe_endpoint", endpoint_state("reviews-1", FailureReason="no ping"))
    assert "AWS went back to reviews-1: no ping" in fail(update.main, *UPDATE)


def test_the_model_of_a_failed_transform_job_is_deleted(account):
    account.add_response("create_model", {"ModelArn": f"{ARN}-model-of-tests"})
    account.add_response("create_transform_job", {"TransformJobArn": f"{ARN}-transform"})
    state = {
        "TransformJobName": "batch-2",
        "TransformJobArn": f"{ARN}-transform",
        "TransformJobStatus": "Failed",
        "FailureReason": "ClientError: See job logs",
        "ModelName": "batch-2",
        "TransformInput": {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://in"}}},
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
        "CreationTime": 0,
    }
    account.add_response("describe_transform_job", state)
    account.add_response("delete_model", {}, {"ModelName": "batch-2"})
    paths = ("--input", "s3://in", "--output", "s3://out", "--wait")
    arguments = ("batch", "default", IMAGE, *FILLING, "--model-data", MODEL, *paths)
    assert "found Failed: ClientError: See job logs" in fail(transform.main, *arguments)


def test_what_was_made_is_deleted_when_a_later_call_fails(stubbed):
    model = model_call("m-1", IMAGE, MODEL, {"ExecutionRoleArn": ROLE}, {}, [])
    stubbed.stubber.add_response("create_model", {"ModelArn": f"{ARN}-model-of-tests"}, model.parameters)
    stubbed.stubber.add_client_error(
        "create_endpoint", "ValidationException", "Cannot create already existing endpoint"
    )
    stubbed.stubber.add_response("delete_model", {}, {"ModelName": "m-1"})
    with pytest.raises(CloudError, match="CreateEndpoint: AWS refused it with ValidationException: Cannot create"):
        make_all(
            Cloud(stubbed), [(model, delete_calls("", "", ["m-1"])[0]), (endpoint_call("reviews", "c-1", []), None)]
        )


def test_a_deletion_that_fails_is_named(stubbed, capsys):
    stubbed.stubber.add_client_error("delete_model", "ValidationException", "Could not find model")
    stubbed.stubber.add_response("delete_endpoint_config", {}, {"EndpointConfigName": "c-1"})
    delete_all(Cloud(stubbed), [*delete_calls("", "", ["m-1"]), *delete_calls("", "c-1", [])])
    assert "not deleted: DeleteModel: AWS refused it with ValidationException" in capsys.readouterr().err


def test_a_search_without_a_finished_job(tmp_path):
    with pytest.raises(CloudError, match="tuning job s: no training job succeeded"):
        save_best(Cloud(None), {"HyperParameterTuningJobName": "s"}, tmp_path / "best.json")


def test_the_best_job_is_saved_as_a_file_for_train(stubbed, tmp_path, capsys):
    stubbed.stubber.add_response(
        "describe_training_job",
        {
            "TrainingJobName": "s-7",
            "TrainingJobArn": "arn:aws:sagemaker:us-east-1:123456789012:training-job/s-7",
            "ModelArtifacts": {"S3ModelArtifacts": MODEL},
            "TrainingJobStatus": "Completed",
            "SecondaryStatus": "Completed",
            "AlgorithmSpecification": {"TrainingInputMode": "File"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
            "StoppingCondition": {},
            "CreationTime": 0,
            "HyperParameters": {"_tuning_objective_metric": "val_macro_f1", "init_lr": "0.0001", "pooling": '"mean"'},
        },
        {"TrainingJobName": "s-7"},
    )
    metric = {"MetricName": "val_macro_f1", "Value": 0.9}
    best = {"TrainingJobName": "s-7", "FinalHyperParameterTuningJobObjectiveMetric": metric}
    save_best(Cloud(stubbed), {"HyperParameterTuningJobName": "s", "BestTrainingJob": best}, tmp_path / "best.json")
    printed = capsys.readouterr()
    assert printed.out == f"{MODEL}\n"
    assert "best training job: s-7, val_macro_f1 0.9" in printed.err
    from ops.cloud.config_files import read_hyperparameters

    assert read_hyperparameters(tmp_path / "best.json") == {"init_lr": "0.0001", "pooling": "mean"}


def test_a_server_that_can_not_be_reached():
    session = boto3.session.Session("id", "key", region_name="us-east-1")
    client = session.client("sagemaker", endpoint_url="http://127.0.0.1:9")
    unreachable = Cloud(type("Session", (), {"client": lambda *_, **__: client, "region_name": "us-east-1"})())
    with pytest.raises(CloudError, match=r"DescribeEndpoint: Could not connect.*check the profile, the region"):
        unreachable.call(Call("sagemaker", "DescribeEndpoint", {"EndpointName": "x"}))
