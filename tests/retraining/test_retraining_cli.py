"""retraining.py rollback, history, promote and lift-hold, where TensorFlow is not installed."""

import json
import subprocess

import pytest
from serving_stack import ROOT, serving_python
from tiny_engine import write_version

from textclf.store.decision_log import DecisionLog
from textclf.store.model_store import ModelStore


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A store of two versions, the first of which is current."""
    store = tmp_path_factory.mktemp("store") / "model"
    for seed in (0, 1):
        write_version(store, seed=seed, promote=False)
    return ModelStore(store)


@pytest.fixture
def retraining(saved, tmp_path):
    """Runs the command line on `saved`, put back to how it was: exit status, stdout, stderr."""
    saved.promote(saved.version_ids()[0], expected_current=saved.current_id())
    for name in ("decisions.jsonl", "hold.json"):
        (saved.path / name).unlink(missing_ok=True)
    python = serving_python()

    def run(*arguments, status=0):
        command = [python, ROOT / "retraining.py", *arguments, "--model-dir", saved.path]
        result = subprocess.run(list(map(str, command)), cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert result.returncode == status, result.stderr
        assert "Traceback" not in result.stderr
        return result.stdout if status == 0 else result.stderr

    return run


def test_promote_roll_back_and_lift_the_hold(saved, retraining):
    first, second = saved.version_ids()
    assert retraining("promote", second) == f"{saved.path}: {second} is current (before: {first})\n"
    out = retraining("rollback", "--reason", "worse on short texts")
    assert out.startswith(f"{saved.path}: {first} is current again (before: {second})\nautomatic promotion is on hold")
    assert f"textclf versions lift-hold --model-dir {saved.path}" in out
    # A person may promote during a hold.
    retraining("promote", second)
    assert saved.current_id() == second
    history = retraining("history").splitlines()
    assert [line.split()[2] for line in history if " -> " in line] == ["promote_by_hand", "rollback", "promote_by_hand"]
    assert f"{second} -> {first}" in history[1]
    assert history[2] == "  worse on short texts"
    assert history[-2] == f"current: {second}"
    assert history[-1].startswith("on hold: worse on short texts (since ")
    assert "lifted the hold: worse on short texts" in retraining("lift-hold")
    assert retraining("lift-hold") == f"{saved.path}: there is no hold\n"


def test_history_as_json_is_the_log_and_damage_is_said(saved, retraining):
    first, second = saved.version_ids()
    assert retraining("history") == f"no decisions yet\ncurrent: {first}\n"
    log = DecisionLog(saved.path)
    log.append("inconclusive", champion=first, challenger=second, reasons=["few texts"], gate={"figures": {"p": 0.5}})
    log.append("reject", champion=first, challenger=second)
    assert [json.loads(line) for line in retraining("history", "--json").splitlines()] == log.entries()
    log.path.write_bytes(log.path.read_bytes().replace(b"few texts", b"no texts!"))
    error = retraining("history", status=1)
    assert error.startswith(f"warning: {log.path}, line 2: expected the SHA-256 of the line before it")
    log.path.write_bytes(b'{"time": 7, "action": "reject", "previous": null}\n' + b"\x00\xffnonsense\n" * 500)
    error = retraining("history", "--json", status=1)
    assert error.startswith(f"warning: {log.path}, line 1: not a whole decision")
    assert error.endswith(" (the first of 501 such lines)\n")
    assert error.count("\n") == 1


def test_a_reason_does_not_command_the_terminal(saved, retraining):
    retraining("promote", saved.version_ids()[1])
    retraining("rollback", "--reason", "worse\x1b[2J on\nümlauts")
    for arguments in (("history",), ("lift-hold",)):
        assert r"worse\x1b[2J on\nümlauts (since " in retraining(*arguments)


def test_what_can_not_be_done_is_one_line(saved, retraining):
    first, _ = saved.version_ids()
    for arguments, message in (
        (("rollback",), f"no version is known to have been current before {first}"),
        (("promote", "nonsense"), "no version 'nonsense'"),
    ):
        error = retraining(*arguments, status=1)
        assert error.startswith("error: ")
        assert message in error
        assert error.count("\n") == 1
    assert (saved.current_id(), DecisionLog(saved.path).entries()) == (first, [])
    assert not (saved.path / "hold.json").exists()


@pytest.mark.parametrize("command", ["history", "lift-hold"])
def test_no_store_is_one_line_and_nothing_is_made(tmp_path, command):
    script = [serving_python(), str(ROOT / "retraining.py"), command, "--model-dir", "none"]
    result = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert result.stderr.startswith(f"error: {tmp_path / 'none'}: expected a model store (a folder with versions/)")
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_retraining_itself_says_what_it_needs(retraining, tmp_path):
    error = retraining("run", "--old-dataset-path", tmp_path, status=1)
    assert error.startswith(
        "error: expected the packages of the extra `train`, found no tensorflow, tf_keras, datasketch; "
    )
    assert list(tmp_path.iterdir()) == []
