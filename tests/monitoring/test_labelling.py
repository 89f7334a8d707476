"""Sample texts into a file, label it, and import the labels: which of them count as audits."""

import csv
import json
import re
import time

import pytest
from click.testing import CliRunner
from monitored import films, products
from tiny_engine import write_version

import monitoring
import textclf.__main__ as console
from textclf.config import DataOptions
from textclf.data.labelled_reviews import read_labelled_reviews
from textclf.data.prediction_log.log import PredictionLog, logged_predictions
from textclf.drift.reference import REFERENCE_FILE, load_reference
from textclf.monitoring.labelling import import_labels
from textclf.runtime.feature_extraction import text_features
from textclf.runtime.loading import load_predictor

TEXTS = [*films(40, seed=3), "=1+1 film", "'=quoted great", 'line\r\nbreak, "film"']


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model store and the log of its texts."""
    folder = tmp_path_factory.mktemp("labelling")
    write_version(folder / "model", cascade=True, unusual=True)
    log_texts(folder, "log.sqlite", TEXTS)
    return folder


def log_texts(folder, name, texts):
    predictor = load_predictor(folder / "model")
    reference = load_reference(folder / "model" / "versions" / predictor.version_id / REFERENCE_FILE)
    features = text_features(predictor, texts, reference.projection)
    labels = [predictor.class_names[at] for at in features.predicted]
    log = PredictionLog(f"sqlite:///{folder}/{name}")
    log.append(logged_predictions([time.time()] * len(texts), predictor.version_id, labels, features, texts))
    log.close()


@pytest.fixture
def run(folder, tmp_path):
    """Run a command of monitoring.py; returns its output."""

    def run_command(command, *arguments, status=0):
        options = {
            "sample": ["--model-path", folder / "model", "--log-url", f"sqlite:///{folder}/log.sqlite"],
            "import": ["--model-path", folder / "model"],
            "export": [],
        }[command]
        group = [] if command == "sample" else ["labels"]
        line = [*group, command, *arguments, *options, "--new-data-dir", tmp_path / "new"]
        result = CliRunner().invoke(monitoring.main, list(map(str, line)))
        assert result.exit_code == status, result.output + result.stderr
        return result.output + result.stderr

    return run_command


def label_csv(path, label, change=lambda row: row):
    with open(path, encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    with open(path, "w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(change({**row, "label": label}) for row in rows)
    return rows


def stored(tmp_path):
    return [(review.text, review.label, review.audit) for review in read_labelled_reviews(tmp_path / "new").reviews]


def test_a_labelled_audit_is_imported_once(run, tmp_path):
    path = tmp_path / "audit.csv"
    assert "43 texts to label of 200: the log has no other text" in run("sample", "--audit", 200, "--output", path)
    rows = label_csv(path, "POS")
    assert all(row["draw"] and "predicted" not in row for row in rows)
    assert "43 labels stored, 43 random audits among them" in run("import", path)
    found = stored(tmp_path)
    assert sorted(text for text, _, _ in found) == sorted(TEXTS)
    assert {(label, audit) for _, label, audit in found} == {("pos", True)}
    again = run("import", path)
    assert "0 labels stored" in again
    assert "43 labels stored before" in again
    run("sample", "--audit", 5, "--output", tmp_path / "more.csv", status=1)


def test_another_label_of_the_same_draw_is_reported(run, tmp_path):
    path = tmp_path / "audit.csv"
    run("sample", "--audit", 3, "--output", path)
    label_csv(path, "pos")
    run("import", path)
    names = iter(["pos", "neg", "(other)"])
    label_csv(path, "pos", lambda row: {**row, "label": next(names)})
    output = run("import", path)
    assert "0 labels stored" in output
    assert "1 label stored before" in output
    assert "2 labels not stored, because the draw has another label: " in output
    assert "row 2 ('neg', stored as 'pos'), row 3 ('(other)', stored as 'pos')" in output
    assert {(label, audit) for _, label, audit in stored(tmp_path)} == {("pos", True)}


def test_a_text_or_a_draw_that_was_changed_is_no_audit(run, tmp_path):
    path = tmp_path / "audit.csv"
    run("sample", "--audit", 4, "--output", path)
    changes = iter(
        [
            lambda row: {**row, "text": f"{row['text']} indeed"},
            lambda row: {**row, "draw": "x" + row["draw"]},
            lambda row: {**row, "draw": ""},
            lambda row: {**row, "label": " "},
        ]
    )
    label_csv(path, "neg", lambda row: next(changes)(row))
    output = run("import", path)
    assert "3 labels stored, 0 random audits" in output
    assert "1 text without a label, left out" in output
    assert "2 labels stored, but not as an audit: row 1 (its text or its draw was changed, " in output
    assert ", row 2 (its text" in output
    assert {(label, audit) for _, label, audit in stored(tmp_path)} == {("neg", False)}


def test_a_draw_of_another_version_is_no_audit(run, tmp_path):
    path = tmp_path / "audit.csv"
    run("sample", "--audit", 2, "--output", path)
    label_csv(path, "neg")
    write_version(tmp_path / "other", seed=1)
    line = ["labels", "import", path, "--model-path", tmp_path / "other", "--new-data-dir", tmp_path / "new"]
    result = CliRunner().invoke(monitoring.main, list(map(str, line)))
    assert "2 labels stored, 0 random audits" in result.output
    why = "it was drawn from the texts of another version"
    assert f"2 labels stored, but not as an audit: row 1 ({why}), row 2 ({why})" in result.output


def test_the_draw_of_another_row_is_named(run, tmp_path):
    path = tmp_path / "audit.csv"
    run("sample", "--audit", 2, "--output", path)
    draws = []
    label_csv(path, "neg", lambda row: {**row, "draw": draws.append(row["draw"]) or draws[0]})
    output = run("import", path)
    assert "2 labels stored, 1 random audit among them" in output
    assert "1 label stored, but not as an audit: row 2 (it has the draw of row 1)" in output


def test_an_expired_draw_is_named(folder, run, tmp_path):
    path = tmp_path / "audit.csv"
    run("sample", "--audit", 1, "--output", path)
    label_csv(path, "neg")
    late = time.time() + 15 * 86_400
    found = import_labels(path, folder / "model", tmp_path / "new", DataOptions(), clock=lambda: late)
    assert found.refused == ("row 1 (it was drawn more than 14 days ago)",)
    assert (found.stored, found.audits) == (1, 0)


def test_blanks_and_line_ends_do_not_matter_to_a_draw(run, tmp_path):
    path = tmp_path / "audit.csv"
    run("sample", "--audit", 3, "--output", path)
    label_csv(path, "neg", lambda row: {**row, "text": row["text"].replace(" ", "\r\n ") + "\n"})
    assert "3 labels stored, 3 random audits" in run("import", path)


def test_a_text_with_several_labels_stops_the_import(run, tmp_path):
    path = tmp_path / "own.csv"
    path.write_text("text,label\na good film,pos\nfine,pos\na  good film,neg\n")
    output = run("import", path, status=1)
    assert "row 3 ('neg', but row 1 has the same text with 'pos')" in output
    assert "nothing was stored" in output
    assert not (tmp_path / "new" / "train").exists()


def test_repeats_and_other_labels_are_counted(run, tmp_path):
    path = tmp_path / "own.csv"
    path.write_text("text,label\ngood,pos\ngood,pos\nbad,neg\n")
    output = run("import", path)
    assert "2 labels stored" in output
    assert "1 row with the text and label of an earlier row" in output
    assert "before" not in output
    path.write_text("text,label\ngood,neg\nbad,neg\n")
    output = run("import", path)
    assert "1 label stored next to another label of the same text: row 1 ('neg', stored as 'pos')" in output
    assert "1 label stored before, not stored again" in output


def test_label_studio_there_and_back(run, tmp_path):
    path = tmp_path / "tasks.json"
    assert '<Choice value="neg"/>' in run("sample", "--informative", 6, "--output", path)
    tasks = json.loads(path.read_text())
    assert {result["from_name"] for task in tasks for result in task["predictions"][0]["result"]} == {"label"}
    for task in tasks:
        task["annotations"] = [{"id": 1, "was_cancelled": False, "result": task.pop("predictions")[0]["result"]}]
    path.write_text(json.dumps(tasks))
    assert "6 labels stored, 0 random audits" in run("import", path, "--source", "ann")
    assert len(read_labelled_reviews(tmp_path / "new").reviews) == 6
    for ending in ("json", "csv"):
        out = tmp_path / f"labels.{ending}"
        exported = run("export", "--output", out)
        assert "6 labelled texts" in exported
        assert "an import of this file stores ordinary labels" in exported
        assert "6 labels stored before" in run("import", out)
    assert {review.source for review in read_labelled_reviews(tmp_path / "new").reviews} == {"ann"}


def test_nothing_is_stored_if_a_row_is_wrong(run, tmp_path):
    path = tmp_path / "bad.csv"
    path.write_text("text,label\ngood,pos\nbad,neutral\n ,neg\n")
    output = run("import", path, status=1)
    assert "row 2 ('neutral' is no class), row 3 (its text is blank)" in output
    assert "nothing was stored" in output
    assert not (tmp_path / "new" / "train").exists()


def test_sample_refuses_what_would_lose_work(run, tmp_path):
    path = tmp_path / "audit.csv"
    for options in ((), ("--audit", 1, "--informative", 1)):
        assert "one of --audit and --informative" in run("sample", *options, "--output", path, status=2)
    path.write_text("text,label\n")
    assert "choose another with --output" in run("sample", "--audit", 1, "--output", path, status=1)
    assert "ends with .csv or .json" in run("sample", "--audit", 1, "--output", tmp_path / "a.txt", status=1)
    assert "found none" in run("export", "--output", tmp_path / "b.csv", status=1)


def test_columns_of_another_name(run, tmp_path):
    path = tmp_path / "own.csv"
    path.write_text("review,stars\ngood,pos\n")
    assert "--text-column" in run("import", path, status=1)
    assert "--label-column" in run("import", path, "--text-column", "review", status=1)
    output = run("import", path, "--text-column", "review", "--label-column", "stars")
    assert "1 label stored, 0 random audits" in output


def test_the_advice_of_the_drift_report_is_followed(folder, tmp_path, monkeypatch):
    """The report names commands that can be run as they are."""
    log_texts(folder, "drifted.sqlite", products(150))
    log = f"sqlite:///{folder}/drifted.sqlite"
    report = monitoring.Monitoring(folder / "model", prediction_log_url=log).check_log()
    assert report.verdict == "drift"
    (advice,) = [note for note in report.notes if "200 random new texts" in note]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREDICTION_LOG_URL", log)
    (tmp_path / "model").symlink_to(folder / "model")
    sample, imported = re.findall(r"textclf ((?:sample|labels import)[^,]*?audit\.csv)", advice)
    assert "--audit 200 --output" in sample
    for command in (sample, imported):
        result = CliRunner().invoke(console.main, command.split())
        assert result.exit_code == 0, result.output + result.stderr
        if command == sample:
            label_csv("audit.csv", "neg")
    assert re.search(r"([1-9]\d+) labels stored, \1 random audits", result.output)
