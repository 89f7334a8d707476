"""Weights of texts in a loss, and weights of classes that make each class count the same."""

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


def loss_weights(
    labels: NDArray[np.integer[Any]],
    classes: int,
    weights: NDArray[np.floating[Any]] | None = None,
    class_weights: bool = False,
) -> NDArray[np.float64]:
    """How much each text counts in the loss, float [n]; the mean over all texts is 1.

    Args:
        labels: class ids, [n].
        classes: number of classes.
        weights: weight of each text, [n]; None if all count the same.
        class_weights: let each class count the same, with the weights of its texts.
    """
    of_texts = np.ones(len(labels)) if weights is None else weights / weights.mean()
    if class_weights:
        of_texts = of_texts * inverse_frequencies(labels, classes, of_texts)[labels]
    return np.asarray(of_texts)
