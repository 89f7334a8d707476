"""Texts of others can't change a terminal."""

from types import SimpleNamespace

import pytest

from textclf.explain.printable import printable
from textclf.explain.word_summary import WordSummary


@pytest.mark.parametrize("char", ["\x1b", "\x07", "\r", "\x9b", "\u202e", "\u202d", "\u2066", "\u2069", "\u2028"])
def test_control_characters_become_blanks(char):
    assert printable(f"good{char}film") == "good film"


@pytest.mark.parametrize("text", ["good\nfilm", "👩\u200d🚀", "❤\ufe0f", "\u05d8\u05d5\u05d1", "می\u200cخواهم"])
def test_other_characters_stay(text):
    assert printable(text) == text


def test_a_summary_has_no_control_characters():
    summary = WordSummary(["pos"])
    summary.add(SimpleNamespace(words=("good\u202efilm\x1b",), values=[[0.5]]))
    assert "for pos: good film  +0.500 (1)" in summary.described()
