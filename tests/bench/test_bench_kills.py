"""The checks of bench.hardening.kills find what a kill may have lost or torn."""

import contextlib
import hashlib
import json
import sqlite3
from collections import Counter

import pytest

from bench.errors import BenchError
from bench.hardening.killed.file_checks import (
    check_drift,
    check_prediction_log,
    check_retraining,
    check_reviews,
    check_store,
    read_acks,
)
from bench.hardening.killed.tiny_data import reviews, write_table
from bench.hardening.kills import SHARES, Progress, scenario_of
from textclf.data.feedback_index import INDEX
from textclf.data.feedback_store import FeedbackStore
from textclf.data.prediction_log.log import LoggedPrediction, PredictionLog
from textclf.drift.state import NO_DRIFT, STATE_FILE, Window, update_state
from textclf.store.manifest import Manifest
from textclf.store.model_store import ModelStore
from textclf.store.promotion import Promotions


def test_a_round_depends_on_seed_and_number_only():
    names = list(SHARES)
    first = [(name, chance.random()) for name, chance in (scenario_of(3, number, names) for number in range(50))]
    again = [(name, chance.random()) for name, chance in (scenario_of(3, number, names) for number in range(50))]
    assert first == again
    counts = Counter(scenario_of(0, number, names)[0] for number in range(1000))
    assert counts.keys() == SHARES.keys()
    assert all(abs(counts[name] - SHARES[name]) < 60 for name in names)


def test_a_run_continues_with_its_own_seed_only(tmp_path):
    path = tmp_path / "progress.json"
    progress = Progress(1)
    progress.add("drift", 0.5, has_failed=True)
    path.write_text(json.dumps(vars(progress)))
    assert Progress.read(path, 1).failed == {"drift": 1}
    with pytest.raises(BenchError, match="--seed"):
        Progress.read(path, 2)


def test_half_a_line_is_no_acknowledgement(tmp_path):
    assert read_acks(tmp_path / "none") == []
    (tmp_path / "acks").write_text('{"a": 1}\n{"a": 2}\n')
    assert read_acks(tmp_path / "acks") == [{"a": 1}, {"a": 2}]


@pytest.fixture
def stored(tmp_path):
    """A folder with a review, and its acknowledgement."""
    text = f"the film was good {hashlib.sha256(b'the film was good').hexdigest()}"
    found = FeedbackStore(tmp_path, 2**30).save(text, "pos", ("neg", "pos"), "model", "web", True)
    ack = {"id": found, "text": text, "label": "pos", "source": "web", "audit": True}
    return tmp_path, tmp_path / "train" / "pos" / f"{found}.txt", ack


def test_reviews_that_are_whole_have_no_problem(stored):
    folder, _, ack = stored
    assert check_reviews(folder, [ack]) == []
    (folder / "train" / "pos" / ".x.0123456789abcdef.tmp").write_text("half a rev")
    assert check_reviews(folder, [ack]) == []


def test_lost_and_torn_reviews_are_found(stored):
    folder, path, ack = stored
    text = path.read_text()
    path.write_text(text[:-9])
    assert [problem.split(": ")[1] for problem in check_reviews(folder, [ack])] == [
        "an acknowledged review is lost or changed",
        "expected a whole review, found a torn one",
    ]
    path.unlink()
    assert "is lost" in check_reviews(folder, [ack])[0]
    path.write_text(text)
    assert "expected its label" in check_reviews(folder, [{**ack, "source": None}])[0]
    (folder / INDEX).unlink()
    assert "not in the index" in check_reviews(folder, [ack])[0]


def test_lost_rows_and_torn_batches_are_found(tmp_path):
    database = tmp_path / "log.sqlite"
    assert check_prediction_log(database, []) == []
    assert check_prediction_log(database, [{"label": "a", "rows": 1}]) != []
    log = PredictionLog(f"sqlite:///{database}")
    log.append([LoggedPrediction(1.0, "version", "a", b"x")] * 3)
    log.close()
    assert check_prediction_log(database, [{"label": "a", "rows": 3}]) == []
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("DELETE FROM textclf_predictions WHERE id = 1")
    (problem,) = check_prediction_log(database, [{"label": "a", "rows": 3}])
    assert "found 2" in problem
    database.write_bytes(database.read_bytes()[:5000])
    with pytest.raises(sqlite3.DatabaseError):
        check_prediction_log(database, [])


def save(store: ModelStore) -> str:
    encoder = dict.fromkeys(("model_name", "name_to_handle", "model_to_handle"), "tiny")
    with store.new_version() as draft:
        (draft.path / "engine").mkdir()
        (draft.path / "engine" / "model.xml").write_text("graph")
        draft.manifest = Manifest("tiny", ("neg", "pos"), encoder, 32, "head", 0.25, True)
    return draft.id


@pytest.fixture
def store(tmp_path):
    """A store with two versions, of which the second was promoted, and the acknowledgements."""
    first, second = save(ModelStore(tmp_path / "model")), save(ModelStore(tmp_path / "model"))
    Promotions(tmp_path / "model").move("promote", first, second, reasons=["because"])
    return tmp_path / "model", [{"saved": second}, {"action": "promote", "current": second}]


def test_a_sound_store_has_no_problem(store):
    path, acks = store
    assert check_store(path, acks) == []
    assert check_store(path, []) == []


def test_lost_versions_and_decisions_are_found(store):
    path, acks = store
    first, second = sorted(folder.name for folder in (path / "versions").iterdir())
    assert "is lost" in check_store(path, [{"saved": "20260101T000000000Z-000000"}])[0]
    assert "not in the log" in check_store(path, [*acks, {"action": "rollback", "current": first}])[0]
    (path / "current").write_text(f"{first}\n")
    assert "to be current" in check_store(path, acks)[0]
    (path / "current").write_text(f"{second}\n")
    (path / "decisions.jsonl").unlink()
    assert "not in the log" in check_store(path, acks)[0]


def test_torn_files_of_a_store_are_found(store):
    path, acks = store
    (path / "hold.json").write_text('{"reason": "other", "since": "x"}')
    assert "a hold" in check_store(path, acks)[0]
    (path / "hold.json").unlink()
    (file,) = (path / "versions" / acks[0]["saved"] / "engine").iterdir()
    file.write_text("torn")
    assert "SHA-256" in check_store(path, acks)[0]
    (path / "current").write_text("2026")
    assert "expected the id of a version" in check_store(path, acks)[0]


def test_torn_combined_data_and_lost_promotions_are_found(store, tmp_path):
    path, acks = store
    second = acks[0]["saved"]
    assert check_retraining(path, tmp_path, [{"status": 0, "current": second}]) == []
    assert "not in the log" in check_retraining(path, tmp_path, [{"status": 0, "current": "another"}])[0]
    (tmp_path / "combined" / "train" / "pos").mkdir(parents=True)
    assert check_retraining(path, tmp_path, []) != []
    (tmp_path / "combined").rename(tmp_path / ".combined.0123456789abcdef.tmp")
    assert check_retraining(path, tmp_path, []) == []
    (tmp_path / "runs" / "x").mkdir(parents=True)
    (tmp_path / "runs" / "x" / "progress.json").write_text('{"checkpoint')
    assert check_retraining(path, tmp_path, []) != []


def test_a_lost_window_is_found(tmp_path):
    window = Window(0.0, 3600.0, "version", NO_DRIFT, 200)
    update_state(tmp_path, lambda state: state.with_window(window, None))
    assert check_drift(tmp_path, [{"edge": 3600.0}]) == []
    assert len(check_drift(tmp_path, [{"edge": 7200.0}])) == 2
    assert "updates" in check_drift(tmp_path, [{"failed_runs": 5}])[0]
    (tmp_path / STATE_FILE).write_text('{"format": 1')
    assert "damaged" in check_drift(tmp_path, [])[0]


def test_the_tiny_texts_differ_and_can_be_read(tmp_path):
    rows = reviews(100, 1) + reviews(100, 2, new=True)
    assert len({text for text, _ in rows}) == 200
    write_table(tmp_path / "data" / "train.jsonl", rows)
    assert len((tmp_path / "data" / "train.jsonl").read_text().splitlines()) == 200
