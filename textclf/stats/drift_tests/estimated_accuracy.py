"""Estimate the accuracy on texts without labels, from calibrated confidence."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textclf.drift.features import TextFeatures
from textclf.errors import InputError
from textclf.stats.calibration import softmax

CAVEAT = (
    "An estimate from the model's own confidence, not a measurement: it is not valid if the meaning of the classes has "
    "drifted."
)


@dataclass(frozen=True)
class AccuracyEstimate:
    """Estimated accuracy of the latest texts; compare both reference values to see its bias.

    Attributes:
        estimate: mean confidence on the latest texts, where confidence is the calibrated probability of the
            predicted class.
        reference_estimate: mean confidence on the reference.
        reference_accuracy: share of correct predictions in the reference.
        caveat: one sentence to show next to the estimate.
    """

    estimate: float
    reference_estimate: float
    reference_accuracy: float
    caveat: str = CAVEAT


def estimated_accuracy(
    reference: TextFeatures, reference_labels: NDArray[np.integer[Any]], latest: TextFeatures, temperature: float
) -> AccuracyEstimate:
    """Return mean confidences; estimate minus bias on the reference is the "difference of confidences".

    D. Guillory, V. Shankar, S. Ebrahimi, T. Darrell and L. Schmidt, "Predicting with confidence on unseen
    distributions", ICCV 2021 (arXiv:2107.03315).

    Args:
        reference: n labelled texts, at least one.
        reference_labels: class ids, [n].
        latest: texts without labels, at least one.
        temperature: temperature of the model version.

    Raises:
        InputError: if a sample is empty, or the reference has another number of labels than texts.
    """
    if not len(reference) or not len(latest) or reference_labels.shape != (len(reference),):
        raise InputError(
            f"expected texts, and a label for each of the reference, got {len(latest)} texts and "
            f"{len(reference_labels)} labels for {len(reference)} texts"
        )
    return AccuracyEstimate(
        estimate=_confidence(latest, temperature),
        reference_estimate=_confidence(reference, temperature),
        reference_accuracy=float(np.mean(reference.predicted == reference_labels)),
    )


def _confidence(features: TextFeatures, temperature: float) -> float:
    """Mean probability of the predicted class, which a threshold other than 0.5 can make the less probable one."""
    probabilities = softmax(features.logits, temperature)
    return float(probabilities[np.arange(len(features)), features.predicted].mean())
