"""The app with a cascade: who answered is in answers, metrics and log; CASCADE=off and versions without have none."""

import dataclasses
import json
from pathlib import Path

import jsonschema
import pytest
from serving_models import Fault, Loaded, settings
from tiny_bert import vocabulary
from tiny_engine import CASCADE, tiny_linear, tiny_reviews, write_version

from serving.app import create_app, inference_of
from textclf.runtime.cascade import Cascade
from textclf.runtime.predictor import Predictor
from textclf.stats.cascade_rules import CascadeSettings
from textclf.store.model_store import ModelStore
from textclf.tokenization.tokenizer import Tokenizer

EXIT, OTHER = "the film was dull and boring", "a film"
TEXTS = [text for text, _ in tiny_reviews(30, seed=9)]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    store = tmp_path_factory.mktemp("cascade") / "model"
    write_version(store, cascade=True)
    return store


@pytest.fixture
def make(tmp_path):
    """Makes clients of apps that serve a model, as the worker of a server does."""

    def make(path, **values):
        chosen = settings(tmp_path, model_path=path, model_poll_seconds=0, **values)
        return create_app(chosen, inference_of(chosen, path)).test_client()

    return make


@pytest.fixture
def client(make, model):
    return make(model)


def numbers(client):
    """Name and labels -> value."""
    lines = client.get("/metrics").get_data(as_text=True).splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def test_who_answered_a_text(client):
    answers = [client.post("/predict", json={"text": text}).get_json() for text in (EXIT, OTHER)]
    assert [answer["stage"] for answer in answers] == ["linear", "encoder"]
    assert list(answers[0]) == ["text", "label", "score", "probabilities", "truncated", "stage", "model"]
    assert answers[0]["label"] == "neg"
    assert client.post("/invocations", json={"text": EXIT}).get_json() == answers[0]


def test_who_answered_each_of_several(client):
    answer = client.post("/predict", json={"X": [EXIT, OTHER, EXIT]}).get_json()
    assert answer["stage"] == ["linear", "encoder", "linear"]
    assert list(answer) == ["predictions", "prediction_probs", "probabilities", "truncated", "stage", "model"]
    assert client.post("/predict", json={"X": [OTHER]}).get_json()["stage"] == ["encoder"]


def test_who_answered_each_line(client):
    body = "".join(json.dumps({"text": text}) + "\n" for text in (OTHER, EXIT))
    response = client.post("/invocations", data=body, content_type="application/jsonlines")
    lines = [json.loads(line) for line in response.get_data(as_text=True).splitlines()]
    assert [line["stage"] for line in lines] == ["encoder", "linear"]


def test_the_other_forms_are_what_they_were(client):
    ranking = client.post("/invocations", json={"data": [EXIT, OTHER]}).get_json()
    assert [list(item) for item in ranking] == [["prediction"]] * 2
    assert list(ranking[0]["prediction"][0]) == ["label", "score"]
    csv = client.post("/invocations", data=f"{EXIT}\n", content_type="text/csv").get_data(as_text=True)
    score = client.post("/predict", json={"text": EXIT}).get_json()["score"]
    assert csv == f"neg,{score}\r\n"
    assert client.post("/invocations/predict", json={"text": EXIT}).get_json() == {"text": EXIT, "score": score}


def test_several_are_answered_as_each_alone(client):
    together = client.post("/predict", json={"X": TEXTS}).get_json()
    alone = [client.post("/predict", json={"text": text}).get_json() for text in TEXTS]
    assert set(together["stage"]) == {"linear", "encoder"}
    assert together["stage"] == [answer["stage"] for answer in alone]
    for row, answer in zip(together["probabilities"], alone, strict=True):
        assert row == pytest.approx(answer["probabilities"], abs=1e-5)


def test_answers_are_what_the_document_says(client, make, model):
    for each in (client, make(model, cascade=False)):
        schemas = each.get("/openapi.json").get_json()["components"]["schemas"]
        jsonschema.validate(each.post("/predict", json={"text": EXIT}).get_json(), schemas["Prediction"])
        jsonschema.validate(each.post("/predict", json={"X": TEXTS}).get_json(), schemas["Predictions"])
        jsonschema.validate(each.get("/info").get_json(), schemas["Info"])
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(each.get("/info").get_json() | {"cascade": {}}, schemas["Info"])


@pytest.mark.parametrize("confidence", [0.97, None])
def test_info_says_whether_a_cascade_answers(make, tmp_path, confidence):
    chosen = CascadeSettings(2.0, 1.0, 0.5, confidence)
    write_version(tmp_path / "model", cascade=chosen, reference_texts=[])
    assert make(tmp_path / "model").get("/info").get_json()["cascade"] == {"exit_confidence": confidence}
    assert make(tmp_path / "model", cascade=False).get("/info").get_json()["cascade"] is None


def test_switched_off_the_encoder_answers_all(client, make, model, tmp_path):
    write_version(tmp_path / "alone", reference_texts=[])
    off, alone = make(model, cascade=False), make(tmp_path / "alone")
    for body in ({"text": EXIT}, {"X": TEXTS}):
        answer, expected = (each.post("/predict", json=body).get_json() for each in (off, alone))
        assert "stage" not in answer
        assert answer["probabilities"] == expected["probabilities"]
    assert (
        client.post("/predict", json={"text": EXIT}).get_json()["score"]
        != alone.post("/predict", json={"text": EXIT}).get_json()["score"]
    )


def test_texts_are_counted_by_stage(client):
    client.post("/predict", json={"X": [EXIT, OTHER, EXIT]})
    client.post("/predict", json={"text": EXIT})
    found = numbers(client)
    assert found['textclf_cascade_texts_total{stage="linear"}'] == 3
    assert found['textclf_cascade_texts_total{stage="encoder"}'] == 1
    assert found["textclf_texts_total"] == 4
    for part, count in {"tokenise": 2, "linear": 2, "queue": 1, "infer": 1}.items():
        assert found[f'textclf_stage_seconds_count{{stage="{part}"}}'] == count, part
    assert found['textclf_stage_seconds_sum{stage="linear"}'] > 0


def test_without_a_cascade_none_is_counted(make, model):
    client = make(model, cascade=False)
    client.post("/predict", json={"X": [EXIT, OTHER]})
    found = numbers(client)
    assert found['textclf_cascade_texts_total{stage="linear"}'] == 0
    assert found['textclf_cascade_texts_total{stage="encoder"}'] == 0
    assert found['textclf_stage_seconds_count{stage="linear"}'] == 0
    assert found['textclf_stage_seconds_count{stage="infer"}'] == 1


def test_a_line_of_the_log_says_how_many_the_linear_stage_answered(make, model, capsys):
    bodies = ({"X": [EXIT, OTHER, EXIT]}, {"text": OTHER})
    for client in (make(model), make(model, cascade=False)):
        for body in bodies:
            client.post("/predict", json=body)
        client.get("/ping")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line.get("linear") for line in lines] == [2, 0, None, None, None, None]
    assert ["linear" in line for line in lines] == [True, True, False, False, False, False]


def test_a_swap_brings_the_cascade_of_the_new_version_or_none(make, tmp_path):
    store = ModelStore(tmp_path / "model")
    write_version(store.path, cascade=True, reference_texts=[])
    first = store.current_id()
    client, off = make(store.path), make(store.path, cascade=False)

    def stages():
        for each in (client, off):
            each.application.extensions["textclf"].holder.poll()
        return ["stage" in each.post("/predict", json={"text": EXIT}).get_json() for each in (client, off)]

    assert stages() == [True, False]
    second = write_version(store.path, seed=1, reference_texts=[]).name
    assert stages() == [False, False]
    assert client.get("/info").get_json()["cascade"] is None
    store.promote(first, expected_current=second)
    assert stages() == [True, False]
    assert client.get("/info").get_json()["version"] == off.get("/info").get_json()["version"] == first


def test_an_encoder_that_fails_is_not_hidden_by_a_linear_stage_that_is_sure(tmp_path):
    class Broken(Fault):
        tokenizer = Tokenizer(vocabulary(), lower_case=True, max_length=8)

        def encode(self, texts, max_chars=None):
            encoded = super().encode(texts, max_chars)
            wordpieces = [text.wordpieces for text in self.tokenizer(texts)]
            return type(encoded)(encoded.inputs, encoded.lengths, encoded.token_counts, wordpieces)

        def run(self, inputs, timings):
            return super().run([f"crash {text}" for text in inputs], timings)

    every = Cascade(tiny_linear(), dataclasses.replace(CASCADE, exit_confidence=0.5))
    predictor = Predictor(Broken(), ("neg", "pos"), cascade=every)
    assert predictor.predict(["a text"])[0].stage == "linear"
    with pytest.raises(ValueError, match="can't compute"):
        create_app(settings(tmp_path), Loaded(predictor))
