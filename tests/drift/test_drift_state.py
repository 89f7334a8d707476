"""The state of monitoring: round trip, damage, and processes that change it at a time."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from textclf.drift.audit_run import AuditRun
from textclf.drift.state import (
    DAMAGED_FILE,
    DRIFT,
    MAX_WINDOWS,
    NO_DRIFT,
    NOT_ENOUGH_DATA,
    STATE_FILE,
    CheckSummary,
    DriftState,
    RetrainTry,
    Window,
    read_state,
    update_state,
)
from textclf.errors import ModelStoreError
from textclf.retrain_outcome import RetrainOutcome

ROOT = Path(__file__).parents[2]
RUN = AuditRun(80, 1000, 0.1, audits=120, errors=14, height=2.5, risen_audits=40, risen_errors=7)
FULL = DriftState(
    last_check=CheckSummary(
        1_700_000_000.5,
        "v2",
        DRIFT,
        "Drift: …",
        500,
        {"content": 0.9},
        {"content": 0.55},
        {"content": 0.001},
        ("content",),
    ),
    edge=1_700_000_000.0,
    windows=(Window(0.0, 10.0, "v1", NO_DRIFT, 200), Window(10.0, 30.0, "v2", DRIFT, 300)),
    failed_runs=3,
    last_retrain=RetrainTry(1_699_000_000.0, RetrainOutcome.PROMOTED, "ab" * 32, 1200),
    audited_since={"v2": 1_699_500_000.0},
    audit_runs={"v2": RUN},
)
RUN_VALUES = dataclasses.asdict(RUN)


def test_round_trip(tmp_path):
    assert read_state(tmp_path) == DriftState()
    assert update_state(tmp_path, lambda _: FULL) == FULL
    assert read_state(tmp_path) == FULL
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == [STATE_FILE]


def test_a_store_that_is_not_there_has_no_state(tmp_path):
    assert read_state(tmp_path / "missing") == DriftState()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", "expected JSON"),
        (b"\xff\xfe", "UTF-8"),
        (b"[]", "JSON object"),
        (b"null", "JSON object"),
        (b'{"format": 3}', "newer version"),
        (b'{"format": 1}', "expected the keys"),
        (b'{"format": true}', "JSON object"),
        (json.dumps({**FULL.to_dict(), "other": 1}).encode(), "expected the keys"),
        (json.dumps({**FULL.to_dict(), "edge": "noon"}).encode(), "edge"),
        (json.dumps({**FULL.to_dict(), "edge": float("nan")}).encode(), "edge"),
        (json.dumps({**FULL.to_dict(), "edge": 10**400}).encode(), "edge"),
        (json.dumps({**FULL.to_dict(), "edge": 9e99}).encode(), "edge"),
        (json.dumps({**FULL.to_dict(), "edge": -1.0}).encode(), "edge"),
        (json.dumps({**FULL.to_dict(), "audited_since": {"v2": 9e99}}).encode(), "audited_since"),
        (json.dumps({**FULL.to_dict(), "failed_runs": -1}).encode(), "failed_runs"),
        (json.dumps({**FULL.to_dict(), "audit_runs": [1]}).encode(), "expected the keys"),
        (json.dumps({**FULL.to_dict(), "audit_runs": {"v2": {"audits": 1}}}).encode(), "expected the keys"),
        (json.dumps({**FULL.to_dict(), "audit_runs": {"v2": {**RUN_VALUES, "height": -1.0}}}).encode(), "audit_runs"),
        (json.dumps({**FULL.to_dict(), "audit_runs": {"v2": {**RUN_VALUES, "audits": 150.5}}}).encode(), "audit_runs"),
        (json.dumps({**FULL.to_dict(), "audit_runs": {"v1": RUN_VALUES, "v2": RUN_VALUES}}).encode(), "audit_runs"),
        (json.dumps({**FULL.to_dict(), "failed_runs": 10**400}).encode(), "failed_runs"),
        (json.dumps({**FULL.to_dict(), "audited_since": {"v2": "noon"}}).encode(), "audited_since"),
        (json.dumps({**FULL.to_dict(), "windows": [5]}).encode(), "expected the keys"),
        (json.dumps({**FULL.to_dict(), "last_check": {"verdict": "?"}}).encode(), "expected the keys"),
        (json.dumps({**FULL.to_dict(), "last_retrain": {"time": 1, "outcome": "fine"}}).encode(), "outcome"),
    ],
)
def test_a_damaged_file_is_one_clear_error_and_stays(tmp_path, content, reason):
    path = tmp_path / STATE_FILE
    path.write_bytes(content)
    with pytest.raises(ModelStoreError, match=reason) as caught:
        read_state(tmp_path)
    assert str(path) in str(caught.value)
    with pytest.raises(ModelStoreError, match=reason):
        update_state(tmp_path, lambda state: state)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "make",
    [
        lambda: CheckSummary(1.0, "v", "maybe", "", 1),
        lambda: CheckSummary(1.0, "v", DRIFT, "", -1),
        lambda: CheckSummary(1.0, "v", DRIFT, "", 1, {"content": float("inf")}),
        lambda: Window(2.0, 1.0, "v", DRIFT, 1),
        lambda: Window(1.0, 2.0, "v", NOT_ENOUGH_DATA, 1),
        lambda: RetrainTry(1.0, "won"),
    ],
)
def test_what_makes_no_sense_is_refused(make):
    with pytest.raises(ModelStoreError, match="invalid value"):
        make()


def test_a_damaged_file_is_set_aside_if_that_is_asked_for(tmp_path):
    path = tmp_path / STATE_FILE
    path.write_bytes(b"{")
    with pytest.raises(ZeroDivisionError):
        update_state(tmp_path, lambda _: 1 / 0, sets_damaged_aside=True)
    assert path.read_bytes() == b"{"
    assert update_state(tmp_path, lambda state: state, sets_damaged_aside=True) == DriftState()
    assert (tmp_path / DAMAGED_FILE).read_bytes() == b"{"
    assert read_state(tmp_path) == DriftState()


def test_a_window_moves_the_edge_and_that_of_the_audits_only_if_these_were_tested():
    window = Window(30.0, 40.0, "v2", DRIFT, 100)
    later = dataclasses.replace(RUN, audits=180)
    state = FULL.with_window(window, None)
    assert (state.edge, state.windows[-1], state.audited_since) == (40.0, window, FULL.audited_since)
    assert state.audit_runs == FULL.audit_runs
    tested = FULL.with_window(window, later)
    assert (tested.audited_since, tested.audit_runs) == ({"v2": 40.0}, {"v2": later})
    other = FULL.with_window(dataclasses.replace(window, version="v3"), later)
    assert other.audited_since == {**FULL.audited_since, "v3": 40.0}
    for at in range(2 * MAX_WINDOWS):
        state = state.with_window(dataclasses.replace(window, version=f"v{at}"), later)
    assert len(state.windows) == len(state.audited_since) == MAX_WINDOWS
    assert len(state.audit_runs) == 1
    assert f"v{2 * MAX_WINDOWS - 1}" in state.audited_since


def test_a_window_of_another_version_ends_the_run():
    """After a promotion and a rollback, the first version starts again."""
    promoted = FULL.with_window(Window(30.0, 40.0, "v3", NO_DRIFT, 100), None)
    assert promoted.audit_runs == {}
    back = promoted.with_window(Window(40.0, 50.0, "v2", NO_DRIFT, 100), None)
    assert back.audit_runs == {}


def test_a_file_without_runs_is_read():
    values = FULL.to_dict()
    del values["audit_runs"]
    assert DriftState.from_dict(values) == dataclasses.replace(FULL, audit_runs={})


def test_a_change_that_fails_leaves_the_state(tmp_path):
    update_state(tmp_path, lambda _: FULL)
    with pytest.raises(ZeroDivisionError):
        update_state(tmp_path, lambda _: 1 / 0)
    assert read_state(tmp_path) == FULL


def test_changes_of_several_processes_are_all_kept(tmp_path):
    code = (
        "import dataclasses, sys; from textclf.drift.state import update_state\n"
        "for _ in range(10):\n"
        "    update_state(sys.argv[1], lambda s: dataclasses.replace(s, failed_runs=s.failed_runs + 1))\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT) for _ in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert read_state(tmp_path).failed_runs == 30
