"""What each route answers: shapes, forms, headers; keys and limits; what is logged and what is not."""

import base64
import contextlib
import csv
import gzip
import io
import json
import logging
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from serving_models import CLASSES, Fault, Gate, WordCounter, inference, settings

from serving.api.errors import ErrorCode
from serving.app import create_app
from serving.server.programs import gunicorn_program
from serving.settings import MAX_DISCARDS, Settings
from textclf.data.feedback_index import INDEX
from textclf.data.labelled_reviews import read_labelled_reviews
from textclf.errors import ModelStoreError

MODEL = "words 20260101T000000000Z-0a1b2c"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def make(tmp_path):
    """Makes clients of apps with settings and a backend of their own."""

    def make(backend=None, class_names=CLASSES, **values):
        return create_app(settings(tmp_path, **values), inference(backend, class_names)).test_client()

    return make


@pytest.fixture
def client(make):
    return make()


def error_of(response):
    assert response.content_type == "application/json"
    return response.get_json()["error"]


def test_predict_a_text(client):
    response = client.post("/predict", json={"text": "a good film"})
    assert response.status_code == 200
    assert response.content_type == "application/json"
    answer = response.get_json()
    assert list(answer) == ["text", "label", "score", "probabilities", "truncated", "model"]
    assert answer["text"] == "a good film"
    assert answer["label"] == "pos"
    assert answer["score"] == answer["probabilities"]["pos"] == pytest.approx(0.731, abs=1e-3)
    assert sum(answer["probabilities"].values()) == pytest.approx(1)
    assert answer["truncated"] is False
    assert answer["model"] == MODEL


def test_score_is_that_of_the_second_class_of_two(client):
    answer = client.post("/predict", json={"text": "bad bad"}).get_json()
    assert answer["label"] == "neg"
    assert answer["score"] == answer["probabilities"]["pos"] < 0.5


def test_score_is_that_of_the_label_of_three(make):
    class Three(WordCounter):
        def run(self, inputs, timings):
            outputs = super().run(inputs, timings)
            return type(outputs)(np.pad(outputs.logits, ((0, 0), (0, 1)), constant_values=0.5))

    client = make(Three(), ("a", "b", "c"))
    answer = client.post("/predict", json={"text": "bad"}).get_json()
    assert answer["label"] == "a"
    assert answer["score"] == answer["probabilities"]["a"]
    ranking = client.post("/invocations", json={"data": "bad"}).get_json()["prediction"]
    assert [item["label"] for item in ranking] == ["a", "c", "b"]


def test_predict_texts(client):
    texts = ["good", "bad", "word " * 40, ""]
    answer = client.post("/predict", json={"X": texts}).get_json()
    assert list(answer) == ["predictions", "prediction_probs", "probabilities", "truncated", "model", "empty"]
    assert answer["predictions"] == ["pos", "neg", "pos", "pos"]
    for label, probability, row in zip(
        answer["predictions"], answer["prediction_probs"], answer["probabilities"], strict=True
    ):
        assert probability == row[label] == max(row.values())
    assert answer["truncated"] == [False, False, True, False]
    singles = [client.post("/predict", json={"text": text}).get_json() for text in texts]
    assert [single["probabilities"] for single in singles] == answer["probabilities"]


@pytest.mark.parametrize(
    "text", ["", "   ", "\0", "go\0od", "ö 😀 \u2028 \ufeff", "\U0001f600", "x" * 100_000, '"\\\n']
)
def test_every_well_formed_text_is_scored_and_comes_back_as_it_was(client, text):
    for body in (json.dumps({"text": text}), json.dumps({"text": text}, ensure_ascii=False)):
        response = client.post("/predict", data=body.encode(), headers=JSON)
        assert response.status_code == 200
        assert response.get_json()["text"] == text


@pytest.mark.parametrize("blank", ["", " \n"])
def test_a_text_without_wordpieces_is_marked(client, blank):
    assert client.post("/predict", json={"text": blank}).get_json()["empty"] is True
    assert client.post("/predict", json={"X": ["good", blank]}).get_json()["empty"] == [False, True]
    assert client.post("/invocations/predict", json={"text": blank}).get_json()["empty"] is True
    assert client.post("/invocations", json={"data": blank}).get_json()["empty"] is True
    ranked = client.post("/invocations", json={"data": ["good", blank]}).get_json()
    assert ["empty" in item for item in ranked] == [False, True]
    body = f"{json.dumps({'text': 'good'})}\n{json.dumps({'data': blank})}\n"
    lines = client.post("/invocations", data=body, content_type="application/jsonlines").get_data(as_text=True)
    assert ["empty" in json.loads(line) for line in lines.splitlines()] == [False, True]
    counted = client.get("/metrics").get_data(as_text=True)
    assert "textclf_empty_texts_total 6.0" in counted


def test_invocations_rank_all_labels(client):
    one = client.post("/invocations", json={"data": "a good film", "explain": False}).get_json()
    assert list(one) == ["prediction"]
    assert [item["label"] for item in one["prediction"]] == ["pos", "neg"]
    assert [list(item) for item in one["prediction"]] == [["label", "score"]] * 2
    assert sum(item["score"] for item in one["prediction"]) == pytest.approx(1)
    several = client.post("/invocations", json={"data": ["a good film", "bad"]}).get_json()
    assert several[0] == one
    assert several[1]["prediction"][0]["label"] == "neg"
    assert client.post("/invocations", json={"data": ["bad"]}).get_json() == several[1:]


def test_invocations_take_the_bodies_of_predict(client):
    for body in ({"text": "good"}, {"X": ["good", "bad"]}):
        assert client.post("/invocations", json=body).get_json() == client.post("/predict", json=body).get_json()


@pytest.mark.parametrize(
    ("body", "texts"),
    [
        ("good film\nbad film\n", ["good film", "bad film"]),
        ("good film\r\nbad film", ["good film", "bad film"]),
        ('"good, long"\n"bad ""x"""\n', ["good, long", 'bad "x"']),
        ('"good\nand bad bad"\nbad\n', ["good\nand bad bad", "bad"]),
        ("good\n\nbad\n", ["good", "", "bad"]),
        ("\n", [""]),
        ("\ufeffgood\n", ["good"]),
        ("good \0\n", ["good \0"]),
        ('"' + "good " * 19_999 + '"\n', ["good " * 19_999]),
    ],
)
def test_invocations_in_csv(client, body, texts):
    for content_type in ("text/csv", "text/csv; charset=utf-8", "TEXT/CSV; charset=UTF8; header=absent"):
        response = client.post("/invocations", data=body.encode(), content_type=content_type)
        assert response.status_code == 200
        assert response.content_type == "text/csv; charset=utf-8"
    rows = list(csv.reader(io.StringIO(response.get_data(as_text=True), newline=""), strict=True))
    expected = client.post("/predict", json={"X": texts}).get_json()
    assert [row[0] for row in rows] == expected["predictions"]
    assert [float(row[1]) for row in rows] == [row["pos"] for row in expected["probabilities"]]


@pytest.mark.parametrize("content_type", ["application/jsonlines", "application/x-ndjson", "application/jsonl"])
def test_invocations_in_lines(client, content_type):
    body = '{"text": "good \u2028 film"}\r\n{"data": "bad"}\n\n'
    response = client.post("/invocations", data=body.encode(), content_type=content_type)
    assert response.content_type == "application/jsonlines"
    lines = response.get_data(as_text=True).removesuffix("\n").split("\n")
    expected = [client.post("/predict", json={"text": text}).get_json() for text in ("good \u2028 film", "bad")]
    assert [json.loads(line) for line in lines] == expected


def test_score_alone(client):
    answer = client.post("/invocations/predict", json={"text": "good"}).get_json()
    assert answer == {"text": "good", "score": client.post("/predict", json={"text": "good"}).get_json()["score"]}


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "x-gzip", "identity"])
def test_packed_bodies(client, encoding):
    body = json.dumps({"text": "good"}).encode()
    if encoding != "identity":
        body = gzip.compress(body[:5]) + gzip.compress(body[5:])
    response = client.post("/predict", data=body, headers={**JSON, "Content-Encoding": encoding})
    assert response.get_json()["label"] == "pos"


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", "Application/JSON", 'application/json;charset="UTF-8"']
)
def test_names_of_json(client, kind):
    assert client.post("/predict", data=b'\xef\xbb\xbf{"text":"good"}', content_type=kind).status_code == 200


def test_body_at_the_limit(make):
    body = json.dumps({"text": "good " * 100}).encode()
    client = make(max_body_bytes=len(body))
    packed = {**JSON, "Content-Encoding": "gzip"}
    assert client.post("/predict", data=body, headers=JSON).status_code == 200
    assert client.post("/predict", data=gzip.compress(body), headers=packed).status_code == 200
    assert client.post("/predict", data=body + b" ", headers=JSON).status_code == 413
    assert client.post("/predict", data=gzip.compress(body + b" "), headers=packed).status_code == 413


def test_limits_are_those_of_the_settings(make):
    client = make(max_batch=2, max_text_chars=4)
    assert client.post("/predict", json={"X": ["good", "good"]}).status_code == 200
    assert error_of(client.post("/predict", json={"X": ["good"] * 3}))["code"] == "too_many_texts"
    assert error_of(client.post("/predict", json={"X": ["good", "good!"]}))["code"] == "text_too_long"
    assert error_of(client.post("/predict", json={"X": ["good", "ööööö"]}))["code"] == "text_too_long"
    assert client.post("/predict", json={"text": "öööö"}).status_code == 200


def test_health(client):
    for path in ("/ping", "/health/live", "/health/ready", "/health_check"):
        response = client.get(path)
        assert (response.status_code, response.get_json()) == (200, {"status": "ok"})
        assert client.head(path).data == b""
        assert client.head(path).status_code == 200


def test_info(client):
    info = client.get("/info").get_json()
    assert info["model"] == MODEL
    assert (info["name"], info["version"]) == tuple(MODEL.split())
    assert info["class_names"] == ["neg", "pos"]
    assert info["max_length"] == 16
    assert info["limits"] == {
        "max_text_chars": 100_000,
        "max_batch": 1000,
        "max_body_bytes": 2_097_152,
        "max_concurrent": Settings().max_concurrent,
        "max_request_wordpieces": 1_000_000,
        "max_worker_wordpieces": 2_000_000,
        "explain_max_evaluations": 5000,
    }


def test_options(client):
    response = client.options("/predict")
    assert response.status_code == 200
    assert set(response.headers["Allow"].split(", ")) == {"OPTIONS", "POST"}
    assert response.data == b""


def test_the_model_given_is_warm(tmp_path):
    backend = WordCounter()
    create_app(settings(tmp_path), inference(backend))
    assert backend.warmed == 1


def test_a_model_given_that_cannot_score_is_refused(tmp_path):
    with pytest.raises(ModelStoreError, match="shape"):
        create_app(settings(tmp_path), inference(WordCounter(), ("a", "b", "c")))


# Keys


@pytest.mark.parametrize("path", ["/predict", "/invocations", "/invocations/predict", "/feedback", "/metrics"])
def test_the_key_is_asked_for(make, path):
    client = make(api_key="s3cret")
    call = client.get if path == "/metrics" else client.post
    bodies = (
        {"json": {"text": "good", **({"label": "pos"} if path == "/feedback" else {})}} if path != "/metrics" else {}
    )
    wrong = [
        {},
        {"X-API-Key": "other"},
        {"X-API-Key": "s3cre"},
        {"X-API-Key": "s3cret2"},
        {"X-API-Key": "schl\xfcssel"},
        {"X-API-Key": ""},
        {"Authorization": "s3cret"},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer other"},
        {"Authorization": "Basic " + base64.b64encode(b"x:s3cret").decode()},
        {"X-API-Key": "s3cret2", "Authorization": "Bearer s3cre"},
        {"X-API-Key": "s3c,ret"},
    ]
    for headers in wrong:
        response = call(path, headers=headers, **bodies)
        assert response.status_code == 401, headers
        assert error_of(response)["code"] == "unauthorized"
        assert response.headers["WWW-Authenticate"] == "Bearer"
        assert b"s3cret" not in response.data
    right = [
        {"X-API-Key": "s3cret"},
        {"Authorization": "Bearer s3cret"},
        {"Authorization": "bearer s3cret"},
        # One right key is enough: a proxy may add its own. Servers join repeated headers with a comma.
        {"X-API-Key": "other", "Authorization": "Bearer s3cret"},
        {"X-API-Key": "s3cret", "Authorization": "Bearer other"},
        {"X-API-Key": "other,s3cret"},
        {"X-API-Key": "s3cret, other"},
    ]
    for headers in right:
        assert call(path, headers=headers, **bodies).status_code in (200, 201), headers


def test_a_key_may_have_commas(make):
    client = make(api_key="a,,b,")
    for given, status in (("a,,b,", 200), ("x,a,,b,", 200), ("a,,b,,a", 200), ("a,b", 401), ("a,,b", 401), (",", 401)):
        assert client.post("/predict", json={"text": "x"}, headers={"X-API-Key": given}).status_code == status, given


def test_no_path_has_two_spellings(make):
    """werkzeug takes //metrics for /metrics."""
    client = make(api_key="s3cret")
    for path in ("//metrics", "//ping", "///info", "/ping/", "/metrics/"):
        response = client.get("/", headers={"X-API-Key": "s3cret"}, environ_overrides={"PATH_INFO": path})
        assert response.status_code == 404, path


def test_a_server_that_drains_is_not_ready_but_still_predicts(make):
    client = make()
    client.application.extensions["textclf"].is_draining = lambda: True
    for path in ("/ping", "/health/ready", "/health_check"):
        response = client.get(path)
        assert (response.status_code, error_of(response)["code"]) == (503, "draining")
        assert "Retry-After" not in response.headers
    assert client.get("/health/live").status_code == 200
    assert client.post("/predict", json={"text": "x"}).status_code == 200


def test_the_key_is_asked_for_before_the_body_is_read(make):
    client = make(api_key="s3cret")
    assert client.post("/predict", data=b"{", headers=JSON).status_code == 401


def test_health_needs_no_key(make):
    client = make(api_key="s3cret")
    for path in ("/ping", "/health/live", "/health/ready", "/health_check", "/info", "/openapi.json"):
        assert client.get(path).status_code == 200
    assert client.get("/predict").status_code == 405
    assert client.post("/nothing").status_code == 404


# Not ready


def test_without_a_model_it_answers_that_it_is_not_ready(tmp_path, caplog):
    app = create_app(settings(tmp_path))
    try:
        client = app.test_client()
        assert client.get("/health/live").status_code == 200
        assert client.get("/openapi.json").status_code == 200
        for response in (
            *(client.get(path) for path in ("/ping", "/health/ready", "/health_check", "/info")),
            *(client.post(path, json={}) for path in ("/predict", "/explain", "/invocations", "/feedback")),
        ):
            assert response.status_code == 503
            assert error_of(response)["code"] == "not_ready"
            assert response.headers["Retry-After"] == "1"
        assert client.get("/nothing").status_code == 404
        while not caplog.records:
            time.sleep(0.01)
        assert "can't be loaded" in caplog.text
        assert "no such folder" in caplog.text
        assert "Traceback" not in caplog.text
    finally:
        app.extensions["textclf"].holder.stop()


# Faults


def test_a_fault_is_logged_without_the_text_and_not_told(make, caplog, capsys):
    client = make(Fault())
    response = client.post("/predict", json={"text": "crash with Jane Doe"}, headers={"X-Request-Id": "abc-1"})
    assert response.status_code == 500
    assert error_of(response) == {"code": "internal_error", "message": ErrorCode.INTERNAL_ERROR.meaning[:-1]}
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "request abc-1 failed" in record.message
    assert "ValueError" in record.message
    assert "serving_models.py" in record.message
    assert "Jane" not in caplog.text
    assert "Jane" not in capsys.readouterr().out
    assert client.post("/predict", json={"text": "good"}).status_code == 200


def test_the_causes_of_a_fault_are_logged_without_messages(make, caplog):
    class Wrapped(Fault):
        def run(self, inputs, timings):
            try:
                return super().run(inputs, timings)
            except ValueError as error:
                raise ModelStoreError("model/versions/x: damaged") from error

    response = make(Wrapped()).post("/predict", json={"text": "crash Jane"})
    assert response.status_code == 500
    assert "damaged" not in response.get_data(as_text=True)
    assert "ModelStoreError: model/versions/x: damaged" in caplog.text
    assert "ValueError" in caplog.text
    assert "Jane" not in caplog.text


# The log


def lines_of(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_line_a_request(make, capsys):
    client = make()
    capsys.readouterr()
    client.post("/predict?text=Jane", json={"X": ["Jane good", "Jane " * 30]}, headers={"X-Request-Id": "abc-1"})
    client.post("/predict", json={"txt": "Jane"})
    client.get("/nothing/ö")
    first, second, third = lines_of(capsys)
    assert set(first) == {
        "time", "method", "path", "status", "latency_ms", "texts", "tokens", "truncated", "model", "request_id", "pid"
    }  # fmt: skip
    assert first["time"].endswith("+00:00")
    assert (first["method"], first["path"], first["status"]) == ("POST", "/predict", 200)
    assert 0 < first["latency_ms"] < 10_000
    assert (first["texts"], first["tokens"], first["truncated"]) == (2, 4 + 32, 1)
    assert first["model"] == MODEL
    assert first["request_id"] == "abc-1"
    assert (second["status"], second["error"], second["texts"]) == (422, "wrong_shape", 0)
    assert (third["status"], third["path"]) == (404, "/nothing/ö")
    assert "Jane" not in json.dumps([first, second, third])


def test_texts_are_logged_where_that_is_asked_for(make, capsys):
    client = make(log_text=True)
    capsys.readouterr()
    client.post("/predict", json={"X": ["Jane\ngood", "\0"]})
    client.post("/feedback", json={"text": "Jane", "label": "pos"})
    first, second = lines_of(capsys)
    assert first["text"] == ["Jane\ngood", "\0"]
    assert second["text"] == ["Jane"]


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, 'a"b', "ö", "{}", "a;b"])
def test_request_ids_that_could_confuse_a_log_are_replaced(make, capsys, given):
    client = make()
    capsys.readouterr()
    response = client.get("/ping", headers={"X-Request-Id": given})
    (line,) = lines_of(capsys)
    assert response.headers["X-Request-Id"] == line["request_id"] != given
    assert len(line["request_id"]) == 32


def test_request_ids_come_back(client):
    for path in ("/ping", "/nothing"):
        assert client.get(path, headers={"X-Request-Id": "a.B-9_:"}).headers["X-Request-Id"] == "a.B-9_:"


def test_long_paths_are_cut(make, capsys):
    client = make()
    capsys.readouterr()
    client.get("/" + "x" * 5000)
    assert len(capsys.readouterr().out) < 600


def test_a_log_that_cannot_be_written_stops_nobody(tmp_path, monkeypatch):
    class Full(io.StringIO):
        def write(self, _text):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys, "stdout", Full())
    client = create_app(settings(tmp_path), inference()).test_client()
    assert client.get("/ping").status_code == 200


def test_an_observer_that_fails_stops_nobody_and_is_said_once(make, monkeypatch, capsys, caplog):
    client = make()
    metrics = client.application.extensions["textclf"].metrics

    class Full:
        def inc(self, *_):
            raise OSError(28, "No space left on device")

        dec = observe = inc

    monkeypatch.setattr(metrics, "_in_flight", Full())
    capsys.readouterr()
    for _ in range(3):
        assert client.post("/predict", json={"text": "good Jane"}).status_code == 200
    assert [line["status"] for line in lines_of(capsys)] == [200] * 3
    assert len(caplog.records) == 2, "one for each of the two places"
    assert "OSError" in caplog.text
    assert "Jane" not in caplog.text


# Concurrency


def test_a_busy_worker_refuses_at_once_and_still_answers_ping(make):
    gate = Gate()
    client = make(gate, max_concurrent=2)
    assert gate.waiting.acquire(timeout=5)  # The text that every model is tried with.
    gate.open.clear()
    results = []

    def post():
        results.append(client.application.test_client().post("/predict", json={"text": "good"}).status_code)

    threads = [threading.Thread(target=post) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert gate.waiting.acquire(timeout=5)
    start = time.perf_counter()
    for path in ("/predict", "/invocations", "/invocations/predict"):
        response = client.post(path, json={"text": "good"})
        assert response.status_code == 429
        assert error_of(response)["code"] == "too_many_requests"
        assert int(response.headers["Retry-After"]) >= 1
    for path in ("/ping", "/health/live", "/health/ready", "/health_check", "/info", "/metrics", "/openapi.json"):
        assert client.get(path).status_code == 200
    assert client.post("/nothing").status_code == 404
    assert time.perf_counter() - start < 2
    assert results == []
    gate.open.set()
    for thread in threads:
        thread.join(10)
    assert results == [200, 200]
    assert [client.post("/predict", json={"text": "good"}).status_code for _ in range(3)] == [200] * 3


def test_costly_gets_are_bounded_apart_from_posts_and_ping(make):
    client = make()
    slots = client.application.extensions["textclf"].get_slots
    costly = ("/info", "/openapi.json", "/drift.json")
    with contextlib.ExitStack() as taken:
        for _ in range(slots.count):
            taken.enter_context(slots.acquire())
        for path in costly:
            response = client.get(path)
            assert (response.status_code, error_of(response)["code"]) == (429, "too_many_requests")
            assert int(response.headers["Retry-After"]) >= 1
        for path in ("/ping", "/health/live", "/health/ready", "/health_check", "/metrics"):
            assert client.get(path).status_code == 200
        assert client.post("/predict", json={"text": "good"}).status_code == 200
    assert {client.get(path).status_code for path in costly} == {200}


def test_the_key_of_metrics_is_asked_for_before_a_slot(make):
    client = make(api_key="secret")
    slots = client.application.extensions["textclf"].scrape_slots
    with contextlib.ExitStack() as taken:
        for _ in range(slots.count):
            taken.enter_context(slots.acquire())
        assert client.get("/metrics").status_code == 401
        assert client.get("/metrics", headers={"X-API-Key": "secret"}).status_code == 429
        assert client.get("/info").status_code == 200


def test_a_worker_has_threads_beyond_its_slots(make, tmp_path):
    """Otherwise /ping waits while all slots are taken."""
    client = make()
    service = client.application.extensions["textclf"]
    slots = (
        service.slots, service.explainer.slots, service.feedback_slots, service.get_slots, service.scrape_slots
    )  # fmt: skip
    held = sum(slot.count for slot in slots) + MAX_DISCARDS
    command = gunicorn_program(service.settings, tmp_path, tmp_path, {}, behind_nginx=False).command
    assert int(command[command.index("--threads") + 1]) > held


def test_lists_are_bounded_together_and_single_texts_pass(make):
    gate = Gate()
    client = make(gate, max_worker_wordpieces=15)
    assert gate.waiting.acquire(timeout=5)
    gate.open.clear()
    results = []

    def post(body):
        results.append(client.application.test_client().post("/predict", json=body).status_code)

    bodies = [{"X": ["good"] * 3}, {"X": ["good"] * 2}, {"text": "good"}, {"X": ["good"]}]
    threads = [threading.Thread(target=post, args=[body]) for body in bodies]
    for thread in threads:
        thread.start()
        assert gate.waiting.acquire(timeout=5)
    response = client.post("/predict", json={"X": ["good"] * 2})
    assert response.status_code == 429
    assert error_of(response)["code"] == "too_many_requests"
    assert "texts with 15 wordpieces are in progress" in error_of(response)["message"]
    assert response.headers["Retry-After"] == "1"
    gate.open.set()
    for thread in threads:
        thread.join(10)
    assert results == [200] * 4
    assert client.post("/predict", json={"X": ["good"] * 3}).status_code == 200


def test_lists_leave_slots_to_single_texts(make):
    gate = Gate()
    client = make(gate, max_concurrent=3)
    assert gate.waiting.acquire(timeout=5)
    gate.open.clear()
    results = []

    def post(body):
        results.append(client.application.test_client().post("/predict", json=body).status_code)

    threads = [threading.Thread(target=post, args=[body]) for body in ({"X": ["good"] * 2}, {"text": "good"})]
    for thread in threads:
        thread.start()
        assert gate.waiting.acquire(timeout=5)
    for body in ({"X": ["good"] * 2}, {"text": "good " * 1000}):
        assert client.post("/predict", json=body).status_code == 429
    gate.open.set()
    for thread in threads:
        thread.join(10)
    assert results == [200] * 2
    assert client.post("/predict", json={"X": ["good"] * 2}).status_code == 200


def test_a_list_with_more_wordpieces_than_a_request_may_have_is_refused(make):
    client = make(max_request_wordpieces=12)
    assert client.post("/predict", json={"X": ["good"] * 4}).status_code == 200
    response = client.post("/predict", json={"X": ["good"] * 5})
    assert (response.status_code, error_of(response)["code"]) == (422, "too_much_work")


def test_a_fault_gives_its_texts_back(make):
    client = make(Fault(), max_worker_wordpieces=9)
    for _ in range(5):
        assert client.post("/predict", json={"X": ["crash"] * 3}).status_code == 500
    assert client.post("/predict", json={"X": ["good"] * 3}).status_code == 200


def test_a_slot_is_free_again_after_a_refusal_or_a_fault(make):
    client = make(Fault(), max_concurrent=1)
    for body in ({"text": "crash"}, {"txt": ""}, {"text": 3}, {"text": "good"}) * 2:
        client.post("/predict", json=body)
    assert client.post("/predict", json={"text": "good"}).status_code == 200


# Imports


def test_the_app_needs_neither_tensorflow_nor_scikit_learn():
    code = (
        "import sys\n"
        "import serving.wsgi, serving.app\n"
        "heavy = {'tensorflow', 'keras', 'tf_keras', 'sklearn', 'scipy', 'pandas', 'matplotlib', 'requests'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.stdout.strip() == "[]", result.stderr


def test_an_audit_may_find_that_the_model_does_not_have_the_class(make, tmp_path):
    client = make()
    response = client.post("/feedback", json={"text": "a recipe", "label": "(other)", "audit": True})
    assert (response.status_code, response.get_json()["label"]) == (201, "(other)")
    (review,) = read_labelled_reviews(tmp_path / "new").reviews
    assert (review.text, review.label, review.audit) == ("a recipe", "(other)", True)
    refused = client.post("/feedback", json={"text": "a recipe", "label": "other", "audit": True})
    assert refused.get_json()["error"]["code"] == "unknown_label"
    assert "(other)" in refused.get_json()["error"]["message"]
    schema = client.get("/openapi.json").get_json()["paths"]["/feedback"]["post"]["requestBody"]["content"]
    assert "(other)" in schema["application/json"]["schema"]["properties"]["label"]["enum"]


def test_feedback_leaves_an_index_that_is_no_data(make, tmp_path):
    client = make()
    response = client.post("/feedback", json={"text": "good", "label": "pos", "source": "web", "audit": True})
    assert response.status_code == 201
    answer = response.get_json()
    assert answer["label"] == "pos"
    assert (tmp_path / "new" / "train" / "pos" / f"{answer['id']}.txt").read_text() == "good"
    (line,) = (tmp_path / "new" / INDEX).read_text().splitlines()
    entry = json.loads(line)
    assert entry.pop("time").endswith("+00:00")
    assert entry == {"id": answer["id"], "label": "pos", "source": "web", "model": MODEL, "audit": True}
