"""The confusion matrix of predicted classes, and its largest confusions."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Confusion(NamedTuple):
    """Number of `texts` of the class `true` that were predicted as the class `predicted`."""

    true: int
    predicted: int
    texts: int


def confusion_matrix(
    labels: NDArray[np.integer[Any]], predicted: NDArray[np.integer[Any]], classes: int
) -> NDArray[np.int64]:
    """Counts [K, K] of class ids: rows are true classes, columns are predicted ones."""
    cells = np.bincount(np.asarray(labels, np.int64) * classes + predicted, minlength=classes * classes)
    return cells.reshape(classes, classes).astype(np.int64)


def largest_confusions(matrix: NDArray[np.integer[Any]], max_pairs: int) -> list[Confusion]:
    """Up to `max_pairs` confusions with a text, the most frequent first; ties keep the order of the classes."""
    wrong = np.array(matrix)
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:max_pairs]
    pairs = zip(*np.unravel_index(order, wrong.shape), strict=True)
    found = [Confusion(int(row), int(column), int(wrong[row, column])) for row, column in pairs]
    return [confusion for confusion in found if confusion.texts > 0]
