"""Thresholds per class, so that the predictions above them reach a precision; the predictions below are unsure.

The threshold of a class is the lowest confidence at which an exact binomial test rejects a precision below the target:
with n predictions of the class at or above it, of which k are wrong, P(errors <= k | n, 1 - target) <= 1 - confidence.
This holds if and only if the one-sided lower bound of C. J. Clopper and E. S. Pearson, "The use of confidence or
fiducial limits illustrated in the case of the binomial", Biometrika 26 (1934) 404-413, reaches the target. Selective
prediction is that of Y. Geifman and R. El-Yaniv, "Selective classification for deep neural networks", NeurIPS 2017.

The confidence holds for a threshold that is chosen in advance. Here the lowest of many is chosen, without their
correction, so more than one class in five may miss the target on new texts.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from textclf.stats.selective import Coverage, coverage_curve

# One-sided confidence of the test. To show 0.98, a class needs 80 right predictions.
CONFIDENCE = 0.8
OWN, POOLED, NEVER = "own", "pooled", "never"


class ClassThreshold(NamedTuple):
    """The threshold of a class.

    Attributes:
        threshold: minimum probability of a sure prediction; None if every prediction of the class is unsure.
        basis: OWN if it comes from the predictions of the class, POOLED if the class has too few of them, NEVER if the
            class has enough and does not reach the target.
        texts: predictions of the class.
        sure: those at or above the threshold.
        errors: wrong ones among these.
    """

    threshold: float | None
    basis: str
    texts: int
    sure: int
    errors: int


def needed_texts(target: float, confidence: float = CONFIDENCE) -> int:
    """The number of predictions, all right, that show a precision of `target`."""
    return math.ceil(math.log(1 - confidence) / math.log(target) - 1e-9)


def class_thresholds(
    labels: NDArray[np.integer[Any]],
    predicted: NDArray[np.integer[Any]],
    confidences: NDArray[np.floating[Any]],
    classes: int,
    target: float,
    confidence: float = CONFIDENCE,
) -> list[ClassThreshold]:
    """A threshold for each class.

    Args:
        labels: class ids, [n].
        predicted: class ids, [n].
        confidences: probability of the predicted class, [n].
        classes: number of classes.
        target: precision to reach, between 0 and 1.
        confidence: one-sided confidence of the test.
    """
    is_right = labels == predicted
    pooled = _lowest(coverage_curve(confidences, is_right), target, confidence)
    needed = needed_texts(target, confidence)
    found = []
    for class_id in range(classes):
        is_class = predicted == class_id
        values, right = confidences[is_class], is_right[is_class]
        own = _lowest(coverage_curve(values, right), target, confidence)
        if own is not None:
            threshold, basis = own, OWN
        elif len(values) < needed and pooled is not None:
            threshold, basis = pooled, POOLED
        else:
            found.append(ClassThreshold(None, NEVER, len(values), 0, 0))
            continue
        is_sure = values >= threshold
        found.append(ClassThreshold(threshold, basis, len(values), int(is_sure.sum()), int((~right[is_sure]).sum())))
    return found


def is_unsure(
    predicted: NDArray[np.integer[Any]],
    probabilities: NDArray[np.floating[Any]],
    thresholds: Sequence[float | None],
) -> list[bool]:
    """Whether each of n predictions is below the threshold of its class; a class without one is always unsure.

    Args:
        predicted: class ids, [n].
        probabilities: of each class, [n, classes].
        thresholds: one for each class; an empty list makes no prediction unsure.
    """
    if not thresholds:
        return [False] * len(predicted)
    limits = np.array([math.inf if value is None else value for value in thresholds], np.float64)
    confidences = probabilities[np.arange(len(predicted)), predicted]
    return [bool(value) for value in confidences < limits[predicted]]


def _lowest(curve: Sequence[Coverage], target: float, confidence: float) -> float | None:
    """The lowest confidence of the curve at which the test shows the target; None if there is none."""
    for point in reversed(curve):
        if _tail(point.errors, point.texts, 1 - target) <= 1 - confidence + 1e-12:
            return point.confidence
    return None


def _tail(errors: int, texts: int, rate: float) -> float:
    """P(at most `errors` of `texts`) for the error rate `rate`, strictly between 0 and 1."""
    # Far above the expected number the probability is near one: no sum is needed.
    if errors > texts * rate:
        return 1.0
    log_rate, log_rest = math.log(rate), math.log1p(-rate)
    log_all = math.lgamma(texts + 1)
    return math.fsum(
        math.exp(
            log_all
            - math.lgamma(count + 1)
            - math.lgamma(texts - count + 1)
            + count * log_rate
            + (texts - count) * log_rest
        )
        for count in range(errors + 1)
    )
