"""The mean of repeated measurements, with an interval that knows about folds."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class RepeatedMean:
    """The mean of n measurements.

    Attributes:
        n: number of measurements.
        mean: their mean.
        deviation: their standard deviation, with n - 1; 0.0 if n is 1.
        half_width: half of the 95% interval of the mean; inf if n is 1.
    """

    n: int
    mean: float
    deviation: float
    half_width: float


def repeated_mean(values: NDArray[np.floating], folds: int = 0) -> RepeatedMean:
    """Mean and 95% interval of measurements by Student's t.

    On folds, trainings share most of their texts, so their results are not independent. Their variance is multiplied
    by 1/n + 1/(folds - 1) instead of 1/n: the corrected resampled t-test of C. Nadeau and Y. Bengio, "Inference for the
    generalization error", Machine Learning 52 (2003) 239-281. The second term is test texts / training texts.

    Args:
        values: the measurements, or differences between two models, float [n].
        folds: number of folds; 0 if all measurements are on the same texts. Then the interval is about the seed only.

    Raises:
        ValueError: if there is no value.
    """
    from scipy.stats import t

    n = len(values)
    if not n:
        raise ValueError("expected at least one value, got none")
    mean = float(np.mean(values))
    if n == 1:
        return RepeatedMean(1, mean, 0.0, math.inf)
    deviation = float(np.std(values, ddof=1))
    factor = 1 / n + (1 / (folds - 1) if folds else 0.0)
    return RepeatedMean(n, mean, deviation, float(t.ppf(0.975, n - 1)) * deviation * math.sqrt(factor))
