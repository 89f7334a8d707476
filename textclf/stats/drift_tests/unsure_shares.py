"""The share of unsure predictions among the latest texts, next to that of the reference."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from textclf.drift.features import TextFeatures
from textclf.stats.calibration import softmax
from textclf.stats.intervals import wilson_interval
from textclf.stats.unsure import is_unsure


@dataclass(frozen=True)
class UnsureShares:
    """Shares of unsure predictions; a change of the scores, which has tests of its own, changes them.

    Attributes:
        reference, latest: share in the reference and among the latest texts.
        latest_low, latest_high: 95% interval of the latter.
    """

    reference: float
    latest: float
    latest_low: float
    latest_high: float


def unsure_shares(
    reference: TextFeatures, latest: TextFeatures, temperature: float, thresholds: Sequence[float | None]
) -> UnsureShares | None:
    """The shares of both samples; None without texts or thresholds.

    Args:
        reference, latest: samples of one model version.
        temperature: temperature of the version.
        thresholds: threshold of each class (textclf.stats.unsure).
    """
    if not thresholds or not len(reference) or not len(latest):
        return None
    before, now = (
        np.asarray(is_unsure(sample.predicted, softmax(sample.logits, temperature), thresholds))
        for sample in (reference, latest)
    )
    return UnsureShares(float(before.mean()), float(now.mean()), *wilson_interval(int(now.sum()), len(now)))
