"""Thresholds per class for a target precision, and for costs."""

import numpy as np
import pytest

from textclf.stats.unsure import (
    COST,
    NEVER,
    OWN,
    POOLED,
    binomial_tail,
    class_thresholds,
    is_unsure,
    needed_texts,
    with_counts,
)
from textclf.stats.unsure_costs import cost_thresholds, mean_cost


def sample(seed, n=3000, classes=3):
    """Calibrated predictions: each is right with its confidence."""
    random = np.random.default_rng(seed)
    predicted = random.integers(classes, size=n)
    confidences = 1 - 0.6 * random.random(n) ** 3
    is_right = random.random(n) < confidences
    return np.where(is_right, predicted, (predicted + 1) % classes), predicted, confidences


def sure(predicted, confidences, chosen):
    probabilities = np.zeros((len(predicted), len(chosen)))
    probabilities[np.arange(len(predicted)), predicted] = confidences
    return ~np.array(is_unsure(predicted, probabilities, [item.threshold for item in chosen]))


@pytest.mark.parametrize("target", [0.9, 0.95, 0.98])
def test_new_predictions_reach_the_target_as_often_as_stated(target):
    new_labels, new_predicted, new_confidences = sample(10_000, n=10_000)
    reached, coverages = [], []
    for seed in range(40):
        labels, predicted, confidences = sample(seed, n=1000)
        is_sure = sure(new_predicted, new_confidences, class_thresholds(labels, predicted, confidences, 3, target))
        if is_sure.any():
            coverages.append(is_sure.mean())
            reached.append((new_labels == new_predicted)[is_sure].mean() >= target)
    # Of 40 runs, 80% are 32; three standard deviations fewer are 24.
    assert sum(reached) >= 24 * len(reached) / 40
    assert np.mean(coverages) > 0.2


@pytest.mark.parametrize("seed", range(5))
def test_the_shared_threshold_rises_with_the_target(seed):
    labels, predicted, confidences = sample(seed, n=600, classes=1)
    limits = []
    for target in (0.8, 0.9, 0.95, 0.97, 0.99):
        (found,) = class_thresholds(np.where(labels == 0, 0, 1), predicted, confidences, 1, target)
        limits.append(2 if found.threshold is None else found.threshold)
    assert limits == sorted(limits)


def test_a_class_that_misses_the_target_gets_a_threshold_of_its_own():
    # Class 1 is right above 0.9 only, class 2 has three predictions, class 3 is always wrong.
    predicted = np.repeat([0, 1, 1, 2, 3], [2000, 20, 20, 3, 4])
    confidences = np.repeat([0.8, 0.95, 0.85, 0.9, 0.99], [2000, 20, 20, 3, 4])
    labels = np.where((confidences == 0.85) | (predicted == 3), 0, predicted)
    first, second, third, fourth = class_thresholds(labels, predicted, confidences, 4, 0.95)
    assert first == (0.8, POOLED, 2000, 2000, 0)
    assert second == (0.95, OWN, 40, 20, 0)
    assert third == (0.8, POOLED, 3, 3, 0)
    assert fourth == (None, NEVER, 4, 0, 0)


def test_no_class_has_a_threshold_if_the_target_is_not_shown():
    nothing = np.zeros(0, np.int64)
    assert [item.basis for item in class_thresholds(nothing, nothing, nothing.astype(float), 2, 0.9)] == [NEVER, NEVER]
    labels, predicted = np.zeros(500, np.int64), np.ones(500, np.int64)
    assert class_thresholds(labels, predicted, np.full(500, 0.9), 2, 0.9)[1] == (None, NEVER, 500, 0, 0)


@pytest.mark.parametrize(("target", "errors", "texts"), [(0.98, 0, 80), (0.98, 1, 149), (0.9, 0, 16), (0.5, 0, 3)])
def test_the_number_of_predictions_that_shows_the_target(target, errors, texts):
    assert needed_texts(target, errors=errors) == texts
    assert binomial_tail(errors, texts, 1 - target) <= 0.2 < binomial_tail(errors, texts - 1, 1 - target)


def test_the_test_is_that_of_clopper_and_pearson():
    stats = pytest.importorskip("scipy.stats")
    for texts, errors in ((100, 0), (500, 4), (2000, 30)):
        bound = stats.beta.ppf(0.2, texts - errors, errors + 1)
        assert binomial_tail(errors, texts, 1 - bound) == pytest.approx(0.2, abs=1e-9)


def test_with_two_classes_the_cost_rule_is_that_of_chow():
    costs = np.array([[0, 4.0], [1.0, 0]])
    probabilities = np.stack([np.linspace(0, 1, 101), np.linspace(1, 0, 101)], axis=1)
    predicted = probabilities.argmax(axis=1)
    limits = cost_thresholds(predicted, probabilities, costs, 0.2)
    # 0.2 / 4 of the predictions of class 1 may be wrong, and 0.2 / 1 of those of class 0.
    assert limits == pytest.approx([0.8, 0.95])
    errors = 1 - probabilities[np.arange(101), predicted]
    assert ((errors * costs[1 - predicted, predicted] <= 0.2 + 1e-12) == ~np.array(
        is_unsure(predicted, probabilities, (limits - 1e-12).tolist())
    )).all()  # fmt: skip


def test_costs_of_three_classes_are_weighted_by_the_probable_errors():
    costs = np.array([[0, 1.0, 1.0], [9.0, 0, 1.0], [1.0, 1.0, 0]])
    probabilities = np.array([[0.6, 0.4, 0.0], [0.6, 0.2, 0.2]])
    limits = cost_thresholds(np.array([0, 0]), probabilities, costs, 0.4)
    # Of the errors of class 0, three in four are of class 1. Class 1 has no prediction.
    assert limits == pytest.approx([1 - 0.4 / 7, 0.6, 0.6])
    assert cost_thresholds(np.array([0, 0]), probabilities, costs, 8.0).tolist() == [0, 0, 0]


def test_thresholds_by_cost_are_cheaper_than_no_thresholds():
    labels, predicted, confidences = sample(3, n=5000, classes=2)
    probabilities = np.stack([confidences, 1 - confidences], axis=1)
    probabilities[predicted == 1] = probabilities[predicted == 1][:, ::-1]
    costs = np.array([[0, 5.0], [1.0, 0]])
    limits = cost_thresholds(predicted, probabilities, costs, 0.3)
    chosen = with_counts(limits.tolist(), labels, predicted, confidences)
    assert {item.basis for item in chosen} == {COST}
    is_sure = confidences >= limits[predicted]
    assert sum(item.sure for item in chosen) == is_sure.sum()
    every, none = np.ones(5000, bool), np.zeros(5000, bool)
    spent = [mean_cost(labels, predicted, which, costs, 0.3) for which in (is_sure, every, none)]
    assert spent[2] == pytest.approx(0.3)
    assert spent[0] < min(spent[1:])
