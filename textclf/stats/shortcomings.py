"""Faults of a model, or of its measurement, that a confusion matrix shows."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textclf.stats.intervals import wilson_interval

MAX_HALF_WIDTH = 0.05
# One-sided quantile of the normal distribution at 5%.
_Z95_ONE_SIDED = 1.6448536269514722


@dataclass(frozen=True)
class Shortcomings:
    """The faults; () and False if there are none.

    Attributes:
        never_predicted: ids of the classes that have texts and are never predicted.
        without_texts: ids of the classes without texts.
        half_width: half of the 95% interval of the accuracy.
        is_uncertain: whether half_width is above MAX_HALF_WIDTH.
        accuracy, majority_share: accuracy of the model, and of always predicting the class `majority`.
        majority: id of the class with the most texts.
        is_no_better: whether the model is not significantly better than that (McNemar's test, one-sided at 5%).
    """

    never_predicted: tuple[int, ...]
    without_texts: tuple[int, ...]
    half_width: float
    is_uncertain: bool
    accuracy: float
    majority_share: float
    majority: int
    is_no_better: bool


def find_shortcomings(matrix: NDArray[np.integer[Any]]) -> Shortcomings:
    """The faults that counts [K, K] of true (rows) and predicted classes show; there is at least one text."""
    texts, predictions, right = matrix.sum(axis=1), matrix.sum(axis=0), np.diag(matrix)
    n, correct = int(matrix.sum()), int(right.sum())
    low, high = wilson_interval(correct, n)
    majority = int(texts.argmax())
    # Texts that only one of both has right: the model, or the constant answer.
    gains, losses = correct - int(right[majority]), int(texts[majority] - right[majority])
    return Shortcomings(
        never_predicted=tuple(np.flatnonzero((texts > 0) & (predictions == 0)).tolist()),
        without_texts=tuple(np.flatnonzero(texts == 0).tolist()),
        half_width=(high - low) / 2,
        is_uncertain=(high - low) / 2 > MAX_HALF_WIDTH,
        accuracy=correct / n,
        majority_share=int(texts[majority]) / n,
        majority=majority,
        is_no_better=gains - losses <= _Z95_ONE_SIDED * math.sqrt(gains + losses),
    )
