"""The OpenAPI document is valid, and the app does what it says: requests drawn from it, good and bad."""

import json
import re
import warnings

import bad_requests
import pytest
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as hypothesis_settings
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from serving_models import inference, settings
from tiny_engine import write_version

from serving.api.errors import ErrorCode
from serving.api.request_body import JSON
from serving.app import create_app, inference_of
from serving.openapi import openapi_document
from serving.pages import static_files
from serving.settings import Settings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import schemathesis
    from schemathesis import GenerationMode


INFER = ("/v2/models/{model}/infer", "/v2/models/{model}/versions/{version}/infer")


@pytest.fixture
def app(tmp_path):
    return create_app(settings(tmp_path, max_batch=5, max_text_chars=300), inference())


@pytest.fixture
def explaining_app(tmp_path):
    """An app with an engine, so that it explains; few evaluations, so that the test is fast."""
    write_version(tmp_path / "model", reference_texts=[])
    few = {"max_batch": 5, "max_text_chars": 300, "explain_max_evaluations": 16, "model_poll_seconds": 0}
    chosen = settings(tmp_path, model_server_timeout=1000, **few)
    return create_app(chosen, inference_of(chosen, chosen.model_path))


def test_valid(app):
    document = app.test_client().get("/openapi.json").get_json()
    OpenAPIV31SpecValidator(document).validate()


def test_it_has_every_route_and_method_of_the_app(app):
    document = openapi_document(Settings())
    automatic = {"HEAD", "OPTIONS"}
    rules = {
        (rule.rule.replace("<", "{").replace(">", "}"), method.lower())
        for rule in app.url_map.iter_rules()
        for method in rule.methods - automatic
    }
    rules -= {(path, "get") for path in static_files()}
    assert rules == {(path, method) for path, operations in document["paths"].items() for method in operations}


def test_it_names_every_code():
    text = json.dumps(openapi_document(Settings(api_key="x")))
    outside = {ErrorCode.NOT_FOUND, ErrorCode.METHOD_NOT_ALLOWED, ErrorCode.CLIENT_GONE}
    assert [code for code in ErrorCode if f"`{code.public_name}`" not in text and code not in outside] == []


def test_every_operation_has_the_codes_of_nginx_under_503():
    for key in ("", "x"):
        paths = openapi_document(Settings(api_key=key))["paths"]
        for operation in (operation for operations in paths.values() for operation in operations.values()):
            description = operation["responses"]["503"]["description"]
            assert "`timed_out`" in description
            assert "`worker_lost`" in description
    assert (
        "`not_ready`"
        in openapi_document(Settings(api_key="x"))["paths"]["/predict"]["post"]["responses"]["503"]["description"]
    )


def test_codes_and_headers_are_those_of_the_path():
    paths = openapi_document(Settings())["paths"]
    with_work = {path for path, each in paths.items() if "`too_much_work`" in json.dumps(each)}
    assert with_work == {"/predict", "/explain", "/invocations", "/invocations/predict", *INFER}
    header = paths["/ping"]["get"]["responses"]["503"]["headers"]["Retry-After"]["description"]
    assert "absent with `draining` and `timed_out`" in header


def described(document, path, status, method="post"):
    return document["paths"][path][method]["responses"].get(str(status), {"description": ""})["description"]


@pytest.mark.parametrize("case", bad_requests.CASES, ids=str)
def test_every_refusal_of_a_known_path_is_described(case):
    document = openapi_document(Settings())
    path, method = case.path.partition("?")[0], case.method.lower()
    if method in document["paths"].get(path, {}):
        assert f"`{case.code}`" in described(document, path, case.status, method)


@pytest.mark.parametrize(
    ("content_type", "body", "status", "result"),
    [
        ("text/csv", b"", 400, "empty_body"),
        ("text/csv", b"\r\n", 200, 1),
        ("text/csv", b"good\n\nbad\n", 200, 3),
        ("text/csv", b'""\n', 200, 1),
        ("text/csv", b"\xef\xbb\xbf", 422, "empty_list"),
        ("application/jsonlines", b"", 400, "empty_body"),
        ("application/jsonlines", b" \n\n", 422, "empty_list"),
        ("application/jsonlines", b'{"text":"good"}\n\n{"text":"bad"}\n', 400, "invalid_json"),
        ("application/jsonlines", b'{"text":"good"}\n{"data":"bad"}\n\n', 200, 2),
        ("application/x-ndjson", b'{"text":""}', 200, 1),
        ("application/jsonl", b'{"data":["good"]}', 422, "wrong_shape"),
    ],
)
def test_csv_and_lines_are_as_described(app, content_type, body, status, result):
    document = app.test_client().get("/openapi.json").get_json()
    operation = document["paths"]["/invocations"]["post"]
    schema = operation["requestBody"]["content"][content_type]["schema"]
    response = app.test_client().post("/invocations", data=body, content_type=content_type)
    assert response.status_code == status
    text = body.decode()
    is_described = len(text) >= schema.get("minLength", 0) and re.search(schema.get("pattern", ""), text) is not None
    if status == 200:
        assert is_described
        assert response.content_type in operation["responses"]["200"]["content"]
        assert len(response.text.splitlines()) == result
        if content_type != "text/csv":
            assert {"label", "score", "probabilities"} <= json.loads(response.text.splitlines()[0]).keys()
    else:
        assert response.get_json()["error"]["code"] == result
        assert f"`{result}`" in described(document, "/invocations", status)
    if result == "empty_body" or body == b" \n\n":
        assert not is_described


def test_limits_and_classes_are_those_of_the_app():
    document = openapi_document(Settings(max_batch=7, max_text_chars=9), ("a", "b"))
    text = json.dumps(document["paths"])
    assert '"maxItems": 7' in text
    assert '"maxLength": 9' in text
    assert '"enum": ["a", "b", "(other)"]' in text
    unknown = openapi_document(Settings())
    assert unknown["components"]["schemas"]["Prediction"]["properties"]["label"] == {"type": "string"}
    body = unknown["paths"]["/feedback"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert "enum" not in body["properties"]["label"]


def test_the_key():
    def secured(document):
        paths = document["paths"].items()
        return {path for path, operations in paths for operation in operations.values() if "security" in operation}

    assert secured(openapi_document(Settings())) == set()
    assert secured(openapi_document(Settings(api_key="x"))) == {
        "/predict", "/explain", "/invocations", "/invocations/predict", "/feedback", "/metrics",
        "/review/texts", "/review/labels", "/review/undo", "/drift.json", "/evaluation", *INFER,
    }  # fmt: skip


def _with_matching_rows(case):
    """A case with what no schema can say: rows have a value for each column, tensors as many texts as their shape."""
    if isinstance(case.body, dict) and "inputs" in case.body and case.operation.path in INFER:
        for tensor in case.body["inputs"]:
            tensor["shape"][0] = len(tensor["data"])
        outputs = {output["name"]: output for output in case.body.get("outputs", [])}
        case.body |= {"outputs": list(outputs.values())}
        case.headers = None
    if isinstance(case.body, dict) and "dataframe_split" in case.body:
        table = case.body["dataframe_split"]
        values = ["good" if name == "text" else None for name in table["columns"]]
        case.body = {"dataframe_split": {**table, "data": [values for _ in table["data"]]}}
    return case


@pytest.mark.parametrize(
    ("columns", "row"), [(["text"], ["good"]), (["id", "text"], [7, "good"]), (["text", None, "x"], ["", None, {}])]
)
def test_tables_with_other_columns_are_as_described(app, columns, row):
    document = app.test_client().get("/openapi.json").get_json()
    schema = document["paths"]["/invocations"]["post"]["requestBody"]["content"][JSON]["schema"]
    validator = Draft202012Validator({**schema, "components": document["components"]})
    body = {"dataframe_split": {"columns": columns, "data": [row, row]}}
    assert app.test_client().post("/invocations", json=body).status_code == 200
    validator.validate(body)
    without = {"dataframe_split": {"columns": ["id"], "data": [[7]]}}
    assert app.test_client().post("/invocations", json=without).status_code == 422
    assert not validator.is_valid(without)


def _run(app, mode, examples):
    """Requests of one mode for every operation that has such; each answer must be one that the document allows."""
    schema = schemathesis.openapi.from_wsgi("/openapi.json", app)
    seen = []
    for result in schema.get_all_operations():
        operation = result.ok()
        if mode is GenerationMode.NEGATIVE and operation.method != "post":
            continue  # Nothing of a GET can be wrong, except an unknown version.
        if mode is GenerationMode.POSITIVE and operation.path.startswith("/review/"):
            continue  # Its requests need logged texts, and draws that the server signed.

        @seed(1)
        @hypothesis_settings(
            max_examples=examples if operation.method == "post" else 2,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        # Any string is CSV or lines to the document, which can't say more; those are tested by hand.
        @given(
            case=operation.as_strategy(generation_mode=mode)
            .filter(lambda case: case.media_type in (JSON, None))
            .map(_with_matching_rows if mode is GenerationMode.POSITIVE else lambda case: case)
        )
        def check(case):
            response = case.call()
            # No pattern says which characters make no word.
            if mode is GenerationMode.POSITIVE and b'"blank_text"' in response.content:
                return
            case.validate_response(response)
            seen.append((case.operation.path, response.status_code))

        check()
    return seen


@pytest.mark.filterwarnings("ignore")
def test_requests_that_the_document_allows_are_answered(explaining_app):
    seen = _run(explaining_app, GenerationMode.POSITIVE, 28)
    for path in ("/predict", "/explain", "/invocations", "/invocations/predict", "/feedback", INFER[0]):
        assert sum(1 for where, status in seen if where == path and status in (200, 201)) >= 10, path


@pytest.mark.filterwarnings("ignore")
def test_requests_that_the_document_forbids_are_refused(app):
    seen = _run(app, GenerationMode.NEGATIVE, 28)
    assert len(seen) > 80
    assert {status for _, status in seen} <= {400, 404, 405, 413, 415, 422}
