"""Bodies that clients of other servers send: Hugging Face's toolkit, TF Serving, KServe, MLflow."""

import pytest
from serving_models import WordCounter, inference, settings

from serving.app import create_app


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    return create_app(settings(tmp_path_factory.mktemp("app"), max_batch=5), inference(WordCounter())).test_client()


def answer(client, body):
    response = client.post("/invocations", json=body)
    assert response.status_code == 200, response.text
    return response.get_json()


def labels(ranking):
    return [item["label"] for item in ranking]


def test_inputs(client):
    (found,) = answer(client, {"inputs": "bad bad"})
    assert found["label"] == "neg"
    assert set(found) == {"label", "score"}
    # Of the label, not of the second class.
    assert found["score"] == pytest.approx(0.881, abs=1e-3)
    found = answer(client, {"inputs": ["good", "bad"], "parameters": {"truncation": True}})
    assert labels(found) == ["pos", "neg"]


@pytest.mark.parametrize("parameters", [{"top_k": None}, {"top_k": 5}, {"top_k": 2}])
def test_inputs_with_all_labels(client, parameters):
    assert labels(answer(client, {"inputs": "good", "parameters": parameters})) == ["pos", "neg"]
    found = answer(client, {"inputs": ["good", "bad"], "parameters": parameters})
    assert list(map(labels, found)) == [["pos", "neg"], ["neg", "pos"]]


def test_inputs_with_the_best_label_in_a_list(client):
    assert labels(answer(client, {"inputs": "bad", "parameters": {"top_k": 1}})) == ["neg"]
    assert list(map(labels, answer(client, {"inputs": ["bad"], "parameters": {"top_k": 1}}))) == [["neg"]]


def test_inputs_with_all_scores_in_the_order_of_the_classes(client):
    (found,) = answer(client, {"inputs": "good", "parameters": {"return_all_scores": True}})
    assert labels(found) == ["neg", "pos"]


@pytest.mark.parametrize(
    "body",
    [
        {"instances": ["good", {"text": "bad bad"}]},
        {"instances": ["good", "bad bad"], "signature_name": "serving_default"},
        {"dataframe_split": {"columns": ["id", "text"], "index": [0, 1], "data": [[1, "good"], [2, "bad bad"]]}},
        {"dataframe_split": {"columns": ["text"], "data": [["good"], ["bad bad"]]}},
        {"dataframe_records": [{"id": 1, "text": "good"}, {"text": "bad bad"}]},
    ],
)
def test_instances_and_data_frames(client, body):
    found = answer(client, body)
    assert list(found) == ["predictions"]
    first, second = found["predictions"]
    assert (first["label"], second["label"]) == ("pos", "neg")
    assert second["score"] == second["probabilities"]["neg"] > 0.5
    assert second["truncated"] is False


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        ({"inputs": 3}, "wrong_shape", "inputs: expected a string or a list"),
        ({"inputs": {"text": "good"}}, "wrong_shape", "an object"),
        ({"inputs": []}, "empty_list", "inputs"),
        ({"inputs": "a", "text": "a"}, "wrong_shape", "'text'"),
        ({"inputs": "a", "instances": ["a"]}, "wrong_shape", "'instances'"),
        ({"inputs": "a", "parameters": {"max_length": 5}}, "wrong_shape", "'max_length'"),
        ({"inputs": "a", "parameters": {"top_k": 0}}, "wrong_shape", "top_k"),
        ({"inputs": "a", "parameters": {"top_k": True}}, "wrong_shape", "top_k"),
        ({"inputs": "a", "parameters": {"truncation": False}}, "wrong_shape", "truncation"),
        ({"inputs": "a", "parameters": {"return_all_scores": "yes"}}, "wrong_shape", "return_all_scores"),
        ({"inputs": "a", "parameters": [1]}, "wrong_shape", "parameters: expected an object"),
        ({"instances": "good"}, "wrong_shape", "instances: expected a list"),
        ({"instances": []}, "empty_list", "instances"),
        ({"instances": [["good"]]}, "wrong_shape", "instances[0]"),
        ({"instances": [{"review": "good"}]}, "wrong_shape", "'review'"),
        ({"instances": [{}]}, "wrong_shape", "null"),
        ({"instances": ["a"] * 6}, "too_many_texts", "at most 5"),
        ({"instances": ["a", "x" * 100_001]}, "text_too_long", "instances[1]"),
        ({"dataframe_split": {"columns": ["a", "b"], "data": [["x", "y"]]}}, "wrong_shape", "'a', 'b'"),
        ({"dataframe_split": {"columns": ["a"], "data": [["x"]]}}, "wrong_shape", "'a'; name the texts text"),
        ({"dataframe_split": {"columns": ["text"], "data": [["x", "y"]]}}, "wrong_shape", "data[0]"),
        ({"dataframe_split": {"columns": ["text"], "data": ["x"]}}, "wrong_shape", "a string"),
        ({"dataframe_split": {"columns": ["text"], "data": []}}, "empty_list", "data"),
        ({"dataframe_split": {"data": [["x"]]}}, "wrong_shape", "dataframe_split.columns"),
        ({"dataframe_split": ["x"]}, "wrong_shape", "dataframe_split: expected an object"),
        ({"dataframe_split": {"columns": ["text"], "data": [[1]]}}, "wrong_shape", "a number"),
        ({"dataframe_records": [{}]}, "wrong_shape", "columns"),
        ({"dataframe_records": ["x"]}, "wrong_shape", "dataframe_records[0]"),
    ],
)
def test_a_wrong_body_is_named(client, body, code, says):
    error = client.post("/invocations", json=body).get_json()["error"]
    assert error["code"] == code
    assert says in error["message"]


def test_predict_takes_none_of_them(client):
    assert "'inputs'" in client.post("/predict", json={"inputs": "a"}).get_json()["error"]["message"]


def test_they_are_not_explained(client):
    headers = {"X-Amzn-SageMaker-Custom-Attributes": "explain=true"}
    for body, name in (({"inputs": "a"}, "inputs"), ({"instances": ["a"]}, "instances")):
        response = client.post("/invocations", json=body, headers=headers)
        assert f"got it with {name}" in response.get_json()["error"]["message"]
