"""Predictions of two models for the same texts: in one order of classes, whatever order each has."""

import numpy as np
import pytest
from word_backend import WordBackend

from textclf.retraining.comparison import model_predictions, pair_predictions
from textclf.runtime.predictor import Predictor

TEXTS = ("good film", "bad bad film today", "fair")


def model(class_names, counts=True, **options):
    return Predictor(WordBackend(class_names, counts), class_names, **options)


def test_the_order_of_a_model_s_own_classes_makes_no_difference():
    names = ("bad", "fair", "good")
    answers = [model_predictions(model(own), TEXTS, names) for own in (names, ("good", "bad", "fair"))]
    for one in answers:
        assert one.predicted.tolist() == [2, 0, 1]
        assert one.lengths.tolist() == [4, 6, 3]
    np.testing.assert_array_equal(answers[0].probabilities, answers[1].probabilities)
    assert answers[0].probabilities[1].tolist() == pytest.approx(np.exp([2, 0, 0]) / (2 + np.exp(2)))


def test_a_class_that_is_none_of_them_is_refused():
    with pytest.raises(ValueError, match="not in tuple"):
        model_predictions(model(("bad", "fine")), TEXTS, ("bad", "good"))


def test_each_decides_by_its_own_threshold_and_temperature():
    names = ("bad", "good")
    plain, careful = (
        model_predictions(model(names, **options), TEXTS[:2], names)
        for options in ({}, {"threshold": 0.9, "temperature": 2})
    )
    assert (plain.predicted.tolist(), careful.predicted.tolist()) == ([1, 0], [0, 0])
    both = pair_predictions(np.array([1, 0], np.int32), plain, careful)
    assert both.labels.dtype == np.int64
    assert both.champion_is_right.tolist() == [True, True]
    assert both.challenger_is_right.tolist() == [False, True]
    assert both.challenger_probabilities[0, 1] == pytest.approx(1 / (1 + np.exp(-0.5)))
    assert both.lengths.tolist() == [4, 6]
