"""Thresholds per class, so that the predictions above them reach a precision; the predictions below are unsure.

All classes share one threshold, unless a class misses the target there. The shared threshold is chosen by the procedure
of A. N. Angelopoulos, S. Bates, E. J. Candès, M. I. Jordan and L. Lei, "Learn then Test: Calibrating predictive
algorithms to achieve risk control", arXiv:2110.01052 (2021), with a fixed sequence of tests. The thresholds are tested
from high to low, until one fails. The last one that passed is taken. Each test is the exact binomial one: with n
predictions at or above the threshold, of which k are wrong, it passes if P(errors <= k | n, 1 - target) is at most
1 - CONFIDENCE. The sequence begins where START_ERRORS wrong predictions would pass, which depends on n alone. So the
first wrong prediction does not end it.

The chance that the precision at the threshold is below the target is therefore at most 1 - CONFIDENCE, for texts like
those of the choice. No correction for the number of thresholds is needed, because a threshold is reached only if all
before it passed. This holds for all classes together, not for each class.

A class misses the target at the shared threshold if its own predictions reject it with the same test. It then gets the
lowest higher threshold at which the share of right ones reaches the target. Selective prediction is that of Y. Geifman
and R. El-Yaniv, "Selective classification for deep neural networks", NeurIPS 2017.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from textclf.stats.selective import Coverage, coverage_curve, largest_coverage

# One-sided confidence of the tests.
CONFIDENCE = 0.8
# To show 0.98, 149 predictions are needed.
START_ERRORS = 1
OWN, POOLED, NEVER, COST = "own", "pooled", "never", "cost"


class ClassThreshold(NamedTuple):
    """The threshold of a class.

    Attributes:
        threshold: minimum probability of a sure prediction; None if every prediction of the class is unsure.
        basis: POOLED if it is that of all classes, OWN if the class has a higher one, NEVER if it reaches the target at
            none, COST if it follows from costs.
        texts: predictions of the class.
        sure: those at or above the threshold.
        errors: wrong ones among these.
    """

    threshold: float | None
    basis: str
    texts: int
    sure: int
    errors: int


def needed_texts(target: float, confidence: float = CONFIDENCE, errors: int = START_ERRORS) -> int:
    """The smallest number of predictions that shows a precision of `target` although `errors` of them are wrong."""
    texts = math.ceil(math.log(1 - confidence) / math.log(target) - 1e-9)
    while not _passes(Coverage(0.0, texts, errors), target, confidence):
        texts += 1
    return texts


def class_thresholds(
    labels: NDArray[np.integer[Any]],
    predicted: NDArray[np.integer[Any]],
    confidences: NDArray[np.floating[Any]],
    classes: int,
    target: float,
    confidence: float = CONFIDENCE,
) -> list[ClassThreshold]:
    """A threshold for each class; all are None if no shared threshold reaches the target.

    Args:
        labels: class ids, [n].
        predicted: class ids, [n].
        confidences: probability of the predicted class, [n].
        classes: number of classes.
        target: precision to reach, between 0 and 1.
        confidence: one-sided confidence of the tests.
    """
    is_right = labels == predicted
    pooled = shared_threshold(coverage_curve(confidences, is_right), target, confidence)
    if pooled is None:
        return with_counts([None] * classes, labels, predicted, confidences, [NEVER] * classes)
    thresholds: list[float | None] = [pooled] * classes
    bases = [POOLED] * classes
    for class_id in range(classes):
        is_sure = (predicted == class_id) & (confidences >= pooled)
        if _misses(int(is_sure.sum()), int((is_sure & ~is_right).sum()), target, confidence):
            point = largest_coverage(coverage_curve(confidences[is_sure], is_right[is_sure]), 1 - target)
            thresholds[class_id] = None if point is None else point.confidence
            bases[class_id] = NEVER if point is None else OWN
    return with_counts(thresholds, labels, predicted, confidences, bases)


def shared_threshold(curve: Sequence[Coverage], target: float, confidence: float = CONFIDENCE) -> float | None:
    """The last threshold of the sequence that passes; None if the first one fails.

    Args:
        curve: the thresholds with their predictions, the highest first.
        target: precision to reach, between 0 and 1.
        confidence: one-sided confidence of the tests.
    """
    found, needed = None, needed_texts(target, confidence)
    for point in curve:
        if point.texts < needed:
            continue
        if not _passes(point, target, confidence):
            break
        found = point.confidence
    return found


def with_counts(
    thresholds: Sequence[float | None],
    labels: NDArray[np.integer[Any]],
    predicted: NDArray[np.integer[Any]],
    confidences: NDArray[np.floating[Any]],
    bases: Sequence[str] = (),
) -> list[ClassThreshold]:
    """The threshold of each class with its effect on n predictions; without `bases` they follow from costs."""
    found = []
    for class_id, threshold in enumerate(thresholds):
        is_class = predicted == class_id
        is_sure = is_class & (confidences >= (math.inf if threshold is None else threshold))
        errors = int((is_sure & (labels != predicted)).sum())
        basis = bases[class_id] if bases else COST
        found.append(ClassThreshold(threshold, basis, int(is_class.sum()), int(is_sure.sum()), errors))
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


def _passes(point: Coverage, target: float, confidence: float) -> bool:
    rate, found = 1 - target, point.errors / point.texts
    if found > rate:  # The tail is near one half or above it.
        return False
    # Chernoff's bound of the tail saves the sum at most points.
    divergence = (found * math.log(found / rate) if found else 0.0) + (1 - found) * math.log((1 - found) / target)
    if math.exp(-point.texts * divergence) <= 1 - confidence:
        return True
    return binomial_tail(point.errors, point.texts, rate) <= 1 - confidence + 1e-12


def _misses(texts: int, errors: int, target: float, confidence: float) -> bool:
    """Whether as many errors or more are improbable at the target."""
    return errors > 0 and 1 - binomial_tail(errors - 1, texts, 1 - target) <= 1 - confidence


def binomial_tail(errors: int, texts: int, rate: float) -> float:
    """P(at most `errors` of `texts`) for the error rate `rate`, strictly between 0 and 1."""
    if errors >= texts:
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
