"""Predictions of two models for the same texts: in one order of classes, whatever order each has."""

import numpy as np
import pytest
from word_backend import WordBackend

from textclf.retraining.comparison import model_predictions, pair_predictions, sure_counts, with_sure_counts
from textclf.runtime.predictor import Predictor
from textclf.stats.gate import GateDecision

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


def test_sure_predictions_are_counted_and_decide_nothing():
    names, labels = ("bad", "good"), np.array([1, 0, 1])
    plain = model_predictions(model(names), TEXTS, names)
    # The class bad is always unsure.
    careful = model_predictions(model(names, unsure_below=(None, 0.5)), TEXTS, names)
    assert (plain.is_sure, careful.predicted.tolist()) == (None, plain.predicted.tolist())
    assert careful.is_sure.tolist() == (careful.predicted == 1).tolist()
    counts = {"champion": sure_counts(labels, plain), "challenger": sure_counts(labels, careful)}
    assert counts["champion"] is None
    right = int(((careful.predicted == 1) & (labels == 1)).sum())
    sure = int((careful.predicted == 1).sum())
    assert counts["challenger"] == {"texts": 3, "sure": sure, "errors": sure - right}
    decision = GateDecision("promote", ("no condition is against it",), {"golden": {}}, {})
    found = with_sure_counts(decision, counts)
    assert (found.verdict, found.figures) == ("promote", {"golden": {}, "unsure": counts})
    assert found.reasons[:-1] == decision.reasons
    assert found.reasons[-1].startswith(
        "not part of the gate: champion has no thresholds of unsure predictions; challenger is sure of "
    )
    assert with_sure_counts(decision, {"champion": None, "challenger": None}) is decision
