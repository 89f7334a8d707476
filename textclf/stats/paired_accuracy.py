"""Two classifiers on the same texts: bounds of the difference in accuracy, a test, and how many texts would tell.

Only the texts that one has right and the other wrong say anything: `losses`, which only the first has right, and
`gains`, which only the second has right, among n. The difference is (gains - losses) / n.
"""

import math

from scipy.optimize import brentq
from scipy.stats import binom, norm

_STEP = 1e-12


def tango_lower_bound(losses: int, gains: int, n: int, alpha: float = 0.05) -> float:
    """One-sided lower 1 - alpha confidence bound of the difference, in [-1, 1].

    The score interval of T. Tango, "Equivalence test and confidence interval for the difference in proportions for
    the paired-sample design", Statistics in Medicine 17 (1998) 891-908: the smallest difference that the score test
    does not refuse. It keeps its level where few texts differ, and is not [0, 0] where none does.
    """
    z = float(norm.ppf(1 - alpha))
    difference = (gains - losses) / n
    if difference == -1:
        return -1.0

    def excess(delta: float) -> float:
        """What the score statistic at `delta` has above z, times its standard error."""
        variance = n * (2 * _losses_share(losses, gains, n, delta) + delta * (1 - delta))
        return gains - losses - n * delta - z * math.sqrt(max(variance, 0.0))

    # Where no text differs the standard error is 0 at the difference itself, which is not the bound.
    return float(brentq(excess, -1.0, difference - _STEP, xtol=_STEP))


def upper_bound(losses: int, gains: int, n: int, alpha: float = 0.05) -> float:
    """One-sided upper 1 - alpha confidence bound of the difference, in [-1, 1]: see tango_lower_bound."""
    return -tango_lower_bound(gains, losses, n, alpha)


def _losses_share(losses: int, gains: int, n: int, delta: float) -> float:
    """The likeliest share of losses, given that the difference is `delta` (Tango 1998, section 3)."""
    linear = -gains - losses + (2 * n - gains + losses) * delta
    constant = -losses * delta * (1 - delta)
    return (math.sqrt(max(linear * linear - 8 * n * constant, 0.0)) - linear) / (4 * n)


def mcnemar_p(losses: int, gains: int) -> float:
    """p of the exact one-sided test that the second is no worse: so many losses or more among those that differ.

    Q. McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
    Psychometrika 12 (1947) 153-157, with the binomial distribution in place of its approximation.
    """
    return float(binom.sf(losses - 1, losses + gains, 0.5))


def texts_for_margin(losses: int, gains: int, n: int, margin: float, alpha: float, power: float) -> int | None:
    """How many texts lift the lower bound above -margin with that power; None if no number does.

    If as many differ as were seen, and the true difference is the one seen, or 0 if that was above it. For two equal
    models this is n = (z_alpha + z_power)^2 share / margin^2 (R. J. Connor, "Sample size for testing differences in
    proportions for the paired-sample design", Biometrics 43 (1987) 207-211, against a margin instead of 0).
    """
    share, difference = (losses + gains) / n, min(0.0, (gains - losses) / n)
    room = margin + difference
    if room <= 0:
        return None
    z_alpha, z_power = float(norm.ppf(1 - alpha)), float(norm.ppf(power))
    needed = (z_alpha + z_power) ** 2 * (share - difference**2) / room**2
    # Where no text differs the bound is -z^2 / (n + z^2).
    return math.ceil(max(needed, z_alpha**2 * (1 - margin) / margin))


def texts_for_difference(losses: int, gains: int, n: int, alpha: float, power: float) -> int | None:
    """How many texts make a difference like the one seen significant with that power (Connor 1987); None if it is 0."""
    share, difference = (losses + gains) / n, (gains - losses) / n
    if not difference:
        return None
    z_alpha, z_power = float(norm.ppf(1 - alpha)), float(norm.ppf(power))
    spread = z_alpha * math.sqrt(share) + z_power * math.sqrt(share - difference**2)
    return math.ceil((spread / difference) ** 2)
