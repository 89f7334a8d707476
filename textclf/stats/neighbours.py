"""Texts that are far from all others, by the cosine distance of their embeddings."""

import numpy as np
from numpy.typing import NDArray

_BLOCK = 512
# The standard deviation of a normal distribution is this many median absolute deviations.
_MAD_TO_DEVIATION = 1.4826


def neighbour_distances(embeddings: NDArray[np.floating], neighbours: int = 5) -> NDArray[np.float64]:
    """Mean cosine distance of each text to its nearest texts, float64 [n].

    Takes n² products of embeddings, in blocks; a block of 25,000 texts needs 50 MB next to a copy of the embeddings.

    Args:
        embeddings: one per text, [n, H].
        neighbours: number of nearest texts; fewer if there are fewer texts.
    """
    unit = np.asarray(embeddings, np.float32)
    unit = unit / np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    count = min(neighbours, len(unit) - 1)
    found = np.zeros(len(unit))
    if count < 1:
        return found
    memory = np.empty((min(_BLOCK, len(unit)), len(unit)), np.float32)
    for start in range(0, len(unit), _BLOCK):
        block = unit[start : start + _BLOCK]
        # [block, n], smallest for the nearest text.
        products = np.matmul(-block, unit.T, out=memory[: len(block)])
        products[np.arange(len(block)), start + np.arange(len(block))] = 2  # Without the text itself.
        products.partition(count - 1, axis=1)  # In place: a copy takes as much memory again.
        found[start : start + len(block)] = 1 + products[:, :count].mean(axis=1)
    return found


def outlying(distances: NDArray[np.floating], deviations: float = 4.0) -> NDArray[np.intp]:
    """Rows with a distance far above the median, farthest first.

    Args:
        distances: from neighbour_distances().
        deviations: minimum number of robust standard deviations (from the median absolute deviation).
    """
    median = np.median(distances)
    spread = _MAD_TO_DEVIATION * np.median(np.abs(distances - median))
    rows = np.flatnonzero(distances > median + deviations * spread) if spread > 0 else np.zeros(0, np.intp)
    return rows[np.argsort(-distances[rows], kind="stable")]
