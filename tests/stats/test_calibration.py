"""Softmax, temperature, reliability bins: against values worked out by hand and simulated labels."""

import numpy as np
import pytest

from textclf.errors import InputError
from textclf.stats.calibration import (
    TEMPERATURE_BOUNDS,
    TEMPERATURE_PRIOR,
    check_probabilities,
    error_of_bins,
    expected_calibration_error,
    fit_temperature,
    reliability_bins,
    softmax,
)


class TestSoftmax:
    def test_golden_values(self):
        # log 1, log 3, log 6 are in the ratio 1 : 3 : 6.
        np.testing.assert_allclose(softmax(np.log([[1.0, 3.0, 6.0]])), [[0.1, 0.3, 0.6]], atol=1e-15)

    def test_a_temperature_of_two_takes_the_square_root_of_the_odds(self):
        np.testing.assert_allclose(softmax([np.log(9.0), 0.0], temperature=2.0), [0.75, 0.25], atol=1e-15)

    def test_huge_logits_neither_overflow_nor_become_nan(self):
        np.testing.assert_array_equal(softmax([[1e5, 0.0], [-1e5, 0.0]]), [[1.0, 0.0], [0.0, 1.0]])

    def test_single_precision_logits_give_double_precision(self):
        assert softmax(np.zeros((2, 3), np.float32)).dtype == np.float64

    @pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
    def test_a_temperature_that_makes_no_sense_is_refused(self, temperature):
        with pytest.raises(InputError, match="temperature above 0"):
            softmax([[0.0, 1.0]], temperature)


class TestFitTemperature:
    @pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
    @pytest.mark.parametrize("classes", [2, 5])
    def test_recovers_the_temperature_that_labels_were_drawn_with(self, temperature, classes):
        rng = np.random.default_rng(7)
        logits = rng.normal(scale=3.0, size=(40_000, classes))
        uniform = rng.random((len(logits), 1))
        labels = (softmax(logits, temperature).cumsum(axis=1) < uniform).sum(axis=1)
        # The estimate's standard error is about 1 % here; 4 % is four of them.
        assert fit_temperature(logits, labels) == pytest.approx(temperature, rel=0.04)

    def test_golden_value_where_prior_and_labels_agree(self):
        # Three of four are right with logits ±log 3: the best probability is 3/4, which is that of T = 1.
        assert fit_temperature([[0.0, np.log(3.0)]] * 4, [1, 1, 1, 0]) == pytest.approx(1.0, abs=1e-4)

    @pytest.mark.parametrize("repeats", [1, 3, 50])
    def test_the_posterior_has_no_slope_at_the_temperature(self, repeats):
        # Three of four are right with logits ±m, repeated r times. With x = m / T, u = log T and deviation s the
        # negative log-posterior is 3 r log(1 + exp(-x)) + r log(1 + exp(x)) + u²/2s²; its derivative by u is
        # r x (3 - 4 sigmoid(x)) + u/s².
        temperature = fit_temperature([[0.0, np.log(9.0)]] * 4 * repeats, [1, 1, 1, 0] * repeats)
        x = np.log(9.0) / temperature
        slope = repeats * x * (3 - 4 / (1 + np.exp(-x))) + np.log(temperature) / TEMPERATURE_PRIOR**2
        assert 1.1 < temperature < 2.0
        # The second derivative is about 4 + r: a search exact to 1e-5 leaves a slope of at most 1e-3.
        assert slope == pytest.approx(0.0, abs=1e-3)

    def test_with_more_texts_the_prior_fades(self):
        # The likelihood alone has its peak where 9 ** (1 / T) = 3, at T = 2.
        few, some, many = (
            fit_temperature([[0.0, np.log(9.0)]] * 4 * repeats, [1, 1, 1, 0] * repeats) for repeats in (1, 20, 2000)
        )
        assert few < some < many
        assert many == pytest.approx(2.0, rel=2e-3)

    def test_scaling_many_logits_scales_the_temperature(self):
        rng = np.random.default_rng(0)
        logits = rng.normal(size=(50_000, 3))
        labels = np.where(rng.random(50_000) < 0.6, logits.argmax(axis=1), rng.integers(0, 3, 50_000))
        # The prior, which knows the scale, still weighs a thousandth.
        assert fit_temperature(logits * 4, labels) == pytest.approx(4 * fit_temperature(logits, labels), rel=2e-3)

    def test_a_few_texts_all_right_make_it_only_a_little_bolder(self):
        two, forty = (fit_temperature(np.eye(2)[[0, 1] * n], [0, 1] * n) for n in (1, 20))
        # With s = 1 / T the slope is zero where s sigmoid(-s) = 2 log s for two texts: s = 1.148.
        assert two == pytest.approx(1 / 1.148, abs=1e-3)
        assert TEMPERATURE_BOUNDS[0] < 0.2 < forty < two

    def test_a_few_texts_all_wrong_make_it_more_modest(self):
        two, forty = (fit_temperature(np.eye(2)[[0, 1] * n], [1, 0] * n) for n in (1, 20))
        assert 1.0 < two < forty < TEMPERATURE_BOUNDS[1]

    def test_the_search_ends_at_its_bounds(self):
        n = 10_000  # Enough to outweigh the prior.
        right = fit_temperature(np.eye(2)[np.zeros(n, int)] * 0.05, np.zeros(n, int))
        assert right == pytest.approx(TEMPERATURE_BOUNDS[0], rel=1e-3)

    @pytest.mark.parametrize(("logits", "labels"), [([], []), (np.empty((0, 2)), []), (np.zeros((3, 2)), [0, 1, 1])])
    def test_nothing_to_learn_from_leaves_one(self, logits, labels):
        assert fit_temperature(logits, labels) == 1.0

    def test_logits_that_are_not_finite_are_refused(self):
        with pytest.raises(InputError, match="finite logits"):
            fit_temperature([[np.inf, 0.0]], [0])


class TestReliabilityBins:
    # Confidences .9, .8, .6, .6 in five bins of .2; right, wrong, right, wrong.
    PROBABILITIES = ((0.9, 0.1), (0.2, 0.8), (0.4, 0.6), (0.6, 0.4))
    LABELS = (0, 0, 1, 1)

    def test_golden_values(self):
        bins = reliability_bins(self.PROBABILITIES, self.LABELS, bins=5)
        # A bin is open below and closed above: .6 belongs to (.4, .6], .8 to (.6, .8].
        assert bins.count.tolist() == [0, 0, 2, 1, 1]
        np.testing.assert_allclose(bins.confidence, [0, 0, 0.6, 0.8, 0.9], atol=1e-12)
        np.testing.assert_allclose(bins.accuracy, [0, 0, 0.5, 0.0, 1.0], atol=1e-12)

    def test_expected_calibration_error_golden_value(self):
        # (2 · |.5 - .6| + 1 · |0 - .8| + 1 · |1 - .9|) / 4 = 1.1 / 4
        assert expected_calibration_error(self.PROBABILITIES, self.LABELS, bins=5) == pytest.approx(0.275, abs=1e-12)
        assert error_of_bins(reliability_bins(self.PROBABILITIES, self.LABELS, 5)) == pytest.approx(0.275, abs=1e-12)

    def test_one_bin_compares_the_means(self):
        assert expected_calibration_error(self.PROBABILITIES, self.LABELS, bins=1) == pytest.approx(0.725 - 0.5)

    def test_certain_and_right_is_perfect(self):
        assert expected_calibration_error(np.eye(3), [0, 1, 2]) == 0.0

    def test_certain_and_wrong_is_the_worst(self):
        assert expected_calibration_error(np.eye(3), [1, 2, 0]) == 1.0

    def test_fitting_the_temperature_lowers_the_error_of_an_overconfident_model(self):
        rng = np.random.default_rng(1)
        logits = rng.normal(scale=4.0, size=(5000, 2))
        labels = (softmax(logits, 3.0)[:, 1] > rng.random(5000)).astype(int)
        before = expected_calibration_error(softmax(logits), labels)
        after = expected_calibration_error(softmax(logits, fit_temperature(logits, labels)), labels)
        assert before > 0.1
        assert after < 0.03

    def test_no_bins_are_refused(self):
        with pytest.raises(InputError, match="at least one bin"):
            reliability_bins(self.PROBABILITIES, self.LABELS, bins=0)


class TestCheckProbabilities:
    def test_half_precision_is_accepted_and_its_values_are_kept(self):
        rng = np.random.default_rng(0)
        half = softmax(rng.normal(size=(200, 7))).astype(np.float16)
        values, _ = check_probabilities(half, np.zeros(200, int))
        np.testing.assert_array_equal(values, half)

    @pytest.mark.parametrize(
        ("probabilities", "labels", "message"),
        [
            ([0.5, 0.5], [0], r"shape \[texts, classes\]"),
            ([[1.0]], [0], "two classes"),
            (np.empty((0, 2)), [], "with a text"),
            ([[0.5, 0.5]], [0, 1], "1 whole numbers"),
            ([[0.5, 0.5]], [0.0], "whole numbers"),
            ([[0.5, 0.5]], [True], "whole numbers"),
            ([[0.5, 0.5]], [2], r"labels in 0 … 1, got 2"),
            ([[0.5, 0.5]], [-1], "labels in 0 … 1"),
            ([[float("nan"), 0.5]], [0], "finite"),
            ([[1.2, -0.2]], [0], r"in \[0, 1\]"),
            ([[2.0, -1.0]], [0], r"in \[0, 1\]"),
            ([[0.5, 0.5], [0.3, 0.3]], [0, 0], "adds up to 0.6"),
        ],
    )
    def test_what_is_not_probabilities_and_labels_is_refused(self, probabilities, labels, message):
        with pytest.raises(InputError, match=message):
            check_probabilities(probabilities, labels)
