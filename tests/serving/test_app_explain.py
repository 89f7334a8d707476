"""Explanations over HTTP: shapes, sums, options, refusals; slots, time, metrics and logs."""

import contextlib
import csv
import io
import json
import re
import socket
import sqlite3
import time
from types import SimpleNamespace

import jsonschema
import pytest
from serving_models import inference, settings
from tiny_engine import write_version

from serving.api.custom_attributes import HEADER
from serving.api.deadline import CONNECTION
from serving.app import create_app, inference_of
from textclf.explain.explainer import DEFAULT_EVALUATIONS

# The first exits at the linear stage of the tiny cascade, the second does not.
EXIT, OTHER = "the film was dull and boring", "a film"
LONG = " ".join(["the movie was great, and the plot was not bad."] * 4)
TEXTS = [
    EXIT,
    OTHER,
    LONG,
    "great",
    "  A great film!\n",
    "",
    " \n",
    "😀 zzz 😀",
    "qqq xxx",
    "not bad, not bad",
    "bad " * 60,
]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explained")
    write_version(folder / "cascade", cascade=True, reference_texts=[])
    write_version(folder / "encoder", reference_texts=[])
    write_version(folder / "three", ("bad", "good", "so-so"), seed=3, cascade=True, reference_texts=[])
    return folder


@pytest.fixture
def make(tmp_path, models):
    """Makes clients of apps that serve a tiny engine, as the worker of a server does."""

    def make(name="cascade", **values):
        # Few evaluations, so that the tests are fast, and time enough for a busy machine.
        few = {"explain_max_evaluations": 48, "explain_seconds": 600, "model_server_timeout": 1000}
        chosen = settings(tmp_path, model_path=models / name, model_poll_seconds=0, **{**few, **values})
        return create_app(chosen, inference_of(chosen, models / name)).test_client()

    return make


@pytest.fixture
def client(make):
    return make()


def error_of(response):
    return response.status_code, response.get_json()["error"]["code"]


def schema_of(client, name):
    document = client.get("/openapi.json").get_json()
    return {"$ref": f"#/components/schemas/{name}", "components": document["components"]}


def service_of(client):
    return client.application.extensions["textclf"]


def metrics_of(client):
    lines = client.get("/metrics").get_data(as_text=True).splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


# /invocations


def test_the_request_of_the_example(client):
    """As `curl -X POST …/invocations -H 'Content-Type: application/json' -d '{"data": …, "explain": true}'`."""
    body = '{"data": "A great film, but too long.", "explain": true}'
    response = client.post("/invocations", data=body, content_type="application/json")
    assert (response.status_code, response.content_type) == (200, "application/json")
    found = response.get_json()
    jsonschema.validate(found, schema_of(client, "ExplainedRanking"))
    plain = client.post("/invocations", json={"data": "A great film, but too long."}).get_json()
    assert found["prediction"] == plain["prediction"]
    pieces = found["explanation"]
    assert [type(piece) for piece in pieces] == [list] * len(pieces)
    assert "".join(text for text, _ in pieces) == "A great film, but too long."
    assert [piece[0] for piece in pieces][:3] == ["", "A ", "great "]
    assert pieces[0] == ["", {"neg": 0.0, "pos": 0.0}]
    assert pieces[-1] == ["", {"neg": 0.0, "pos": 0.0}]
    spans = found["explanation_spans"]
    assert len(spans) == len(pieces) - 2
    assert ["A great film, but too long."[start:end] for start, end in spans[:2]] == ["A", "great"]
    assert found["explanation_unit"] == "probability"
    assert found["explanation_unseen"] == []
    assert found["truncated"] is False
    for item in found["prediction"]:
        total = found["explanation_base"][item["label"]] + sum(values[item["label"]] for _, values in pieces)
        assert total == pytest.approx(item["score"], abs=1e-6)


@pytest.mark.parametrize("name", ["cascade", "encoder", "three"])
def test_values_sum_to_the_prediction_in_the_response(make, name):
    client = make(name)
    found = client.post("/invocations", json={"data": TEXTS, "explain": True}).get_json()
    jsonschema.validate(found, schema_of(client, "ExplainedRankings"))
    assert len(found) == len(TEXTS)
    for text, item in zip(TEXTS, found, strict=True):
        assert "".join(piece for piece, _ in item["explanation"]) == text
        assert item["prediction"] == client.post("/invocations", json={"data": text}).get_json()["prediction"]
        for scored in item["prediction"]:
            total = sum(values[scored["label"]] for _, values in item["explanation"])
            assert item["explanation_base"][scored["label"]] + total == pytest.approx(scored["score"], abs=1e-6)
        assert ("explanation_stage" in item) == (name != "encoder")
    if name == "cascade":
        assert [item["explanation_stage"] for item in found[:2]] == ["linear", "encoder"]
        assert found[0]["explanation_baseline"] == "absence"
        assert found[0]["explanation_evaluations"] == 0
        assert found[1]["explanation_evaluations"] >= 2


def test_what_the_model_did_not_read_is_named(make):
    found = make("encoder").post("/invocations", json={"data": LONG, "explain": True}).get_json()
    assert found["truncated"] is True
    ((start, end),) = found["explanation_unseen"]
    assert end == len(LONG)
    pieces = zip(found["explanation_spans"], found["explanation"][1:-1], strict=True)
    unread = [values for (first, _), (_, values) in pieces if first >= start]
    assert unread
    assert {value for values in unread for value in values.values()} == {0.0}


@pytest.mark.parametrize(
    ("explain", "header"), [(False, ""), (None, ""), (False, "explain=true"), (None, "explain=false")]
)
def test_without_explain_nothing_is_added(client, explain, header):
    body = {"data": "good"} if explain is None else {"data": "good", "explain": explain}
    found = client.post("/invocations", json=body, headers={HEADER: header}).get_json()
    assert list(found) == ["prediction"]


def test_the_header_asks_for_data_too(client):
    asked = client.post("/invocations", json={"data": [OTHER]}, headers={HEADER: "explain=true"}).get_json()
    assert asked == client.post("/invocations", json={"data": [OTHER], "explain": True}).get_json()


def test_lines_with_explanations(client):
    body = "".join(json.dumps({"text": text}) + "\n" for text in TEXTS)
    response = client.post(
        "/invocations", data=body, content_type="application/jsonlines", headers={HEADER: "explain=true"}
    )
    assert response.content_type == "application/jsonlines"
    lines = [json.loads(line) for line in response.get_data(as_text=True).removesuffix("\n").split("\n")]
    expected = client.post("/invocations", json={"data": TEXTS, "explain": True}).get_json()
    for text, line, item in zip(TEXTS, lines, expected, strict=True):
        plain = client.post("/predict", json={"text": text}).get_json()
        assert {key: line[key] for key in plain} == plain
        assert {key: value for key, value in line.items() if key.startswith("expl")} == {
            key: value for key, value in item.items() if key.startswith("expl")
        }


def test_a_bad_record_of_a_job_does_not_keep_the_others_from_explanations(make):
    job = make(sagemaker_batch=True)

    def records(body, **headers):
        response = job.post(
            "/invocations", data=body, content_type="text/csv", headers={HEADER: "explain=true", **headers}
        )
        assert response.status_code == 200, response.text
        return list(csv.reader(io.StringIO(response.text, newline="")))

    all_classes = {"Accept": "text/csv; probabilities=all"}
    for headers in ({}, all_classes):
        good, bad, last = records(f'{OTHER}\n"bad"x\n{EXIT}\n', **headers)
        assert [len(record) for record in (good, bad, last)] == [4] * 3
        assert bad[:3] == ["", "", ""]
        assert bad[3].startswith("invalid_csv: record 1 ")
        assert json.loads(good[2])["explanation"][1][0].strip() == OTHER.split()[0]
        assert json.loads(last[2])["explanation"][1][0].strip() == EXIT.split()[0]
    assert [len(record) for record in records("a,b\nc,d\n")] == [4, 4], "no text to explain"

    body = f'{{"id": 1, "text": "{OTHER}"}}\n{{"id": 2}}\n'
    lines = job.post("/invocations", data=body, content_type="application/jsonlines", headers={HEADER: "explain=true"})
    first, second = map(json.loads, lines.text.splitlines())
    assert first["id"] == 1
    assert "explanation" in first
    assert list(second) == ["id", "error"]
    clarify = job.post(
        "/invocations", data=body, content_type="application/jsonlines", headers={HEADER: "explain=clarify"}
    )
    assert clarify.status_code == 200, clarify.text
    found = clarify.get_json()
    jsonschema.validate(found, schema_of(job, "Clarify"))
    assert json.loads(found["predictions"]["data"].splitlines()[1]) == second
    assert [len(record) for record in found["explanations"]["kernel_shap"]] == [1, 0]


@pytest.mark.parametrize("explain", ["true", "clarify"])
def test_a_failing_rule_or_a_long_text_of_a_job_is_an_error_of_its_record(make, tmp_path, explain):
    rules = tmp_path / "failing.py"
    rules.write_text(
        "def before(text):\n    if 'crash' in text:\n        raise ValueError\n    return text\n", encoding="utf-8"
    )
    job = make(sagemaker_batch=True, rules=str(rules), max_text_chars=100)
    # The last text has 18 characters for each of its characters after normalisation.
    texts = ["crash", OTHER, "\ufdfa" * 20, EXIT]
    body = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    headers = {HEADER: f"explain={explain}"}
    response = job.post("/invocations", data=body, content_type="application/jsonlines", headers=headers)
    assert response.status_code == 200, response.text
    plain = job.post("/invocations", data=body, content_type="application/jsonlines")
    errors = [json.loads(line).get("error", {}).get("code") for line in plain.text.splitlines()]
    assert errors == ["rule_failed", None, "text_too_long", None]
    if explain == "clarify":
        found = response.get_json()
        assert [len(record) for record in found["explanations"]["kernel_shap"]] == [0, 1, 0, 1]
        assert found["predictions"]["data"] == plain.text
    else:
        lines = list(map(json.loads, response.text.splitlines()))
        assert [line.get("error", {}).get("code") for line in lines] == errors
        assert [line["explanation"][1][0].strip() for line in lines[1::2]] == [OTHER.split()[0], EXIT.split()[0]]


def test_csv_with_explanations(client):
    texts = [text for text in TEXTS if "\n" not in text and text]
    lines = io.StringIO()
    csv.writer(lines).writerows([text] for text in texts)
    response = client.post(
        "/invocations", data=lines.getvalue().encode(), content_type="text/csv", headers={HEADER: "explain=true"}
    )
    assert response.content_type == "text/csv; charset=utf-8"
    content = response.get_data(as_text=True)
    assert content.count("\r\n") == content.count("\n") == len(texts), "a line for each record"
    expected = client.post("/invocations", json={"data": texts, "explain": True}).get_json()
    for (label, score, field), item in zip(csv.reader(io.StringIO(content, newline="")), expected, strict=True):
        assert label == item["prediction"][0]["label"]
        assert float(score) == next(each["score"] for each in item["prediction"] if each["label"] == "pos")
        explanation = json.loads(field)
        assert explanation == {key: item[key] for key in explanation}
        assert "explanation" in explanation


@pytest.mark.parametrize("body", [{"text": "good"}, {"X": ["good"]}])
def test_the_bodies_of_predict_have_no_room_for_an_explanation(client, body):
    response = client.post("/invocations", json=body, headers={HEADER: "explain=true"})
    assert error_of(response) == (422, "wrong_shape")
    assert "/explain" in response.get_json()["error"]["message"]


def test_the_trace_comes_back(client):
    for body, status in (({"data": "good"}, 200), ({"data": "good", "explain": True}, 200), ({"data": 3}, 422)):
        response = client.post("/invocations", json=body, headers={HEADER: "explain=false, trace=Root=1;x"})
        assert (response.status_code, response.headers[HEADER]) == (status, "trace=Root=1;x")
    assert HEADER not in client.post("/invocations", json={"data": "good"}, headers={HEADER: "explain=true"}).headers
    refused = client.post("/invocations", json={"data": "good"}, headers={HEADER: "trace=t1,explain=maybe"})
    assert (error_of(refused), refused.headers[HEADER]) == ((422, "wrong_shape"), "trace=t1")


def test_the_shape_of_clarify(client):
    for content_type, body in (
        ("application/json", json.dumps({"data": [EXIT, OTHER]})),
        ("text/csv", f"{EXIT}\n{OTHER}\n"),
        ("application/jsonlines", f'{{"text": "{EXIT}"}}\n{{"text": "{OTHER}"}}\n'),
    ):
        plain = client.post("/invocations", data=body, content_type=content_type)
        response = client.post(
            "/invocations", data=body, content_type=content_type, headers={HEADER: "explain=clarify"}
        )
        assert response.content_type == "application/json"
        found = response.get_json()
        jsonschema.validate(found, schema_of(client, "Clarify"))
        assert found["predictions"] == {"content_type": plain.content_type, "data": plain.get_data(as_text=True)}
        assert found["label_headers"] == ["neg", "pos"]
        ours = client.post("/explain", json={"X": [EXIT, OTHER]}).get_json()["explanations"]
        for (feature,), expected in zip(found["explanations"]["kernel_shap"], ours, strict=True):
            assert feature["feature_type"] == "text"
            for item, word, span, neg, pos in zip(
                feature["attributions"], expected["words"], expected["spans"], *expected["values"].values(), strict=True
            ):
                assert item == {"attribution": [neg, pos], "description": {"partial_text": word, "start_idx": span[0]}}


# /explain


def test_explain_a_text(client):
    response = client.post("/explain", json={"text": "A great film, but too long."})
    assert (response.status_code, response.content_type) == (200, "application/json")
    found = response.get_json()
    jsonschema.validate(found, schema_of(client, "Explanation"))
    plain = client.post("/predict", json={"text": "A great film, but too long."}).get_json()
    assert {key: found[key] for key in ("text", "label", "probabilities", "truncated", "stage", "model")} == {
        key: plain[key] for key in ("text", "label", "probabilities", "truncated", "stage", "model")
    }
    assert found["words"] == [found["text"][start:end] for start, end in found["spans"]]
    assert found["unit"] == "probability"
    for name, probability in found["probabilities"].items():
        assert len(found["values"][name]) == len(found["words"])
        assert found["base_values"][name] + sum(found["values"][name]) == pytest.approx(probability, abs=1e-6)


def test_explain_texts(client):
    found = client.post("/explain", json={"X": TEXTS}).get_json()
    jsonschema.validate(found, schema_of(client, "Explanations"))
    singles = [client.post("/explain", json={"text": text}).get_json() for text in TEXTS]
    assert [{**item, "model": found["model"]} for item in found["explanations"]] == singles
    assert [item.get("empty", False) for item in singles] == [not text.strip() for text in TEXTS]


def test_options_of_explain(make):
    client = make("three")
    whole = client.post("/explain", json={"text": LONG}).get_json()
    some = client.post("/explain", json={"text": LONG, "classes": ["so-so", "bad"]}).get_json()
    assert list(some["values"]) == list(some["base_values"]) == ["so-so", "bad"]
    assert some["values"] == {name: whole["values"][name] for name in ("so-so", "bad")}
    assert list(some["probabilities"]) == ["bad", "good", "so-so"]
    logits = client.post("/explain", json={"text": LONG, "unit": "logit"}).get_json()
    assert logits["unit"] == "logit"
    totals = [logits["base_values"][name] + sum(logits["values"][name]) for name in logits["values"]]
    assert sum(totals) == pytest.approx(0, abs=1e-5)
    coarse = client.post("/explain", json={"text": OTHER + " and it was bad", "max_evaluations": 2}).get_json()
    if coarse["stage"] == "encoder":
        assert (coarse["evaluations"], coarse["complete"]) == (2, False)
    clarify = client.post("/explain", json={"X": [LONG], "classes": ["good"], "format": "clarify"}).get_json()
    assert clarify["label_headers"] == ["good"]
    assert clarify["predictions"]["content_type"] == "text/csv"
    row = [float(value) for value in clarify["predictions"]["data"].removesuffix("\r\n").split(",")]
    assert row == list(whole["probabilities"].values())
    (((feature,),),) = [clarify["explanations"]["kernel_shap"]]
    assert [item["attribution"] for item in feature["attributions"]] == [[value] for value in whole["values"]["good"]]


def test_a_class_that_the_model_does_not_have_is_refused(client):
    response = client.post("/explain", json={"text": "good", "classes": ["pos", "neutral"]})
    assert error_of(response) == (422, "unknown_label")
    message = response.get_json()["error"]["message"]
    assert message == "classes: expected some of neg, pos, got 'neutral'; correct the name"
    twice = client.post("/explain", json={"text": "good", "classes": ["pos", "neg", "pos"]})
    assert error_of(twice) == (422, "wrong_shape")
    assert "got 'pos' twice" in twice.get_json()["error"]["message"]


def test_limits_of_explanations(make):
    client = make(explain_max_evaluations=64, max_text_chars=100)
    assert client.post("/explain", json={"text": OTHER, "max_evaluations": 64}).status_code == 200
    refused = client.post("/explain", json={"text": OTHER, "max_evaluations": 65})
    assert error_of(refused) == (422, "wrong_shape")
    assert "from 2 to 64 (EXPLAIN_MAX_EVALUATIONS), got 65" in refused.get_json()["error"]["message"]
    assert client.post("/explain", json={"text": "x" * 100}).status_code == 200
    assert client.post("/predict", json={"X": ["x" * 60] * 2}).status_code == 200
    assert error_of(client.post("/explain", json={"X": ["x" * 60] * 2})) == (422, "text_too_long")
    response = client.post("/invocations", json={"data": ["x" * 60] * 2, "explain": True})
    assert error_of(response) == (422, "text_too_long")
    info = client.get("/info").get_json()
    assert (info["explain"], info["limits"]["explain_max_evaluations"]) == (True, 64)


def test_the_default_of_evaluations_is_within_the_limit(make):
    text = " ".join(
        f"{word} film" for word in ["a", "the", "was", "it", "and", "is", "very", "good", "bad", "dull", "long", "plot"]
    )
    few = make("encoder", explain_max_evaluations=10).post("/explain", json={"text": text}).get_json()
    assert (few["evaluations"] <= 10, few["complete"]) == (True, False)
    many = make("encoder", explain_max_evaluations=5000).post("/explain", json={"text": text}).get_json()
    assert 10 < many["evaluations"] <= DEFAULT_EVALUATIONS


def test_switched_off(make):
    client = make(explain=False)
    for path, body in (("/explain", {"text": "good"}), ("/invocations", {"data": "good", "explain": True})):
        response = client.post(path, json=body)
        assert error_of(response) == (422, "explain_unavailable")
        assert "EXPLAIN=off" in response.get_json()["error"]["message"]
    assert client.post("/invocations", json={"data": "good"}).status_code == 200
    assert client.get("/info").get_json()["explain"] is False


def test_a_model_without_an_engine_is_not_explained(tmp_path):
    client = create_app(settings(tmp_path), inference()).test_client()
    response = client.post("/explain", json={"text": "good"})
    assert error_of(response) == (422, "explain_unavailable")
    assert "engine" in response.get_json()["error"]["message"]
    assert client.get("/info").get_json()["explain"] is False


def test_the_key(make):
    client = make(api_key="s3cret")
    assert error_of(client.post("/explain", json={"text": "good"})) == (401, "unauthorized")
    assert client.post("/explain", json={"text": "good"}, headers={"X-API-Key": "s3cret"}).status_code == 200


# Slots and time


def test_explanations_have_slots_of_their_own(make):
    client = make(explain_concurrent=2, max_concurrent=1)
    slots = service_of(client).explainer.slots
    with contextlib.ExitStack() as taken:
        for _ in range(2):
            taken.enter_context(slots.acquire())
        for path, body in (("/explain", {"text": "good"}), ("/invocations", {"data": "good", "explain": True})):
            response = client.post(path, json=body)
            assert error_of(response) == (429, "too_many_requests")
            assert "2 explanations are in progress" in response.get_json()["error"]["message"]
            assert int(response.headers["Retry-After"]) >= 1
        assert client.post("/predict", json={"text": "good"}).status_code == 200
        assert client.post("/invocations", json={"data": "good"}).status_code == 200
    assert client.post("/explain", json={"text": "good"}).status_code == 200
    assert client.post("/invocations", json={"data": "good", "explain": True}).status_code == 200


def test_an_explanation_of_invocations_leaves_its_slot_to_predictions(make, monkeypatch):
    client = make("encoder", max_concurrent=1)
    service = service_of(client)
    compute, statuses = service.holder.predictor.backend.run, []

    def run(inputs, timings):
        if not statuses:
            statuses.append(0)
            statuses[0] = client.application.test_client().post("/predict", json={"text": "good"}).status_code
        return compute(inputs, timings)

    monkeypatch.setattr(service.holder.predictor.backend, "run", run)
    assert client.post("/invocations", json={"data": OTHER, "explain": True}).status_code == 200
    assert statuses == [200]
    with service.slots.acquire():  # It was given back once, not twice.
        assert error_of(client.post("/predict", json={"text": "good"})) == (429, "too_many_requests")


def test_a_slot_is_free_again_after_a_refusal(make):
    client = make(explain_concurrent=1, max_concurrent=1)
    for body in ({"text": 3}, {"text": "good", "classes": ["x"]}, {"text": "good", "unit": "x"}, {}):
        assert client.post("/explain", json=body).status_code == 422
        assert client.post("/invocations", json={"data": 3, "explain": True}).status_code == 422
    assert client.post("/explain", json={"text": "good"}).status_code == 200
    assert client.post("/invocations", json={"data": "good", "explain": True}).status_code == 200


def test_when_the_time_is_used_up_the_rest_is_coarse(make, monkeypatch):
    client = make("encoder", explain_seconds=0.01)
    text = " ".join(f"the {word} film" for word in ["good", "bad", "dull", "long", "great", "boring", "lovely", "slow"])
    slow_down(client, monkeypatch, 0.01)
    found = client.post("/explain", json={"text": text}).get_json()
    assert not found["complete"]
    for name, probability in found["probabilities"].items():
        assert found["base_values"][name] + sum(found["values"][name]) == pytest.approx(probability, abs=1e-6)
    assert metrics_of(client)["textclf_incomplete_explanations_total"] == 1


def slow_down(client, monkeypatch, seconds):
    backend = service_of(client).holder.predictor.backend
    compute = backend.run

    def run(inputs, timings):
        time.sleep(seconds)
        return compute(inputs, timings)

    monkeypatch.setattr(backend, "run", run)


def slow_rows(client, monkeypatch, seconds):
    """Let the encoder take this time for each variant of a text, on a clock that is returned."""
    clock = SimpleNamespace(now=0.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr("serving.explaining.time", clock)
    monkeypatch.setattr("textclf.explain.explainer.time", clock)
    backend = service_of(client).holder.predictor.backend
    compute = backend.run

    def run(inputs, timings):
        clock.now += seconds * len(inputs)
        return compute(inputs, timings)

    monkeypatch.setattr(backend, "run", run)
    return clock


def test_the_texts_of_a_list_get_equal_shares_of_the_time(make, monkeypatch):
    client = make("encoder", explain_seconds=4)
    clock = slow_rows(client, monkeypatch, 0.03)
    response = client.post("/explain", json={"X": [f"{number} {LONG[:46]}" for number in range(18)]})
    assert response.status_code == 200
    assert clock.now < 4.5
    evaluations = [item["evaluations"] for item in response.get_json()["explanations"]]
    assert min(evaluations) >= 4
    assert max(evaluations) <= 3 * min(evaluations)


def test_a_list_that_does_not_fit_in_the_time_is_refused_at_once(make, monkeypatch):
    client = make("encoder", explain_seconds=2)
    clock = slow_rows(client, monkeypatch, 0.1)
    texts = [f"{OTHER} {number}" for number in range(40)]
    response = client.post("/explain", json={"X": texts})
    assert clock.now == pytest.approx(0.3), "three texts were predicted"
    assert error_of(response) == (422, "too_much_work")
    fitting = re.search(r"got 40, of which about ([123]) fit; send up to \1 at a time", response.get_data(as_text=True))
    assert fitting
    assert client.post("/explain", json={"X": texts[:1]}).status_code == 200


@pytest.mark.slow
def test_an_explanation_ends_before_the_time_out_of_the_server(make, monkeypatch):
    client = make("encoder", model_server_timeout=10, explain_seconds=600, explain_max_evaluations=5000)
    slow_down(client, monkeypatch, 0.1)
    start = time.monotonic()
    response = client.post("/explain", json={"text": LONG, "max_evaluations": 5000})
    assert response.status_code == 200
    assert 2 < response.get_json()["evaluations"] < 4000, "with more time it takes more"
    assert time.monotonic() - start < 10


def test_an_explanation_that_takes_too_long_is_timed_out(make, monkeypatch):
    client = make("encoder", model_server_timeout=1)
    slow_down(client, monkeypatch, 0.6)
    assert error_of(client.post("/explain", json={"text": OTHER})) == (503, "timed_out")
    assert service_of(client).explainer.slots._used == 0


def test_an_explanation_ends_when_its_client_leaves(make, monkeypatch, capsys):
    monkeypatch.setattr("serving.api.deadline._LOOK_SECONDS", 0.0)
    client = make("encoder")
    peer, connection = socket.socketpair()
    backend = service_of(client).holder.predictor.backend
    compute, runs = backend.run, []

    def run(inputs, timings):
        runs.append(len(inputs))
        if len(runs) == 3:
            peer.close()
        return compute(inputs, timings)

    monkeypatch.setattr(backend, "run", run)
    capsys.readouterr()
    with peer, connection:
        overrides = {"gunicorn.socket": connection}
        response = client.post("/explain", json={"X": [OTHER] * 50}, environ_overrides=overrides)
    assert error_of(response) == (499, "client_gone")
    assert len(runs) == 3
    (line,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (line["status"], line["error"]) == (499, "client_gone")
    assert line["explanations"] < 3
    assert CONNECTION not in line


# Log and metrics


def test_log_and_metrics(make, capsys):
    client = make()
    capsys.readouterr()
    found = client.post("/explain", json={"X": [EXIT, OTHER, LONG]}).get_json()["explanations"]
    assert [item["complete"] for item in found] == [True, True, False]
    client.post("/predict", json={"text": "Jane"})
    first, second = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    evaluations = sum(item["evaluations"] for item in found)
    assert (first["path"], first["texts"], first["explanations"], first["evaluations"]) == (
        "/explain",
        3,
        3,
        evaluations,
    )
    assert first["linear"] == sum(item["stage"] == "linear" for item in found)
    assert 0 < first["explain_ms"] <= first["latency_ms"]
    assert EXIT not in json.dumps(first)
    assert not {"explanations", "evaluations", "explain_ms"} & set(second)
    counted = metrics_of(client)
    assert counted["textclf_explanations_total"] == 3
    assert counted["textclf_explanation_evaluations_total"] == evaluations
    assert counted["textclf_incomplete_explanations_total"] == 1
    assert counted["textclf_explanation_seconds_count"] == 1
    assert counted['textclf_requests_total{method="POST",route="/explain",status="200"}'] == 1
    assert counted["textclf_texts_total"] == 4


def test_an_explained_text_is_in_the_prediction_log_once(make, tmp_path):
    client = make(prediction_log_url=f"sqlite:///{tmp_path}/log.sqlite")
    client.post("/explain", json={"X": [EXIT, OTHER]})
    client.post("/invocations", json={"data": LONG, "explain": True})
    service_of(client).stop(10)
    with contextlib.closing(sqlite3.connect(tmp_path / "log.sqlite")) as log:
        assert log.execute("SELECT count(*) FROM textclf_predictions").fetchone() == (3,)
