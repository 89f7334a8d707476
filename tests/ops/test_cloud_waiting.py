"""Following jobs to their end, and updates of endpoints, against botocore's Stubber."""

from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from cloud_parts import FILLING, IMAGE, MODEL, ROLE, fail, run

from ops import delete, transform, update
from ops.cloud.account import Account
from ops.cloud.calls import Call, Cloud
from ops.cloud.deploying import Step, delete_all, endpoint_step, job_step, make_all
from ops.cloud.endpoint_requests import delete_calls, endpoint_call, model_call, update_endpoint_call
from ops.cloud.errors import CloudError
from ops.cloud.results import save_best
from ops.cloud.waiting import ENDPOINT, POLL_SECONDS, TRAINING_JOB, TUNING_JOB, follow
from ops.update import check_updated

ARN = "arn:aws:sagemaker:us-east-1:123456789012:endpoint/reviews"


JOB = {
    "TrainingJobName": "s-7",
    "TrainingJobArn": "arn:aws:sagemaker:us-east-1:123456789012:training-job/s-7",
    "ModelArtifacts": {"S3ModelArtifacts": MODEL},
    "TrainingJobStatus": "Completed",
    "SecondaryStatus": "Completed",
    "AlgorithmSpecification": {"TrainingInputMode": "File"},
    "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
    "StoppingCondition": {},
    "CreationTime": 0,
}


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
        (TRAINING_JOB, {"TrainingJobStatus": "Stopped", "SecondaryStatus": "MaxRuntimeExceeded"},
         "training job x: expected Completed, found Stopped (MaxRuntimeExceeded): no reason given"),
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


def endpoint_state(config: str, **more: Any) -> dict[str, Any]:
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


OLD = "reviews-20260102030405"


def config_state(config: str, model: str) -> dict[str, Any]:
    variants = [{"VariantName": "AllTraffic", "ModelName": model}]
    facts = {"EndpointConfigName": config, "EndpointConfigArn": f"{ARN}-1", "CreationTime": 0}
    return {**facts, "ProductionVariants": variants}


def expect_whole_update(stubber: Stubber, config: str, model: str) -> None:
    stubber.add_response("describe_endpoint", endpoint_state(config), {"EndpointName": "reviews"})
    stubber.add_response("describe_endpoint_config", config_state(config, model))
    expect_update(stubber)
    stubber.add_response("describe_endpoint", endpoint_state("reviews-2"))


def test_an_update_replaces_and_deletes_the_old_model(account):
    expect_whole_update(account, OLD, OLD)
    account.add_response("delete_endpoint_config", {}, {"EndpointConfigName": OLD})
    account.add_response("delete_model", {}, {"ModelName": OLD})
    result = run(update.main, *UPDATE, "--delete-old")
    assert (result.exit_code, result.stdout) == (0, "reviews\n"), result.stderr
    assert f"from {OLD} to reviews-2" in result.stderr
    assert "kept" not in result.stderr


@pytest.mark.parametrize(
    ("config", "model"), [("shared", "old-model"), ("reviews-1", "reviews-1"), (f"x{OLD}", f"{OLD}0")]
)
def test_an_update_keeps_what_these_commands_did_not_make(account, config, model):
    expect_whole_update(account, config, model)  # And no call that deletes.
    result = run(update.main, *UPDATE, "--delete-old")
    assert result.exit_code == 0, result.stderr
    assert f"kept, because deploy did not make them for this endpoint: {config}, {model}" in result.stderr


def refuse(stubber: Stubber, method: str, message: str, code: str = "ValidationException", retries: int = 0) -> None:
    stubber.add_client_error(method, code, message, response_meta={"RetryAttempts": retries})


def test_an_old_model_that_stays_is_an_error(account):
    expect_whole_update(account, OLD, OLD)
    account.add_response("delete_endpoint_config", {}, {"EndpointConfigName": OLD})
    refuse(account, "delete_model", "no permission", "AccessDeniedException")
    result = run(update.main, *UPDATE, "--delete-old")
    assert (result.exit_code, result.stdout) == (1, "reviews\n")
    assert f"error: expected to delete everything, but AWS still has Model {OLD}" in result.stderr


def test_an_endpoint_without_its_configuration_is_deleted(account):
    account.add_response("describe_endpoint", endpoint_state(OLD))
    refuse(account, "describe_endpoint_config", "Could not find endpoint configuration")
    account.add_response("delete_endpoint", {}, {"EndpointName": "reviews"})
    refuse(account, "delete_endpoint_config", "Could not find endpoint configuration")
    account.add_response("delete_model", {}, {"ModelName": OLD})
    result = run(delete.main, "reviews", "default")
    assert (result.exit_code, result.stdout) == (0, "reviews\n"), result.stderr


def test_a_configuration_that_can_not_be_deleted_is_an_error(account):
    account.add_response("describe_endpoint", endpoint_state(OLD))
    account.add_response("describe_endpoint_config", config_state(OLD, OLD))
    account.add_response("delete_endpoint", {}, {"EndpointName": "reviews"})
    refuse(account, "delete_endpoint_config", "no permission", "AccessDeniedException")
    account.add_response("delete_model", {}, {"ModelName": OLD})
    assert f"AWS still has EndpointConfig {OLD}; delete it in the console" in fail(delete.main, "reviews", "default")


def test_the_parts_of_an_endpoint_that_stays_are_kept(account):
    account.add_response("describe_endpoint", endpoint_state(OLD))
    account.add_response("describe_endpoint_config", config_state(OLD, OLD))
    refuse(account, "delete_endpoint", "no permission", "AccessDeniedException")  # And no further call.
    assert "AWS still has Endpoint reviews" in fail(delete.main, "reviews", "default")


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


MADE = model_call("m-1", IMAGE, MODEL, {"ExecutionRoleArn": ROLE}, {}, [])
(UNDO,) = delete_calls("", "", ["m-1"])
STARTED = {
    "create_endpoint": endpoint_step(endpoint_call("reviews", "c-1", []), "reviews", "c-1"),
    "update_endpoint": endpoint_step(update_endpoint_call("reviews", "c-1"), "reviews", "c-1"),
}


def make(stubbed: Stubbed, method: str) -> None:
    """A model, and an endpoint with it."""
    stubbed.stubber.add_response("create_model", {"ModelArn": f"{ARN}-model-of-tests"}, MADE.parameters)
    make_all(Cloud(stubbed), [Step(MADE, UNDO), STARTED[method]])


class Late:
    """Adds the responses that come after the first one, which `make` adds."""

    def __init__(self, stubbed: Stubbed, *responses: Callable[[Stubber], None]) -> None:
        self.region_name = stubbed.region_name
        self.stubber = self
        self._stubbed = stubbed
        self._responses = responses

    def client(self, service: str, **options: Any) -> Any:
        return self._stubbed.client(service, **options)

    def add_response(self, *arguments: Any) -> None:
        self._stubbed.stubber.add_response(*arguments)
        for respond in self._responses:
            respond(self._stubbed.stubber)


@pytest.mark.parametrize("method", STARTED)
def test_what_was_made_is_deleted_when_a_later_call_fails(stubbed, method):
    late = Late(
        stubbed,
        lambda stubber: refuse(stubber, method, "Cannot create already existing endpoint"),
        lambda stubber: stubber.add_response("delete_model", {}, {"ModelName": "m-1"}),
    )
    with pytest.raises(CloudError, match="AWS refused it with ValidationException: Cannot create"):
        make(late, method)


PENDING = {"PendingDeploymentSummary": {"EndpointConfigName": "c-1"}}


@pytest.mark.parametrize("state", [endpoint_state("c-1"), endpoint_state("c-0", **PENDING)], ids=["made", "updating"])
@pytest.mark.parametrize("method", STARTED)
def test_nothing_is_undone_when_only_the_answer_was_lost(stubbed, method, state, capsys):
    late = Late(
        stubbed,
        lambda stubber: refuse(stubber, method, "Cannot update in-progress endpoint", retries=1),
        lambda stubber: stubber.add_response("describe_endpoint", state, {"EndpointName": "reviews"}),
    )
    make(late, method)
    assert "AWS did it, although its answer was lost; kept: Model m-1" in capsys.readouterr().err


def missing(stubber: Stubber) -> None:
    refuse(stubber, "describe_endpoint", 'Could not find endpoint "reviews".')


def another(stubber: Stubber) -> None:
    stubber.add_response("describe_endpoint", endpoint_state("c-0"), {"EndpointName": "reviews"})


@pytest.mark.parametrize("look", [missing, another])
def test_a_repeated_call_that_started_nothing_is_undone(stubbed, look):
    late = Late(
        stubbed,
        lambda stubber: refuse(stubber, "create_endpoint", "too many", "ThrottlingException", retries=4),
        look,
        lambda stubber: stubber.add_response("delete_model", {}, {"ModelName": "m-1"}),
    )
    with pytest.raises(CloudError, match="ThrottlingException"):
        make(late, "create_endpoint")


def test_nothing_is_undone_when_nothing_is_known(stubbed, capsys):
    late = Late(
        stubbed,
        lambda stubber: stubber.add_client_error("create_endpoint", "InternalFailure", http_status_code=500),
        lambda stubber: refuse(stubber, "describe_endpoint", "no permission", "AccessDeniedException"),
    )
    with pytest.raises(CloudError, match="InternalFailure"):
        make(late, "create_endpoint")
    assert "reviews: it is not known whether AWS did it; kept: Model m-1" in capsys.readouterr().err


def test_a_model_whose_answer_was_lost_is_deleted(stubbed):
    refuse(stubbed.stubber, "create_model", "Cannot create already existing model", retries=1)
    stubbed.stubber.add_response("delete_model", {}, {"ModelName": "m-1"})
    with pytest.raises(CloudError, match="already existing model"):
        make_all(Cloud(stubbed), [Step(MADE, UNDO), STARTED["create_endpoint"]])


def test_a_model_of_another_command_is_kept(stubbed):
    refuse(stubbed.stubber, "create_model", "Cannot create already existing model")
    with pytest.raises(CloudError, match="already existing model"):
        make_all(Cloud(stubbed), [Step(MADE, UNDO), STARTED["create_endpoint"]])


def test_a_job_that_runs_although_its_answer_was_lost(stubbed, capsys):
    start = Call("sagemaker", "StopTrainingJob", {"TrainingJobName": "x"})  # A call with few parameters.
    refuse(stubbed.stubber, "stop_training_job", "Job name must be unique", retries=2)
    stubbed.stubber.add_response("describe_training_job", JOB, {"TrainingJobName": "x"})
    make_all(Cloud(stubbed), [job_step(start, TRAINING_JOB, "x")])
    assert "x: AWS did it, although its answer was lost" in capsys.readouterr().err


class Interrupted(Cloud):
    """Ctrl-C comes in the second call."""

    def __init__(self, session: Any) -> None:
        super().__init__(session)
        self.calls: list[str] = []

    def call(self, call: Call) -> dict[str, Any]:
        self.calls.append(call.operation)
        if len(self.calls) == 2:
            raise KeyboardInterrupt
        return super().call(call)


@pytest.mark.parametrize("is_made", [True, False])
def test_an_interrupt_undoes_what_is_not_in_use(stubbed, is_made):
    stubbed.stubber.add_response("create_model", {"ModelArn": f"{ARN}-model-of-tests"}, MADE.parameters)
    if is_made:
        stubbed.stubber.add_response("describe_endpoint", endpoint_state("c-1"))
    else:
        missing(stubbed.stubber)
        stubbed.stubber.add_response("delete_model", {}, {"ModelName": "m-1"})
    with pytest.raises(KeyboardInterrupt):
        make_all(Interrupted(stubbed), [Step(MADE, UNDO), STARTED["create_endpoint"]])


def test_a_deletion_that_fails_is_named(stubbed, capsys):
    refuse(stubbed.stubber, "delete_model", "no permission", "AccessDeniedException")
    refuse(stubbed.stubber, "delete_model", "Could not find model")
    stubbed.stubber.add_response("delete_endpoint_config", {}, {"EndpointConfigName": "c-1"})
    stay = delete_all(Cloud(stubbed), [*delete_calls("", "", ["m-1", "m-2"]), *delete_calls("", "c-1", [])])
    assert stay == ["Model m-1"]
    assert capsys.readouterr().err.count("not deleted: DeleteModel: AWS refused it with AccessDeniedException") == 1


def test_a_search_without_a_finished_job(tmp_path):
    with pytest.raises(CloudError, match="tuning job s: no training job succeeded"):
        save_best(Cloud(None), {"HyperParameterTuningJobName": "s"}, tmp_path / "best.json")


def test_the_best_job_is_saved_as_a_file_for_train(stubbed, tmp_path, capsys):
    stubbed.stubber.add_response(
        "describe_training_job",
        {**JOB, "HyperParameters": {"_tuning_objective_metric": "f1", "init_lr": "0.0001", "pooling": '"mean"'}},
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
