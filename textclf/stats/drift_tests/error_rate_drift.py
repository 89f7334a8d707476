"""Tests for a higher error rate: the error rate of audited predictions, and a CUSUM of them over time.

Only texts that were picked at random for labelling show how often the model errs. Users mostly label its mistakes.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, hypergeom

from textclf.errors import InputError
from textclf.stats.drift_tests.drift_results import LabelCounts
from textclf.stats.drift_tests.permutations import permutation_p

# Number of simulated values in memory at a time: 2^22 float64 are 32 MB.
_BLOCK_VALUES = 2**22
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class AuditEvidence:
    """Labels of m predictions of a version, and its errors on the reference.

    Attributes:
        labels: class ids given by people, int64 [m].
        predicted: class ids predicted by the model, int64 [m].
        times: seconds since the epoch, float64 [m]; in any order.
        is_audit: True if the text was picked at random for labelling, bool [m]. Only these are tested.
        held_out_errors, held_out_texts: number of wrong predictions in the reference, and of its texts.

    Raises:
        InputError: if the arrays differ in length, a time is not finite, or there are more errors than texts.
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
            raise InputError(f"expected labels, predictions, times and audit flags of equal length, got {shapes}")
        if unknown := int(np.sum(~np.isfinite(self.times))):
            raise InputError(f"expected a finite time for every labelled prediction, got {unknown} that are not finite")
        if not (self.held_out_texts >= 1 and 0 <= self.held_out_errors <= self.held_out_texts):
            raise InputError(
                f"expected at least one held-out text and at most as many errors, got {self.held_out_errors} errors in "
                f"{self.held_out_texts} texts"
            )

    def audited_errors(self) -> NDArray[np.bool_]:
        """True for each random audit that found an error, in the order of time: bool [audits]."""
        order = np.argsort(self.times[self.is_audit], kind="stable")
        return np.asarray((self.labels != self.predicted)[self.is_audit][order])


@dataclass(frozen=True)
class ErrorRateResult:
    """One-sided p-value, and the rise: error rate of the audits minus the held-out error rate."""

    p: float
    rise: float


@dataclass(frozen=True)
class CusumResult:
    """A CUSUM of errors in the order of time.

    Attributes:
        height: largest value of the sum, in nats of evidence for the raised rate.
        p: chance of such a height without a change, by simulation.
        rise: error rate since the estimated change, minus the rate in control.
        start: position of the first audit after the estimated change.
    """

    height: float
    p: float
    rise: float
    start: int


def label_counts(evidence: AuditEvidence) -> LabelCounts:
    """Count the errors among random audits and among other labels."""
    is_wrong, audits = evidence.labels != evidence.predicted, int(evidence.is_audit.sum())
    errors = int(is_wrong[evidence.is_audit].sum())
    interval = binomtest(errors, audits).proportion_ci(0.95, method="wilson") if audits else None
    return LabelCounts(
        held_out_texts=evidence.held_out_texts,
        held_out_errors=evidence.held_out_errors,
        audit_texts=audits,
        audit_errors=errors,
        audit_interval=None if interval is None else (float(interval.low), float(interval.high)),
        other_texts=len(is_wrong) - audits,
        other_errors=int(is_wrong.sum()) - errors,
    )


def error_rate_test(is_wrong: NDArray[np.bool_], held_out_errors: int, held_out_texts: int) -> ErrorRateResult:
    """Test whether audits [n] have a higher error rate than the held-out texts: Fisher's exact test, one-sided.

    R. A. Fisher, "Statistical Methods for Research Workers", 5th edition, 1934, section 21.02: with the margins
    given, the errors among the audits have a hypergeometric distribution. This allows for the uncertainty of the
    held-out rate.
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
    """Test whether the error rate rose at some time, with a CUSUM of log likelihood ratios.

    E. S. Page, "Continuous inspection schemes", Biometrika 41 (1954); for errors that come one by one, M. R. Reynolds
    and Z. G. Stoumbos, "A CUSUM chart for monitoring a proportion when inspecting continuously", Journal of Quality
    Technology 31 (1999).

    The sum is S_t = max(0, S_{t-1} + log P(x_t | raised rate) / P(x_t | rate in control)). Its largest value is
    compared with those of simulated sequences of n audits. The held-out texts only estimate the rate in control, so
    each simulated sequence draws its rate from the posterior (Beta, with Jeffreys' prior).

    Args:
        is_wrong: True for each audit that found an error, in the order of time, [n], n from 1.
        held_out_errors, held_out_texts: number of wrong predictions in the reference, and of its texts.
        shift: rise of the error rate that the sum is tuned to. The sum grows if the rise is above about half of it.
        simulations: number of simulated sequences.
        rng: draws the simulated sequences.
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
        rise=float(is_wrong[start:].mean() - rate) if start < len(is_wrong) else 0.0,
        start=start,
    )


def _cumulative(is_wrong: NDArray[np.bool_], gain: float, loss: float) -> NDArray[Any]:
    """Sums of log likelihood ratios, from 0: [k, n + 1]; Page's sum is the height above the lowest value until then."""
    sums = np.zeros((len(is_wrong), is_wrong.shape[1] + 1))
    np.cumsum(np.where(is_wrong, gain, loss), axis=1, out=sums[:, 1:])
    return sums
