"""Explanations through nginx and gunicorn, as a client of the running server gets them."""

import contextlib
import http.client
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator

import pytest
from serving_stack import Stack, need_nginx, running_stack, wait_for
from tiny_engine import write_version

from serving.api.custom_attributes import HEADER

TEXT = "A great film, but too long."


@pytest.fixture(scope="module")
def stack(tmp_path_factory) -> Iterator[Stack]:
    need_nginx()
    store = tmp_path_factory.mktemp("served") / "model"
    write_version(store, cascade=True)
    with (
        tempfile.TemporaryDirectory(prefix="textclf-test-") as short,
        running_stack(
            tmp_path_factory.mktemp("stack"), store, API_KEY="", MODEL_SERVER_WORKERS="1", TMPDIR=short
        ) as stack,
    ):
        yield stack
        assert stack.stop() == 0, stack.log
        assert "Traceback" not in stack.log


def test_the_command_of_the_example(stack):
    """The command of docs/serving.md, which is that of the example that this API follows."""
    if (curl := shutil.which("curl")) is None:
        pytest.skip("expected curl, found none; install it")
    command = [curl, "-s", "-X", "POST", f"http://127.0.0.1:{stack.port}/invocations"]
    command += ["-H", "Content-Type: application/json", "-d", json.dumps({"data": TEXT, "explain": True})]
    answer = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)
    assert answer["prediction"] == stack.request("POST", "/invocations", {"data": TEXT}).json["prediction"]
    pieces = answer["explanation"]
    assert "".join(text for text, _ in pieces) == TEXT
    assert pieces[0][0] == pieces[-1][0] == ""
    for item in answer["prediction"]:
        total = answer["explanation_base"][item["label"]] + sum(values[item["label"]] for _, values in pieces)
        assert total == pytest.approx(item["score"], abs=1e-4)


def test_explain_is_passed_on_logged_and_counted(stack):
    answer = stack.request("POST", "/explain", {"X": [TEXT, ""], "unit": "logit"}, X_Request_Id="explained-1")
    assert answer.status == 200
    assert [item["text"] for item in answer.json["explanations"]] == [TEXT, ""]
    wait_for(lambda: '"request_id":"explained-1"' in stack.log)
    (line,) = [json.loads(line) for line in stack.log.splitlines() if '"request_id":"explained-1"' in line]
    assert (line["path"], line["status"], line["explanations"]) == ("/explain", 200, 2)
    counted = 'textclf_requests_total{method="POST",route="/explain",status="200"} 1.0'
    wait_for(lambda: counted in stack.request("GET", "/metrics").body.decode())
    refused = stack.request("TRACE", "/explain")
    assert (refused.status, refused.headers["allow"]) == (405, "OPTIONS, POST")


def test_the_header_is_passed_on_and_the_trace_comes_back(stack):
    headers = {"Content-Type": "text/csv", HEADER: "explain=true,trace=Root=1-5e;Sampled=1"}
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", stack.port, timeout=60)) as connection:
        connection.request("POST", "/invocations", b"great\ndull\n", headers)
        response = connection.getresponse()
        assert (response.status, response.getheader(HEADER)) == (200, "trace=Root=1-5e;Sampled=1")
        assert response.read().decode().count('""explanation_base""') == 2
