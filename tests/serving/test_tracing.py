"""Traces: spans of requests and their stages at a collector on loopback, and servers without one."""

import json
import logging
import os
import subprocess
import sys
import time

import pytest
from serving_models import Fault, inference, settings
from serving_stack import ROOT, free_port, running_stack, serving_python
from tiny_engine import write_version

from inference import Inference
from serving.app import create_app
from serving.observability.tracing import are_traces_on, check_tracing, tracer_of
from textclf.errors import ConfigError

pytest.importorskip("opentelemetry.sdk")
pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
from collector import running_collector

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A version with a cascade, whose linear stage predicts some of the tiny reviews."""
    path = tmp_path_factory.mktemp("traced") / "model"
    write_version(path, cascade=True)
    return path


@pytest.fixture
def collector(monkeypatch):
    with running_collector() as found:
        monkeypatch.setenv(ENDPOINT, found.address)
        yield found


@pytest.fixture
def tracer(collector):
    """A tracer that sends to the collector when it is stopped."""
    level = logging.getLogger("opentelemetry").level
    found = tracer_of(os.environ)
    yield found
    found.stop(5)
    logging.getLogger("opentelemetry").setLevel(level)


def traceparent(flags="01"):
    return {"traceparent": f"00-{TRACE}-{PARENT}-{flags}", "tracestate": "vendor=1"}


def test_spans_of_a_request_and_its_stages(tmp_path, model, collector, tracer, capsys):
    log = f"sqlite:///{tmp_path / 'log.db'}"
    values = {"model_path": model, "prediction_log_url": log, "model_poll_seconds": 0}
    app = create_app(settings(tmp_path, **values), Inference(model, threads=1), tracer=tracer)
    client = app.test_client()
    texts = ["the film was dull and boring", "a film"]  # One for each stage of the cascade.
    began = time.time_ns()
    assert client.post("/predict", json={"X": texts}, headers=traceparent()).status_code == 200
    assert client.post("/predict", json={"text": 3}).status_code == 422
    client.get("/ping")
    client.get("/metrics")
    app.extensions["textclf"].stop(5)
    tracer.stop(5)
    assert collector.paths == {"/v1/traces"}
    good, bad = collector.requests()
    assert (good.name, good.trace_id, good.parent) == ("POST /predict", TRACE, PARENT)
    assert began <= good.start < good.end <= time.time_ns()
    assert good.resource["service.name"] == "textclf"
    assert good.resource["process.pid"] == os.getpid()
    found = good.attributes
    assert (found["http.response.status_code"], found["textclf.texts"], found["textclf.linear"]) == (200, 2, 1)
    assert not good.is_error
    stages = collector.children(good)
    assert {stage.name for stage in stages} == {"tokenise", "linear", "queue", "infer", "log"}
    for stage in stages:
        assert good.start <= stage.start <= stage.end <= good.end
        assert stage.attributes["textclf.seconds"] <= (stage.end - stage.start) / 1e9 + 1e-6
    assert (bad.parent, collector.children(bad), bad.attributes["error.type"]) == ("", [], "wrong_shape")
    assert not any(word in str(collector.spans) for word in ("dull", "boring", "film"))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line.get("trace_id") for line in lines] == [TRACE, bad.trace_id, None, None]


def test_a_request_that_is_not_sampled_sends_nothing(tmp_path, collector, tracer, capsys):
    client = create_app(settings(tmp_path), inference(), tracer=tracer).test_client()
    assert client.post("/predict", json={"text": "good"}, headers=traceparent("00")).status_code == 200
    assert client.post("/predict", json={"text": "good"}, headers={"traceparent": "00-broken"}).status_code == 200
    tracer.stop(5)
    (span,) = collector.requests()
    assert (span.parent, span.trace_id != TRACE) == ("", True)
    first = json.loads(capsys.readouterr().out.splitlines()[0])
    assert first["trace_id"] == TRACE


def test_a_failed_request_is_an_error_without_its_text(tmp_path, collector, tracer):
    client = create_app(settings(tmp_path), inference(Fault()), tracer=tracer).test_client()
    assert client.post("/predict", json={"text": "crash here"}).status_code == 500
    tracer.stop(5)
    (span,) = collector.requests()
    assert (span.is_error, span.attributes["error.type"]) == (True, "internal_error")
    assert "crash" not in str(collector.spans)


def test_many_batches_need_few_spans(tmp_path, collector, tracer):
    client = create_app(settings(tmp_path), inference(), tracer=tracer).test_client()
    assert client.post("/predict", json={"X": ["a text"] * 1000}).status_code == 200
    tracer.stop(5)
    assert 1 < len(collector.spans) < 50


def test_a_collector_that_does_not_answer_is_one_line(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv(ENDPOINT, f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "20")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "5")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.1")
    level = logging.getLogger("opentelemetry").level
    tracer = tracer_of(os.environ)
    client = create_app(settings(tmp_path), inference(), tracer=tracer).test_client()
    start = time.monotonic()
    for _ in range(100):
        assert client.post("/predict", json={"text": "good"}).status_code == 200
    tracer.stop(1)
    assert time.monotonic() - start < 5
    lines = [line.getMessage() for line in caplog.records if line.levelno >= logging.WARNING]
    assert [line.partition(";")[0] for line in lines] == ["traces can't be sent to the collector"]
    logging.getLogger("opentelemetry").setLevel(level)


@pytest.mark.parametrize(
    ("environ", "is_on"),
    [
        ({}, False),
        ({ENDPOINT: " "}, False),
        ({ENDPOINT: "http://a"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://a"}, True),
        ({ENDPOINT: "http://a", "OTEL_SDK_DISABLED": "true"}, False),
        ({ENDPOINT: "http://a", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_when_traces_are_on(environ, is_on):
    assert are_traces_on(environ) == is_on
    check_tracing(environ)


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({ENDPOINT: "user:secret@collector:4318"}, "expected the address of a collector"),
        ({ENDPOINT: "http://a", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "expected http/protobuf, got 'grpc'"),
    ],
)
def test_settings_that_can_not_be_used(environ, says):
    with pytest.raises(ConfigError, match=says) as error:
        check_tracing(environ)
    assert "secret" not in str(error.value)


def test_a_server_without_the_extra_says_so(tmp_path, model):
    python = serving_python()
    with running_stack(tmp_path, model, python=python, wait=False, **{ENDPOINT: "http://127.0.0.1:1"}) as stack:
        assert stack.process.wait(timeout=60) == 2
        (line,) = stack.log.splitlines()
    assert line.startswith(f"error: {ENDPOINT}: expected the packages of the extra `otel` for traces, found none; ")


def test_without_a_collector_nothing_is_imported(tmp_path, model):
    code = (
        "import sys, os\n"
        "from serving.wsgi import make_application\n"
        "client = make_application().test_client()\n"
        "assert client.post('/predict', json={'text': 'a film'}).status_code == 200\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry', 'requests'))], file=sys.stderr)\n"
    )
    environ = {**os.environ, "MODEL_PATH": str(model), "PREDICTION_LOG_URL": "off", "PYTHONPATH": str(ROOT)}
    environ.pop(ENDPOINT, None)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == "[]", done.stderr


def test_workers_send_their_last_spans_when_the_server_stops(tmp_path, model, collector):
    environ = {ENDPOINT: collector.address, "OTEL_SERVICE_NAME": "films", "OTEL_BSP_SCHEDULE_DELAY": "60000"}
    with running_stack(tmp_path, model, **environ) as stack:
        for _ in range(6):
            assert stack.request("POST", "/predict", {"text": "a film"}, traceparent=f"00-{TRACE}-{PARENT}-01").status
        assert collector.spans == []
        assert stack.stop() == 0
    requests = collector.requests()
    assert len(requests) == 6
    assert {(span.trace_id, span.parent, span.resource["service.name"]) for span in requests} == {
        (TRACE, PARENT, "films")
    }
