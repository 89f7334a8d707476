"""Files of an earlier version of this code load and work: a store, decisions, drift.json, a log, feedback.

tests/fixtures/persisted was written by the product before its modules moved, and is never written again: a change that
cannot read it breaks every installation. expected.json has the results of that code. Only command lines, HTTP and
public classes are used here, so that no later move needs an edit.
"""

import contextlib
import http.client
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

import inference
import initializing
import monitoring
import retraining

ROOT = Path(inference.__file__).resolve().parent
PERSISTED = ROOT / "tests" / "fixtures" / "persisted"
EXPECTED = json.loads((PERSISTED / "expected.json").read_text(encoding="utf-8"))
TRAINED, RANDOM, RETRAINED = (EXPECTED["versions"][name] for name in ("trained", "random", "retrained"))
LOG_URL = "sqlite:///prediction_log/predictions.sqlite"
LOG = ["--model-path", "model", "--log-url", LOG_URL, "--new-data-dir", "new_data", "--threads", "1"]
# Other processors round int8 products in other ways, which changes probabilities.
TOLERANCE = 0.05


@pytest.fixture(autouse=True)
def persisted(tmp_path, monkeypatch) -> Path:
    """A copy of all files, which is the working directory."""
    monkeypatch.chdir(shutil.copytree(PERSISTED, tmp_path / "persisted"))
    return tmp_path / "persisted"


def output_of(script, *arguments, status=0) -> str:
    """The stdout of a command."""
    result = CliRunner().invoke(script.main, list(map(str, arguments)))
    assert result.exit_code == status, result.output
    return result.stdout


def entries() -> list[dict]:
    """The entries of decisions.jsonl."""
    return [json.loads(line) for line in Path("model/decisions.jsonl").read_text(encoding="utf-8").splitlines()]


def rows_of_log() -> int:
    with contextlib.closing(sqlite3.connect("prediction_log/predictions.sqlite")) as connection:
        return connection.execute("SELECT count(*) FROM textclf_predictions").fetchone()[0]


# --- versions


@pytest.mark.parametrize(
    ("name", "path", "options"),
    [
        ("current", "model", {}),
        ("without the cascade", "model", {"cascade": False}),
        ("random", f"model/versions/{RANDOM}", {}),
        ("retrained", f"model/versions/{RETRAINED}", {}),
    ],
)
def test_a_version_answers_as_it_did(name, path, options):
    found = inference.Inference(path, threads=1, **options).predict(EXPECTED["texts"])
    for prediction, expected in zip(found, EXPECTED["predictions"][name], strict=True):
        assert (prediction.label, prediction.stage) == (expected["label"], expected["stage"])
        assert prediction.truncated == expected["truncated"]
        assert prediction.probabilities == pytest.approx(expected["probabilities"], abs=TOLERANCE)


def test_the_versions_are_listed_and_described():
    lines = output_of(inference, "--model-path", "model", "versions").splitlines()
    line_of = {version: line for line in lines for version in (TRAINED, RANDOM, RETRAINED) if f"{version} " in line}
    assert line_of[TRAINED].startswith("*")
    assert "2026-01-05" in line_of[TRAINED]
    assert line_of[RETRAINED].endswith(TRAINED)  # Its parent.
    described = output_of(inference, "--model-path", "model", "inspect")
    manifest = json.loads(Path(f"model/versions/{TRAINED}/manifest.json").read_text(encoding="utf-8"))
    assert manifest["data"]["fingerprint"]["test"] in described
    assert "266 held-out texts" in described  # From reference.npz.
    assert "tiny-bert" in described


def test_a_file_is_scored(persisted):
    output_of(inference, "--model-path", "model", "score", "--input", "old/test.csv", "--output", "scored.jsonl")
    rows = [json.loads(line) for line in Path("scored.jsonl").read_text(encoding="utf-8").splitlines()]
    assert list(rows[0]) == ["text", "input_label", "label", "score", "probabilities", "truncated"]
    assert len(rows) == 130
    assert sum(row["label"] == row["input_label"] for row in rows) >= 129
    first = EXPECTED["predictions"]["current"][0]
    assert rows[0]["text"] == EXPECTED["texts"][0]
    assert rows[0]["score"] == pytest.approx(first["probabilities"]["pos"], abs=TOLERANCE)


# --- decisions


def test_the_history_is_whole():
    written = output_of(retraining, "history", "--json", "--model-dir", "model").splitlines()
    assert [json.loads(line) for line in written] == entries()
    actions = ["promote_by_hand", "rollback", "hold_lifted", "promote_by_hand", "rollback", "inconclusive"]
    assert [entry["action"] for entry in entries()] == actions
    told = output_of(retraining, "history", "--model-dir", "model")  # Status 0: every line has the hash of the last.
    for entry in entries():
        assert f"{entry['time'][:19].replace('T', ' ')}  {entry['action']}" in told
        for reason in entry.get("reasons", []):
            assert reason in told
    assert "worse on long texts, too (since 2026-01-07T18:36:00+00:00)" in told


def test_current_moves_and_the_hold_is_lifted():
    output_of(retraining, "promote", RETRAINED, "--model-dir", "model")
    assert Path("model/current").read_text() == f"{RETRAINED}\n"
    output_of(retraining, "rollback", "--model-dir", "model", "--reason", "again")
    assert Path("model/current").read_text() == f"{TRAINED}\n"
    assert json.loads(Path("model/hold.json").read_text())["reason"] == "again"
    assert "again" in output_of(retraining, "lift-hold", "--model-dir", "model")
    assert not Path("model/hold.json").exists()
    added = entries()[6:]
    assert [entry["action"] for entry in added] == ["promote_by_hand", "rollback", "hold_lifted"]
    assert [entry.get("challenger") for entry in added] == [RETRAINED, TRAINED, None]
    before = [entry["challenger_manifest"] for entry in entries() if entry.get("challenger") == TRAINED]
    assert len(set(before)) == 1
    output_of(retraining, "history", "--model-dir", "model")


def test_a_retraining_knows_its_challenger_again():
    """The same data sets, recipe and gate: nothing is trained, and the decision is printed again."""
    before = entries()
    paths = ["--old-dataset-path", "old", "--new-dataset-path", "new_data", "--combined-dataset-path", "combined"]
    # The default of this option was another.
    said = output_of(
        retraining,
        "run",
        *paths,
        "--model-dir",
        "model",
        "--calibration-margin",
        before[-1]["gate"]["figures"]["options"]["calibration_margin"],
        status=4,
    )
    assert RETRAINED in said
    assert all(reason in said for reason in before[-1]["reasons"])
    assert entries() == before
    assert len(list(Path("model/versions").iterdir())) == 3
    # The combined folder was replaced, because it was known as one.
    summary = json.loads(Path("combined/combined.json").read_text(encoding="utf-8"))
    assert summary["fingerprints"]["test"] == before[-1]["data"]["fingerprints"]["test"]
    assert (summary["counts"]["old"], summary["counts"]["new"]) == (760, 79)


# --- data


def test_the_combined_folder_is_a_data_set():
    summary = json.loads(Path("combined/combined.json").read_text(encoding="utf-8"))
    initialize = initializing.Initialize("combined")
    parts = initialize.make_dataset(initialize.download_dataset())
    train, validation, test = ([text for text, _ in part.unbatch().as_numpy_iterator()] for part in parts)
    assert initialize.class_names == ("neg", "pos")
    assert len(train) + len(validation) == 12 + summary["counts"]["outcomes"]["added"] == 19
    assert len(test) == 6
    assert EXPECTED["texts"][0].encode() in test
    removed = Path("combined/removed.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(removed) == 55
    assert len(list(Path("combined/holdout").rglob("*.txt"))) == summary["counts"]["outcomes"]["held"] == 17


# --- monitoring


def checked(name, *arguments):
    """Check the log, and compare the report with that of EXPECTED."""
    expected = EXPECTED["checks"][name]
    output_of(monitoring, "check", *LOG, "--json", "report.json", *arguments, status=3)
    report = json.loads(Path("report.json").read_text(encoding="utf-8"))
    assert (report["verdict"], report["compared"]["texts"]) == (expected["verdict"], expected["texts"])
    assert report["compared"]["version"] == TRAINED
    families = {family["name"]: family for family in report["figures"]["families"]}
    assert list(families) == list(expected["families"])
    for family, values in expected["families"].items():
        assert families[family]["effect"] == pytest.approx(values["effect"], abs=0.02), family
        assert families[family]["is_alarm"] == values["is_alarm"], family
    return report


def test_the_log_is_checked():
    report = checked("all")
    assert report["compared"]["other_versions"] == {RANDOM: 4}
    assert report["figures"]["labels"]["audit_texts"] == 52  # From the feedback's index.
    state = json.loads(Path("model/drift.json").read_text(encoding="utf-8"))
    before = json.loads((PERSISTED / "model" / "drift.json").read_text(encoding="utf-8"))
    assert state["last_check"]["texts"] == 230
    # Runs of audits are newer than the file.
    assert {**state, "last_check": None} == {**before, "last_check": None, "audit_runs": {}, "format": 2}


def test_the_next_window_begins_where_the_last_one_ended():
    before = json.loads(Path("model/drift.json").read_text(encoding="utf-8"))
    checked("window", "--windows", "2of3")
    state = json.loads(Path("model/drift.json").read_text(encoding="utf-8"))
    assert state["windows"][0] == before["windows"][0]
    assert state["windows"][1]["since"] == before["edge"]
    assert [window["verdict"] for window in state["windows"]] == ["no drift", "drift"]
    assert state["last_retrain"] == before["last_retrain"]
    assert state["audited_since"] == before["audited_since"]


# --- serving


@contextlib.contextmanager
def served(**environment):
    """A function that sends a request to a server of the store, and gives status and body."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    settings = {
        "MODEL_PATH": "model",
        "PORT": str(port),
        "MODEL_SERVER_WORKERS": "1",
        "DRAIN_SECONDS": "0",
        "NEW_DATA_DIR": "new_data",
        "PREDICTION_LOG_URL": LOG_URL,
        "PREDICTION_LOG_DAYS": "36500",
        **environment,
    }
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "serving" / "serve")],
        env={"PATH": os.environ["PATH"], **settings},
        stdout=subprocess.DEVNULL,
    )

    def request(method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        with contextlib.closing(connection):
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, {} if body is None else {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read().decode()

    def is_ready():
        with contextlib.suppress(OSError, http.client.HTTPException):
            return request("GET", "/ping")[0] == 200
        return False

    with process:
        try:
            deadline = time.monotonic() + 60
            while not is_ready():
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.1)
            yield request
        finally:
            process.terminate()
            process.wait(timeout=30)


def test_a_server_serves_the_store_and_goes_on_with_log_and_feedback():
    with served() as request:
        status, body = request("POST", "/predict", {"X": EXPECTED["texts"]})
        assert status == 200
        response = json.loads(body)
        expected = EXPECTED["predictions"]["current"]
        assert response["predictions"] == [item["label"] for item in expected]
        assert response["stage"] == [item["stage"] for item in expected]
        for found, item in zip(response["probabilities"], expected, strict=True):
            assert found == pytest.approx(item["probabilities"], abs=TOLERANCE)
        status, body = request("POST", "/feedback", {"text": "a warm film", "label": "pos", "audit": True})
        assert status == 201
        review = json.loads(body)["id"]
        metrics = request("GET", "/metrics")[1]
    assert 'textclf_drift_verdict{verdict="no drift"} 1.0' in metrics
    assert f'textclf_drift_texts{{version="{TRAINED}"}} 120.0' in metrics
    assert rows_of_log() == 234 + len(EXPECTED["texts"])
    lines = [json.loads(line) for line in Path("new_data/feedback.log").read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 80
    assert lines[-1]["id"] == review
    assert list(lines[-1]) == list(lines[0])
