"""Bounds of a recall, and the numbers of texts that show it."""

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from textclf.stats.class_recall import min_texts_for_recall, recall_bounds, texts_for_recall


@pytest.mark.parametrize(("right", "n"), [(0, 5), (3, 5), (5, 5), (9, 10), (41, 120), (0, 1), (1, 1)])
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_the_bounds_are_those_of_scipy(right, n, alpha):
    interval = binomtest(right, n).proportion_ci(1 - 2 * alpha, method="exact")
    assert recall_bounds(right, n, alpha) == pytest.approx((interval.low, interval.high), abs=1e-12)


def test_without_texts_nothing_is_known():
    assert recall_bounds(0, 0, 0.05) == (0.0, 1.0)


@pytest.mark.parametrize("minimum", [0.0, 0.3, 0.5, 0.8, 0.95])
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_so_many_texts_suffice_and_one_less_does_not(minimum, alpha):
    n = min_texts_for_recall(minimum, alpha)
    assert recall_bounds(n, n, alpha)[0] >= minimum
    assert n == 1 or recall_bounds(n - 1, n - 1, alpha)[0] < minimum


def test_five_texts_can_show_half_and_nine_of_ten():
    assert min_texts_for_recall(0.5, 0.05) == 5
    assert recall_bounds(8, 10, 0.05)[0] < 0.5 <= recall_bounds(9, 10, 0.05)[0]


@pytest.mark.parametrize("recall", [0.5, 0.8])
def test_the_level_holds_for_any_number_of_texts(recall):
    for n in range(1, 80):
        shown = [recall_bounds(right, n, 0.05)[0] >= recall for right in range(n + 1)]
        assert binom.pmf(np.arange(n + 1), n, recall)[shown].sum() <= 0.05


@pytest.mark.parametrize(("recall", "minimum"), [(0.7, 0.5), (0.9, 0.5), (0.85, 0.8)])
def test_as_many_texts_as_are_called_for_give_the_power(recall, minimum):
    n = texts_for_recall(recall, minimum, 0.05, 0.8)
    shown = np.array([recall_bounds(right, n, 0.05)[0] >= minimum for right in range(n + 1)])
    assert binom.pmf(np.arange(n + 1), n, recall)[shown].sum() == pytest.approx(0.8, abs=0.08)


def test_no_number_of_texts_shows_more_than_there_is():
    assert texts_for_recall(0.5, 0.5, 0.05, 0.8) is None
    assert texts_for_recall(0.2, 0.5, 0.05, 0.8) is None
