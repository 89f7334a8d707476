"""Informative texts: uncertain, disputed, unusual, and unlike each other."""

import dataclasses

import numpy as np
from random_features import random_features

from textclf.data.labelling.informative import STAGES_DISAGREE, UNCERTAIN, choose_informative
from textclf.drift.features import TokenCounts


def features_of(words, margins, disagreements=None):
    """Texts of two classes with these wordpieces and differences of the logits."""
    logits = np.array([[0, margin] for margin in margins], np.float32)
    return dataclasses.replace(
        random_features(len(words)),
        words=TokenCounts.of_ids(words),
        logits=logits,
        disagreements=None if disagreements is None else np.array(disagreements, np.float32),
    )


def positions(choices):
    return [choice.position for choice in choices]


def test_uncertain_texts_come_first():
    features = features_of([[1], [2], [3], [4]], [3.0, 0.1, -9.0, -1.0])
    choices = choose_informative(features, [None] * 4, 4)
    assert positions(choices) == [1, 3, 0, 2]
    assert [choice.reasons for choice in choices] == [(UNCERTAIN,), (UNCERTAIN,), (), ()]
    assert choose_informative(features, [None] * 4, 1, temperature=100.0)[0].reasons == (UNCERTAIN,)


def test_disputed_and_unusual_texts_come_before_certain_ones():
    features = features_of([[1], [2], [3]], [9.0, 9.0, 9.0], [np.nan, 1, 0])
    choices = choose_informative(features, [None, None, "unknown_words"], 3)
    assert positions(choices)[2] == 0
    assert {choice.reasons for choice in choices} == {(STAGES_DISAGREE,), ("unknown_words",), ()}


def test_a_copy_of_a_chosen_text_comes_last():
    words = [[5, 6, 7], [5, 6, 7], [8, 9]]
    assert positions(choose_informative(features_of(words, [0.0, 0.01, 2.0]), [None] * 3, 3)) == [0, 2, 1]


def test_texts_without_words_and_fewer_than_wanted():
    assert sorted(positions(choose_informative(features_of([[], [], [1]], [1.0, 2.0, 3.0]), [None] * 3, 9))) == [
        0,
        1,
        2,
    ]


def test_choices_of_a_pool_are_diverse_rather_than_copies():
    """Forty copies of one uncertain text, and forty different ones that are almost as uncertain."""
    words = [[1, 2, 3]] * 40 + [[100 + 3 * at, 101 + 3 * at, 102 + 3 * at] for at in range(40)]
    margins = [0.0] * 40 + [0.3] * 40
    chosen = positions(choose_informative(features_of(words, margins), [None] * 80, 20))
    assert sum(at < 40 for at in chosen) == 1
