"""The Open Inference Protocol: the same predictions as /predict, its form of errors, and tritonclient as a client."""

import gzip
import json
import struct
import time

import numpy as np
import pytest
from serving_models import WordCounter, inference, settings
from serving_stack import need_nginx, running_stack
from tiny_engine import write_version

from serving.app import create_app
from textclf.store.model_store import open_model

VERSION = "20260101T000000000Z-0a1b2c"
INFER = "/v2/models/textclf/infer"
LENGTH = "Inference-Header-Content-Length"


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    return create_app(settings(tmp_path_factory.mktemp("app"), max_batch=5), inference(WordCounter())).test_client()


def tensor(*texts, **changes):
    return {"name": "text", "datatype": "BYTES", "shape": [len(texts)], "data": list(texts), **changes}


def body(*texts, **fields):
    return {"inputs": [tensor(*texts)], **fields}


def binary(texts, count=None, data=None, **fields):
    """The body of a request with a binary tensor, and the size of its JSON."""
    if data is None:
        data = b"".join(struct.pack("<I", len(text)) + text for text in texts)
    item = {"name": "text", "datatype": "BYTES", "shape": [len(texts) if count is None else count]}
    header = json.dumps({"inputs": [{**item, "parameters": {"binary_data_size": len(data)}}], **fields}).encode()
    return header + data, {LENGTH: str(len(header))}


def values(response):
    assert response.status_code == 200, response.text
    return {output["name"]: output for output in response.get_json()["outputs"]}


def test_metadata_and_health(client):
    server = client.get("/v2").get_json()
    assert (server["name"], server["extensions"]) == ("textclf", ["binary_tensor_data"])
    assert client.get("/v2/health/live").get_json() == {"live": True}
    assert client.get("/v2/health/ready").status_code == 200
    for path in ("/v2/models/textclf", f"/v2/models/textclf/versions/{VERSION}"):
        assert client.get(f"{path}/ready").get_json() == {"name": "textclf", "ready": True}
        model = client.get(path).get_json()
        assert model["versions"] == [VERSION]
        assert model["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": [-1]}]
        assert {output["name"]: (output["datatype"], output["shape"]) for output in model["outputs"]} == {
            "label": ("BYTES", [-1]), "score": ("FP32", [-1]), "probabilities": ("FP32", [-1, 2]),
            "unusual": ("BOOL", [-1]), "unsure": ("BOOL", [-1]),
        }  # fmt: skip


@pytest.mark.parametrize("content_type", ["application/json", "application/octet-stream", None])
def test_predictions_are_those_of_predict(client, content_type):
    expected = client.post("/predict", json={"X": ["good", "bad bad"]}).get_json()
    response = client.post(INFER, data=json.dumps(body("good", "bad bad", id="7")), content_type=content_type)
    found = values(response)
    assert list(found) == ["label", "score", "probabilities", "unusual", "unsure"]
    assert found["label"]["data"] == expected["predictions"]
    probabilities = [value for item in expected["probabilities"] for value in item.values()]
    assert (found["probabilities"]["shape"], found["probabilities"]["data"]) == ([2, 2], probabilities)
    assert found["score"]["data"] == [item["pos"] for item in expected["probabilities"]]
    assert found["unsure"] == {"name": "unsure", "datatype": "BOOL", "shape": [2], "data": [False, False]}
    answer = response.get_json()
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("7", "textclf", VERSION)


def test_forms_of_a_tensor_of_texts(client):
    expected = values(client.post(INFER, json=body("good", "bad")))
    column = tensor("good", "bad", shape=[2, 1])
    for inputs in (column, {**column, "data": [["good"], ["bad"]]}, tensor("good", "bad", parameters={"x": "y"})):
        response = client.post(f"/v2/models/textclf/versions/{VERSION}/infer", json={"inputs": [inputs], "outputs": []})
        assert values(response) == expected


def test_wanted_outputs_are_returned_in_their_order(client):
    wanted = [{"name": "score"}, {"name": "label", "parameters": {"binary_data": False}}]
    assert list(values(client.post(INFER, json=body("good", outputs=wanted)))) == ["score", "label"]


@pytest.mark.parametrize("compress", [False, True])
def test_binary_tensors(client, compress):
    expected = values(client.post(INFER, json=body("good", "schön bad")))
    content, headers = binary([b"good", "schön bad".encode()], parameters={"binary_data_output": True})
    if compress:
        content, headers = gzip.compress(content), {**headers, "Content-Encoding": "gzip"}
    response = client.post(INFER, data=content, headers=headers)
    assert response.status_code == 200, response.text
    assert response.content_type == "application/octet-stream"
    size = int(response.headers[LENGTH])
    outputs = {output["name"]: output for output in json.loads(response.data[:size])["outputs"]}
    found, position = {}, size
    for name, output in outputs.items():
        found[name] = response.data[position : position + output["parameters"]["binary_data_size"]]
        position += len(found[name])
        assert "data" not in output
    assert position == len(response.data)
    assert found["label"] == b"\x03\0\0\0pos\x03\0\0\0neg"
    assert found["score"] == np.array(expected["score"]["data"], "<f4").tobytes()
    assert found["probabilities"] == np.array(expected["probabilities"]["data"], "<f4").tobytes()
    assert found["unusual"] == b"\0\0"


def of_input(**changes):
    return {"inputs": [tensor("good", **changes)]}


CASES = [
    ({}, "inputs: expected a list of objects, got none"),
    ({"inputs": []}, "inputs: expected one tensor, text, got 0"),
    ({"inputs": [tensor("a"), tensor("b")]}, "got 2"),
    ({"inputs": ["good"]}, "inputs[0] (counted from 0): expected an object, got a string"),
    (of_input(name="input0"), "inputs[0].name: expected text, got 'input0'"),
    (of_input(datatype="FP32"), "inputs[0].datatype: expected BYTES, got 'FP32'"),
    (of_input(shape=[2]), "inputs[0].data: expected 2 texts, as in shape, got 1"),
    (of_input(shape=[1, 2]), "inputs[0].shape: expected [n] or [n, 1]"),
    (of_input(shape=[True]), "inputs[0].shape"),
    (of_input(shape=[-1]), "inputs[0].shape"),
    (of_input(shape=[]), "inputs[0].shape"),
    (of_input(shape=[0], data=[]), "inputs[0].shape: expected at least one text"),
    (of_input(data="good"), "data: expected a list of strings, got a string"),
    (of_input(data=[1]), "inputs[0].data[0] (counted from 0): expected a string, got a number"),
    (of_input(extra=1), "'extra'"),
    (of_input(parameters=[]), "inputs[0].parameters: expected an object"),
    (of_input(parameters={"shared_memory_region": "a"}), "shared_memory_region: expected none"),
    (of_input(parameters={"binary_data_size": 0}), "expected data or binary_data_size, got both"),
    (body("a", "b", "c", "d", "e", "f"), "inputs[0].shape: expected at most 5 texts"),
    (body("good", "x" * 100_001), "inputs[0].data[1] (counted from 0): expected at most 100000 characters"),
    (body("\ud800"), "inputs[0].data[0]"),
    (body("good", id=7), "id: expected a string, got a number"),
    (body("good", id="\ud800"), "id: expected well-formed Unicode"),
    (body("good", texts=[]), "'texts'"),
    (body("good", parameters={"binary_data_output": 1}), "binary_data_output: expected true or false, got a number"),
    (body("good", outputs={}), "outputs: expected a list"),
    (body("good", outputs=[{"name": "logits"}]), "outputs[0].name: expected one of label, score"),
    (body("good", outputs=[{"name": "label"}, {"name": "label"}]), "outputs[1].name"),
    (body("good", outputs=[{"name": "label", "parameters": {"classification": 2}}]), "classification: expected none"),
]


@pytest.mark.parametrize(("content", "says"), CASES, ids=[says for _, says in CASES])
def test_a_wrong_request_is_named(client, content, says):
    response = client.post(INFER, json=content)
    assert response.status_code == 422
    assert list(response.get_json()) == ["error"]
    assert says in response.get_json()["error"]


@pytest.mark.parametrize(
    ("content", "status", "says"),
    [
        (binary([b"good"], count=2), 422, "the data ends in text 1"),
        (binary([b"good", b"bad"], count=1), 422, "got 7 more bytes"),
        (binary([], count=1, data=b"\x09\0\0"), 422, "the data ends in text 0"),
        (binary([], count=1, data=b"\xff\xff\xff\xffgood"), 422, "the data ends in text 0"),
        (binary([b"\xff"]), 400, "text 0 (counted from 0): expected UTF-8"),
        ((binary([b"good"])[0] + b"x", binary([b"good"])[1]), 422, "binary_data_size: expected 9"),
        ((binary([b"good"])[0], {}), 400, "expected UTF-8"),
        ((binary([b"good"])[0], {LENGTH: "9999"}), 422, f"{LENGTH}: expected the size of the JSON"),
        ((b"{}", {LENGTH: "-1"}), 422, LENGTH),
        ((b"{}", {LENGTH: "0"}), 422, LENGTH),
        ((json.dumps(body("good")).encode() + b"x", {LENGTH: str(len(json.dumps(body("good"))))}), 422, "got none"),
        ((b"{", {}), 400, "expected JSON"),
        ((b"", {}), 400, "expected a body"),
    ],
)  # fmt: skip
def test_a_wrong_binary_body_is_named(client, content, status, says):
    data, headers = content
    data = data.replace(b"\x04\0\0\0good", b"\x80\0\0\0good") if says == "expected UTF-8" else data
    response = client.post(INFER, data=data, headers=headers)
    assert (response.status_code, list(response.get_json())) == (status, ["error"])
    assert says in response.get_json()["error"]


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/v2/models/other", "model: expected textclf (MODEL_NAME), got 'other'"),
        ("/v2/models/textclf/versions/1/ready", f"version: expected {VERSION}, which is served, got '1'"),
        ("/v2/models/textclf/config", "no such path"),
        ("/v2//models/textclf", "no such path"),
        ("/v2/", "no such path"),
    ],
)
def test_what_is_not_served_is_not_found(client, path, says):
    response = client.get(path)
    assert (response.status_code, list(response.get_json())) == (404, ["error"])
    assert says in response.get_json()["error"]


def test_other_refusals_have_the_form_of_the_protocol(client):
    response = client.get(INFER)
    assert (response.status_code, response.headers["Allow"]) == (405, "OPTIONS, POST")
    assert isinstance(response.get_json()["error"], str)
    response = client.post(INFER, data=b"good", content_type="text/csv")
    assert response.status_code == 415
    assert "application/json or application/octet-stream, got text/csv" in response.get_json()["error"]


def test_a_draining_server_is_live_and_not_ready(tmp_path):
    app = create_app(settings(tmp_path, model_name="a.b"), inference(), is_draining=lambda: True)
    client = app.test_client()
    assert client.get("/v2/health/live").status_code == 200
    for path in ("/v2/health/ready", "/v2/models/a.b/ready"):
        assert client.get(path).status_code == 503
    assert client.get("/v2/models/a.b").status_code == 200
    assert client.post("/v2/models/a.b/infer", json=body("good")).status_code == 200


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """A server with nginx behind a gateway's prefix, with a key."""
    need_nginx()
    folder = tmp_path_factory.mktemp("served")
    path = write_version(folder / "model")
    environ = {"API_KEY": "k1", "ROOT_PATH": "/texts", "MODEL_NAME": "tiny", "MAX_BODY_BYTES": "5000"}
    with running_stack(folder / "run", path, **environ) as running:
        yield running


def test_tritonclient(stack):
    http = pytest.importorskip("tritonclient.http")
    version = open_model(stack.folder.parent / "model").id

    def key():  # A new one each time, because the client adds its own headers to it.
        return {"X-API-Key": "k1"}

    with http.InferenceServerClient(f"127.0.0.1:{stack.port}/texts") as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("tiny", version)
        assert not client.is_model_ready("other")
        assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
        outputs = client.get_model_metadata("tiny")["outputs"]
        texts = np.array(["a fine film", "dull"], np.object_)
        expected = stack.request("POST", "/predict", {"X": texts.tolist()}, X_API_Key="k1").json
        for is_binary in (True, False):
            given = http.InferInput("text", [2], "BYTES")
            given.set_data_from_numpy(texts, binary_data=is_binary)
            wanted = None if is_binary else [http.InferRequestedOutput(item["name"], False) for item in outputs]
            found = client.infer("tiny", [given], outputs=wanted, request_id="9", headers=key())
            assert found.get_response()["id"] == "9"
            labels = [label.decode() if is_binary else label for label in found.as_numpy("label").tolist()]
            assert labels == expected["predictions"]
            probabilities = [list(item.values()) for item in expected["probabilities"]]
            np.testing.assert_allclose(found.as_numpy("probabilities"), probabilities, rtol=1e-6)
            assert found.as_numpy("unsure").tolist() == [False, False]
        with pytest.raises(http.InferenceServerException, match="API key"):
            client.infer("tiny", [given])
        given = http.InferInput("review", [2], "BYTES")
        given.set_data_from_numpy(texts)
        with pytest.raises(http.InferenceServerException, match="expected text, got 'review'"):
            client.infer("tiny", [given], headers=key())


def test_errors_of_nginx_and_the_metrics(stack):
    large = json.dumps(body("x" * 9000)).encode()
    for path, is_text in (("/v2/models/tiny/infer", True), ("/texts/v2/models/tiny/infer", True), ("/predict", False)):
        response = stack.request("POST", path, large, X_API_Key="k1")
        assert response.status == 413
        assert response.headers["content-type"] == "application/json"
        assert response.headers["x-request-id"]
        assert isinstance(response.json["error"], str) == is_text
    response = stack.request("POST", "/v2/models/tiny/infer", body("good"))
    assert (response.status, response.headers["www-authenticate"]) == (401, "Bearer")
    assert isinstance(response.json["error"], str)
    assert stack.request("POST", "/v2/models/tiny/infer", body("good"), X_API_Key="k1").status == 200
    counted = b'textclf_requests_total{method="POST",route="/v2/models/<model>/infer",status="%d"}'
    text, until = b"", time.monotonic() + 5
    while not all(counted % status in text for status in (200, 401, 413)) and time.monotonic() < until:
        text = stack.request("GET", "/metrics", X_API_Key="k1").body
        time.sleep(0.1)
    for status in (200, 401, 413):
        assert counted % status in text, text.decode()
