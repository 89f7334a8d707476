"""Recall of a class on n texts: exact bounds (Clopper and Pearson 1934), and the number of texts for a minimum."""

import math


def recall_bounds(right: int, n: int, alpha: float) -> tuple[float, float]:
    """One-sided lower and upper 1 - alpha confidence bounds of a recall, in [0, 1].

    C. J. Clopper and E. S. Pearson, "The use of confidence or fiducial limits illustrated in the case of the binomial",
    Biometrika 26 (1934) 404-413. Each bound is wrong with a probability of at most alpha, for any number of texts.
    Without texts the bounds are 0 and 1.
    """
    from scipy.stats import beta

    lower = float(beta.ppf(alpha, right, n - right + 1)) if right else 0.0
    upper = float(beta.ppf(1 - alpha, right + 1, n - right)) if right < n else 1.0
    return lower, upper


def min_texts_for_recall(minimum: float, alpha: float) -> int:
    """Smallest number of texts that can show this recall, if all are predicted correctly; at least 1."""
    return math.ceil(max(1.0, math.log(alpha) / math.log(minimum) - 1e-9)) if minimum else 1


def texts_for_recall(recall: float, minimum: float, alpha: float, power: float) -> int | None:
    """Number of texts that shows a recall above `minimum` with about this power, if `recall` is the true one.

    None if no number does: the recall is not above the minimum. The normal approximation with its continuity
    correction (J. L. Fleiss, B. Levin and M. C. Paik, "Statistical methods for rates and proportions", 3rd ed. 2003).
    """
    if recall <= minimum:
        return None
    from scipy.stats import norm

    z_alpha, z_power = float(norm.ppf(1 - alpha)), float(norm.ppf(power))
    spread = z_alpha * math.sqrt(minimum * (1 - minimum)) + z_power * math.sqrt(recall * (1 - recall))
    distance = recall - minimum
    return max(min_texts_for_recall(minimum, alpha), math.ceil((spread / distance) ** 2 + 1 / distance))
