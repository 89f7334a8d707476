"""Whether the model errs more than it did: the error rate of audited answers, and a CUSUM of them over time.

Only labels of texts that were picked at random say how often the model errs. Labels that users give on their own are
mostly of what went wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, hypergeom

from textclf.errors import InputError
from textclf.stats.drift_tests.drift_results import LabelFigures
from textclf.stats.drift_tests.permutations import permutation_p

# Simulated values in memory at a time: 2^22 float64 are 32 MB.
_BLOCK_VALUES = 2**22
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class AuditEvidence:
    """Labels that people gave to answers of the version, and what is known of its errors from before.

    Attributes:
        labels: class ids that people gave, int64 [m].
        predicted: class ids that the model had given, int64 [m].
        times: of the answers, Unix seconds, float64 [m]; in any order.
        is_audit: bool [m]; True where the text was picked at random to be labelled. Only these are tested.
        held_out_errors, held_out_texts: of the reference: predicted != labels, and how many texts.

    Raises:
        InputError: the arrays are not of the same m answers, a time is not finite, or the counts do not fit.
    """

    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    times: NDArray[np.float64]
    is_audit: NDArray[np.bool_]
    held_out_errors: int
    held_out_texts: int

    def __post_init__(self) -> None:
        shapes = {array.shape for array in (self.labels, self.predicted, self.times, self.is_audit)}
        if len(shapes) != 1 or self.labels.ndim != 1 or self.is_audit.dtype != np.bool_:
            raise InputError(f"expected labels, predictions, times and audit flags of the same answers, got {shapes}")
        if not np.isfinite(self.times).all():
            raise InputError("expected the time of every answer that was labelled, got some that are not finite")
        if not (self.held_out_texts >= 1 and 0 <= self.held_out_errors <= self.held_out_texts):
            raise InputError(f"expected held-out texts, got {self.held_out_errors} errors in {self.held_out_texts}")

    def audited_errors(self) -> NDArray[np.bool_]:
        """Whether each random audit found an error, in the order of time."""
        order = np.argsort(self.times[self.is_audit], kind="stable")
        return np.asarray((self.labels != self.predicted)[self.is_audit][order])


@dataclass(frozen=True)
class ErrorRateResult:
    """Attributes: p, one-sided; rise: error rate of the audits less the held-out one."""

    p: float
    rise: float


@dataclass(frozen=True)
class CusumResult:
    """A CUSUM of errors in the order of time.

    Attributes:
        height: largest value of the sum, in nats of evidence for the raised rate.
        p: chance of such a height in control, by simulation.
        shift: the rise that it was tuned to.
        rise: error rate since the change that it points to, less the one in control.
        start: position of the first audit after that change.
    """

    height: float
    p: float
    shift: float
    rise: float
    start: int


def label_figures(evidence: AuditEvidence) -> LabelFigures:
    """Counts of errors by where the labels come from."""
    is_wrong, audits = evidence.labels != evidence.predicted, int(evidence.is_audit.sum())
    errors = int(is_wrong[evidence.is_audit].sum())
    interval = binomtest(errors, audits).proportion_ci(0.95, method="wilson") if audits else None
    return LabelFigures(
        held_out_texts=evidence.held_out_texts,
        held_out_errors=evidence.held_out_errors,
        audit_texts=audits,
        audit_errors=errors,
        audit_interval=None if interval is None else (float(interval.low), float(interval.high)),
        other_texts=len(is_wrong) - audits,
        other_errors=int(is_wrong.sum()) - errors,
    )


def error_rate_test(is_wrong: NDArray[np.bool_], held_out_errors: int, held_out_texts: int) -> ErrorRateResult:
    """Whether audits [n] find errors more often than the held-out texts had: Fisher's exact test, one-sided.

    R. A. Fisher, "Statistical Methods for Research Workers", 5th edition, 1934, section 21.02: with the margins
    given, the errors among the audits have a hypergeometric distribution. The held-out rate's own uncertainty is in it.
    """
    errors, audits = int(is_wrong.sum()), len(is_wrong)
    p = hypergeom.sf(errors - 1, held_out_texts + audits, held_out_errors + errors, audits)
    return ErrorRateResult(min(1.0, float(p)), errors / audits - held_out_errors / held_out_texts)


def cusum(
    is_wrong: NDArray[np.bool_],
    held_out_errors: int,
    held_out_texts: int,
    shift: float,
    simulations: int,
    rng: np.random.Generator,
) -> CusumResult:
    """Whether the error rate rose at some time: the cumulative sum of E. S. Page, "Continuous inspection schemes",
    Biometrika 41 (1954), with the log likelihood ratios of errors that come one by one (M. R. Reynolds and
    Z. G. Stoumbos, "A CUSUM chart for monitoring a proportion when inspecting continuously", Journal of Quality
    Technology 31, 1999).

    S_t = max(0, S_{t-1} + log P(x_t | raised rate) / P(x_t | rate in control)), and its largest value is compared
    with those of simulated sequences of as many audits. The rate in control is known from the held-out texts only, so
    that each simulated sequence has a rate of its own, from its posterior (Beta, with Jeffreys' prior).

    Args:
        is_wrong: audits in the order of time, [n], one at least.
        held_out_errors, held_out_texts: of the reference.
        shift: rise of the error rate that the sum is tuned to; it grows where the rise is more than about half.
        simulations: of sequences in control.
        rng: of the simulations.
    """
    wrong, right = held_out_errors + 0.5, held_out_texts - held_out_errors + 0.5
    rate = wrong / (wrong + right)
    raised = min(rate + shift, (1 + rate) / 2)
    gain, loss = float(np.log(raised / rate)), float(np.log((1 - raised) / (1 - rate)))

    sums = _cumulative(is_wrong[None, :], gain, loss)[0]  # [n + 1]
    lows = np.minimum.accumulate(sums)
    top = int(np.argmax(sums - lows))
    start = int(np.argmin(sums[: top + 1]))
    heights = []
    block = max(1, _BLOCK_VALUES // len(is_wrong))
    for first in range(0, simulations, block):
        rates = rng.beta(wrong, right, size=(min(block, simulations - first), 1))
        simulated = _cumulative(rng.random((len(rates), len(is_wrong))) < rates, gain, loss)
        heights.append((simulated - np.minimum.accumulate(simulated, axis=1)).max(axis=1))
    height = float(sums[top] - lows[top])
    return CusumResult(
        height=height,
        p=permutation_p(height, np.concatenate(heights), tolerance=_ROUNDING),
        shift=shift,
        rise=float(is_wrong[start:].mean() - rate) if start < len(is_wrong) else 0.0,
        start=start,
    )


def _cumulative(is_wrong: NDArray[np.bool_], gain: float, loss: float) -> NDArray[Any]:
    """Sums of the log likelihood ratios of [k, n], from 0 on: [k, n + 1]. Their height above their lowest value so
    far is Page's sum."""
    sums = np.zeros((len(is_wrong), is_wrong.shape[1] + 1))
    np.cumsum(np.where(is_wrong, gain, loss), axis=1, out=sums[:, 1:])
    return sums
