"""Weights of classes that make each class count the same."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def inverse_frequencies(
    labels: NDArray[np.integer[Any]], classes: int, weights: NDArray[np.floating[Any]] | None = None
) -> NDArray[np.float64]:
    """Weight n / (K * count) of each class, float [K]; 0 for a class without texts.

    With `weights` of the texts, a count is the sum of the weights of a class, and n the sum of all.
    """
    counts = np.bincount(labels, weights, minlength=classes)
    return np.asarray(np.divide(counts.sum(), classes * counts, out=np.zeros(classes), where=counts > 0))
