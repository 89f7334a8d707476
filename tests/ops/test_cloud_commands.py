"""The commands of ops/ against moto's server: ECR and SageMaker over HTTP; what moto lacks is in test_cloud_waiting."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cloud_parts import FILLING, FOREIGN, IMAGE, MODEL, ROLE, fail, hyperparameters_file, run, succeed
from moto_server import CREDENTIALS, MotoServer, running_moto

from ops import build_and_push, delete, deploy, follow, training, transform, tuning, update
from ops.cloud import config_files, pushing
from serving.sagemaker.hyperparameters import parse_hyperparameters

ROOT = Path(pushing.ROOT)
PROFILE = "textclf-tests"
# Nothing listens there.
NOWHERE = "http://127.0.0.1:9"
# docker is replaced by a program that writes down its arguments and, for push, gives the image to moto as ECR would.
FAKE_DOCKER = """#!/bin/sh
printf '%s\\n' "$*" >>"$DOCKER_LOG"
case $1 in
    login) cat >"$DOCKER_LOG.password" ;;
    push) "$PYTHON" "$FAKE_PUSH" "$2" ;;
    buildx) exit "${BUILD_STATUS:-0}" ;;
esac
"""
FAKE_PUSH = """
import boto3, hashlib, json, sys
name, _, tag = sys.argv[1].partition("/")[2].partition(":")
config = {"mediaType": "x", "size": 1, "digest": "sha256:" + hashlib.sha256(tag.encode()).hexdigest()}
kind = "application/vnd.docker.distribution.manifest.v2+json"
manifest = json.dumps({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": []})
client = boto3.Session(profile_name="textclf-tests").client("ecr")
client.put_image(repositoryName=name, imageTag=tag, imageManifest=manifest)
"""


@pytest.fixture(scope="module")
def moto(tmp_path_factory):
    with running_moto(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch, tmp_path):
    """No variables of this machine, and an address where nobody answers."""
    for name in (*FOREIGN, *(name for name in os.environ if name.startswith("AWS_"))):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", NOWHERE)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def aws(moto, monkeypatch, tmp_path) -> MotoServer:
    """A profile whose calls go to moto."""
    config = tmp_path / "config"
    keys = "".join(f"{name.lower()} = {value}\n" for name, value in CREDENTIALS.items())
    config.write_text(f"[profile {PROFILE}]\nregion = us-east-1\n{keys}", encoding="utf-8")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto.url)
    return moto


@pytest.fixture
def docker(tmp_path, monkeypatch) -> Path:
    """A docker on PATH; returns its log."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "docker").write_text(FAKE_DOCKER, encoding="utf-8")
    (folder / "docker").chmod(0o755)
    (folder / "push.py").write_text(FAKE_PUSH, encoding="utf-8")
    log = tmp_path / "docker.log"
    values = {"DOCKER_LOG": log, "FAKE_PUSH": folder / "push.py", "PYTHON": sys.executable}
    for name, value in values.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return log


@pytest.fixture
def older_instances(tmp_path) -> Path:
    """The configuration files with an instance type for endpoints that moto knows."""
    folder = shutil.copytree(config_files.FOLDER, tmp_path / "my-config")
    variant = folder / "production-variant.json"
    variant.write_text(variant.read_text(encoding="utf-8").replace("ml.c6i.", "ml.c5."), encoding="utf-8")
    return folder


def sagemaker(moto):
    return moto.client("sagemaker")


def steps_of(command, *arguments) -> list[dict]:
    return json.loads(succeed(command, *arguments, "--dry-run"))


def calls_of(command, *arguments) -> dict[str, dict]:
    return {step["call"]: step["parameters"] for step in steps_of(command, *arguments) if "call" in step}


# --- without credentials

DEPLOY = ("reviews", "p", IMAGE, *FILLING, "--model-data", MODEL)


def test_dry_runs_need_no_credentials(tmp_path):
    file = hyperparameters_file(tmp_path)
    jobs = ("reviews", "nobody", "textclf", *FILLING)
    endpoint = (*jobs, "--model-data", MODEL)
    batch = ("--input", "s3://texts/in", "--output", "s3://texts/out")
    for command, arguments, last in (
        (build_and_push.main, ("textclf", "nobody"), None),
        (training.main, (*jobs, "--hyperparameters", file), "CreateTrainingJob"),
        (tuning.main, (*jobs, "--hyperparameters", file), "CreateHyperParameterTuningJob"),
        (deploy.main, endpoint, "CreateEndpoint"),
        (update.main, endpoint, "UpdateEndpoint"),
        (transform.main, (*endpoint, *batch), "CreateTransformJob"),
        (delete.main, ("reviews", "nobody"), "DeleteModel"),
        (follow.main, ("training", "job-1", "nobody"), "DescribeTrainingJob"),
    ):
        steps = steps_of(command, *arguments)
        assert steps[-1].get("call") == last, command.callback.__module__
        assert all("run" in step or {"service", "call", "parameters"} == set(step) for step in steps)


def test_the_printed_request_is_the_one_that_is_made(tmp_path):
    file = hyperparameters_file(tmp_path)
    request = calls_of(training.main, "reviews", "default", IMAGE, *FILLING, "--hyperparameters", file)
    assert list(request) == ["CreateTrainingJob"]  # An image that exists needs no build.
    parameters = request["CreateTrainingJob"]
    assert parameters["AlgorithmSpecification"]["TrainingImage"] == IMAGE
    assert parameters["HyperParameters"] == {"encoder": "minilm-l6", "epochs": "2"}
    assert parameters["RoleArn"] == ROLE


def test_searched_options_and_parents(tmp_path):
    file = hyperparameters_file(tmp_path)
    search = ("--search", "init_lr", "--search", "pooling", "--parent", "old-1", "--hyperparameters", file)
    request = calls_of(tuning.main, "reviews", "default", IMAGE, *FILLING, *search)
    assert request["DescribeHyperParameterTuningJob"] == {"HyperParameterTuningJobName": "old-1"}
    parameters = request["CreateHyperParameterTuningJob"]
    assert len(parameters["HyperParameterTuningJobName"]) <= 32
    ranges = parameters["HyperParameterTuningJobConfig"]["ParameterRanges"]
    assert [one["Name"] for kind in ranges.values() for one in kind] == ["init_lr", "pooling"]
    assert parameters["TrainingJobDefinition"]["StaticHyperParameters"] == {
        "encoder": "minilm-l6",
        "epochs": "2",
        "select": "best",
        "train_on": "train",
    }


def test_a_search_whose_epochs_are_not_measured_is_refused(tmp_path):
    file = tmp_path / "hyperparameters.json"
    file.write_text('{"encoder": "minilm-l6", "train_on": "all"}', encoding="utf-8")
    command = ["reviews", "default", IMAGE, *FILLING, "--hyperparameters", str(file), "--dry-run"]
    assert "train_on: expected train, with which every epoch is measured, got all; remove it" in fail(
        tuning.main, *command
    )


def test_settings_and_serverless_options():
    options = ("--serverless", "--memory", "4096", "--max-concurrency", "7", "--env", "MAX_BATCH=50")
    request = calls_of(deploy.main, "reviews", "default", IMAGE, *FILLING, "--model-data", MODEL, *options)
    assert request["CreateModel"]["PrimaryContainer"]["Environment"] == {"SERVERLESS": "true", "MAX_BATCH": "50"}
    (variant,) = request["CreateEndpointConfig"]["ProductionVariants"]
    assert variant["ServerlessConfig"] == {"MemorySizeInMB": 4096, "MaxConcurrency": 7}
    explained = calls_of(deploy.main, "reviews", "default", IMAGE, *FILLING, "--model-data", MODEL, "--clarify")
    assert "ClarifyExplainerConfig" in explained["CreateEndpointConfig"]["ExplainerConfig"]


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        (training.main, ("a" * 49, "p", "textclf"), "expected at most 48 characters"),
        (tuning.main, ("a" * 18, "p", "textclf"), "expected at most 17 characters"),
        (training.main, ("reviews", "p", "textclf", "--role", ROLE), "in place of <BUCKET>; give --bucket"),
        (training.main, ("reviews", "p", IMAGE, *FILLING, "--hyperparameters", "no.json"), "no.json: can't be read"),
        (training.main, ("reviews", "p"), "Missing argument 'IMAGE'"),
        (deploy.main, ("reviews", "p", IMAGE, "--model-data", MODEL), "in place of <ROLE>; give --role"),
        (deploy.main, (*DEPLOY, "--region", "eu-west-1"), "expected an image in the region eu-west-1"),
        (deploy.main, ("reviews", "p", IMAGE, *FILLING, "--model-data", "model.tar.gz"), "ModelDataUrl: expected"),
        (deploy.main, (*DEPLOY, "--env", "A"), "expected NAME=VALUE"),
        (deploy.main, (*DEPLOY, "--env", "A=1", "--env", "A=2"), "expected A once, got it twice"),
        (deploy.main, (*DEPLOY, "--serverless", "--clarify"), "choose one"),
        (deploy.main, ("a_b", *DEPLOY[1:]), "expected letters, digits and hyphens"),
        (update.main, ("reviews", "p", IMAGE, "--model-data", MODEL, "--delete-old"), "--delete-old needs --wait"),
        (deploy.main, (*DEPLOY, "--memory", "2048"), "--memory needs --serverless"),
        (deploy.main, (*DEPLOY, "--max-concurrency", "5"), "--max-concurrency needs --serverless"),
        (update.main, (*DEPLOY, "--provisioned", "1"), "--provisioned needs --serverless"),
        (tuning.main, ("reviews", "p", IMAGE, *FILLING, "--save", "best.json"), "--save needs --wait"),
        (follow.main, ("training", "job-1", "p", "--save", "best.json"), "--save is for the kind tuning"),
        (training.main, ("reviews", "p", IMAGE, *FILLING, "--resume", "a_b"), "expected letters, digits and hyphens"),
        (build_and_push.main, ("Texts", "p"), "repositoryName: expected a text of the form"),
        (build_and_push.main, ("textclf", "p", "a b"), "tag 'a b'"),
        (delete.main, ("a" * 64, "p"), "expected at most 63 characters"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_before_any_call(command, arguments, message):
    assert message in fail(command, *arguments, "--dry-run")
    assert message in fail(command, *arguments)


def test_an_unknown_profile(aws, tmp_path):
    arguments = ("reviews", "nobody", IMAGE, *FILLING, "--hyperparameters", hyperparameters_file(tmp_path))
    assert f"expected a profile of ~/.aws/config, found {PROFILE}" in fail(training.main, *arguments)


@pytest.mark.parametrize(
    ("variable", "message"),
    [({"AWS_PROFILE": PROFILE}, f"AWS_PROFILE: expected default, as the argument PROFILE, found '{PROFILE}'"),
     ({"AWS_PROFILE": "gone"}, "AWS_PROFILE: expected default, as the argument PROFILE, found 'gone'"),
     ({"AWS_DEFAULT_PROFILE": "gone"}, "AWS_DEFAULT_PROFILE: expected default"),
     ({"AWS_PROFILE": "default"}, "profile 'default': The config profile (default) could not be found"),
     ({"AWS_CONFIG_FILE": "damaged"}, "profile 'default': Unable to parse config file")],
)  # fmt: skip
def test_the_default_profile_is_no_other_one(aws, monkeypatch, tmp_path, variable, message):
    (tmp_path / "damaged").write_text("[profile", encoding="utf-8")
    for name, value in variable.items():
        monkeypatch.setenv(name, value)
    assert message in fail(delete.main, "reviews", "default")
    assert message in fail(deploy.main, "reviews", "default", *DEPLOY[2:], "--dry-run")


def test_a_profile_that_is_given_counts_before_the_variable(aws, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "gone")
    assert "DescribeEndpoint: AWS refused it" in fail(delete.main, "reviews", PROFILE)
    assert steps_of(delete.main, "reviews", PROFILE)


def test_a_result_that_can_not_be_saved_is_found_before_the_wait(tmp_path):
    (tmp_path / "file").touch()
    arguments = ("reviews", "default", IMAGE, *FILLING, "--wait", "--save", "file/best.json")
    assert "file: File exists" in fail(tuning.main, *arguments)
    assert "file: File exists" in fail(follow.main, "tuning", "job-1", "default", "--save", "file/best.json")


def test_a_resumed_job_has_the_checkpoints_of_the_old_one_and_a_new_name():
    request = calls_of(training.main, "reviews", "default", IMAGE, *FILLING, "--resume", "old-1")["CreateTrainingJob"]
    assert request["CheckpointConfig"]["S3Uri"].endswith("/old-1")
    assert request["TrainingJobName"].startswith("reviews-")


def test_a_search_that_train_would_refuse(tmp_path):
    file = hyperparameters_file(tmp_path, '{"optimiser": "sgd"}')
    arguments = ("reviews", "default", IMAGE, *FILLING, "--hyperparameters", file)
    assert "with the searched options: layer_decay: expected 1" in fail(
        tuning.main, *arguments, "--search", "layer_decay", "--dry-run"
    )
    ranges = calls_of(tuning.main, *arguments)["CreateHyperParameterTuningJob"]["HyperParameterTuningJobConfig"]
    assert "layer_decay" not in json.dumps(ranges)
    assert "init_lr" in json.dumps(ranges)


def test_every_file_knows_the_placeholders(tmp_path):
    folder = shutil.copytree(config_files.FOLDER, tmp_path / "my-config")
    for name in ("model", "warm-start-config"):
        (folder / f"{name}.json").unlink()
    (folder / "model.toml").write_text('ExecutionRoleArn = "<ROLE>-<JOB_NAME>"', encoding="utf-8")
    (folder / "warm-start-config.toml").write_text('WarmStartType = "<ROLE>"', encoding="utf-8")
    model = calls_of(deploy.main, *DEPLOY, "--config-dir", folder)["CreateModel"]
    assert model["ExecutionRoleArn"] == f"{ROLE}-{model['ModelName']}"
    error = fail(tuning.main, "reviews", "p", IMAGE, *FILLING, "--config-dir", folder, "--parent", "a", "--dry-run")
    assert f"found '{ROLE}'" in error


# --- with moto


def test_an_image_is_built_pushed_and_used_by_its_digest(aws, docker):
    printed = succeed(build_and_push.main, "team/textclf", PROFILE, "v1", "--target", "training")
    uri, _, digest = printed.strip().partition("@")
    assert uri == "123456789012.dkr.ecr.us-east-1.amazonaws.com/team/textclf"
    assert digest.startswith("sha256:")
    registry = uri.partition("/")[0]
    assert docker.read_text(encoding="utf-8").splitlines() == [
        f"buildx build --platform linux/amd64 --provenance=false --output type=docker --target training --tag {uri}:v1 "
        f"{ROOT}",
        f"login --username AWS --password-stdin {registry}",
        f"push {uri}:v1",
    ]
    assert docker.with_suffix(".log.password").read_text(encoding="utf-8")
    (repository,) = aws.client("ecr").describe_repositories()["repositories"]
    assert (repository["imageTagMutability"], repository["imageScanningConfiguration"]["scanOnPush"]) == (
        "IMMUTABLE",
        True,
    )
    assert "expected a new tag, found the image sha256:" in fail(build_and_push.main, "team/textclf", PROFILE, "v1")


def test_a_failed_build_is_not_pushed(aws, docker, monkeypatch):
    monkeypatch.setenv("BUILD_STATUS", "7")
    assert "docker buildx build: failed with status 7" in fail(build_and_push.main, "other", PROFILE, "v1")
    assert "push" not in docker.read_text(encoding="utf-8").split()


def test_an_image_of_the_same_commit_is_used_again(aws, docker, older_instances, monkeypatch):
    monkeypatch.setattr(pushing, "commit", lambda _root, **_: "0123456789ab")
    first, second = (succeed(build_and_push.main, "again", PROFILE) for _ in range(2))
    assert first == second
    assert docker.read_text(encoding="utf-8").count("push ") == 1
    by_tag = first.partition("@")[0] + ":serving-0123456789ab"
    arguments = ("--model-data", MODEL, *FILLING, "--config-dir", older_instances)
    succeed(deploy.main, "pinned", PROFILE, by_tag, *arguments)
    config = sagemaker(aws).describe_endpoint(EndpointName="pinned")["EndpointConfigName"]
    container = sagemaker(aws).describe_model(ModelName=config)["PrimaryContainer"]
    assert container["Image"] == first.strip()
    succeed(delete.main, "pinned", PROFILE)
    missing = first.partition("@")[0] + ":nothing"
    assert "expected an image in ECR, found none with the tag nothing" in fail(
        deploy.main, "x", PROFILE, missing, *arguments
    )


def test_a_training_job(aws, tmp_path):
    file = hyperparameters_file(tmp_path)
    result = run(training.main, "reviews", PROFILE, IMAGE, *FILLING, "--hyperparameters", file, "--wait")
    assert result.exit_code == 0, result.stderr
    (job,) = sagemaker(aws).list_training_jobs()["TrainingJobSummaries"]
    name = job["TrainingJobName"]
    assert result.stdout == f"s3://texts/textclf/output/{name}/output/model.tar.gz\n"
    assert f"training job {name}: Completed" in result.stderr
    found = sagemaker(aws).describe_training_job(TrainingJobName=name)
    assert found["HyperParameters"] == {"encoder": "minilm-l6", "epochs": "2"}
    assert found["AlgorithmSpecification"]["TrainingImage"] == IMAGE
    assert succeed(follow.main, "training", name, PROFILE) == result.stdout
    started = succeed(training.main, "started", PROFILE, IMAGE, *FILLING, "--hyperparameters", file)
    assert started.startswith("s3://texts/textclf/output/started-")


def test_a_job_that_aws_does_not_know(aws):
    assert "DescribeTrainingJob: AWS refused it with ValidationException" in fail(
        follow.main, "training", "nothing", PROFILE
    )


def test_a_tuning_job_and_its_successor(aws, tmp_path):
    file = hyperparameters_file(tmp_path)
    arguments = (PROFILE, IMAGE, *FILLING, "--hyperparameters", file)
    name = succeed(tuning.main, "search", *arguments).strip()
    found = sagemaker(aws).describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    assert found["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]["MetricName"] == "val_macro_f1"
    assert "WarmStartConfig" not in found
    again = succeed(tuning.main, "again", *arguments, "--parent", name).strip()
    parents = sagemaker(aws).describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=again)["WarmStartConfig"]
    assert parents["ParentHyperParameterTuningJobs"] == [{"HyperParameterTuningJobName": name}]
    assert "expected 5 hyperparameters" in fail(
        tuning.main, "other", *arguments, "--search", "init_lr", "--parent", name
    )


def test_an_endpoint_from_beginning_to_end(aws, older_instances):
    arguments = ("reviews", PROFILE, IMAGE, *FILLING, "--model-data", MODEL, "--config-dir", older_instances)
    assert succeed(deploy.main, *arguments, "--wait") == "reviews\n"
    client = sagemaker(aws)
    config = client.describe_endpoint(EndpointName="reviews")["EndpointConfigName"]
    (variant,) = client.describe_endpoint_config(EndpointConfigName=config)["ProductionVariants"]
    assert (variant["ModelName"], variant["InstanceType"]) == (config, "ml.c5.large")
    assert client.describe_model(ModelName=config)["PrimaryContainer"]["ModelDataUrl"] == MODEL
    assert succeed(follow.main, "endpoint", "reviews", PROFILE) == "reviews\n"
    assert succeed(delete.main, "reviews", PROFILE) == "reviews\n"
    assert client.list_models()["Models"] == client.list_endpoints()["Endpoints"] == []
    assert client.list_endpoint_configs()["EndpointConfigs"] == []
    assert "DescribeEndpoint: AWS refused it" in fail(delete.main, "reviews", PROFILE)


def test_nothing_is_left_of_an_endpoint_that_aws_refuses(aws):
    arguments = ("refused", PROFILE, IMAGE, *FILLING, "--model-data", MODEL)
    assert "CreateEndpointConfig: AWS refused it with ValidationException: Value 'ml.c6i.large'" in fail(
        deploy.main, *arguments
    )
    assert sagemaker(aws).list_models(NameContains="refused")["Models"] == []


def test_objects_of_other_names_are_kept(aws):
    client = sagemaker(aws)
    client.create_model(ModelName="shared", PrimaryContainer={"Image": IMAGE}, ExecutionRoleArn=ROLE)
    variant = {"VariantName": "v", "ModelName": "shared", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    client.create_endpoint_config(EndpointConfigName="shared", ProductionVariants=[variant])
    client.create_endpoint(EndpointName="borrowed", EndpointConfigName="shared")
    result = run(delete.main, "borrowed", PROFILE)
    assert result.exit_code == 0
    assert "kept, because deploy did not make them for this endpoint: shared, shared" in result.stderr
    assert client.describe_model(ModelName="shared")
    client.delete_endpoint_config(EndpointConfigName="shared")
    client.delete_model(ModelName="shared")


def test_a_transform_job(aws):
    paths = ("--input", "s3://texts/in/", "--output", "s3://texts/out/")
    arguments = ("batch", PROFILE, IMAGE, *FILLING, "--model-data", MODEL, *paths)
    assert succeed(transform.main, *arguments, "--wait") == "s3://texts/out/\n"
    client = sagemaker(aws)
    (job,) = client.list_transform_jobs()["TransformJobSummaries"]
    found = client.describe_transform_job(TransformJobName=job["TransformJobName"])
    assert found["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"] == "s3://texts/in/"
    assert found["BatchStrategy"] == "MultiRecord"
    assert client.list_models()["Models"] == []


# --- scripts


def test_the_scripts_take_the_arguments_of_their_commands(tmp_path):
    """From another folder, through a link, without a terminal."""
    (tmp_path / "scripts").symlink_to(ROOT / "local_test")
    file = hyperparameters_file(tmp_path)
    environment = {**os.environ, "PYTHON": sys.executable, "SAGEMAKER_ROLE": ROLE, "SAGEMAKER_BUCKET": "texts"}
    printed = {}
    for script, arguments in (
        ("build_and_push.sh", ("textclf", "default", "v1")),
        ("sagemaker_training.sh", ("reviews", "default", "textclf", "--hyperparameters", file)),
        ("sagemaker_hyperparameter.sh", ("reviews", "default", "textclf", "--hyperparameters", file)),
    ):
        command = [tmp_path / "scripts" / script, *arguments, "--dry-run"]
        result = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert result.returncode == 0, result.stderr
        printed[script] = json.loads(result.stdout)
    assert printed["build_and_push.sh"][-1]["run"][-1].endswith("/textclf:v1")
    assert printed["sagemaker_training.sh"][-1]["parameters"]["TrainingJobName"].startswith("reviews-")
    assert printed["sagemaker_hyperparameter.sh"][-1]["call"] == "CreateHyperParameterTuningJob"


def test_hyperparameters_of_the_requests_are_those_of_train(tmp_path):
    file = hyperparameters_file(tmp_path)
    request = calls_of(training.main, "reviews", "default", IMAGE, *FILLING, "--hyperparameters", file)
    assert parse_hyperparameters(request["CreateTrainingJob"]["HyperParameters"]).options["epochs"] == 2
