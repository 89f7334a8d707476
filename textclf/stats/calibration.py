"""Calibration of probabilities: softmax with a temperature, the decision, and the expected calibration error.

C. Guo, G. Pleiss, Y. Sun and K. Q. Weinberger, "On Calibration of Modern Neural Networks", ICML 2017
(arXiv:1706.04599): section 4.2 describes temperature scaling, section 2 the binned error.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from textclf.errors import InputError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

DEFAULT_BINS = 15
TEMPERATURE_BOUNDS = (0.05, 20.0)
TEMPERATURE_PRIOR = 0.5
# Tolerance for sums of probabilities that were computed in half precision.
_SUM_TOLERANCE = 1e-2


@dataclass(frozen=True, eq=False)
class ReliabilityBins:
    """Values of a reliability diagram, for bins of equal width over the confidence.

    Attributes:
        count: texts in the bin, int [bins].
        confidence: mean confidence, float [bins]; 0 for empty bins.
        accuracy: share of texts that are predicted correctly, float [bins]; 0 for empty bins.
    """

    count: IntArray
    confidence: FloatArray
    accuracy: FloatArray


def softmax(logits: npt.ArrayLike, temperature: float = 1.0) -> FloatArray:
    """Probabilities over the last axis: exp(logits / temperature), normalised; same shape as `logits`.

    The largest logit is subtracted first, so that no exponential overflows.

    Raises:
        InputError: if the temperature is not above 0.
    """
    if not temperature > 0:
        raise InputError(f"expected a temperature above 0, got {temperature!r}")
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    exponentials = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True))


def decide(probabilities: npt.NDArray[np.floating[Any]], threshold: float) -> npt.NDArray[np.intp]:
    """Predicted class id of each row: int [batch].

    Args:
        probabilities: [batch, classes].
        threshold: with two classes, the second is chosen from this probability on; with more, the largest is chosen.
    """
    if probabilities.shape[1] == 2:
        return (probabilities[:, 1] >= threshold).astype(np.intp)
    return np.asarray(np.argmax(probabilities, axis=1))


def fit_temperature(logits: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Fit the temperature that makes the labels most likely, with a weak prior around 1; 1.0 without texts.

    Guo et al. minimise the negative log-likelihood alone. On a few texts that are all predicted correctly, it has no
    minimum: smaller temperatures always give more confident probabilities. So log(temperature) has a normal prior
    with mean 0 and standard deviation TEMPERATURE_PRIOR (maximum a posteriori), which weighs as much as one or two
    texts. The search is one-dimensional, within TEMPERATURE_BOUNDS.

    Args:
        logits: float [n, K].
        labels: class ids, int [n].

    Raises:
        InputError: if the shapes do not fit, a logit is not finite, or a label is not in 0 … K-1.
    """
    # Imported lazily: a server needs only softmax.
    from scipy.optimize import minimize_scalar

    values = np.asarray(logits, dtype=np.float64)
    if values.size == 0 and np.size(labels) == 0:
        return 1.0
    values, ids = _check_rows(values, labels, "logits")
    rows = np.arange(len(ids))

    def negative_log_posterior(log_temperature: float) -> float:
        scaled = values / np.exp(log_temperature)  # [n, K]
        peak = scaled.max(axis=1)  # [n]
        log_normaliser = peak + np.log(np.exp(scaled - peak[:, None]).sum(axis=1))  # [n]
        prior = 0.5 * (log_temperature / TEMPERATURE_PRIOR) ** 2
        return float(np.sum(log_normaliser - scaled[rows, ids]) + prior)

    bounds = tuple(np.log(TEMPERATURE_BOUNDS))
    found = minimize_scalar(negative_log_posterior, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def calibrated_log_loss(logits: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Mean negative log-likelihood of the labels after fit_temperature on the same texts, in nats.

    It compares models by what they know, and not by how sure they are.
    """
    ids: npt.NDArray[Any] = np.asarray(labels)
    probabilities = softmax(logits, fit_temperature(logits, labels))
    return float(-np.mean(np.log(np.maximum(probabilities[np.arange(len(ids)), ids], np.finfo(float).tiny))))


def reliability_bins(probabilities: npt.ArrayLike, labels: npt.ArrayLike, bins: int = DEFAULT_BINS) -> ReliabilityBins:
    """Confidence and accuracy of the predicted class, in `bins` equal bins of (0, 1].

    Bin m contains the texts with a confidence in (m / bins, (m + 1) / bins].

    Args:
        probabilities: float [n, K], rows that add up to 1.
        labels: class ids, int [n].
        bins: number of bins.

    Raises:
        InputError: if check_probabilities() refuses the arguments, or `bins` is below 1.
    """
    if bins < 1:
        raise InputError(f"expected at least one bin, got {bins!r}")
    values, ids = check_probabilities(probabilities, labels)
    return bins_of_confidence(values.max(axis=1), values.argmax(axis=1) == ids, bins)


def bins_of_confidence(
    confidence: npt.NDArray[np.floating[Any]], is_right: npt.NDArray[np.bool_], bins: int = DEFAULT_BINS
) -> ReliabilityBins:
    """The bins of predictions with a confidence [n], of which some are right, bool [n]; see reliability_bins."""
    inner_edges = np.linspace(0.0, 1.0, bins + 1)[1:-1]
    of_bin = np.searchsorted(inner_edges, confidence, side="left")  # [n]
    count = np.bincount(of_bin, minlength=bins)  # [bins]
    divisor = np.maximum(count, 1)
    return ReliabilityBins(
        count=count.astype(np.int64),
        confidence=np.bincount(of_bin, weights=confidence, minlength=bins) / divisor,
        accuracy=np.bincount(of_bin, weights=is_right, minlength=bins) / divisor,
    )


def error_of_bins(bins: ReliabilityBins) -> float:
    """Expected calibration error: mean |accuracy - confidence| over the bins, weighted by their texts."""
    gaps = np.abs(bins.accuracy - bins.confidence)
    return float(np.sum(bins.count * gaps) / bins.count.sum())


def expected_calibration_error(probabilities: npt.ArrayLike, labels: npt.ArrayLike, bins: int = DEFAULT_BINS) -> float:
    """Expected calibration error of probabilities [n, K] for labels [n], from 0 (best) to 1 (worst).

    Raises:
        InputError: if reliability_bins() refuses the arguments.
    """
    return error_of_bins(reliability_bins(probabilities, labels, bins))


def check_probabilities(probabilities: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[FloatArray, IntArray]:
    """Check and convert both: probabilities float [n, K] in [0, 1], rows add up to 1; labels int [n] in 0 … K-1.

    The values are not normalised. Rows of single or half precision add up to 1 only approximately, and dividing by
    the sum would put equal probabilities of two texts into an arbitrary order.

    Raises:
        InputError: if they have other shapes or values, or n is 0.
    """
    values, ids = _check_rows(probabilities, labels, "probabilities")
    if values.min() < 0 or values.max() > 1 + _SUM_TOLERANCE:
        raise InputError(f"expected probabilities in [0, 1], got values from {values.min():g} to {values.max():g}")
    sums = values.sum(axis=1, keepdims=True)  # [n, 1]
    worst = float(sums[np.argmax(np.abs(sums - 1)), 0])
    if abs(worst - 1) > _SUM_TOLERANCE:
        raise InputError(f"expected rows of probabilities that add up to 1, got one that adds up to {worst:g}")
    return values, ids


def _check_rows(values: npt.ArrayLike, labels: npt.ArrayLike, name: str) -> tuple[FloatArray, IntArray]:
    rows = np.asarray(values, dtype=np.float64)
    ids: npt.NDArray[Any] = np.asarray(labels)
    if rows.ndim != 2 or rows.shape[0] < 1 or rows.shape[1] < 2:
        raise InputError(f"expected {name} of shape [texts, classes] with a text and two classes, got {rows.shape}")
    if ids.shape != rows.shape[:1] or ids.dtype.kind not in "iu":
        raise InputError(
            f"expected {rows.shape[0]} whole numbers as labels, one for each row of {name}, "
            f"got shape {ids.shape} of {ids.dtype}"
        )
    if not np.isfinite(rows).all():
        raise InputError(f"expected finite {name}, got {int((~np.isfinite(rows)).sum())} NaN or infinite values")
    if ids.min() < 0 or ids.max() >= rows.shape[1]:
        raise InputError(f"expected labels in 0 … {rows.shape[1] - 1}, got {ids.min()} … {ids.max()}")
    return rows, ids.astype(np.int64)
