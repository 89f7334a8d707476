"""Selective classification: the error rate if only the most confident predictions are used.

R. El-Yaniv and Y. Wiener, "On the foundations of noise-free selective classification", JMLR 11 (2010) 1605-1641.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Coverage(NamedTuple):
    """The texts with at least this confidence, and the errors among them."""

    confidence: float
    texts: int
    errors: int


def coverage_curve(confidences: NDArray[np.floating[Any]], is_right: NDArray[np.bool_]) -> list[Coverage]:
    """A Coverage for each distinct confidence, the highest first; the last one has all texts.

    Args:
        confidences: probability of the predicted class, [n].
        is_right: whether the prediction is the label, [n].
    """
    order = np.argsort(-confidences, kind="stable")
    values, errors = confidences[order], np.cumsum(~is_right[order])
    # The end of each run of equal confidences: a threshold takes all of them or none.
    is_end = np.append(values[1:] != values[:-1], [True] * min(1, len(values)))
    return [Coverage(float(values[end]), int(end) + 1, int(errors[end])) for end in np.flatnonzero(is_end)]


def largest_coverage(curve: Sequence[Coverage], max_error: float) -> Coverage | None:
    """The Coverage with the most texts whose error rate is at most `max_error`; None if there is none."""
    within = [point for point in curve if point.errors <= max_error * point.texts]
    return within[-1] if within else None
