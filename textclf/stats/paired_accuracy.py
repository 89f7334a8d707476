"""Two classifiers on the same n texts: bounds of the difference in accuracy, a test, and sample sizes.

`losses` counts the texts that only the first classifier has right, `gains` those that only the second has right. The
difference is (gains - losses) / n.
"""

import math

from scipy.optimize import brentq
from scipy.stats import binom, norm

_STEP = 1e-12


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
        variance = n * (2 * _losses_share(losses, gains, n, delta) + delta * (1 - delta))
        return gains - losses - n * delta - z * math.sqrt(max(variance, 0.0))

    # If no text differs, the standard error is 0 at the difference itself, which is not the bound.
    return float(brentq(excess, -1.0, difference - _STEP, xtol=_STEP))


def upper_bound(losses: int, gains: int, n: int, alpha: float = 0.05) -> float:
    """One-sided upper 1 - alpha confidence bound of the difference, in [-1, 1]: see tango_lower_bound."""
    return -tango_lower_bound(gains, losses, n, alpha)


def _losses_share(losses: int, gains: int, n: int, delta: float) -> float:
    """Maximum likelihood share of losses if the difference is `delta` (Tango 1998, section 3)."""
    linear = -gains - losses + (2 * n - gains + losses) * delta
    constant = -losses * delta * (1 - delta)
    return (math.sqrt(max(linear * linear - 8 * n * constant, 0.0)) - linear) / (4 * n)


def mcnemar_p(losses: int, gains: int) -> float:
    """One-sided p-value of the exact test that the second is no worse: P(at least `losses` of losses + gains).

    Q. McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
    Psychometrika 12 (1947) 153-157, with the exact binomial distribution.
    """
    return float(binom.sf(losses - 1, losses + gains, 0.5))


def texts_for_margin(losses: int, gains: int, n: int, margin: float, alpha: float, power: float) -> int | None:
    """Number of texts that lift the lower bound above -margin with this power; None if no number does.

    Assumes the observed share of differing texts, and the observed difference or 0, whichever is lower. For equal
    models: n = (z_alpha + z_power)^2 share / margin^2 (R. J. Connor, "Sample size for testing differences in
    proportions for the paired-sample design", Biometrics 43 (1987) 207-211, with a margin instead of 0).
    """
    share, difference = (losses + gains) / n, min(0.0, (gains - losses) / n)
    distance = margin + difference
    if distance <= 0:
        return None
    z_alpha, z_power = float(norm.ppf(1 - alpha)), float(norm.ppf(power))
    needed = (z_alpha + z_power) ** 2 * (share - difference**2) / distance**2
    # If no text differs, the bound is -z^2 / (n + z^2).
    return math.ceil(max(needed, z_alpha**2 * (1 - margin) / margin))


def texts_for_difference(losses: int, gains: int, n: int, alpha: float, power: float) -> int | None:
    """Number of texts that make the observed difference significant with this power (Connor 1987); None if it is 0."""
    share, difference = (losses + gains) / n, (gains - losses) / n
    if not difference:
        return None
    z_alpha, z_power = float(norm.ppf(1 - alpha)), float(norm.ppf(power))
    spread = z_alpha * math.sqrt(share) + z_power * math.sqrt(share - difference**2)
    return math.ceil((spread / difference) ** 2)
