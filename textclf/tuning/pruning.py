"""When a trial is stopped early: the rule of the median, at equal shares of the schedule."""

import math
import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass

# With fewer finished trials, no trial is stopped.
_MIN_OTHERS = 3


@dataclass(frozen=True)
class Curve:
    """The metric after each epoch of a trial, and the number of epochs that it plans."""

    values: Sequence[float]
    epochs: int


def is_behind(curve: Curve, others: Collection[Curve], is_more_better: bool) -> bool:
    """Whether the best value of a running trial is worse than the median of the others at the same point.

    The learning rate falls to 0 over the epochs of a trial. One epoch of six can't be compared with one epoch of one,
    as the rules of Optuna would do. So the point is a share of the epochs; others without an epoch before it do not
    count.

    Args:
        curve: the running trial, after its latest epoch.
        others: finished trials.
        is_more_better: whether a higher value is better.
    """
    if len(curve.values) >= curve.epochs:
        return False  # Nothing is saved at the end.
    best = max if is_more_better else min
    share = len(curve.values) / curve.epochs
    # The share of an equal number of epochs may be off by rounding.
    starts = (other.values[: math.floor(share * other.epochs + 1e-9)] for other in others)
    compared = [best(start) for start in starts if start]
    if len(compared) < _MIN_OTHERS:
        return False
    own, median = best(curve.values), statistics.median(compared)
    return own < median if is_more_better else own > median
