"""Calibration loss: the part of the Brier score that a better temperature would remove, and a paired test of it.

The Brier score of a text is half the squared distance between its probabilities and its label, from 0 to 1 (G. Brier,
"Verification of forecasts expressed in terms of probability", Monthly Weather Review 78, 1950). It is the sum of a
calibration loss and the score of the recalibrated probabilities (M. Kull and P. Flach, "Novel decompositions of proper
scoring rules for classification", ECML PKDD 2015). With two classes the calibration loss is the mean squared distance
to the recalibrated probability: probabilities that are wrong by 0.04 everywhere lose 0.04 squared.

The second part is about accuracy, which the gate tests separately. It differs far more between two models, so a test
of the whole score finds a wrong temperature much later.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textclf.stats.calibration import fit_temperature, softmax
from textclf.stats.folds import stratified_folds

Floats = NDArray[np.floating[Any]]
Labels = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class MeanBounds:
    """A mean over n texts with its one-sided 1 - alpha confidence bounds, and the standard deviation of the texts."""

    mean: float
    lower: float
    upper: float
    deviation: float


def brier_scores(probabilities: Floats, labels: Labels) -> NDArray[np.float64]:
    """Brier score of each text, float [n] in [0, 1], of probabilities [n, K] and class ids [n]."""
    distances = np.array(probabilities, np.float64)
    distances[np.arange(len(labels)), labels] -= 1
    return np.asarray((distances**2).sum(axis=1) / 2)


def calibration_losses(probabilities: Floats, labels: Labels) -> NDArray[np.float64]:
    """Calibration loss of each text, float [n]: its Brier score minus that of the recalibrated probabilities.

    The temperature of the recalibration is fitted on the other folds, so a loss does not depend on its own label
    twice. A loss of a single text may be negative; the mean of a calibrated model is about 0.
    """
    logits = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny)).astype(np.float64)
    recalibrated = np.empty_like(logits)
    for is_in in stratified_folds(labels):
        temperature = fit_temperature(logits[~is_in], np.asarray(labels)[~is_in])
        recalibrated[is_in] = softmax(logits[is_in], temperature)
    return brier_scores(probabilities, labels) - brier_scores(recalibrated, labels)


def mean_bounds(differences: Floats, alpha: float) -> MeanBounds:
    """Mean of n paired differences of calibration losses with its bounds by Student's t.

    The differences are in [-2, 2], so that their mean is nearly normal from a few hundred texts on. One text gives
    this range.
    """
    from scipy.stats import t

    n, mean = len(differences), float(np.mean(differences))
    if n < 2:
        return MeanBounds(mean, -2.0, 2.0, 2.0)
    deviation = float(np.std(differences, ddof=1))
    width = float(t.ppf(1 - alpha, n - 1)) * deviation / math.sqrt(n)
    return MeanBounds(mean, mean - width, mean + width, deviation)


def texts_for_mean(bounds: MeanBounds, limit: float, alpha: float, power: float) -> int | None:
    """Number of texts with which the upper bound is at most `limit` with this power; None if no number does.

    Assumes the observed mean or 0, whichever is higher.
    """
    from scipy.stats import norm

    distance = limit - max(bounds.mean, 0.0)
    if distance <= 0:
        return None
    z_alpha, z_power = float(norm.ppf(1 - alpha)), float(norm.ppf(power))
    return math.ceil(((z_alpha + z_power) * bounds.deviation / distance) ** 2)
