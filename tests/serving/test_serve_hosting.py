"""A server in a batch transform job of SageMaker, behind a gateway that keeps a prefix: nginx and gunicorn."""

import csv
import http.client
import io
import json
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from serving_stack import Stack, free_port, need_nginx, running_stack, wait_for
from tiny_engine import write_version

MIB = 1024**2
ORIGIN = "https://a.example"
# Short, so that a request has tens of thousands of records.
WORDS = ("great film", "dull", "a fine, long film", "bad")


@pytest.fixture(scope="module")
def stack(tmp_path_factory) -> Iterator[Stack]:
    need_nginx()
    store = tmp_path_factory.mktemp("served") / "model"
    write_version(store, cascade=True)
    port = free_port()
    with (
        tempfile.TemporaryDirectory(prefix="textclf-test-") as short,
        running_stack(
            tmp_path_factory.mktemp("stack"),
            store,
            wait=False,
            TMPDIR=short,
            API_KEY="",
            PREDICTION_LOG_URL="off",
            ROOT_PATH="/texts",
            CORS_ORIGINS=ORIGIN,
            SAGEMAKER_BIND_TO_PORT=str(port),
            SAGEMAKER_BATCH="true",
            SAGEMAKER_MAX_PAYLOAD_IN_MB="6",
            SAGEMAKER_BATCH_STRATEGY="MULTI_RECORD",
            SAGEMAKER_MAX_CONCURRENT_TRANSFORMS="4",
        ) as stack,
    ):
        stack.port = port
        wait_for(stack.is_ready, 60)
        yield stack
        assert stack.stop() == 0, stack.log
        assert "Traceback" not in stack.log


def send(stack: Stack, body: bytes, content_type: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=300)
    connection.request("POST", "/invocations", body, {"Content-Type": content_type})
    response = connection.getresponse()
    return response.status, response.read()


def test_execution_parameters(stack):
    response = stack.request("GET", "/execution-parameters")
    assert response.json == {"MaxConcurrentTransforms": 4, "BatchStrategy": "MULTI_RECORD", "MaxPayloadInMB": 6}
    assert stack.request("GET", "/info").json["limits"]["max_body_bytes"] == 6 * MIB


def test_requests_of_6_mb_four_at_a_time_are_answered_in_order(stack):
    """JSON lines, with long ids so that 6 MB take a test-sized number of texts; one bad record in a thousand."""
    padding = "x" * 900
    bodies, start = [], 0
    for _ in range(4):
        lines, size = [], 0
        while True:
            index = start + len(lines)
            record = {"id": index, "text": WORDS[index % 4], "padding": padding}
            line = b"not JSON\n" if index % 1000 == 999 else json.dumps(record).encode() + b"\n"
            if (size := size + len(line)) > 6 * MIB:
                break
            lines.append(line)
        start += len(lines)
        bodies.append(b"".join(lines))
    assert min(map(len, bodies)) > 6 * MIB - 2000
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda body: send(stack, body, "application/jsonlines"), bodies))
    assert {status for status, _ in found} == {200}
    answers = [json.loads(line) for _, body in found for line in body.splitlines()]
    assert len(answers) == start
    for index, answer in enumerate(answers):
        if index % 1000 == 999:
            assert answer["error"]["code"] == "invalid_json"
        else:
            assert (answer["id"], answer["text"]) == (index, WORDS[index % 4])
            assert answer["label"]


def test_tens_of_thousands_of_short_records_of_csv(stack):
    count = 30_000
    lines = io.StringIO(newline="")
    writer = csv.writer(lines)
    for index in range(count):
        writer.writerow(("a", "b") if index % 1000 == 500 else (WORDS[index % 4],))
    status, body = send(stack, lines.getvalue().encode(), "text/csv")
    assert status == 200
    answers = list(csv.reader(io.StringIO(body.decode(), newline="")))
    assert len(answers) == count
    by_text = {}
    for index, (label, score, error) in enumerate(answers):
        if index % 1000 == 500:
            assert (label, score) == ("", "")
            assert error.startswith("wrong_shape: ")
        else:
            assert error == ""
            by_text.setdefault(WORDS[index % 4], set()).add(label)
    assert {len(labels) for labels in by_text.values()} == {1}


def test_a_body_above_the_payload_is_refused(stack):
    response = stack.request("POST", "/invocations", b" " * (6 * MIB + 1), Content_Type="text/csv")
    assert (response.status, response.json["error"]["code"]) == (413, "body_too_large")


@pytest.mark.parametrize("prefix", ["", "/texts"])
def test_nginx_knows_the_prefix(stack, prefix):
    assert stack.request("GET", f"{prefix}/ping").status == 200
    assert stack.request("POST", f"{prefix}/predict", {"text": "great"}).status == 200
    refused = stack.request("TRACE", f"{prefix}/predict", Origin=ORIGIN)
    # nginx answers this one.
    assert (refused.status, refused.headers["allow"]) == (405, "OPTIONS, POST")
    assert refused.headers["access-control-allow-origin"] == ORIGIN
    assert refused.headers["vary"] == "Origin"
    assert (
        "access-control-allow-origin" not in stack.request("TRACE", prefix or "/", Origin="https://b.example").headers
    )


def test_a_preflight_needs_no_key_and_passes_nginx(stack):
    response = stack.request("OPTIONS", "/texts/predict", Origin=ORIGIN, Access_Control_Request_Method="POST")
    assert response.status == 200
    assert "X-API-Key" in response.headers["access-control-allow-headers"]
    assert response.headers["access-control-allow-origin"] == ORIGIN
