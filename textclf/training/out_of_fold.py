"""Cross-fitting: outputs for texts by models that were not fitted to them."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textclf.stats.folds import FOLDS, stratified_folds

# Fits a model to the texts at these positions, then returns its logits for those at the others.
FoldModel = Callable[[NDArray[np.intp], NDArray[np.intp]], NDArray[np.float32]]


def out_of_fold_logits(
    labels: NDArray[np.integer[Any]], classes: int, model: FoldModel, folds: int = FOLDS
) -> NDArray[np.float32]:
    """Logits [n, K] of each text by a model of the other folds; a small class makes the folds fewer.

    Raises:
        ValueError: if a class has fewer than two texts.
    """
    counts = np.bincount(labels, minlength=classes)
    if counts.min() < 2:
        raise ValueError(f"expected at least two texts of each class, got {counts.min()}")
    logits = np.empty((len(labels), classes), np.float32)
    for fold in stratified_folds(labels, folds=min(folds, int(counts.min()))):
        logits[fold] = model(np.flatnonzero(~fold), np.flatnonzero(fold))
    return logits
