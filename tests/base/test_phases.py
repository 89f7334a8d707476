"""Announcements of phases."""

import subprocess
import sys

import pytest

from textclf.phases import announce, announce_tensorflow, rough_duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "5 s"),
        (6, "5 s"),
        (8, "10 s"),
        (87, "85 s"),
        (90, "2 min"),
        (3600, "60 min"),
        (5399, "90 min"),
        (5400, "2 h"),
    ],
)
def test_durations_have_one_unit(seconds, text):
    assert rough_duration(seconds) == text


def test_a_long_phase_is_announced_on_stderr(capsys):
    announce("exporting the engine", 31)
    assert capsys.readouterr() == ("", "exporting the engine: about 30 s …\n")


def test_a_short_phase_is_not_announced(capsys):
    announce("reading", 4.9)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("is_loaded", "line"), [(False, "loading TensorFlow: about 10 s …\n"), (True, "")])
def test_loading_tensorflow_is_announced_once(monkeypatch, capsys, is_loaded, line):
    monkeypatch.setattr(sys, "modules", {"tensorflow": None} if is_loaded else {})
    announce_tensorflow()
    assert capsys.readouterr().err == line


def test_a_missing_data_set_is_found_before_tensorflow_is_loaded():
    code = (
        "import sys, train_model\n"
        "try: train_model.Training(dataset_path='nowhere').compile()\n"
        "except Exception as error: print(error)\n"
        "print('tensorflow' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.startswith("nowhere: no such file or folder")
    assert found.stdout.splitlines()[-1] == "False"
    assert "TensorFlow" not in found.stderr


@pytest.mark.slow
def test_a_report_says_that_it_loads_tensorflow(tmp_path):
    rows = [f"{label} {i},{label}" for label in ("neg", "pos") for i in range(20)]
    (tmp_path / "train.csv").write_text("\n".join(["text,label", *rows, ""]))
    command = [sys.executable, "initializing.py", "report", str(tmp_path / "train.csv")]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stderr.splitlines()[0] == "loading TensorFlow: about 10 s …"
