"""Estimated class shares and their interval."""

import numpy as np
import pytest

from textclf.errors import InputError
from textclf.stats.drift_tests.label_shift import MIN_SINGULAR_VALUE, bbse_prior


def predictions(counts: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Labels and predictions with so many texts of label (row) and prediction (column)."""
    table = np.array(counts)
    labels, predicted = np.indices(table.shape).reshape(2, -1)
    return np.repeat(labels, table.ravel()), np.repeat(predicted, table.ravel())


def test_recovers_a_prior_that_moved():
    labels, predicted = predictions([[90, 10], [20, 80]])
    # 30 % of class 0: predicted as 0 are .3 x .9 + .7 x .2 = 41 %.
    found = bbse_prior(labels, predicted, np.repeat([0, 1], [41, 59]), 2)
    assert found.reference == (0.5, 0.5)
    assert found.latest == pytest.approx((0.3, 0.7))


def test_what_falls_below_zero_is_none():
    labels, predicted = predictions([[90, 10], [20, 80]])
    assert bbse_prior(labels, predicted, np.ones(50, np.int64), 2).latest == pytest.approx((0, 1))


def test_a_class_without_labels_is_left_at_zero():
    labels, predicted = predictions([[90, 10], [20, 80]])
    found = bbse_prior(labels, predicted, np.repeat([0, 1], [41, 59]), 3)
    assert found.latest == pytest.approx((0.3, 0.7, 0))


def test_a_model_that_only_guesses_tells_nothing():
    labels, predicted = predictions([[52, 48], [48, 52]])
    assert bbse_prior(labels, predicted, np.repeat([0, 1], [41, 59]), 2).latest is None


def test_only_predictions_of_unknown_classes_tell_nothing():
    labels, predicted = predictions([[90, 10], [20, 80]])
    assert bbse_prior(labels, predicted, np.full(30, 2), 3).latest is None


@pytest.mark.parametrize(
    ("labels", "predicted", "latest"),
    [([0], [0, 1], [0]), ([], [], [0]), ([0], [0], []), ([0], [2], [0]), ([0], [-1], [0])],
)
def test_what_makes_no_sense_is_refused(labels, predicted, latest):
    with pytest.raises(InputError, match="expected"):
        bbse_prior(*(np.array(ids, np.int64) for ids in (labels, predicted, latest)), 2)


def test_the_interval_is_rogan_and_gladen_s_for_two_classes():
    labels, predicted = predictions([[900, 100], [200, 800]])
    found = bbse_prior(labels, predicted, np.repeat([0, 1], [410, 590]), 2)
    # q = (m - 0.2) / (0.9 - 0.2); its variance is that of m plus those of 0.9 and 0.2, weighted by q and 1 - q.
    variance = 0.41 * 0.59 / 1000 + 0.3**2 * 0.9 * 0.1 / 1000 + 0.7**2 * 0.2 * 0.8 / 1000
    half = 1.96 * np.sqrt(variance) / 0.7
    assert (found.latest_low[0], found.latest_high[0]) == pytest.approx((0.3 - half, 0.3 + half), abs=1e-3)
    assert found.latest_low[1] == pytest.approx(1 - found.latest_high[0])


def test_the_interval_contains_the_estimate_and_stays_in_0_to_1():
    labels, predicted = predictions([[90, 10], [20, 80]])
    found = bbse_prior(labels, predicted, np.ones(50, np.int64), 2)
    assert (found.latest, found.latest_low[0], found.latest_high[1]) == ((0, 1), 0, 1)
    assert found.latest_low[1] < 1
    assert found.latest_high[0] > 0


def test_no_confusion_at_all_still_has_an_interval():
    labels, predicted = predictions([[30, 0], [0, 30]])
    found = bbse_prior(labels, predicted, np.zeros(40, np.int64), 2)
    assert found.latest == (1, 0)
    assert 0.9 < found.latest_low[0] < 1


def test_a_class_without_labels_may_have_any_share():
    labels, predicted = predictions([[90, 10], [20, 80]])
    found = bbse_prior(labels, predicted, np.repeat([0, 1], [41, 59]), 3)
    assert (found.latest_low[2], found.latest_high[2]) == (0, 1)


def test_a_model_that_guesses_has_the_reason_in_the_singular_value():
    labels, predicted = predictions([[52, 48], [48, 52]])
    found = bbse_prior(labels, predicted, np.repeat([0, 1], [41, 59]), 2)
    assert found.latest_low is found.latest_high is None
    # The matrix has the singular values 1 and 0.52 - 0.48.
    assert found.singular_value == pytest.approx(0.04)
    assert found.singular_value < MIN_SINGULAR_VALUE


@pytest.mark.statistics
@pytest.mark.parametrize(("classes", "accuracy", "held_out", "latest"), [(2, 0.85, 1000, 300), (4, 0.8, 400, 200)])
def test_95_percent_intervals_cover_95_percent(classes, accuracy, held_out, latest):
    rng = np.random.default_rng(11)
    runs, covered = 400, []
    for share in (1 / classes, 0.7, 0.95):
        prior = np.full(classes, (1 - share) / (classes - 1))
        prior[0] = share
        for _ in range(runs):
            labels = rng.integers(0, classes, held_out)
            new = rng.choice(classes, latest, p=prior)
            predicted, of_new = (
                np.where(rng.random(len(ids)) < accuracy, ids, (ids + rng.integers(1, classes, len(ids))) % classes)
                for ids in (labels, new)
            )
            found = bbse_prior(labels, predicted, of_new, classes)
            covered.append((np.array(found.latest_low) <= prior) & (prior <= np.array(found.latest_high)))
    assert 0.93 < np.mean(covered) < 0.98
