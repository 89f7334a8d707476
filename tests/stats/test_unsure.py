"""Thresholds per class for a target precision."""

import numpy as np
import pytest

from textclf.stats.unsure import NEVER, OWN, POOLED, class_thresholds, is_unsure, needed_texts


def sample(seed, n=3000, classes=3):
    """Calibrated predictions: each is right with its confidence."""
    random = np.random.default_rng(seed)
    predicted = random.integers(classes, size=n)
    confidences = 1 - 0.6 * random.random(n) ** 3
    is_right = random.random(n) < confidences
    return np.where(is_right, predicted, (predicted + 1) % classes), predicted, confidences


def unsure(predicted, confidences, chosen):
    probabilities = np.zeros((len(predicted), len(chosen)))
    probabilities[np.arange(len(predicted)), predicted] = confidences
    return np.array(is_unsure(predicted, probabilities, [item.threshold for item in chosen]))


@pytest.mark.parametrize("target", [0.9, 0.95, 0.98])
def test_calibrated_predictions_reach_the_target(target):
    chosen = class_thresholds(*sample(1), 3, target)
    labels, predicted, confidences = sample(2, n=30_000)
    sure = ~unsure(predicted, confidences, chosen)
    assert sure.mean() > 0.2
    assert (labels == predicted)[sure].mean() > target - 0.01


@pytest.mark.parametrize("seed", range(10))
def test_thresholds_rise_with_the_target(seed):
    labels, predicted, confidences = sample(seed, n=600)
    rows = []
    for target in (0.8, 0.9, 0.95, 0.97, 0.99):
        chosen = class_thresholds(labels, predicted, confidences, 3, target)
        rows.append(unsure(predicted, confidences, chosen))
    for lower, higher, target in zip(rows, rows[1:], (0.9, 0.95, 0.97, 0.99), strict=False):
        if min(np.bincount(predicted, minlength=3)) >= needed_texts(target):
            assert not (lower & ~higher).any()


def test_a_small_class_gets_the_pooled_threshold_and_a_bad_one_none():
    labels = np.array([0] * 200 + [1] * 5 + [0] * 200)
    predicted = np.array([0] * 200 + [1] * 5 + [2] * 200)
    confidences = np.concatenate([np.full(200, 0.95), np.full(5, 0.9), np.full(200, 0.6)])
    good, small, bad = class_thresholds(labels, predicted, confidences, 3, 0.98)
    assert good == (0.95, OWN, 200, 200, 0)
    assert (small.threshold, small.basis, small.texts) == (0.9, POOLED, 5)
    assert bad == (None, NEVER, 200, 0, 0)


def test_no_class_has_a_threshold_without_texts():
    nothing = np.zeros(0, np.int64)
    assert [item.basis for item in class_thresholds(nothing, nothing, nothing.astype(float), 2, 0.9)] == [NEVER, NEVER]


@pytest.mark.parametrize(("target", "texts"), [(0.98, 80), (0.9, 16), (0.5, 3)])
def test_as_many_right_predictions_as_needed_show_the_target(target, texts):
    assert needed_texts(target) == texts
    for n, basis in ((texts, OWN), (texts - 1, NEVER)):
        ids = np.zeros(n, np.int64)
        assert class_thresholds(ids, ids, np.full(n, 0.9), 1, target)[0].basis == basis


def test_the_test_is_that_of_clopper_and_pearson():
    stats = pytest.importorskip("scipy.stats")
    from textclf.stats.unsure import _tail

    for texts, errors in ((100, 0), (500, 4), (2000, 30)):
        bound = stats.beta.ppf(0.2, texts - errors, errors + 1)
        assert _tail(errors, texts, 1 - bound) == pytest.approx(0.2, abs=1e-9)
