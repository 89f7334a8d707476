"""The environment and the commands that users of a Flask server with SHAP know, with the executables of the image.

`docker run` becomes serving/serve: -e sets a variable, -p the port, and -v links a file below PREFIX.
"""

import itertools
import json
import os
import shlex
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import pytest
from hub_classifier import write_classifier
from loopback_hub import running_hub
from moto_server import running_moto
from serving_stack import ROOT, need_nginx, running_stack
from tiny_engine import write_version

from textclf.files import sha256_of_file

_LOCAL = "docker run -p 8080:8080 -e LOCAL=True -e TOKENIZER=google-bert/bert-base-cased -e SERVERLESS=True IMAGE"
_SUPPORTED = _LOCAL.replace(" -e TOKENIZER=google-bert/bert-base-cased", "").replace(
    "IMAGE", "-v model.tar.gz:/opt/ml/model/model.tar.gz IMAGE"
)
_S3 = "docker run -p 8080:8080 -e BUCKET_NAME=my-bucket -e MODEL_PATH=models/model.tar.gz -e LOCAL=False IMAGE"
_HUB = "docker run -p 8080:8080 -e HUB_MODEL_NAME=tests/reviews -e TOKENIZER=tests/reviews -e SERVERLESS=True IMAGE"
_CURL = """curl -H 'Content-Type: application/json' -d '{ "data":"This is a sentence","explain":true}' -X POST
           http://127.0.0.1:8080/invocations"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with model.tar.gz."""
    folder = tmp_path_factory.mktemp("example")
    write_version(folder / "store", cascade=True)
    with tarfile.open(folder / "model.tar.gz", "w:gz") as tar:
        tar.add(folder / "store", ".")
    return folder


def environment(command: str, folder: Path, prefix: Path) -> dict[str, str]:
    """The variables of a `docker run`; the mounted files are linked below `prefix`."""
    words = shlex.split(command)
    environ = {"PREFIX": str(prefix), "TMPDIR": "/tmp", "MODEL_PATH": "", "MODEL_SERVER_WORKERS": ""}
    for option, value in itertools.pairwise(words):
        if option == "-e":
            environ.update([value.split("=", 1)])
        if option == "-v":
            source, target = value.split(":")
            link = prefix / Path(target).relative_to("/opt/ml")
            link.parent.mkdir(parents=True)
            link.symlink_to(folder / source)
    return environ


def explained(port: int) -> dict:
    """The response to the request of the example."""
    command = [word.replace(":8080/", f":{port}/") for word in shlex.split(_CURL)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)


def check(response: dict) -> None:
    labels = [item["label"] for item in response["prediction"]]
    assert sorted(labels) == ["neg", "pos"]
    assert response["prediction"][0]["score"] >= response["prediction"][1]["score"]
    pieces = response["explanation"]
    assert "".join(piece for piece, _ in pieces) == "This is a sentence"
    assert (pieces[0][0], pieces[-1][0]) == ("", "")
    assert all(sorted(values) == ["neg", "pos"] for _, values in pieces)


def test_a_local_container_with_a_mounted_archive(folder, tmp_path):
    need_nginx()
    environ = environment(_SUPPORTED, folder, tmp_path / "ml")
    with running_stack(tmp_path, folder, **environ) as stack:
        assert "with 1 gunicorn worker" in stack.log
        check(explained(stack.port))
        assert stack.stop() == 0, stack.log


@pytest.mark.slow
def test_a_bucket_and_a_key(folder, tmp_path):
    need_nginx()
    with running_moto(tmp_path) as moto:
        client = moto.client("s3")
        client.create_bucket(Bucket="my-bucket")
        client.upload_file(str(folder / "model.tar.gz"), "my-bucket", "models/model.tar.gz")
        environ = {**environment(_S3, folder, tmp_path / "ml"), **moto.environment, "MODEL_SERVER_WORKERS": "1"}
        with running_stack(tmp_path / "run", folder, **environ) as stack:
            check(explained(stack.port))
            assert stack.stop() == 0, stack.log


@pytest.mark.slow
def test_a_model_of_the_hub(folder, tmp_path):
    need_nginx()
    with running_hub() as hub, tempfile.TemporaryDirectory(prefix="textclf-test-") as short:
        commit = hub.add_folder("tests/reviews", write_classifier(tmp_path / "reviews"))
        (tmp_path / "home").mkdir()
        environ = {**environment(_HUB, folder, tmp_path / "ml"), "HF_ENDPOINT": hub.endpoint, "TMPDIR": short}
        environ["HOME"] = str(tmp_path / "home")
        with running_stack(tmp_path / "run", folder, **environ) as stack:
            check(explained(stack.port))
            assert stack.request("GET", "/info").json["source"] == {
                "location": "tests/reviews",
                "sha256": sha256_of_file(tmp_path / "reviews" / "model.safetensors"),
                "etag": None,
                "commit": commit,
                "tokenizer": None,
                "tokenizer_commit": None,
            }
            assert stack.stop() == 0, stack.log
        assert not list((tmp_path / "home").iterdir()), "SERVERLESS writes below TMPDIR only"


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (_LOCAL, "TOKENIZER: expected HUB_MODEL_NAME next to it"),
        (_S3.replace(" -e MODEL_PATH=models/model.tar.gz", ""), "BUCKET_NAME, MODEL_PATH: expected the key"),
    ],
)
def test_what_the_server_does_not_take_is_one_line(folder, tmp_path, command, says):
    environ = {"PATH": os.environ["PATH"], **environment(command, folder, tmp_path / "ml")}
    serve = [sys.executable, str(ROOT / "serving" / "serve")]
    result = subprocess.run(serve, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60)
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: {says}")
    assert result.stderr.count("\n") == 1
