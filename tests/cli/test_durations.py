"""Spans of time as people write them."""

import pytest

from textclf.cli.durations import parse_duration
from textclf.errors import InputError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90m", 5400), ("6h", 21_600), ("7d", 604_800), ("2w", 1_209_600), ("30s", 30), ("0.5h", 1800), (" 1d ", 86_400)],
)
def test_units(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "7", "d", "7 d", "-1h", "0h", "1y", "7D", "1h30m", "1e3s", "٣h", "9" * 20 + "d"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(InputError, match="such as 6h or 7d"):
        parse_duration(text)
