"""Stratified folds for cross-fitting."""

import numpy as np
from numpy.typing import NDArray

FOLDS = 5


def stratified_folds(labels: NDArray[np.integer], seed: int = 0, folds: int = FOLDS) -> list[NDArray[np.bool_]]:
    """Texts of each of the folds, stratified by class, as bool [n]; without empty folds."""
    chance = np.random.default_rng(seed).permutation(len(labels))
    by_class = chance[np.argsort(labels[chance], kind="stable")]
    of_text = np.empty(len(labels), np.int64)
    of_text[by_class] = np.arange(len(labels)) % folds
    return [of_text == fold for fold in range(folds) if (of_text == fold).any()]
