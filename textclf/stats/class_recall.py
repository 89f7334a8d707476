"""Recall of a class on n texts: score bounds (Wilson 1927), and the number of texts that shows a minimum."""

import math

from scipy.stats import norm


def recall_bounds(right: int, n: int, alpha: float) -> tuple[float, float]:
    """One-sided lower and upper 1 - alpha confidence bounds of a recall, in [0, 1].

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927) 209-212.
    Without texts the bounds are 0 and 1.
    """
    if n == 0:
        return 0.0, 1.0
    z = float(norm.ppf(1 - alpha))
    share = right / n
    center = share + z * z / (2 * n)
    width = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (center - width) / scale), min(1.0, (center + width) / scale)


def min_texts_for_recall(minimum: float, alpha: float) -> int:
    """Smallest number of texts that can show this recall, if all are predicted correctly; at least 1."""
    z = float(norm.ppf(1 - alpha))
    return max(1, math.ceil(z * z * minimum / (1 - minimum) - 1e-9))


def texts_for_recall(recall: float, minimum: float, alpha: float, power: float) -> int | None:
    """Number of texts that shows a recall above `minimum` with this power, if `recall` is the true one.

    None if no number does: the recall is not above the minimum.
    """
    if recall <= minimum:
        return None
    z_alpha, z_power = float(norm.ppf(1 - alpha)), float(norm.ppf(power))
    spread = z_alpha * math.sqrt(minimum * (1 - minimum)) + z_power * math.sqrt(recall * (1 - recall))
    return max(min_texts_for_recall(minimum, alpha), math.ceil((spread / (recall - minimum)) ** 2))
