"""Estimate how common each class is among the latest texts, from predictions alone."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textclf.errors import InputError
from textclf.stats.drift_tests.two_sample import class_shares

# With a smaller singular value, chance in the predicted shares would be amplified more than ten times.
_MIN_SINGULAR_VALUE = 0.1


@dataclass(frozen=True)
class PriorEstimate:
    """Class priors of the reference and of the latest texts.

    Attributes:
        reference: share of each class among the reference's labels, K values.
        latest: estimated shares among the latest texts, K values that add up to 1; 0 for a class without labels in
            the reference. None if the model confuses the classes too much for an estimate.
    """

    reference: tuple[float, ...]
    latest: tuple[float, ...] | None


def bbse_prior(
    reference_labels: NDArray[np.integer[Any]],
    reference_predicted: NDArray[np.integer[Any]],
    latest_predicted: NDArray[np.integer[Any]],
    class_count: int,
) -> PriorEstimate:
    """Estimate the class prior of the latest texts, assuming that the texts within each class are as before.

    Black box shift estimation: Z. C. Lipton, Y.-X. Wang and A. Smola, "Detecting and correcting for label shift with
    black box predictors", ICML 2018 (arXiv:1802.03916). Let C[i, j] be the share of class j's texts that are predicted
    as i, and m the shares of the predicted classes. The prior q solves C q = m; negative entries are set to 0 and the
    others scaled to add up to 1.

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
    joint = np.zeros((class_count, class_count))
    np.add.at(joint, (reference_predicted, reference_labels), 1 / len(reference_labels))
    is_known = prior > 0
    confusion = joint[:, is_known] / prior[is_known]  # [K, known]
    latest = None
    if np.linalg.svd(confusion, compute_uv=False).min() >= _MIN_SINGULAR_VALUE:
        solved = np.linalg.lstsq(confusion, class_shares(latest_predicted, class_count), rcond=None)[0]
        shares = np.zeros(class_count)
        shares[is_known] = np.maximum(solved, 0)
        # All can be negative only if the model predicts classes that the reference does not have.
        latest = tuple((shares / shares.sum()).tolist()) if shares.sum() > 0 else None
    return PriorEstimate(tuple(prior.tolist()), latest)
