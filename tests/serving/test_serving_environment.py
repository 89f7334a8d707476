"""What requirements-serving.txt installs is enough to serve and to score, and TensorFlow is not in it."""

import csv
import json
import re
import subprocess

import bad_requests
import pytest
from serving_stack import ROOT, need_nginx, running_stack, serving_python
from tiny_engine import write_version


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    store = tmp_path_factory.mktemp("served") / "model"
    write_version(store)
    return store


def run(python, *arguments, folder=ROOT):
    return subprocess.run([python, *map(str, arguments)], cwd=folder, capture_output=True, text=True, timeout=60)


def test_it_has_what_the_file_lists_and_no_tensorflow():
    python = serving_python()
    code = "import importlib.metadata as m; print(*(d.metadata['Name'] for d in m.distributions()))"
    installed = {_plain(name) for name in run(python, "-c", code).stdout.split()}
    lock = (ROOT / "requirements-serving.txt").read_text(encoding="utf-8")
    listed = set(re.findall(r"^([a-z0-9-]+)==", lock, re.MULTILINE))
    assert installed - {"pip", "setuptools"} == listed
    result = run(python, "-c", "import tensorflow")
    assert result.returncode == 1
    assert "No module named 'tensorflow'" in result.stderr


def test_it_serves(model, tmp_path):
    python = serving_python()
    need_nginx()
    with running_stack(tmp_path, model, python=python, MODEL_SERVER_WORKERS="1") as stack:
        answer = stack.request("POST", "/predict", {"X": ["a great film", "dull"]})
        assert answer.status == 200
        assert len(answer.json["predictions"]) == 2
        assert stack.request("POST", "/predict", {"text": "a great film"}).json["label"] in ("neg", "pos")
        assert stack.request("POST", "/invocations", {"data": "a great film"}).status == 200
        assert stack.request("POST", "/feedback", {"text": "a great film", "label": "pos"}).status == 201
        for path in ("/ping", "/info", "/metrics", "/openapi.json"):
            assert stack.request("GET", path).status == 200, path
        for case in bad_requests.CASES:
            if case.through_proxy:
                case.check(*bad_requests.send(case, "127.0.0.1", stack.port))
        assert stack.stop() == 0, stack.log
        assert "Traceback" not in stack.log


def test_it_scores_files(model, tmp_path):
    python = serving_python()
    with open(tmp_path / "reviews.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["text"], ["a great film"], ["dull, and far too long"]])
    arguments = ["score", "--input", "reviews.csv", "--output", "scored.jsonl"]
    result = run(python, ROOT / "inference.py", "--model-path", model, *arguments, folder=tmp_path)
    assert result.returncode == 0, result.stderr
    rows = [json.loads(line) for line in (tmp_path / "scored.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["text"] for row in rows] == ["a great film", "dull, and far too long"]
    assert all(row["label"] in ("neg", "pos") for row in rows)


def _plain(name: str) -> str:
    """A package's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
