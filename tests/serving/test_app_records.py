"""CSV and JSON lines at /invocations: as people send them, and in a batch transform job."""

import csv
import io
import json

import pytest
from serving_models import Fault, inference, settings

from serving.api.errors import ErrorCode
from serving.api.record_responses import RESERVED
from serving.api.records import json_lines_request
from serving.api.requests import Limits
from serving.app import create_app
from serving.openapi import openapi_document
from serving.openapi_explanations import EXPLAINED_FIELDS
from serving.rendering import score_records
from serving.settings import Settings
from textclf.errors import TextTooLongError
from textclf.rules.loading import with_rules
from textclf.runtime.apart import CHUNK_TEXTS

CSV, LINES = "text/csv", "application/jsonlines"
# Prediction for a text without words: both classes are equally likely, and the second is predicted from one half on.
NO_WORDS = "pos"
ALL = {"Accept": "application/json;q=0.5, text/csv; probabilities=all"}


@pytest.fixture(scope="module")
def apps(tmp_path_factory):
    """Apps by SAGEMAKER_BATCH."""
    return {
        is_batch: create_app(
            settings(tmp_path_factory.mktemp("app"), sagemaker_batch=is_batch, max_batch=10_000, max_text_chars=1000),
            inference(Fault()),
        )
        for is_batch in (False, True)
    }


def post(app, content_type, body, **headers):
    return app.test_client().post("/invocations", data=body, content_type=content_type, headers=headers)


def records(response):
    assert response.status_code == 200, response.text
    assert response.content_type == "text/csv; charset=utf-8"
    return list(csv.reader(io.StringIO(response.text, newline=""), strict=True))


def lines(response):
    assert response.status_code == 200, response.text
    assert response.content_type == LINES
    return [json.loads(line) for line in response.text.splitlines()]


def error_of(response):
    return response.get_json()["error"]


# --- CSV


def test_csv_as_people_send_it(apps):
    body = "good, but long\n".replace(",", "") + '"good, but long"\n\n"a ""good"" film"\r\n   \nbad'
    assert [label for label, _ in records(post(apps[False], CSV, body))] == [
        "pos", "pos", NO_WORDS, "pos", NO_WORDS, "neg"
    ]  # fmt: skip


def test_csv_with_a_header(apps):
    body = 'id,Text , text\n1,bad,"good, really"\n2,good,bad\n'
    found = records(post(apps[False], "text/csv; header=present", body))
    assert [label for label, _ in found] == ["pos", "neg"]
    only = post(apps[False], 'text/csv; charset=utf-8; header="present"', "\ufefftext\ngood\n\n")
    assert [label for label, _ in records(only)] == ["pos", NO_WORDS]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("review\ngood\n", "got 'review'"),
        ("good film\n", "got 'good film'"),
        ("text,text\na,b\n", "'text', 'text'"),
        ("id,text\n1,good,bad\n", "record 0 (counted from 0): expected 2 fields, as in the header, got 3"),
        ("id,text\n1\n", "got 1"),
        ("text\n", "at least one text"),
    ],
)
def test_a_wrong_header_is_named(apps, body, says):
    error = error_of(post(apps[False], "text/csv; header=present", body))
    assert says in error["message"]


def test_commas_without_quotes_name_both_remedies(apps):
    message = error_of(post(apps[False], CSV, "good, but long\n"))["message"]
    assert "double quotes" in message
    assert "header=present" in message


def test_csv_with_all_probabilities(apps):
    response = post(apps[False], CSV, "good\nbad bad\n", **ALL)
    found = [[float(value) for value in record] for record in records(response)]
    assert [len(record) for record in found] == [2, 2]
    assert [sum(record) for record in found] == pytest.approx([1, 1])
    # In the order of the classes: neg, pos.
    assert found[0][1] > 0.5 > found[0][0]
    assert found[1][0] > 0.5 > found[1][1]
    scores = records(post(apps[False], CSV, "good\nbad bad\n"))
    assert [record[1] for record in found] == [float(score) for _, score in scores]


def test_another_value_of_probabilities_is_refused(apps):
    response = post(apps[False], CSV, "good\n", Accept="text/csv;probabilities=top")
    assert response.status_code == 422
    assert "probabilities=all" in error_of(response)["message"]
    assert len(records(post(apps[False], CSV, "good\n", Accept="text/csv"))[0]) == 2


# --- JSON lines


def test_other_fields_of_a_line_come_back(apps):
    body = '{"id": 7, "text": "good", "label": "neg", "tags": ["a", null]}\n{"data": "bad"}\n{"text": "", "error": 1}\n'
    first, second, third = lines(post(apps[False], LINES, body))
    assert list(first)[:3] == ["id", "input_label", "tags"]
    assert (first["id"], first["label"], first["input_label"], first["tags"]) == (7, "pos", "neg", ["a", None])
    assert "id" not in second
    assert third["input_error"] == 1


def test_a_renamed_field_takes_no_name_of_another(apps):
    (found,) = lines(post(apps[False], LINES, '{"text": "good", "input_label": 1, "label": 2}'))
    assert (found["label"], found["input_label"], found["input_input_label"]) == ("pos", 1, 2)


@pytest.mark.parametrize(
    ("line", "code"),
    [('{"text": "a", "n": 1e999}', "wrong_shape"), ('{"text": "a", "n": "\\ud800"}', "invalid_text")],
)
def test_a_field_that_cannot_come_back_is_refused(apps, line, code):
    error = error_of(post(apps[False], LINES, line))
    assert error["code"] == code
    assert "line 0" in error["message"]


def test_a_line_with_explain_names_the_header(apps):
    assert "Custom-Attributes" in error_of(post(apps[False], LINES, '{"text": "a", "explain": true}'))["message"]


@pytest.mark.parametrize("path", ["/predict", "/invocations"])
def test_json_lines_as_json_name_the_content_type(apps, path):
    body = '{"text": "good"}\r\n{"text": "bad"}\n'
    response = apps[False].test_client().post(path, data=body, content_type="application/json")
    assert error_of(response)["code"] == "invalid_json"
    assert "application/jsonlines to /invocations" in error_of(response)["message"]
    other = apps[False].test_client().post(path, data='{"text": "good"} x', content_type="application/json")
    assert "jsonlines" not in error_of(other)["message"]


def test_another_field_in_json_names_json_lines(apps):
    response = apps[False].test_client().post("/invocations", json={"id": 7, "text": "good"})
    message = error_of(response)["message"]
    assert "expected only X, data, explain, text, got 'id'; remove it, or send JSON lines" in message
    assert "Content-Type: application/jsonlines" in message


# --- in a batch transform job

BAD_CSV = {
    "good, but long": "wrong_shape",
    '"never closed': "invalid_csv",
    '"good" film': "invalid_csv",
    "x" * 1001: "text_too_long",
}
BAD_LINES = {
    "": "invalid_json",
    "good": "invalid_json",
    '{"text": "good"': "invalid_json",
    '["good"]': "wrong_shape",
    '{"review": "good"}': "wrong_shape",
    '{"text": null}': "wrong_shape",
    '{"text": "a", "text": "b"}': "duplicate_key",
    '{"text": "\\ud800"}': "invalid_text",
    '{"text": "' + "x" * 1001 + '"}': "text_too_long",
}


@pytest.mark.parametrize("bad", BAD_CSV)
def test_a_bad_record_of_csv_is_on_its_own(apps, bad):
    body = f'good\n"good, and\r\nlong"\n{bad}\n"bad, too"\n{bad}\n\nbad\n'
    found = records(post(apps[True], CSV, body))
    assert [len(record) for record in found] == [3] * 7
    assert [record[0] for record in found] == ["pos", "pos", "", "neg", "", NO_WORDS, "neg"]
    assert [record[2].partition(":")[0] for record in found] == ["", "", BAD_CSV[bad], "", BAD_CSV[bad], "", ""]
    every = records(post(apps[True], CSV, body, **ALL))
    assert [record[2] for record in every] == [record[2] for record in found]
    assert every[2][:2] == ["", ""]
    assert post(apps[False], CSV, body).status_code in (400, 422)


@pytest.mark.parametrize("bad", BAD_LINES)
def test_a_bad_line_is_on_its_own(apps, bad):
    body = f'{{"id": 1, "text": "good"}}\n{bad}\n{{"id": 2, "text": "bad"}}\n'
    first, second, third = lines(post(apps[True], LINES, body))
    assert (first["id"], first["label"], third["id"], third["label"]) == (1, "pos", 2, "neg")
    assert list(second) == (["review", "error"] if "review" in bad else ["error"])
    assert second["error"]["code"] == BAD_LINES[bad]
    assert second["error"]["message"]
    assert post(apps[False], LINES, body).status_code in (400, 422)


@pytest.mark.parametrize(
    "bad",
    [
        '{"id": 1}',
        '{"id": 1, "text": 3}',
        '{"id": 1, "text": "a", "data": "b"}',
        '{"id": 1, "text": "q", "explain": true}',
        '{"id": 1, "text": "q", "n": 1e999, "s": "\\ud800", "deep": ' + "[" * 200 + "]" * 200 + "}",
    ],
)
def test_a_bad_line_keeps_its_other_fields(apps, bad):
    (found,) = lines(post(apps[True], LINES, bad))
    assert list(found) == ["id", "error"]
    assert found["id"] == 1


def test_a_request_of_bad_records_only_is_answered(apps):
    assert [record[2].partition(":")[0] for record in records(post(apps[True], CSV, "a,b\nc,d\n"))] == [
        "wrong_shape"
    ] * 2


def test_a_job_of_several_chunks_keeps_the_order(apps):
    count = 3 * CHUNK_TEXTS + 7
    body = "".join(
        "not JSON\n"
        if index % 1000 == 999
        else json.dumps({"id": index, "text": "good" if index % 3 else "bad"}) + "\n"
        for index in range(count)
    )
    found = lines(post(apps[True], LINES, body))
    assert len(found) == count
    for index, line in enumerate(found):
        if index % 1000 == 999:
            assert line["error"]["code"] == ErrorCode.INVALID_JSON.public_name
        else:
            assert (line["id"], line["label"]) == (index, "pos" if index % 3 else "neg")


def test_a_text_that_is_too_long_after_normalisation_is_on_its_own():
    texts = ["good", "long", *["bad"] * 1500, "long", "good"]
    body = "\n".join(json.dumps({"id": index, "text": text}) for index, text in enumerate(texts))
    parsed = json_lines_request(body, Limits(100, 2000, is_each_on_its_own=True))

    def predict(some):
        if "long" in some:
            raise TextTooLongError(some.index("long"), 100)
        return inference().predictor.predict(some)

    found = list(map(json.loads, score_records(parsed, predict, inference().predictor)[0].splitlines()))
    assert [line["id"] for line in found] == list(range(1504))
    assert [index for index, line in enumerate(found) if "error" in line] == [1, 1502]
    assert found[1]["error"]["code"] == "text_too_long"
    assert (found[2]["label"], found[1503]["label"]) == ("neg", "pos")


def test_the_fields_of_a_bad_line_come_back(apps):
    body = '{"id": 1, "label": "pos", "text": 3}\n{"id": 2, "text": "good"}\n'
    first, second = lines(post(apps[True], LINES, body))
    assert (first["input_label"], "label" in first) == ("pos", False)
    assert (first["id"], first["error"]["code"], second["id"]) == (1, "wrong_shape", 2)


def test_a_text_on_which_a_rule_fails_is_on_its_own(tmp_path, caplog):
    path = tmp_path / "rules.py"
    path.write_text("def before(text):\n    return text[: 1 // ('secret' not in text)] or text\n", encoding="utf-8")
    loaded = inference()
    with_rules(loaded.predictor, path)
    app = create_app(settings(tmp_path, sagemaker_batch=True), loaded)
    first, second, third = lines(post(app, LINES, '{"text": "good"}\n{"id": 1, "text": "a secret"}\n{"text": "bad"}\n'))
    assert ("label" in first, "label" in third) == (True, True)
    assert (second["id"], second["error"]["code"]) == (1, "rule_failed")
    assert "rules.py" in caplog.text
    assert "secret" not in caplog.text


def test_a_failure_of_the_server_fails_the_request(apps):
    response = post(apps[True], CSV, "good\ncrash\n")
    assert response.status_code == 500
    assert error_of(response)["code"] == "internal_error"


def test_a_json_body_of_a_job_fails_alone(apps):
    assert post(apps[True], "application/json", '{"X": ["good", 3]}').status_code == 422


@pytest.mark.parametrize("is_batch", [False, True])
def test_a_blank_line_is_an_empty_text_below_any_header(apps, is_batch):
    found = records(post(apps[is_batch], "text/csv; header=present", "id,text\n1,good\n\n2,bad\n"))
    assert [record[0] for record in found] == ["pos", NO_WORDS, "neg"]
    assert {record[2] for record in found if is_batch} <= {""}


def test_fields_of_a_request_look_like_no_field_of_a_response(apps):
    schemas = openapi_document(Settings())["components"]["schemas"]
    names = {*schemas["Prediction"]["properties"], *EXPLAINED_FIELDS, "error"}
    assert names == RESERVED
    fields = {name: ["fake"] for name in names - {"text"}}
    (found,) = lines(post(apps[False], LINES, json.dumps({"text": "good", **fields})))
    assert {name for name, value in found.items() if value == ["fake"]} == {f"input_{name}" for name in fields}


@pytest.mark.parametrize(("depth", "is_right"), [(100, True), (101, False), (900, False), (960, False)])
@pytest.mark.parametrize(("start", "end"), [("[", "]"), ('{"a":', "}")])
def test_fields_that_are_nested_deeply(apps, depth, is_right, start, end):
    body = f'{{"text": "good", "n": {start * depth}1{end * depth}}}\n{{"text": "bad"}}\n'
    first, second = lines(post(apps[True], LINES, body))
    assert second["label"] == "neg"
    assert ("n" in first) == is_right
    if not is_right:
        assert first["error"]["code"] in ("wrong_shape", "invalid_json")
