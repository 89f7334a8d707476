"""The app with a version that has thresholds: the mark in every response, the log, the metrics and the drift check."""

import contextlib
import csv
import io
import json
import sqlite3

import jsonschema
import pytest
from click.testing import CliRunner
from serving_models import settings
from tiny_engine import tiny_reviews, write_version

from inference import Inference
from monitoring import Monitoring
from serving.app import create_app, inference_of
from textclf.__main__ import main
from textclf.data.prediction_log.log import PredictionLog, logged_predictions
from textclf.drift.state import read_state
from textclf.monitoring.windows import save_report
from textclf.report.drift_html import drift_page
from textclf.report.drift_report import DriftReport
from textclf.report.drift_text import describe_drift
from textclf.runtime.feature_extraction import text_features

# Predictions of neg are unsure, those of pos are sure.
THRESHOLDS = {"neg": None, "pos": 0.0}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unsure")
    write_version(folder / "model", unsure={"thresholds": THRESHOLDS})
    return folder / "model"


@pytest.fixture(scope="module")
def texts(model):
    """An unsure text and a sure one."""
    found = {item.label: item.text for item in Inference(model).predict([text for text, _ in tiny_reviews(60)])}
    return found["neg"], found["pos"]


@pytest.fixture
def served(model, tmp_path):
    chosen = settings(
        tmp_path, model_path=model, model_poll_seconds=0, prediction_log_url=f"sqlite:///{tmp_path / 'log.sqlite'}"
    )
    return create_app(chosen, inference_of(chosen, model))


@pytest.fixture
def client(served):
    return served.test_client()


def csv_of(client, texts, accept):
    lines = io.StringIO(newline="")
    csv.writer(lines).writerows([text] for text in texts)
    headers = {"Accept": accept} if accept else {}
    found = client.post("/invocations", data=lines.getvalue(), content_type="text/csv", headers=headers)
    return found, list(csv.reader(io.StringIO(found.get_data(as_text=True))))


def test_every_response_in_json_has_the_mark(client, texts):
    unsure, sure = texts
    for text, expected in ((unsure, True), (sure, None)):
        for path, body in (
            ("/predict", {"text": text}),
            ("/invocations", {"text": text}),
            ("/invocations", {"data": text}),
            ("/invocations/predict", {"text": text}),
            ("/explain", {"text": text}),
        ):
            assert client.post(path, json=body).get_json().get("unsure") is expected, path
    assert client.post("/predict", json={"X": [sure, unsure]}).get_json()["unsure"] == [False, True]
    body = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    lines = client.post("/invocations", data=body, content_type="application/jsonlines").get_data(as_text=True)
    assert [json.loads(line).get("unsure") for line in lines.splitlines()] == [True, None]


@pytest.mark.parametrize(
    ("accept", "columns"),
    [
        ("", 2),
        ("text/csv", 2),
        ("text/csv; unsure=true", 3),
        ("application/json, text/csv; unsure=TRUE; probabilities=all", 3),
    ],
)
def test_csv_has_a_column_on_request(client, texts, accept, columns):
    _, rows = csv_of(client, texts, accept)
    assert [len(row) for row in rows] == [columns] * 2
    if columns == 3:
        assert [row[-1] for row in rows] == ["true", "false"]


def test_another_value_in_accept_is_refused(client, texts):
    found, _ = csv_of(client, texts, "text/csv; unsure=column")
    assert found.status_code == 422
    assert "expected unsure=true, got unsure=column" in found.get_json()["error"]["message"]


def test_responses_are_as_the_document_describes(client, texts):
    document = client.get("/openapi.json").get_json()
    for name, answer in (
        ("Prediction", client.post("/predict", json={"text": texts[0]}).get_json()),
        ("Predictions", client.post("/predict", json={"X": list(texts)}).get_json()),
    ):
        schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        jsonschema.validate(answer, schema, cls=jsonschema.Draft202012Validator)
        assert "unsure" in answer


def test_unsure_texts_are_counted(client, texts):
    client.post("/predict", json={"X": [*texts, texts[0]]})
    lines = client.get("/metrics").get_data(as_text=True).splitlines()
    assert "textclf_unsure_texts_total 2.0" in lines


def test_the_log_gets_the_column_when_it_is_needed(model, texts, tmp_path):
    features = text_features(Inference(model).predictor, list(texts), None)

    def rows(unsure):
        return logged_predictions([1.0, 2.0], "v", ["neg", "pos"], features, unsure=unsure)

    url, file = f"sqlite:///{tmp_path / 'log.sqlite'}", tmp_path / "log.sqlite"
    with contextlib.closing(PredictionLog(url)) as log:
        log.append(rows(None))
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("ALTER TABLE textclf_predictions DROP COLUMN unsure")
    with contextlib.closing(PredictionLog(url)) as log:
        assert log.read("v").total_rows == 2
        log.append(rows(None))
        log.append(rows([True, False]))
        assert log.read("v").total_rows == 6
    with contextlib.closing(sqlite3.connect(file)) as connection:
        found = [row[0] for row in connection.execute("SELECT unsure FROM textclf_predictions ORDER BY id")]
    assert found == [None] * 4 + [1, 0]


def test_a_drift_check_reports_the_shares(model, texts, served):
    predictor = Inference(model).predictor
    batch = predictor.predict_batch([text for text, _ in tiny_reviews(200)])
    report = Monitoring(model).check([texts[0]] * 90 + [texts[1]] * 30)
    assert report.unsure is not None
    assert report.unsure.reference == pytest.approx((batch.predicted == 0).mean())
    assert report.unsure.latest == pytest.approx(0.75)
    assert report.unsure.latest_low < 0.75 < report.unsure.latest_high
    assert DriftReport.from_dict(json.loads(report.to_json())).unsure == report.unsure
    assert " -> 75.0% (95% interval " in describe_drift(report)
    assert "75.0% of the latest texts" in drift_page(report)
    save_report(model, report, read_state(model), None)
    shares = {"reference": report.unsure.reference, "latest": report.unsure.latest}
    assert read_state(model).last_check.unsure == shares
    assert served.test_client().get("/drift.json").get_json()["check"]["unsure"] == shares
    assert 'textclf_drift_unsure_share{sample="latest"} 0.75' in served.test_client().get("/metrics").text


def test_score_reports_the_precision_of_the_others(model, texts, tmp_path):
    (tmp_path / "rows.csv").write_text(
        "text,label\n" + "".join(f"{text},{label}\n" for text in texts for label in ("pos", "neg")), encoding="utf-8"
    )
    arguments = ["score", "--model-path", model, "--input", tmp_path / "rows.csv", "--output", tmp_path / "out.csv"]
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    assert "unsure predictions: 2 of 4 rows (50.00%); 1 of the 2 other labelled rows right (50.00%)" in result.output
    with (tmp_path / "out.csv").open(encoding="utf-8") as file:
        assert [row["unsure"] for row in csv.DictReader(file)] == ["true", "true", "false", "false"]
