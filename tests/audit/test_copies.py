"""Equal and similar texts, contradictory labels, and texts that two parts share."""

import numpy as np
from labelled_texts import prose

from textclf.audit.copies import contradictions, find_copies, shared
from textclf.tokenization.text_key import TextKeys

TEXTS = [prose(number) for number in range(6)]
# Row 6 reads as row 0, row 7 is row 1 with another last word.
COPIES = [*TEXTS, f"  {TEXTS[0].upper()}\u00a0", f"{TEXTS[1].rsplit(maxsplit=1)[0]} different"]


def test_equal_and_similar_texts_are_groups():
    found = find_copies(COPIES, TextKeys())
    assert found.equal == ((0, 6),)
    assert found.similar == ((1, 7),)
    assert found.group_of.tolist() == [0, 1, 2, 3, 4, 5, 0, 1]


def test_a_similar_group_includes_equal_texts():
    found = find_copies([TEXTS[1], COPIES[7], TEXTS[1]], TextKeys())
    assert found.equal == ((0, 2),)
    assert found.similar == ((0, 1, 2),)


def test_contradictions_are_the_groups_with_several_labels():
    found = find_copies(COPIES, TextKeys())
    assert contradictions(found.equal, np.array([0, 0, 0, 0, 0, 0, 1, 1])) == [(0, 6)]
    assert contradictions(found.similar, np.array([0, 0, 0, 0, 0, 0, 1, 0])) == []


def test_leaks_count_each_text_of_the_later_part_once():
    parts = ["train"] * 6 + ["test"] * 2
    assert shared(find_copies(COPIES, TextKeys()), parts) == {("train", "test"): (1, 1)}
    both = [TEXTS[1], COPIES[7], TEXTS[1]]
    assert shared(find_copies(both, TextKeys()), ["train", "train", "test"]) == {("train", "test"): (1, 0)}
    assert shared(find_copies(TEXTS, TextKeys()), parts[:6]) == {}
