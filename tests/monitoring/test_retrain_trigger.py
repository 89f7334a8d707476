"""A retraining that monitoring starts by itself: how it ended is kept, and which labels it has used up."""

import dataclasses
import os
import signal
import subprocess
import sys

import pytest
from serving_stack import ROOT, wait_for

from textclf.drift.audit_run import AuditRun
from textclf.drift.state import RetrainTry, read_state, update_state
from textclf.errors import TrainingError
from textclf.monitoring.retrain_policy import RetrainPolicy
from textclf.monitoring.retrain_trigger import retrain_if_due
from textclf.retrain_outcome import RetrainOutcome

NOW = 1.8e9
HOUR = 3600.0
DAYS_LATER = NOW + 72 * HOUR


@pytest.fixture
def retrain(tmp_path, capsys):
    """Gives what is said; the process ends with `status`."""

    def retrain(status, fingerprint="a", labels=250, now=NOW):
        command = [sys.executable, "-c", f"raise SystemExit({status})"]
        retrain_if_due(tmp_path, fingerprint, labels, command, RetrainPolicy(200, 24 * HOUR), now)
        return capsys.readouterr().out

    return retrain


@pytest.mark.parametrize(
    ("status", "outcome", "said"),
    [
        (0, RetrainOutcome.PROMOTED, "the retrained model was promoted"),
        (3, RetrainOutcome.REJECTED, "the retrained model was rejected"),
        (7, RetrainOutcome.NOTHING, "found nothing new to train on"),
    ],
)
def test_what_came_to_an_end_has_used_the_labels_up(tmp_path, retrain, status, outcome, said):
    assert said in retrain(status)
    assert read_state(tmp_path).last_retrain == RetrainTry(NOW, outcome, "a", 250)
    assert "no retraining: the last one was" in retrain(status, "b", 500, NOW + HOUR)
    assert "the labelled data has not changed" in retrain(status, now=DAYS_LATER)
    assert "there are 50 labelled texts" in retrain(status, "b", 300, DAYS_LATER)
    assert said in retrain(status, "b", 450, DAYS_LATER)


def test_what_could_not_be_decided_has_used_no_labels_up(tmp_path, retrain):
    assert "no model was promoted: too few texts to decide" in retrain(4)
    assert read_state(tmp_path).last_retrain == RetrainTry(NOW, RetrainOutcome.INCONCLUSIVE, "a", 0)
    assert "no retraining: the last one was" in retrain(0, "b", 251, NOW + HOUR)
    # The same labels would give the same; one more label is enough for another try.
    assert "the labelled data has not changed" in retrain(0, now=DAYS_LATER)
    assert "was rejected" in retrain(3, "b", 251, DAYS_LATER)
    assert "no model was promoted" in retrain(4, "c", 451, DAYS_LATER + 72 * HOUR)
    assert read_state(tmp_path).last_retrain.labels == 251


def test_a_model_that_was_held_back_has_used_no_labels_up(tmp_path, retrain):
    assert "promotion is on hold, or another version became current" in retrain(6)
    assert read_state(tmp_path).last_retrain == RetrainTry(NOW, RetrainOutcome.HELD)
    assert "no retraining: the last one was" in retrain(0, now=NOW + HOUR)
    assert "was promoted" in retrain(0, now=DAYS_LATER)
    # What one before has used up, stays so.
    retrain(6, "b", 500, DAYS_LATER + 72 * HOUR)
    assert read_state(tmp_path).last_retrain == RetrainTry(DAYS_LATER + 72 * HOUR, RetrainOutcome.HELD, "a", 250)


@pytest.mark.parametrize(("status", "restarts"), [(0, True), (3, True), (4, False), (5, False), (6, False), (7, False)])
def test_a_decision_of_the_gate_starts_the_cusum_of_audits_again(tmp_path, retrain, status, restarts):
    runs = {"v": AuditRun(80, 1000, 0.1, audits=300, errors=30, height=9.0, risen_audits=80, risen_errors=20)}
    update_state(tmp_path, lambda state: dataclasses.replace(state, audit_runs=runs))
    retrain(status)
    assert read_state(tmp_path).audit_runs == ({} if restarts else runs)


@pytest.mark.parametrize("status", [1, 2, 8, -9])
def test_one_that_fails_is_an_error_and_has_used_no_labels_up(tmp_path, retrain, status):
    with pytest.raises(TrainingError, match="the retraining failed"):
        retrain(status)
    assert read_state(tmp_path).last_retrain == RetrainTry(NOW, RetrainOutcome.FAILED)
    assert "no retraining: the last one was" in retrain(0)
    assert "was promoted" in retrain(0, now=DAYS_LATER)


def test_another_one_that_runs_is_no_try(tmp_path, retrain):
    before = RetrainTry(NOW - 72 * HOUR, RetrainOutcome.REJECTED, "z", 10)
    update_state(tmp_path, lambda state: dataclasses.replace(state, last_retrain=before))
    assert "another one of this store is running" in retrain(5)
    assert read_state(tmp_path).last_retrain == before


_INTERRUPTED = """
import signal, sys
from pathlib import Path
from textclf.monitoring.retrain_trigger import retrain_if_due
from textclf.monitoring.retrain_policy import RetrainPolicy

# Also where this was started in the background, which ignores it.
signal.signal(signal.SIGINT, signal.default_int_handler)
child = (
    "import os, time; open('started.new', 'w').write(str(os.getpid())); os.rename('started.new', 'started')\\n"
    "time.sleep(60)"
)
try:
    retrain_if_due(Path(), "a", 250, [sys.executable, "-c", child], RetrainPolicy(), float(sys.argv[1]))
except KeyboardInterrupt:
    print("interrupted")
"""


def test_what_ends_monitoring_ends_the_retraining_and_counts_as_no_try(tmp_path):
    """In a process of its own: a signal that comes a moment late must not reach the one that runs the tests."""
    process = subprocess.Popen(
        [sys.executable, "-c", _INTERRUPTED, str(NOW)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        started = tmp_path / "started"
        wait_for(lambda: started.exists() or process.poll() is not None, 60)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait(60)
    assert (process.returncode, out.splitlines()[-1]) == (0, "interrupted")
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text(encoding="utf-8")), 0)
    assert read_state(tmp_path).last_retrain is None
