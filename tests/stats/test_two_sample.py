"""Holm, Kolmogorov-Smirnov and chi-square: against scipy, against enumeration, and under the null."""

import numpy as np
import pytest
from scipy.stats import binom, chi2_contingency, hypergeom, ks_2samp

from textclf.errors import InputError
from textclf.stats.drift_tests.two_sample import class_test, ks_test, ks_test_of_columns
from textclf.stats.holm import holm


class TestHolm:
    def test_golden_values(self):
        # By hand: .005 x 4, .01 x 3, .03 x 2, and .04 x 1, which may not fall below the one before it.
        np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02], atol=1e-15)

    def test_nothing_exceeds_one(self):
        np.testing.assert_array_equal(holm([0.6, 0.9, 0.4]), [1, 1, 1])

    def test_one_test_is_not_corrected_and_none_gives_none(self):
        assert holm([0.03]).tolist() == [0.03]
        assert holm([]).tolist() == []

    @pytest.mark.parametrize("values", [[0.1, float("nan")], [-0.1], [1.1], [[0.1]]])
    def test_what_is_no_p_value_is_refused(self, values):
        with pytest.raises(InputError, match="p-values from 0 to 1"):
            holm(values)


class TestKs:
    @pytest.mark.parametrize(("n", "m"), [(100, 100), (500, 137), (5000, 300), (12_000, 400)])
    def test_is_scipys(self, n, m):
        rng = np.random.default_rng(n + m)
        x, y = rng.normal(size=n).round(2), rng.normal(0.1, 1.1, size=m).round(2)
        expected, found = ks_2samp(x, y), ks_test(x, y)
        assert (found.distance, found.p) == (expected.statistic, expected.pvalue)

    def test_the_clearest_column_stands_for_all(self):
        rng = np.random.default_rng(1)
        x, y = rng.normal(size=(400, 5)), rng.normal(size=(150, 5))
        y[:, 3] += 0.4
        found = ks_test_of_columns(x, y)
        p_values = [ks_2samp(x[:, k], y[:, k]).pvalue for k in range(5)]
        assert found.column == 3
        assert found.p == 5 * min(p_values)

    def test_equal_columns_give_one(self):
        x = np.zeros((200, 3))
        assert ks_test_of_columns(x, x[:100]) == ks_test_of_columns(x, x[100:])
        assert ks_test_of_columns(x, x[:100]).p == 1

    def test_samples_far_apart_do_not_warn(self):
        assert ks_test(np.zeros(5000), np.ones(5000)).p == 0


class TestClasses:
    def test_is_pearsons_where_all_classes_are_common(self):
        rng = np.random.default_rng(2)
        x, y = rng.choice(3, 900, p=[0.5, 0.3, 0.2]), rng.choice(3, 300, p=[0.4, 0.4, 0.2])
        found = class_test(x, y, 4, 99, rng)
        expected = chi2_contingency([np.bincount(x), np.bincount(y)], correction=False)
        assert (found.statistic, found.p) == (expected.statistic, expected.pvalue)
        shares = np.bincount(x) / 900, np.bincount(y) / 300
        assert found.variation == pytest.approx(np.maximum(shares[1] - shares[0], 0).sum())

    def test_permutations_agree_with_the_enumeration_of_all_tables(self):
        x, y = np.repeat([0, 1], [60, 6]), np.repeat([0, 1], [10, 4])
        found = class_test(x, y, 2, 200_000, np.random.default_rng(3))
        # Of 80 texts 10 are of class 1: how many of these fall among 14?
        drawn = np.arange(11)
        distances = np.abs(drawn - 14 * 10 / 80)
        exact = hypergeom.pmf(drawn, 80, 10, 14)[distances >= distances[4] - 1e-9].sum()
        # The standard error is 0.0005.
        assert found.p == pytest.approx(exact, abs=0.002)

    @pytest.mark.statistics
    def test_many_rare_classes_keep_the_level(self):
        """The chi-square distribution itself would be wrong here: 40 classes, 60 texts."""
        rng = np.random.default_rng(4)
        prior = rng.dirichlet(np.full(40, 0.3))
        runs = 300
        p_values = np.array(
            [class_test(rng.choice(40, 500, p=prior), rng.choice(40, 60, p=prior), 40, 199, rng).p for _ in range(runs)]
        )
        for alpha in (0.05, 0.2):
            assert np.sum(p_values <= alpha) <= binom.ppf(0.999, runs, alpha)
        # And it is not merely cautious.
        assert np.sum(p_values <= 0.2) >= binom.ppf(0.001, runs, 0.2)

    def test_one_class_everywhere_is_no_drift(self):
        found = class_test(np.full(200, 2), np.full(100, 2), 3, 99, np.random.default_rng(0))
        assert (found.statistic, found.p, found.variation) == (0, 1, 0)

    def test_a_class_that_appears_is_found(self):
        found = class_test(np.zeros(400, int), np.repeat([0, 1], [90, 10]), 50, 1999, np.random.default_rng(0))
        assert found.p == 1 / 2000
        assert found.variation == pytest.approx(0.1)
