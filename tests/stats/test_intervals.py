"""Intervals of shares and of macro F1."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from textclf.stats.intervals import macro_f1_interval, wilson_interval


def test_wilson_by_hand():
    # 8 of 10, z = 1.96: centre (0.8 + 0.19208) / 1.38416, half 1.96 sqrt(0.016 + 0.0096040) / 1.38416.
    low, high = wilson_interval(8, 10)
    half = 1.96 * math.sqrt(0.016 + 0.009604) / 1.38416
    assert low == pytest.approx(0.99208 / 1.38416 - half, abs=1e-4)
    assert high == pytest.approx(0.99208 / 1.38416 + half, abs=1e-4)
    assert (low, high) == pytest.approx((0.4902, 0.9433), abs=1e-4)


@pytest.mark.parametrize(("successes", "n"), [(0, 1), (1, 1), (0, 50), (50, 50), (1, 2), (137, 200), (4999, 5000)])
def test_wilson_is_that_of_scipy(successes, n):
    expected = binomtest(successes, n).proportion_ci(0.95, method="wilson")
    assert wilson_interval(successes, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_without_a_trial_nothing_is_known():
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_macro_f1_by_hand():
    # F1 of the classes: 2 * 40 / (50 + 50) and 2 * 40 / (50 + 50), both 0.8.
    value, low, high = macro_f1_interval(np.array([[40, 10], [10, 40]]))
    assert value == pytest.approx(0.8)
    # Both sums are 1, so the slopes are (2 - 1.6) / 2 = 0.2 on the diagonal and -0.8 at the errors. The variance is
    # (0.8 * 0.04 + 0.2 * 0.64) / 100 = 0.8 * 0.2 / 100, that of the accuracy, so the interval is Wilson's.
    assert (low, high) == pytest.approx(wilson_interval(80, 100))


def test_macro_f1_of_unequal_classes_by_hand():
    # Shares 0.5, 0.1 / 0.1, 0.3; sums 1.2 and 0.8; F1 5/6 and 3/4.
    matrix = np.array([[50, 10], [10, 30]])
    f1 = 5 / 6, 3 / 4
    slopes = [(1 - f1[0]) / 1.2, -(f1[0] / 1.2 + f1[1] / 0.8) / 2, (1 - f1[1]) / 0.8]
    mean = 0.5 * slopes[0] + 0.2 * slopes[1] + 0.3 * slopes[2]
    variance = (0.5 * slopes[0] ** 2 + 0.2 * slopes[1] ** 2 + 0.3 * slopes[2] ** 2 - mean**2) / 100
    value, low, high = macro_f1_interval(matrix)
    assert value == pytest.approx(19 / 24)
    effective = min(4 / (1 / 60 + 1 / 40), value * (1 - value) / variance)
    assert (low, high) == pytest.approx(wilson_interval(value * effective, effective))


def test_the_interval_is_not_empty_if_all_are_right():
    value, low, high = macro_f1_interval(np.diag([30, 30]))
    assert (value, high) == (1.0, 1.0)
    assert low == pytest.approx(wilson_interval(60, 60)[0])
    # With one small class, its ten texts decide.
    assert macro_f1_interval(np.diag([990, 10]))[1] < wilson_interval(40, 40)[0]


def test_classes_that_do_not_occur_do_not_count():
    padded = np.zeros((3, 3), int)
    padded[:2, :2] = [[40, 10], [10, 40]]
    assert macro_f1_interval(padded) == macro_f1_interval(padded[:2, :2])
    assert macro_f1_interval(np.zeros((2, 2), int)) == (0.0, 0.0, 1.0)


@pytest.mark.parametrize(("classes", "n"), [(2, 60), (2, 400), (6, 300)])
def test_the_interval_covers_the_true_value(classes, n):
    random = np.random.default_rng(classes)
    shares = np.full((classes, classes), 0.12 / (classes - 1) / classes)
    shares[np.diag_indices(classes)] = 0.88 / classes
    covered = 0
    for _ in range(1000):
        _, low, high = macro_f1_interval(random.multinomial(n, shares.ravel()).reshape(classes, classes))
        covered += low <= 0.88 <= high
    assert 930 <= covered <= 980  # Five standard errors below 95%, and not much too wide.


@pytest.mark.parametrize(
    ("class_shares", "n", "lowest", "highest"),
    [
        ((0.95, 0.05), 200, 930, 990),  # Ten texts of the small class.
        ((0.9, 0.05, 0.02, 0.01, 0.01, 0.01), 1000, 930, 990),
        # The limit that the docstring states: one text of each of three classes.
        ((0.9, 0.05, 0.02, 0.01, 0.01, 0.01), 100, 850, 920),
    ],
)
def test_the_interval_of_uneven_classes(class_shares, n, lowest, highest):
    random = np.random.default_rng(0)
    prior = np.array(class_shares)
    shares = 0.9 * np.diag(prior) + 0.1 * np.outer(prior, prior)  # One text in ten has a random prediction.
    true = np.mean(np.diag(shares) / prior)
    covered = 0
    for _ in range(1000):
        counts = random.multinomial(n, shares.ravel()).reshape(shares.shape)
        _, low, high = macro_f1_interval(counts)
        covered += low <= true <= high
    assert lowest <= covered <= highest
