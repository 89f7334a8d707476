"""Requests to AWS: pure functions, checked by botocore's validator and by ours, which also finds lengths and forms."""

import json
import shutil
import subprocess
from datetime import UTC, datetime

import pytest
from botocore.validate import ParamValidator
from cloud_parts import IMAGE, MODEL, PLACEHOLDERS, without

from ops.cloud import config_files, images
from ops.cloud.calls import Call
from ops.cloud.endpoint_requests import (
    check_serverless_model,
    delete_calls,
    describe_config_call,
    endpoint_call,
    endpoint_config_call,
    model_call,
    models_of,
    serverless_config,
    serverless_environment,
    transform_call,
    update_endpoint_call,
)
from ops.cloud.names import TRAINING_JOB, TUNING_JOB, check_name, stamped_name
from ops.cloud.pushing import ROOT, Build, commit, plan_push
from ops.cloud.shapes import check_parameters, service_model
from ops.cloud.training_checks import check_definition
from ops.cloud.training_requests import (
    check_parent,
    check_parent_image,
    model_uri,
    resumed_definition,
    training_call,
    tuned_hyperparameters,
    tuning_call,
    warm_start_config,
)
from ops.cloud.waiting import ENDPOINT, TRANSFORM_JOB
from ops.cloud.waiting import TRAINING_JOB as TRAINING_JOBS
from ops.cloud.waiting import TUNING_JOB as TUNING_JOBS
from serving.sagemaker.metric_lines import metric_definitions
from textclf.errors import ConfigError
from textclf.tuning.search_space import sagemaker_ranges

MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TAGS = config_files.read_tags(config_files.FOLDER)
TRAINING, TUNING, WARM_START, MODEL_FILE, VARIANT, EXPLAINER, TRANSFORM = (
    config_files.read_part(config_files.FOLDER, kind, PLACEHOLDERS)
    for kind in (
        config_files.TRAINING,
        config_files.TUNING,
        config_files.WARM_START,
        config_files.MODEL,
        config_files.VARIANT,
        config_files.EXPLAINER,
        config_files.TRANSFORM,
    )
)
HYPERPARAMETERS = {"encoder": "minilm-l6", "epochs": "2", "learning_rate": "1e-4"}


def training(**changes) -> Call:
    return training_call("job-1", IMAGE, {**TRAINING, **changes}, HYPERPARAMETERS, metric_definitions(), TAGS)


def tuning(parents=(), **changes) -> Call:
    warm_start = warm_start_config(WARM_START, parents) if parents else None
    return tuning_call(
        "search-1",
        IMAGE,
        TRAINING,
        {**TUNING, **changes},
        sagemaker_ranges(),
        HYPERPARAMETERS,
        metric_definitions(),
        TAGS,
        warm_start,
    )


CALLS = {
    "training": training(),
    "tuning": tuning(),
    "warm-tuning": tuning(["old-1", "old-2"]),
    "model": model_call("model-1", IMAGE, MODEL, MODEL_FILE, {"MAX_BATCH": "10"}, TAGS),
    "config": endpoint_config_call("config-1", "model-1", VARIANT, TAGS),
    "serverless-config": endpoint_config_call("config-1", "model-1", VARIANT, TAGS, serverless_config(2048, 5, 1)),
    "clarify-config": endpoint_config_call("config-1", "model-1", VARIANT, TAGS, explainer=EXPLAINER),
    "endpoint": endpoint_call("reviews", "config-1", TAGS),
    "update": update_endpoint_call("reviews", "config-1"),
    "describe-config": describe_config_call("config-1"),
    **{f"delete-{call.operation}": call for call in delete_calls("reviews", "config-1", ["model-1"])},
    "transform": transform_call("batch-1", "model-1", TRANSFORM, "s3://in/a", "s3://out", {}, []),
    **{f"follow-{one.noun}": one.describe("x") for one in (TRAINING_JOBS, TUNING_JOBS, TRANSFORM_JOB, ENDPOINT)},
    "repository": images.create_repository_call("textclf"),
    "find-repository": images.describe_repository_call("textclf"),
    "find-image": images.describe_image_call("textclf", "latest", "123456789012"),
    "login": images.authorization_call(),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_request_fits_the_description_of_the_service(name):
    call = CALLS[name]
    call.check()
    shape = service_model(call.service).operation_model(call.operation).input_shape
    assert ParamValidator().validate(call.parameters, shape).generate_report() == ""
    assert json.loads(json.dumps(call.parameters)) == call.parameters


def test_the_search_space_and_the_metrics_make_the_tuning_request():
    parameters = CALLS["tuning"].parameters
    config, definition = parameters["HyperParameterTuningJobConfig"], parameters["TrainingJobDefinition"]
    assert config["ParameterRanges"] == sagemaker_ranges()
    assert definition["StaticHyperParameters"] == {"encoder": "minilm-l6"}  # The search has epochs and init_lr.
    assert definition["AlgorithmSpecification"]["MetricDefinitions"] == metric_definitions()
    assert len(metric_definitions()) <= 20  # A tuning job's limit unless AWS raises it.
    assert "WarmStartConfig" not in parameters
    assert [one["HyperParameterTuningJobName"] for one in CALLS["warm-tuning"].parameters["WarmStartConfig"][
        "ParentHyperParameterTuningJobs"
    ]] == ["old-1", "old-2"]  # fmt: skip


def test_the_image_and_the_name_are_those_of_the_arguments():
    parameters = CALLS["training"].parameters
    assert parameters["TrainingJobName"] == "job-1"
    assert parameters["AlgorithmSpecification"]["TrainingImage"] == IMAGE
    assert parameters["CheckpointConfig"]["S3Uri"] == "s3://texts/textclf/checkpoints/job-1"
    assert model_uri(TRAINING, "job-1") == "s3://texts/textclf/output/job-1/output/model.tar.gz"


def test_a_serverless_variant_has_no_instances():
    instances = {"ManagedInstanceScaling": {"Status": "ENABLED"}, "ModelDataDownloadTimeoutInSeconds": 60}
    settings = {**VARIANT, **instances, "RoutingConfig": {"RoutingStrategy": "RANDOM"}}
    config = endpoint_config_call("config-1", "model-1", settings, TAGS, serverless_config(2048, 5, 1))
    config.check()
    (variant,) = config.parameters["ProductionVariants"]
    assert variant["ServerlessConfig"] == {"MemorySizeInMB": 2048, "MaxConcurrency": 5, "ProvisionedConcurrency": 1}
    assert set(variant) == {"VariantName", "ModelName", "InitialVariantWeight", "ServerlessConfig"}
    assert serverless_environment({"MAX_BATCH": "1"}) == {"SERVERLESS": "true", "MAX_BATCH": "1"}
    assert serverless_environment({"SERVERLESS": "false"}) == {"SERVERLESS": "false"}


@pytest.mark.parametrize("key", ["VpcConfig", "EnableNetworkIsolation"])
def test_a_serverless_model_has_no_network_of_its_own(key):
    check_serverless_model(MODEL_FILE)
    with pytest.raises(ConfigError, match=f"{key}: serverless endpoints can't have it"):
        check_serverless_model({**MODEL_FILE, key: True})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((1000, 5, 0), "memory"), ((7168, 5, 0), "memory"), ((1024, 0, 0), "max-conc"), ((1024, 201, 0), "max-conc"),
     ((1024, 5, 6), "provisioned")],
)  # fmt: skip
def test_bad_serverless_settings(arguments, message):
    with pytest.raises(ConfigError, match=message):
        serverless_config(*arguments)


def test_clarify_is_not_for_serverless_endpoints():
    with pytest.raises(ConfigError, match="choose one"):
        endpoint_config_call("c", "m", VARIANT, [], serverless_config(1024, 1), EXPLAINER)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: training(RoleArn="admin"), r"RoleArn: expected at least 20 characters"),
        (lambda: training(ResourceConfig={"InstanceType": "big"}), r"InstanceType: expected one of AWS's names"),
        (lambda: training(Sped="x"), r"unknown key Sped"),
        (lambda: training(EnableNetworkIsolation="no"), r"EnableNetworkIsolation: expected true or false, found 'no'"),
        (lambda: training(OutputDataConfig={}), r"OutputDataConfig: expected the key S3OutputPath, which is missing"),
        (lambda: training(OutputDataConfig={"S3OutputPath": "/tmp/x"}), r"of the form \(https\|s3\)"),
        (lambda: training(Environment={"A": 1}), r"Environment.A: expected a text, found 1"),
        (lambda: training(VpcConfig={"Subnets": [], "SecurityGroupIds": ["sg-1"]}), r"Subnets: expected at least 1"),
        (lambda: training(ResourceConfig={"InstanceCount": True}), r"InstanceCount: expected a whole number"),
        (lambda: training(StoppingCondition={"MaxRuntimeInSeconds": 0}), r"MaxRuntimeInSeconds: expected at least 1"),
        (lambda: tuning(ResourceLimits={"MaxParallelTrainingJobs": 1.5}), r"expected a whole number, found 1.5"),
        (lambda: tuning([f"old-{i}" for i in range(6)]), r"expected at most 5 entries, found 6"),
        (lambda: model_call("m" * 64, IMAGE, MODEL, MODEL_FILE, {}, []), r"ModelName: expected at most 63 characters"),
        (lambda: model_call("m", IMAGE, MODEL, MODEL_FILE, {"A B": "1"}, []), r"the name 'A B'"),
        (lambda: endpoint_call("a_b", "c", []), r"EndpointName: expected a text of the form"),
        (lambda: images.create_repository_call("Texts"), r"repositoryName: expected a text of the form"),
        (lambda: transform_call("b", "m", TRANSFORM, "s3://i", "s3://o", {f"E{i}": "" for i in range(17)}, []),
         r"Environment: expected at most 16 entries, found 17"),
    ],
)  # fmt: skip
def test_what_aws_would_refuse_is_found_before(call, message):
    with pytest.raises(ConfigError, match=message):
        call().check()


def test_new_instance_types_are_accepted():
    training(ResourceConfig={**TRAINING["ResourceConfig"], "InstanceType": "ml.c99i.2xlarge"}).check()


ARN = "arn:aws:sagemaker:us-east-1:123456789012:endpoint"


def test_a_part_of_a_java_pattern_is_left_to_aws():
    check_parameters("sagemaker", "AddTags", {"ResourceArn": f"{ARN}/x", "Tags": [{"Key": "ä", "Value": "é"}]})


# --- names


def test_names_end_with_the_time():
    assert stamped_name("reviews", MOMENT, TRAINING_JOB) == "reviews-20260102030405"


@pytest.mark.parametrize(("limit", "fits"), [(TRAINING_JOB, 48), (TUNING_JOB, 17)])
def test_names_fit_the_limit(limit, fits):
    assert len(stamped_name("a" * fits, MOMENT, limit)) == limit
    with pytest.raises(ConfigError, match=f"expected at most {fits} characters"):
        stamped_name("a" * (fits + 1), MOMENT, limit)


@pytest.mark.parametrize("name", ["", "a_b", "ä", "-a", "a-", "a b", "a\n"])
def test_bad_names(name):
    with pytest.raises(ConfigError, match="expected"):
        check_name(name, 63)


# --- rules that the description of the service lacks


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"ResourceConfig": {"InstanceCount": 2}, "InputDataConfig": [{
                "ChannelName": "train",
                "DataSource": {"S3DataSource": {"S3DataDistributionType": "ShardedByS3Key"}},
            }]},
            "expected FullyReplicated with 2 instances",
        ),
        ({"AlgorithmSpecification": {"TrainingInputMode": "Pipe"}}, "found Pipe"),
        ({"InputDataConfig": [{**TRAINING["InputDataConfig"][0], "InputMode": "Pipe"}]}, "found Pipe"),
        ({"InputDataConfig": TRAINING["InputDataConfig"][1:]}, "expected a channel train, found test"),
        ({"InputDataConfig": []}, "expected a channel train, found none; add it"),
        ({"InputDataConfig": [{"ChannelName": name} for name in "cba"]}, "found c, b, a; add it"),
        ({"EnableManagedSpotTraining": True}, "MaxWaitTimeInSeconds"),
        ({"EnableManagedSpotTraining": True,
          "StoppingCondition": {"MaxRuntimeInSeconds": 9, "MaxWaitTimeInSeconds": 8}}, "MaxWaitTimeInSeconds"),
        ({"StoppingCondition": {"MaxWaitTimeInSeconds": 8}}, "needs EnableManagedSpotTraining"),
    ],
)  # fmt: skip
def test_definitions_that_train_can_not_run(changes, message):
    with pytest.raises(ConfigError, match=message):
        check_definition({**TRAINING, **changes})


def test_spot_training_needs_checkpoints():
    spot = {**TRAINING, "EnableManagedSpotTraining": True,
            "StoppingCondition": {"MaxRuntimeInSeconds": 9, "MaxWaitTimeInSeconds": 9}}  # fmt: skip
    check_definition(spot)
    with pytest.raises(ConfigError, match="CheckpointConfig"):
        check_definition(without(spot, "CheckpointConfig"))


def test_a_resumed_job_needs_checkpoints_of_its_own():
    earlier = {**TRAINING, "CheckpointConfig": {"S3Uri": "s3://texts/old-1"}}
    assert resumed_definition(TRAINING, earlier) == earlier
    for definition in (TRAINING, without(TRAINING, "CheckpointConfig")):
        with pytest.raises(ConfigError, match=r"--resume: expected a CheckpointConfig whose S3Uri contains <JOB_NAME>"):
            resumed_definition(definition, definition)


def parent_of(call: Call, status="Completed", **changes) -> dict:
    """The description of a tuning job that was started with `call`."""
    return {
        "HyperParameterTuningJobStatus": status,
        **json.loads(json.dumps(without(call.parameters, "WarmStartConfig", "Tags"))),
        **changes,
    }


def test_a_parent_that_fits():
    call = tuning(["search-1"])
    check_parent(parent_of(call), call)
    check_parent_image(parent_of(call), call)


@pytest.mark.parametrize(
    ("parent", "message"),
    [
        (parent_of(tuning(), "InProgress"), "expected a job that has ended, found the status InProgress"),
        (parent_of(tuning(HyperParameterTuningJobObjective={"Type": "Minimize", "MetricName": "val_loss"})),
         "objective"),
        (parent_of(tuning(), TrainingJobDefinition={}), "expected 6 hyperparameters, static and searched"),
    ],
)  # fmt: skip
def test_parents_that_do_not_fit(parent, message):
    with pytest.raises(ConfigError, match=message):
        check_parent(parent, tuning(["search-1"]))


def test_a_warm_start_on_other_data_may_have_another_image():
    parent = parent_of(tuning())
    parent["TrainingJobDefinition"]["AlgorithmSpecification"]["TrainingImage"] = "other"
    call = tuning(["search-1"])
    with pytest.raises(ConfigError, match="TransferLearning"):
        check_parent_image(parent, call)
    call.parameters["WarmStartConfig"]["WarmStartType"] = "TransferLearning"
    check_parent_image(parent, call)


def test_an_objective_that_train_does_not_print():
    with pytest.raises(ConfigError, match=r"expected as objective one of train_loss, .*found accuracy"):
        tuning(HyperParameterTuningJobObjective={"Type": "Maximize", "MetricName": "accuracy"})


def test_tuned_hyperparameters_are_those_that_train_takes():
    job = {"HyperParameters": {"epochs": "3", "pooling": '"mean"', "_tuning_objective_metric": "val_macro_f1"}}
    assert tuned_hyperparameters(job) == {"epochs": "3", "pooling": "mean"}


def test_payloads_of_a_transform_job_fit():
    with pytest.raises(ConfigError, match="at most 100 MB, found 6 x 20"):
        transform_call("b", "m", {**TRANSFORM, "MaxPayloadInMB": 6, "MaxConcurrentTransforms": 20}, "", "", {}, [])


def test_models_of_a_configuration():
    assert models_of(CALLS["config"].parameters) == ["model-1"]


# --- configuration files


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("training-job-definition.json", '{"Rolearn": "x"}', "unknown key Rolearn; the nearest known one is RoleArn"),
        ("training-job-definition.json", '{"RoleArn": "<ROLL>"}', "expected your value in place of <ROLL>; write"),
        ("training-job-definition.json", '{"a": 1, "a": 2}', "the key 'a' is there twice"),
        ("training-job-definition.json", '{"AlgorithmSpecification": {"TrainingImage": "x"}}', "the argument IMAGE"),
        ("training-job-definition.json", '{"StaticHyperParameters": {}}', "--hyperparameters"),
        ("training-job-definition.json", "[1]", "expected an object, found"),
        ("training-job-definition.json", "{", "expected JSON in UTF-8"),
        ("training-job-definition.toml", "a = ", "expected TOML in UTF-8"),
        ("training-job-definition.toml", 'ResourceConfig = "x"', "ResourceConfig: expected an object, found 'x'"),
        ("other.json", "{}", "expected this file or one with .toml, found neither"),
    ],
)  # fmt: skip
def test_bad_configuration_files(tmp_path, name, content, message):
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=message) as error:
        config_files.read_part(tmp_path, config_files.TRAINING, PLACEHOLDERS)
    assert str(error.value).startswith(str(tmp_path))


def test_a_placeholder_without_a_value_names_its_option(tmp_path):
    shutil.copy(config_files.FOLDER / "training-job-definition.json", tmp_path)
    with pytest.raises(ConfigError, match="in place of <BUCKET>; give --bucket"):
        config_files.read_part(tmp_path, config_files.TRAINING, {**PLACEHOLDERS, "<BUCKET>": ""})


def test_toml_is_read_too(tmp_path):
    (tmp_path / "hyperparameter-job-config.toml").write_text('Strategy = "Random"\nRandomSeed = 3\n', encoding="utf-8")
    found = config_files.read_part(tmp_path, config_files.TUNING, {})
    assert found == {"Strategy": "Random", "RandomSeed": 3}
    (tmp_path / "hyperparameter-job-config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ConfigError, match="expected one file"):
        config_files.read_part(tmp_path, config_files.TUNING, {})


@pytest.mark.parametrize("content", ['[{"Key": "team", "Value": "a"}]', '{"team": "a"}'])
def test_tags(tmp_path, content):
    assert config_files.read_tags(tmp_path) == []
    (tmp_path / "tags.json").write_text(content, encoding="utf-8")
    assert config_files.read_tags(tmp_path) == [{"Key": "team", "Value": "a"}]


def test_bad_tags(tmp_path):
    (tmp_path / "tags.json").write_text('[{"Name": "team"}]', encoding="utf-8")
    with pytest.raises(ConfigError, match="unknown key Name"):
        config_files.read_tags(tmp_path)


def test_hyperparameters_are_checked_as_train_does(tmp_path):
    path = tmp_path / "h.json"
    path.write_text('{"epochs": 3, "promote": true}', encoding="utf-8")
    assert config_files.read_hyperparameters(path) == {"epochs": "3", "promote": "true"}
    path.write_text('{"epocs": 3}', encoding="utf-8")
    with pytest.raises(ConfigError, match="unknown hyperparameter epocs"):
        config_files.read_hyperparameters(path)


# --- images


@pytest.mark.parametrize(
    ("image", "is_uri"),
    [(IMAGE, True), ("textclf", False), ("team/textclf", False), ("docker.io/a/b", True), ("localhost:5000/a", True),
     ("textclf@sha256:0", True)],
)  # fmt: skip
def test_uris_and_repositories(image, is_uri):
    assert images.is_uri(image) is is_uri


def test_parts_of_an_ecr_uri():
    found = images.parse_ecr("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/team/textclf:v1")
    assert found == images.EcrImage("123456789012", "cn-north-1", "team/textclf", "v1", "")
    assert images.parse_ecr("docker.io/a/b:v1") is None


def test_images_are_built_for_sagemaker():
    steps = plan_push(Build("textclf", "training", "v1", ["EXTRAS=aws"]), "eu-west-1").steps
    uri = "ACCOUNT.dkr.ecr.eu-west-1.amazonaws.com/textclf:v1"
    assert [step.operation for step in steps[:2]] == ["CreateRepository", "DescribeImages"]
    assert [list(step.arguments) for step in steps[2:]] == [
        ["docker", "buildx", "build", "--platform", "linux/amd64", "--provenance=false", "--output", "type=docker",
         "--target", "training", "--build-arg", "EXTRAS=aws", "--tag", uri, str(ROOT)],
        ["docker", "login", "--username", "AWS", "--password-stdin", "ACCOUNT.dkr.ecr.eu-west-1.amazonaws.com"],
        ["docker", "push", uri],
    ]  # fmt: skip
    serving = plan_push(Build("textclf", "serving", "v1", ["EXTRAS=aws"]), "eu-west-1").steps[2].arguments
    assert serving[serving.index("--build-arg") :][:4] == ["--build-arg", "USER=root", "--build-arg", "EXTRAS=aws"]
    assert steps[0].parameters["imageTagMutability"] == "IMMUTABLE"
    assert steps[0].parameters["imageScanningConfiguration"] == {"scanOnPush": True}


def test_the_commit_is_the_tag(tmp_path):
    with pytest.raises(ConfigError, match="expected a checkout of git"):
        commit(tmp_path)
    assert Build("textclf", "serving", "v1").resolved_tag() == "v1"
    tag = Build("textclf", "serving").resolved_tag(may_have_changes=True)
    assert tag.startswith("serving-")
    assert Build("textclf", "serving", "", ["A=1"]).resolved_tag(may_have_changes=True).startswith(f"{tag}-")
    with pytest.raises(ConfigError, match="tag 'a b'"):
        images.check_tag("a b")


def test_a_checkout_with_changes_gives_no_tag(tmp_path):
    git = ["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@b"]
    for arguments in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "First"]):
        subprocess.run([*git, *arguments], check=True)
    found = commit(tmp_path)
    (tmp_path / "new.txt").write_text("x", encoding="utf-8")
    assert commit(tmp_path, may_have_changes=True) == found
    with pytest.raises(ConfigError, match=r"found changes: new.txt; commit them, or give a TAG"):
        commit(tmp_path)
