"""The permutation test of the maximum mean discrepancy: against the definition, with ties, under the null."""

import itertools

import numpy as np
import pytest
from scipy.stats import binom

from textclf.errors import InputError
from textclf.stats.drift_tests.mmd import mmd_test
from textclf.stats.drift_tests.permutations import choices, permutation_p


def by_definition(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """The squared MMD by Lemma 6 of Gretton et al., and the share of what samples without anything in common have."""
    pooled = np.concatenate([x, y])
    distances = ((pooled[:, None] - pooled) ** 2).sum(axis=2)
    kernel = np.exp(-distances / np.median(distances[np.triu_indices(len(pooled), 1)]))
    n, m = len(x), len(y)
    within = [(part.sum() - len(part)) / (len(part) * (len(part) - 1)) for part in (kernel[:n, :n], kernel[n:, n:])]
    squared = sum(within) - 2 * kernel[:n, n:].sum() / (n * m)
    return squared, np.sqrt(max(squared, 0) / sum(within))


class TestChoices:
    def test_each_line_chooses_as_many_and_blocks_are_bounded(self):
        blocks = list(choices(30, 7, 500, np.random.default_rng(0), block=64))
        assert [len(block) for block in blocks] == [64] * 7 + [52]
        lines = np.concatenate(blocks)
        assert (lines.sum(axis=1) == 7).all()
        # Each row is chosen 500 x 7 / 30 = 117 times, give or take 9.5.
        assert np.abs(lines.sum(axis=0) - 117).max() < 45

    def test_p_counts_the_observed_one(self):
        assert permutation_p(3.0, np.array([1.0, 3.0, 5.0])) == 3 / 4
        assert permutation_p(9.0, np.zeros(1999)) == 1 / 2000


class TestMmd:
    @pytest.mark.parametrize(("n", "m", "shift"), [(60, 60, 0.0), (200, 31, 0.5), (25, 180, 2.0)])
    def test_is_the_definition(self, n, m, shift):
        rng = np.random.default_rng(5)
        x, y = rng.normal(size=(n, 6)), rng.normal(shift, 1, size=(m, 6))
        squared, effect = by_definition(x, y)
        found = mmd_test(x, y, 99, rng)
        assert found.squared == pytest.approx(squared, abs=1e-6)
        assert found.effect == pytest.approx(effect, abs=1e-3)

    def test_p_is_that_of_all_permutations(self):
        rng = np.random.default_rng(6)
        x, y = rng.normal(size=(5, 2)), rng.normal(1.0, 1, size=(4, 2))
        pooled = np.concatenate([x, y])
        observed = by_definition(x, y)[0]
        permuted = []
        for chosen in itertools.combinations(range(9), 5):
            rest = [i for i in range(9) if i not in chosen]
            permuted.append(by_definition(pooled[list(chosen)], pooled[rest])[0])
        exact = np.mean(np.array(permuted) >= observed - 1e-9)
        # A standard error of .003.
        assert mmd_test(x, y, 20_000, rng).p == pytest.approx(exact, abs=0.012)

    @pytest.mark.statistics
    @pytest.mark.parametrize(("n", "m"), [(40, 40), (150, 20)])
    def test_keeps_its_level_with_ties(self, n, m):
        rng = np.random.default_rng(7)
        runs = 200
        p_values = np.array(
            [
                mmd_test(rng.integers(0, 3, (n, 2)).astype(float), rng.integers(0, 3, (m, 2)).astype(float), 99, rng).p
                for _ in range(runs)
            ]
        )
        for alpha in (0.05, 0.2):
            assert np.sum(p_values <= alpha) <= binom.ppf(0.999, runs, alpha)
        assert np.sum(p_values <= 0.2) >= binom.ppf(0.001, runs, 0.2)

    @pytest.mark.parametrize("share", [0.1, 0.3])
    def test_the_effect_is_the_share_of_texts_that_are_new(self, share):
        rng = np.random.default_rng(8)
        # Points that hardly spread: the kernel within is 1, and 0 between.
        x, y = rng.normal(0, 1e-3, (600, 4)), rng.normal(0, 1e-3, (600, 4))
        y[: int(share * 600)] += np.where(np.arange(4) == 0, 1, 0)
        x[:300] += np.where(np.arange(4) == 1, 1, 0)
        y[300:] += np.where(np.arange(4) == 1, 1, 0)
        assert mmd_test(x, y, 99, rng).effect == pytest.approx(share, rel=0.35)

    def test_samples_without_anything_in_common(self):
        rng = np.random.default_rng(9)
        found = mmd_test(rng.normal(0, 1, (50, 3)), rng.normal(1000, 1, (150, 3)), 999, rng)
        assert found.p == 1 / 1000
        assert found.effect == pytest.approx(1, abs=1e-3)

    def test_finds_a_change_that_no_mean_shows(self):
        rng = np.random.default_rng(10)
        assert mmd_test(rng.normal(0, 1, (300, 3)), rng.normal(0, 2, (100, 3)), 999, rng).p == 1 / 1000

    @pytest.mark.parametrize("value", [0.0, 3.5, -1e30])
    def test_equal_vectors_are_no_drift(self, value):
        found = mmd_test(np.full((30, 2), value), np.full((20, 2), value), 99, np.random.default_rng(0))
        assert (found.squared, found.p, found.effect) == (0, 1, 0)

    def test_mostly_equal_vectors_can_differ(self):
        y = np.zeros((40, 2))
        y[:10] = 1
        found = mmd_test(np.zeros((60, 2)), y, 999, np.random.default_rng(0))
        assert found.p <= 0.005

    @pytest.mark.parametrize("scale", [1e-20, 1e20])
    def test_the_scale_does_not_matter(self, scale):
        rng = np.random.default_rng(11)
        x, y = rng.normal(size=(80, 4)), rng.normal(0.3, 1, size=(50, 4))
        one, other = (mmd_test(s * x, s * y, 199, np.random.default_rng(1)) for s in (1.0, scale))
        assert other.squared == pytest.approx(one.squared, abs=1e-6)
        assert other.p == pytest.approx(one.p, abs=0.011)

    def test_more_rows_than_the_median_is_taken_of(self):
        rng = np.random.default_rng(12)
        x, y = rng.normal(size=(900, 2)), rng.normal(0.5, 1, size=(300, 2))
        squared, effect = by_definition(x, y)
        found = mmd_test(x, y, 99, rng)
        assert found.squared == pytest.approx(squared, rel=0.1)
        assert found.effect == pytest.approx(effect, rel=0.1)

    @pytest.mark.parametrize(
        ("x", "y", "message"),
        [
            (np.zeros((5, 2)), np.zeros((5, 3)), "two vectors of one width"),
            (np.zeros((1, 2)), np.zeros((5, 2)), "two vectors of one width"),
            (np.zeros(5), np.zeros((5, 1)), "two vectors of one width"),
            (np.full((5, 2), np.nan), np.zeros((5, 2)), "finite vectors, got 10"),
        ],
    )
    def test_what_can_not_be_compared_is_refused(self, x, y, message):
        with pytest.raises(InputError, match=message):
            mmd_test(x, y, 99, np.random.default_rng(0))
