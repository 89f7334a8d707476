"""Manifests for Kubernetes and the request for SageMaker, checked against the schemas of both."""

import json
import re
from pathlib import Path

import boto3
import kubernetes_validate
import pytest
from botocore.validate import ParamValidator
from sharded_data import score

DOCUMENT = Path(__file__).parents[2] / "docs" / "large-scale.md"
PATHS = ("/data/models", "/data/in/*.parquet", "/data/out")


def manifests(*options, paths=PATHS):
    result = score(*paths, "--shards", "64", *options, "--kubernetes-job", "registry/textclf:1")
    assert result.exit_code == 0, result.output
    return json.loads(result.output)["items"]


def test_manifests_are_valid_and_run_the_same_command():
    options = ("--id-column", "id", "--keep", "lang", "--on-error", "stop", "--no-drift")
    found = manifests(*options)
    for item in found:
        kubernetes_validate.validate(item, "1.33", strict=True)
    job, finish = found
    assert (job["spec"]["completionMode"], job["spec"]["completions"]) == ("Indexed", 64)
    assert job["spec"]["backoffLimitPerIndex"] == 2
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["command"][:4] == ["textclf", "score", "--model-path", "/data/models"]
    assert set(options) <= set(container["command"])
    assert not {"--kubernetes-job", "--shard-index"} & set(container["command"])
    assert {"name": "data", "mountPath": "/data"} in container["volumeMounts"]
    (last,) = finish["spec"]["template"]["spec"]["containers"]
    assert last["command"] == [*container["command"], "--finish"]


def test_urls_need_no_volume():
    job, _ = manifests(paths=("/models/current", "s3://bucket/in", "s3://bucket/out"))
    assert [volume["name"] for volume in job["spec"]["template"]["spec"]["volumes"]] == ["tmp", "data"]


@pytest.mark.parametrize(
    ("paths", "problem"),
    [
        (("models", "/data/in", "/data/out"), "models: expected an absolute path for the pods"),
        (("/models/a", "/data/in", "/data/out"), "expected model, input and output below one folder"),
    ],
)
def test_paths_that_pods_can_not_share_are_refused(paths, problem):
    result = score(*paths, "--shards", "64", "--kubernetes-job", "registry/textclf:1")
    assert result.exit_code == 1
    assert problem in result.output


def test_the_documented_request_to_sagemaker_is_valid():
    (block,) = re.findall(r"^```yaml\n(.*?)^```", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    client = boto3.client("sagemaker", region_name="eu-west-1")
    shape = client.meta.service_model.operation_model("CreateProcessingJob").input_shape
    assert ParamValidator().validate(json.loads(block), shape).generate_report() == ""
