"""How often the model is right on texts without labels: what its calibrated confidence promises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textclf.drift.features import TextFeatures
from textclf.errors import InputError
from textclf.stats.calibration import softmax

CAVEAT = (
    "An estimate from the model's own confidence, not a measurement: it is not valid where what the classes mean has "
    "drifted."
)


@dataclass(frozen=True)
class AccuracyEstimate:
    """What the confidence promises.

    Attributes:
        estimate: mean confidence on the latest texts: the calibrated probability of the predicted class.
        reference_estimate: the same on the reference.
        reference_accuracy: share of the reference that is right.
        caveat: one sentence that belongs beside the figure.
    """

    estimate: float
    reference_estimate: float
    reference_accuracy: float
    caveat: str = CAVEAT

    @property
    def reference_bias(self) -> float:
        """How far the estimate is off on the reference, where the truth is known; above 0 it promises too much."""
        return self.reference_estimate - self.reference_accuracy


def estimated_accuracy(
    reference: TextFeatures, reference_labels: NDArray[np.integer[Any]], latest: TextFeatures, temperature: float
) -> AccuracyEstimate:
    """The mean calibrated confidence; less the reference's bias it is the "difference of confidences".

    D. Guillory, V. Shankar, S. Ebrahimi, T. Darrell and L. Schmidt, "Predicting with confidence on unseen
    distributions", ICCV 2021 (arXiv:2107.03315).

    Args:
        reference: texts with labels, one at least.
        reference_labels: class ids, [n].
        latest: texts without, one at least.
        temperature: of the version.

    Raises:
        InputError: a sample is empty, or there is not a label for each text of the reference.
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
    """Of the class that was predicted: with a threshold other than .5 that need not be the most probable one."""
    probabilities = softmax(features.logits, temperature)
    return float(probabilities[np.arange(len(features)), features.predicted].mean())
