"""Announcements of phases."""

import pytest

from textclf.phases import announce, rough_duration


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
