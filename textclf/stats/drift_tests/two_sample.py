"""Two-sample tests of numbers, rates and classes: were both samples drawn from one distribution?"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textclf.stats.drift_tests.permutations import permutation_p

# Minimum expected count of a class for the chi-square distribution. W. G. Cochran, "Some methods for strengthening the
# common chi-square tests", Biometrics 10 (1954), asks for 5, which is enough at a level of 0.05. After the correction
# for other tests, the level here is around 0.001: with 5, false alarms are up to 1.8 times too common; with 20, 1.15.
_MIN_EXPECTED = 20
# Statistics of equally distant tables differ in the last digits, because they are summed in another order.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class KsResult:
    """A Kolmogorov-Smirnov test.

    Attributes:
        distance: largest difference of the two cumulative distributions, in [0, 1]. It is at most the total
            variation, and so at most the share of the texts that changed.
        p: two-sided p-value.
        column: tested column.
    """

    distance: float
    p: float
    column: int = 0


@dataclass(frozen=True)
class ClassResult:
    """A chi-square test of class counts.

    Attributes:
        statistic: Pearson's chi-square.
        p: p-value by the chi-square distribution, or by permutations.
        variation: total variation of the two class mixes: half the sum of the absolute differences, in [0, 1].
    """

    statistic: float
    p: float
    variation: float


@dataclass(frozen=True)
class RateResult:
    """Fisher's exact test of two rates: two-sided p-value, and second rate minus first rate."""

    p: float
    change: float


def rate_test(x: NDArray[np.bool_], y: NDArray[np.bool_]) -> RateResult:
    """Compare the shares of True in x [n] and y [m], both not empty: Fisher's exact test, two-sided."""
    from scipy.stats import fisher_exact

    held = int(x.sum()), int(y.sum())
    result = fisher_exact([[held[0], len(x) - held[0]], [held[1], len(y) - held[1]]])
    return RateResult(float(result.pvalue), held[1] / len(y) - held[0] / len(x))


def ks_test(x: NDArray[Any], y: NDArray[Any]) -> KsResult:
    """Compare x [n] with y [m]: scipy.stats.ks_2samp with its defaults.

    Up to 10,000 values a side, it counts lattice paths in a few milliseconds (J. L. Hodges, "The significance
    probability of the Smirnov two-sample test", Arkiv för Matematik 3, 1958). That p-value is exact; with 100 against
    100 values the asymptotic one is up to a fifth too small. Ties make the test conservative.
    """
    from scipy.stats import ks_2samp

    result = ks_2samp(x, y)
    return KsResult(float(result.statistic), float(result.pvalue))


def ks_test_of_columns(x: NDArray[Any], y: NDArray[Any]) -> KsResult:
    """Compare every column of x [n, K] with that of y [m, K]; return the clearest, its p times K (Bonferroni)."""
    from scipy.stats import ks_2samp

    # All columns have the same number of values, so the largest distance has the smallest p.
    distances = [ks_2samp(x[:, k], y[:, k], method="asymp").statistic for k in range(x.shape[1])]
    column = int(np.argmax(distances))
    result = ks_test(x[:, column], y[:, column])
    return KsResult(result.distance, min(1.0, result.p * x.shape[1]), column)


def class_shares(classes: NDArray[np.integer[Any]], class_count: int) -> NDArray[np.float64]:
    """The share of each class id in a sample that is not empty, float64 [K]."""
    return np.bincount(classes, minlength=class_count) / len(classes)


def class_test(
    x: NDArray[np.integer[Any]],
    y: NDArray[np.integer[Any]],
    class_count: int,
    permutations: int,
    rng: np.random.Generator,
) -> ClassResult:
    """Compare the class ids x [n] with y [m]: Pearson's chi-square test of homogeneity.

    If fewer than 20 texts of a class are expected in a sample, the p-value is by permutations: the class counts of a
    random choice of n of the n + m texts have a multivariate hypergeometric distribution.
    """
    from scipy.stats import chi2_contingency

    variation = float(np.abs(class_shares(x, class_count) - class_shares(y, class_count)).sum() / 2)
    table = np.stack([np.bincount(x, minlength=class_count), np.bincount(y, minlength=class_count)])  # [2, K]
    table = table[:, table.sum(axis=0) > 0]
    if table.shape[1] < 2:
        return ClassResult(0.0, 1.0, variation)
    result = chi2_contingency(table, correction=False)
    if result.expected_freq.min() >= _MIN_EXPECTED:
        return ClassResult(float(result.statistic), float(result.pvalue), variation)
    of_class, of_sample = table.sum(axis=0), table.sum(axis=1)
    drawn = rng.multivariate_hypergeometric(of_class, of_sample[1], size=permutations, method="marginals")  # [P, K]
    # Both rows of a table differ from the expected ones by the same counts, so one row gives the statistic.
    weights = (1 / result.expected_freq).sum(axis=0)  # [K]
    permuted = ((drawn - result.expected_freq[1]) ** 2 * weights).sum(axis=1)  # [P]
    p = permutation_p(float(result.statistic), permuted, tolerance=_ROUNDING * float(result.statistic))
    return ClassResult(float(result.statistic), p, variation)
