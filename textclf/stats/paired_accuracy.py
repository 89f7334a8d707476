"""Two classifiers on the same n texts: bounds of the difference in accuracy, a test, and sample sizes.

`losses` counts the texts that only the first classifier has right, `gains` those that only the second has right. The
difference is (gains - losses) / n.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import binom, norm

_STEP = 1e-12
# Counts outside these tails of their distribution do not change a power.
_TAIL = 1e-9
# Above it, Connor's approximation is accurate, and the exact power takes seconds.
_MAX_EXACT = 1_000_000

Counts = NDArray[np.integer[Any]] | int


def tango_lower_bound(losses: int, gains: int, n: int, alpha: float = 0.05) -> float:
    """One-sided lower 1 - alpha confidence bound of the difference, in [-1, 1].

    The score interval of T. Tango, "Equivalence test and confidence interval for the difference in proportions for
    the paired-sample design", Statistics in Medicine 17 (1998) 891-908: the smallest difference that the score test
    does not reject. It keeps its level if few texts differ, and is below 0 if none does.
    """
    z = float(norm.ppf(1 - alpha))
    difference = (gains - losses) / n
    if difference == -1:
        return -1.0

    def excess(delta: float) -> float:
        """(Score statistic at `delta` - z) * its standard error."""
        return float(_excess(losses, gains, n, delta, z))

    # If no text differs, the standard error is 0 at the difference itself, which is not the bound.
    return float(brentq(excess, -1.0, difference - _STEP, xtol=_STEP))


def upper_bound(losses: int, gains: int, n: int, alpha: float = 0.05) -> float:
    """One-sided upper 1 - alpha confidence bound of the difference, in [-1, 1]: see tango_lower_bound."""
    return -tango_lower_bound(gains, losses, n, alpha)


def is_within_margin(losses: Counts, gains: Counts, n: int, margin: float, alpha: float) -> NDArray[np.bool_]:
    """Whether tango_lower_bound is at least -margin, for each pair of counts; both broadcast to the result's shape."""
    return np.asarray(_excess(losses, gains, n, -margin, float(norm.ppf(1 - alpha))) >= 0)


def _excess(losses: Counts, gains: Counts, n: int, delta: float, z: float) -> NDArray[np.float64]:
    """(Score statistic of the difference `delta` - z) * its standard error."""
    return np.asarray(gains - losses - n * delta - z * _standard_error(losses, gains, n, delta))


def _standard_error(losses: Counts, gains: Counts, n: int, delta: float) -> NDArray[np.float64]:
    """Standard error of gains - losses if the difference is `delta`, with the likeliest share of losses.

    Tango 1998, section 3.
    """
    linear = -np.asarray(gains + losses) + (2 * n - gains + losses) * delta
    constant = -losses * delta * (1 - delta)
    share = (np.sqrt(np.maximum(linear * linear - 8 * n * constant, 0.0)) - linear) / (4 * n)
    return np.asarray(np.sqrt(np.maximum(n * (2 * share + delta * (1 - delta)), 0.0)))


def mcnemar_p(losses: int, gains: int) -> float:
    """One-sided p-value of the exact test that the second is no worse: P(at least `losses` of losses + gains).

    Q. McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
    Psychometrika 12 (1947) 153-157, with the exact binomial distribution.
    """
    return float(binom.sf(losses - 1, losses + gains, 0.5))


def p_worse(losses: int, gains: int, n: int, margin: float = 0.0) -> float:
    """One-sided p-value of the test that the second is worse by at most `margin`.

    mcnemar_p without a margin. With one, Tango's score test, which is for hundreds of texts.
    """
    if margin == 0:
        return mcnemar_p(losses, gains)
    error = float(_standard_error(losses, gains, n, -margin))
    return float(norm.cdf((gains - losses + n * margin) / error)) if error else 1.0


def gains_for_margin(n: int, margin: float, alpha: float) -> int | None:
    """Smallest gain (gains - losses) with which n texts can lift the lower bound to -margin; None if none can.

    A loss raises the standard error, so the smallest gain is one without a loss.
    """
    within = np.flatnonzero(is_within_margin(0, np.arange(n + 1), n, margin, alpha))
    return int(within[0]) if len(within) else None


def texts_for_margin(losses: int, gains: int, n: int, margin: float, alpha: float, power: float) -> int | None:
    """Number of texts with which the lower bound is at least -margin with this power; None if no number does.

    Assumes the observed share of differing texts, and the observed difference or 0, whichever is lower. The power is
    computed with the exact distribution of both counts. From a million texts on, the number is
    (z_alpha + z_power)^2 share / margin^2 (R. J. Connor, "Sample size for testing differences in proportions for the
    paired-sample design", Biometrics 43 (1987) 207-211, with a margin instead of 0).
    """
    share, difference = (losses + gains) / n, min(0.0, (gains - losses) / n)
    distance = margin + difference
    if distance <= 0:
        return None
    z_alpha, z_power = float(norm.ppf(1 - alpha)), float(norm.ppf(power))
    approximate = math.ceil((z_alpha + z_power) ** 2 * (share - difference**2) / distance**2)
    if approximate > _MAX_EXACT:
        return approximate
    shares = (share - difference) / 2, (share + difference) / 2

    def has_power(texts: int) -> bool:
        return _power_within_margin(*shares, texts, margin, alpha) >= power

    low, high = 0, max(approximate, 1)
    while not has_power(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if has_power(middle) else (middle, high)
    return high


def _power_within_margin(losses_share: float, gains_share: float, n: int, margin: float, alpha: float) -> float:
    """Probability of is_within_margin on n texts of which these shares are losses and gains."""
    low, high = (int(binom.ppf(tail, n, losses_share)) for tail in (_TAIL, 1 - _TAIL))
    losses = np.arange(max(low, 0), high + 1)
    # For each number of losses, the smallest number of gains by bisection; n - losses + 1 if none suffices.
    few, enough = np.full_like(losses, -1), n - losses + 1
    while (enough - few).max() > 1:
        middle = (few + enough) // 2
        is_enough = is_within_margin(losses, middle, n, margin, alpha)
        few, enough = np.where(is_enough, few, middle), np.where(is_enough, middle, enough)
    gains_share = min(1.0, gains_share / (1 - losses_share)) if losses_share < 1 else 0.0
    return float(np.sum(binom.pmf(losses, n, losses_share) * binom.sf(enough - 1, n - losses, gains_share)))


def texts_for_difference(losses: int, gains: int, n: int, alpha: float, power: float) -> int | None:
    """Number of texts that make the observed difference significant with this power (Connor 1987); None if it is 0."""
    share, difference = (losses + gains) / n, (gains - losses) / n
    if not difference:
        return None
    z_alpha, z_power = float(norm.ppf(1 - alpha)), float(norm.ppf(power))
    spread = z_alpha * math.sqrt(share) + z_power * math.sqrt(share - difference**2)
    return math.ceil((spread / difference) ** 2)
