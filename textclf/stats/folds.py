"""Stratified folds for cross-fitting."""

import numpy as np
from numpy.typing import NDArray

FOLDS = 5


def stratified_folds(labels: NDArray[np.integer], seed: int = 0) -> list[NDArray[np.bool_]]:
    """Texts of each of FOLDS folds, stratified by class, as bool [n]; without empty folds."""
    chance = np.random.default_rng(seed).permutation(len(labels))
    by_class = chance[np.argsort(labels[chance], kind="stable")]
    of_text = np.empty(len(labels), np.int64)
    of_text[by_class] = np.arange(len(labels)) % FOLDS
    return [of_text == fold for fold in range(FOLDS) if (of_text == fold).any()]
