"""Estimate how common each class is among the latest texts, from predictions alone."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textclf.errors import InputError
from textclf.stats.drift_tests.two_sample import class_shares

# With a smaller singular value, chance in the predicted shares would be amplified more than ten times.
MIN_SINGULAR_VALUE = 0.1
# Quantile of the normal distribution for a 95% interval.
_NORMAL_975 = 1.959964


@dataclass(frozen=True)
class PriorEstimate:
    """Class priors of the reference and of the latest texts.

    Attributes:
        reference: share of each class among the reference's labels, K values.
        latest: estimated shares among the latest texts, K values that add up to 1; 0 for a class without labels in
            the reference. None if there is no estimate.
        latest_low, latest_high: ends of the 95% interval of each estimated share, K values; 0 and 1 for a class without
            labels in the reference. None without an estimate.
        singular_value: smallest singular value of the confusion matrix. Below MIN_SINGULAR_VALUE, the model confuses
            the classes too much for an estimate. None in reports of earlier versions.
    """

    reference: tuple[float, ...]
    latest: tuple[float, ...] | None
    latest_low: tuple[float, ...] | None = None
    latest_high: tuple[float, ...] | None = None
    singular_value: float | None = None


def bbse_prior(
    reference_labels: NDArray[np.integer[Any]],
    reference_predicted: NDArray[np.integer[Any]],
    latest_predicted: NDArray[np.integer[Any]],
    class_count: int,
) -> PriorEstimate:
    """Estimate the class prior of the latest texts, assuming that the texts within each class are as before.

    Black box shift estimation: Z. C. Lipton, Y.-X. Wang and A. Smola, "Detecting and correcting for label shift with
    black box predictors", ICML 2018 (arXiv:1802.03916); M. Saerens, P. Latinne and C. Decaestecker, "Adjusting the
    outputs of a classifier to new a priori probabilities", Neural Computation 14 (2002). Let C[i, j] be the share of
    class j's texts that are predicted as i, and m the shares of the predicted classes. The prior q solves C q = m;
    negative entries are set to 0 and the others scaled to add up to 1.

    The interval is by the delta method: dq = C^-1 (dm - dC q). The columns of C and m are independent multinomial
    shares, so Cov(q) = C^-1 (Cov(m) + sum_j q_j^2 Cov(C_j)) C^-T. For two classes this is the variance of W. J. Rogan
    and B. Gladen, "Estimating prevalence from the results of a screening test", American Journal of Epidemiology 107
    (1978). One more text, spread evenly over the classes, keeps a variance above 0 where no text was confused.

    Args:
        reference_labels, reference_predicted: class ids, [n] each, n from 1.
        latest_predicted: class ids, [m], m from 1.
        class_count: number of classes K.

    Raises:
        InputError: if a sample is empty, the two reference arrays differ in length, or an id is not a class.
    """
    samples = (reference_labels, reference_predicted, latest_predicted)
    if len(reference_labels) != len(reference_predicted) or not all(len(ids) for ids in samples):
        raise InputError(f"expected labels and predictions of the same texts, got {[len(ids) for ids in samples]}")
    if any(ids.min() < 0 or ids.max() >= class_count for ids in samples):
        found = sorted({int(at) for ids in samples for at in (ids.min(), ids.max())})
        raise InputError(f"expected class ids from 0 to {class_count - 1}, got ids from {found[0]} to {found[-1]}")
    prior = class_shares(reference_labels, class_count)
    reference = tuple(prior.tolist())
    is_known = prior > 0
    counts = np.zeros((class_count, class_count))
    np.add.at(counts, (reference_predicted, reference_labels), 1)
    counts = counts[:, is_known]  # [K, known]
    confusion = counts / counts.sum(axis=0)
    singular_value = float(np.linalg.svd(confusion, compute_uv=False).min())
    if singular_value < MIN_SINGULAR_VALUE:
        return PriorEstimate(reference, None, singular_value=singular_value)
    latest_counts = np.bincount(latest_predicted, minlength=class_count).astype(np.float64)
    inverse = np.linalg.pinv(confusion)  # [known, K]
    solved = inverse @ (latest_counts / latest_counts.sum())
    shares = np.maximum(solved, 0)
    if not shares.sum() > 0:  # Only if the model predicts classes that the reference does not have.
        return PriorEstimate(reference, None, singular_value=singular_value)
    shares /= shares.sum()
    covariance = _covariance(latest_counts) + sum(
        share**2 * _covariance(column) for share, column in zip(shares, counts.T, strict=True)
    )
    half_width = _NORMAL_975 * np.sqrt(np.sum((inverse @ covariance) * inverse, axis=1))
    estimate, low, high = np.zeros(class_count), np.zeros(class_count), np.ones(class_count)
    estimate[is_known] = shares
    # Around both, because an estimate of 0 does not make the share certain.
    low[is_known] = np.clip(np.minimum(solved, shares) - half_width, 0, 1)
    high[is_known] = np.clip(np.maximum(solved, shares) + half_width, 0, 1)
    return PriorEstimate(reference, tuple(estimate.tolist()), tuple(low.tolist()), tuple(high.tolist()), singular_value)


def _covariance(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Covariance of K observed shares, with one text more, spread evenly over the classes: [K, K]."""
    shares = (counts + 1 / len(counts)) / (counts.sum() + 1)
    covariance: NDArray[np.float64] = (np.diag(shares) - np.outer(shares, shares)) / counts.sum()
    return covariance
