"""The app with a version that recognises unusual texts: the mark in every response, and the metric."""

import json

import jsonschema
import pytest
from serving_models import settings
from tiny_engine import write_version

from serving.app import create_app, inference_of

USUAL, NUMBERS, GERMAN = "the film was dull and boring", "12345", "der film war langweilig und viel zu lang"
MARK = {"unusual": True, "unusual_reason": "no_words"}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unusual")
    write_version(folder / "model", unusual=True)
    return folder / "model"


@pytest.fixture
def client(model, tmp_path):
    chosen = settings(tmp_path, model_path=model, model_poll_seconds=0)
    return create_app(chosen, inference_of(chosen, model)).test_client()


def mark_of(answer):
    return {name: answer[name] for name in MARK if name in answer}


def lines_of(client, *texts):
    body = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    found = client.post("/invocations", data=body, content_type="application/jsonlines")
    return [json.loads(line) for line in found.get_data(as_text=True).splitlines()]


def test_every_response_about_one_text_has_the_mark(client):
    for text, mark in ((NUMBERS, MARK), (USUAL, {})):
        for path, body in (
            ("/predict", {"text": text}),
            ("/invocations", {"text": text}),
            ("/invocations", {"data": text}),
            ("/invocations/predict", {"text": text}),
        ):
            assert mark_of(client.post(path, json=body).get_json()) == mark, path
        assert list(map(mark_of, lines_of(client, text, USUAL))) == [mark, {}]
        ranked = client.post("/invocations", json={"data": [USUAL, text]}).get_json()
        assert list(map(mark_of, ranked)) == [{}, mark]


def test_a_list_has_a_value_for_each_text_if_one_is_unusual(client):
    answer = client.post("/predict", json={"X": [USUAL, NUMBERS, GERMAN]}).get_json()
    assert mark_of(answer) == {
        "unusual": [False, True, True],
        "unusual_reason": [None, "no_words", "unknown_words"],
    }
    assert mark_of(client.post("/predict", json={"X": [USUAL]}).get_json()) == {}


def test_a_blank_text_is_empty_and_unusual(client):
    answer = client.post("/predict", json={"text": " "}).get_json()
    assert answer["empty"] is True
    assert mark_of(answer) == MARK


def test_csv_keeps_its_two_columns(client):
    found = client.post("/invocations", data=f"{NUMBERS}\r\n{USUAL}\r\n", content_type="text/csv")
    assert [line.count(",") for line in found.get_data(as_text=True).splitlines()] == [1, 1]


def test_responses_are_as_the_document_describes(client):
    document = client.get("/openapi.json").get_json()
    for name, answer in (
        ("Prediction", client.post("/predict", json={"text": GERMAN}).get_json()),
        ("Predictions", client.post("/predict", json={"X": [USUAL, GERMAN]}).get_json()),
        ("Ranking", client.post("/invocations", json={"data": GERMAN}).get_json()),
    ):
        schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        jsonschema.validate(answer, schema, cls=jsonschema.Draft202012Validator)
        assert "unusual_reason" in answer


def test_unusual_texts_are_counted_by_reason(client):
    client.post("/predict", json={"X": [USUAL, NUMBERS, "?", GERMAN]})
    lines = client.get("/metrics").get_data(as_text=True).splitlines()
    found = [line for line in lines if line.startswith("textclf_unusual_texts_total")]
    assert found == [
        f'textclf_unusual_texts_total{{reason="{reason}"}} {count}'
        for reason, count in (("no_words", 2.0), ("unknown_words", 1.0), ("far_from_training", 0.0))
    ]
