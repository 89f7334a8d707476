"""Targets of the loss: the probabilities that each text should get.

n: texts, K: classes.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def target_probabilities(
    labels: NDArray[np.integer[Any]], classes: int, taught: NDArray[np.floating[Any]] | None, teacher_weight: float
) -> NDArray[np.float32]:
    """The probabilities that each text should get, float32 [n, K]: those of its label, mixed with its teachers'.

    The cross-entropy with this target is that of both parts, weighted: knowledge distillation (Hinton et al. 2015) at
    temperature 1. Teachers are calibrated, so their probabilities need no other temperature.

    Args:
        labels: class ids, [n].
        classes: number of classes, K.
        taught: probabilities of the teachers, [n, K]; NaN for a text without, whose target is its label alone.
        teacher_weight: share of the teachers.
    """
    targets = np.zeros((len(labels), classes), np.float32)
    targets[np.arange(len(labels)), labels] = 1
    if taught is None:
        return targets
    mixed = (1 - teacher_weight) * targets + teacher_weight * taught
    return np.where(np.isnan(taught), targets, mixed).astype(np.float32)
