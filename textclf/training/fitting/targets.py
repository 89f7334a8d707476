"""Targets of the loss: the probabilities that each text should get, and how much it counts.

n: texts, K: classes.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from textclf.stats.class_weights import inverse_frequencies


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


def loss_weights(
    labels: NDArray[np.integer[Any]],
    classes: int,
    weights: NDArray[np.floating[Any]] | None = None,
    class_weights: bool = False,
) -> NDArray[np.float32]:
    """How much each text counts in the loss, float32 [n]; the mean over all texts is 1.

    Args:
        labels: class ids, [n].
        classes: number of classes.
        weights: weight of each text, [n]; None if all count the same.
        class_weights: let each class count the same, with the weights of its texts.
    """
    of_texts = np.ones(len(labels)) if weights is None else weights / weights.mean()
    if class_weights:
        of_texts = of_texts * inverse_frequencies(labels, classes, of_texts)[labels]
    return of_texts.astype(np.float32)
