"""How common each class really is among the latest texts, told from predictions alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textclf.errors import InputError
from textclf.stats.drift_tests.two_sample import class_shares

# Below that, chance in the shares of the predicted classes would come out more than ten times as large.
_MIN_SINGULAR_VALUE = 0.1


@dataclass(frozen=True)
class PriorEstimate:
    """The class prior, estimated.

    Attributes:
        reference: share of each class among the reference's labels, K values.
        latest: its estimated share among the latest texts, K values that add up to 1; 0 for a class that the
            reference has no label of. None where the model confuses classes too much to tell.
    """

    reference: tuple[float, ...]
    latest: tuple[float, ...] | None


def bbse_prior(
    reference_labels: NDArray[np.integer[Any]],
    reference_predicted: NDArray[np.integer[Any]],
    latest_predicted: NDArray[np.integer[Any]],
    class_count: int,
) -> PriorEstimate:
    """The class prior of the latest texts, if only the prior has moved and the texts of each class are as before.

    Black box shift estimation: Z. C. Lipton, Y.-X. Wang and A. Smola, "Detecting and correcting for label shift with
    black box predictors", ICML 2018 (arXiv:1802.03916). With C[i, j] the share of class j's texts that are predicted
    as i, and m the shares of the predicted classes, the prior q solves C q = m; what comes out below 0 is set to 0,
    and the rest adds up to 1.

    Args:
        reference_labels, reference_predicted: class ids, [n] each, n from 1.
        latest_predicted: class ids, [m], m from 1.
        class_count: K.

    Raises:
        InputError: a sample is empty, the reference's do not fit together, or an id is no class.
    """
    samples = (reference_labels, reference_predicted, latest_predicted)
    if len(reference_labels) != len(reference_predicted) or not all(len(ids) for ids in samples):
        raise InputError(f"expected labels and predictions of the same texts, got {[len(ids) for ids in samples]}")
    if any(ids.min() < 0 or ids.max() >= class_count for ids in samples):
        raise InputError(f"expected class ids from 0 to {class_count - 1}, got others")
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
        # All below 0 can be only where the model predicts classes that the reference knows nothing of.
        latest = tuple((shares / shares.sum()).tolist()) if shares.sum() > 0 else None
    return PriorEstimate(tuple(prior.tolist()), latest)
