"""A CUSUM of audited errors that continues over windows, so that a slow rise adds up."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textclf.drift.audit_run import AuditRun
from textclf.stats.drift_tests.permutations import permutation_p

# A run starts again at 0 once the sum is 0 after this many audits, and in any case after twice as many.
# Simulated sequences are as long as the run, so this bounds the time of a check.
MAX_RUN_AUDITS = 5000
# Number of simulated values in memory at a time: 2^22 float64 are 32 MB.
_BLOCK_VALUES = 2**22
_ROUNDING = 1e-9
# Errors that audits up to a 0 of the sum lack in the mean, times the step for an error. By simulation it is 1.1 to 1.5
# for error rates from 3% to 20% and shifts from 5 to 10 points.
_TOO_FEW = 1.4


@dataclass(frozen=True)
class CusumResult:
    """A CUSUM of errors in the order of time.

    Attributes:
        height: the statistic, in nats of evidence for the raised rate.
        p: chance of such a height without a change, by simulation.
        rise: error rate since the estimated change, minus the rate in control.
        start: position of the first audit after the estimated change; negative if it is in an earlier window.
        run: the sum after these audits, for the next window.
    """

    height: float
    p: float
    rise: float
    start: int
    run: AuditRun


@dataclass(frozen=True)
class _Steps:
    """The error rate in control, and the step of the sum for an error and for a right audit."""

    rate: float
    gain: float
    loss: float


def cusum(is_wrong: NDArray[np.bool_], earlier: AuditRun, simulations: int, rng: np.random.Generator) -> CusumResult:
    """Test whether the error rate rose, with a CUSUM of log likelihood ratios that continues an earlier one.

    E. S. Page, "Continuous inspection schemes", Biometrika 41 (1954); for errors that come one by one, M. R. Reynolds
    and Z. G. Stoumbos, "A CUSUM chart for monitoring a proportion when inspecting continuously", Journal of Quality
    Technology 31 (1999).

    The sum is S_t = max(0, S_{t-1} + log P(x_t | raised rate) / P(x_t | rate in control)). The statistic is the larger
    of two heights: the largest value of a sum that starts at 0 with these audits, and the last value of the sum that
    continues the earlier one. The first finds a rise that ended, the second a rise too slow for one window. The last
    value counts, not the largest, so that evidence of an earlier window does not raise an alarm twice.

    The statistic is compared with simulated sequences that are as long as all audits of the run. So the chance of a
    false alarm is the same in every window. The rate in control is only estimated, so each simulated sequence draws its
    rate from the posterior (Beta, with Jeffreys' prior) of the held-out texts and the audits before the last time when
    the earlier sum was 0.

    Args:
        is_wrong: True for each audit that found an error, in the order of time, [n], n from 1.
        earlier: the sum before these audits, with its reference and its shift.
        simulations: number of simulated sequences.
        rng: draws the simulated sequences.
    """
    return cusum_against(in_control_heights(earlier, len(is_wrong), simulations, rng), is_wrong, earlier)


def cusum_against(simulated: NDArray[np.float64], is_wrong: NDArray[np.bool_], earlier: AuditRun) -> CusumResult:
    """The test of cusum() with the statistics of simulated sequences, as in_control_heights() returns them."""
    steps, count = _steps(earlier), len(is_wrong)
    sums = _cumulative(is_wrong[None, :], steps)[0]  # [n + 1]
    lows = np.minimum.accumulate(sums)
    top = int(np.argmax(sums - lows))
    start, height = int(np.argmin(sums[: top + 1])), float(sums[top] - lows[top])
    last = float(sums[-1]) - min(-earlier.height, float(lows[-1]))
    has_continued = -earlier.height < lows[-1]  # The sum has not been 0 since.
    if has_continued:
        risen = earlier.risen_audits + count, earlier.risen_errors + int(is_wrong.sum())
    else:
        since = int(np.argmin(sums))
        risen = count - since, int(is_wrong[since:].sum())
    rises = is_wrong[start:].mean() if start < count else steps.rate
    if last > height:
        height, start, rises = last, -earlier.risen_audits, risen[1] / risen[0]
    # Evidence above that of every simulated sequence would only prolong the alarm after the rise has ended.
    after = dataclasses.replace(
        earlier,
        audits=earlier.audits + count,
        errors=earlier.errors + int(is_wrong.sum()),
        height=min(last, float(simulated.max())),
        risen_audits=risen[0],
        risen_errors=risen[1],
    )
    return CusumResult(
        height=height,
        p=permutation_p(height, simulated, tolerance=_ROUNDING),
        rise=float(rises - steps.rate),
        start=start,
        run=_started_again(after),
    )


def in_control_heights(
    earlier: AuditRun, audits: int, simulations: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Statistics of simulated sequences without a change, in a window after `earlier`: [simulations]."""
    steps, length = _steps(earlier), earlier.audits + audits
    known = earlier.held_out_texts + earlier.audits - earlier.risen_audits
    wrong: float = earlier.held_out_errors + earlier.errors - earlier.risen_errors
    if earlier.audits:  # Up to a 0 of the sum they have too few errors, because few errors bring it to 0.
        wrong += min(_TOO_FEW / steps.gain, known - wrong)
    heights = []
    block = max(1, _BLOCK_VALUES // length)
    for first in range(0, simulations, block):
        rates = rng.beta(wrong + 0.5, known - wrong + 0.5, size=(min(block, simulations - first), 1))
        sums = _cumulative(rng.random((len(rates), length)) < rates, steps)
        within = sums[:, earlier.audits :]
        fresh = (within - np.minimum.accumulate(within, axis=1)).max(axis=1)
        heights.append(np.maximum(fresh, sums[:, -1] - sums.min(axis=1)))
    return np.concatenate(heights)


def _started_again(run: AuditRun) -> AuditRun:
    """The run, or the start of another one if it has many audits."""
    is_at_zero = run.height <= _ROUNDING
    if run.audits >= 2 * MAX_RUN_AUDITS or (is_at_zero and run.audits >= MAX_RUN_AUDITS):
        return AuditRun(run.held_out_errors, run.held_out_texts, run.shift)
    return run


def _steps(run: AuditRun) -> _Steps:
    rate = (run.held_out_errors + 0.5) / (run.held_out_texts + 1)
    raised = min(rate + run.shift, (1 + rate) / 2)
    return _Steps(rate, float(np.log(raised / rate)), float(np.log((1 - raised) / (1 - rate))))


def _cumulative(is_wrong: NDArray[np.bool_], steps: _Steps) -> NDArray[Any]:
    """Sums of log likelihood ratios, from 0: [k, n + 1]; Page's sum is the height above the lowest value until then."""
    sums = np.zeros((len(is_wrong), is_wrong.shape[1] + 1))
    np.cumsum(np.where(is_wrong, steps.gain, steps.loss), axis=1, out=sums[:, 1:])
    return sums
