"""Weights of classes that make each class count the same."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def inverse_frequencies(labels: NDArray[np.integer[Any]], classes: int) -> NDArray[np.float64]:
    """Weight n / (K * count) of each class, float [K]; 0 for a class without texts."""
    counts = np.bincount(labels, minlength=classes)
    return np.asarray(np.where(counts > 0, len(labels) / (classes * np.maximum(counts, 1)), 0.0))
