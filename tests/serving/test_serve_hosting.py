"""A server in a batch transform job of SageMaker, behind a gateway that keeps a prefix: nginx and gunicorn."""

import csv
import io
import tempfile
from collections.abc import Iterator

import pytest
from serving_stack import Stack, free_port, need_nginx, running_stack, wait_for
from tiny_engine import write_version

from bench.serving.transform_client import (
    CSV,
    JSON_LINES,
    MIB,
    Transform,
    batches,
    check_answers,
    encoded,
    transform,
)

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


def test_execution_parameters(stack):
    response = stack.request("GET", "/execution-parameters")
    assert response.json == {"MaxConcurrentTransforms": 4, "BatchStrategy": "MULTI_RECORD", "MaxPayloadInMB": 6}
    assert stack.request("GET", "/info").json["limits"]["max_body_bytes"] == 6 * MIB


@pytest.mark.parametrize("content_type", [CSV, JSON_LINES])
def test_requests_of_6_mb_four_at_a_time_are_answered_in_order(stack, content_type):
    """One record in a thousand is bad. Most texts are long, so that few of them are enough."""
    long = " ".join(["great film"] * 700)
    texts = [long if index % 4 else "dull" for index in range(4700)]
    records = encoded(texts, content_type, bad_every=1000)
    job = Transform(content_type)
    assert [len(body) > 5.9 * MIB for body in batches(records, job.payload)].count(True) == 4
    bodies = transform(("127.0.0.1", stack.port), records, job)
    assert check_answers(bodies, texts, content_type, bad_every=1000) == 4


def test_tens_of_thousands_of_short_records_in_one_request(stack):
    texts = [WORDS[index % len(WORDS)] for index in range(30_000)]
    bodies = transform(("127.0.0.1", stack.port), encoded(texts, CSV, bad_every=1000), Transform(CSV))
    assert len(bodies) == 1
    assert check_answers(bodies, texts, CSV, bad_every=1000) == 30
    answers = list(csv.reader(io.StringIO(bodies[0].decode(), newline="")))
    labels = {}
    for text, (label, _, error) in zip(texts, answers, strict=True):
        if not error:
            labels.setdefault(text, set()).add(label)
    assert {len(found) for found in labels.values()} == {1}


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
