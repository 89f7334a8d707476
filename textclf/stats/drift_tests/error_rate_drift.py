"""Audited predictions, and a test of their error rate; error_cusum.py tests it over time.

Only texts that were picked at random for labelling show how often the model errs. Users mostly label its mistakes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from textclf.drift.audit_run import AuditRun
from textclf.errors import InputError
from textclf.stats.drift_tests.drift_results import LabelCounts
from textclf.stats.intervals import wilson_interval


@dataclass(frozen=True, eq=False)
class AuditEvidence:
    """Labels of m predictions of a version, and its errors on the reference.

    Attributes:
        labels: class ids given by people, int64 [m]; negative if the label is not a class of the model. Each of these
            is an error: the model cannot predict the true class.
        predicted: class ids predicted by the model, int64 [m].
        times: seconds since the epoch, float64 [m]; in any order.
        is_audit: True if the text was picked at random for labelling, bool [m]. Only these are tested.
        held_out_errors, held_out_texts: number of wrong predictions in the reference, and of its texts.
        earlier: CUSUM of the version's earlier audits; None if this is the first window.

    Raises:
        InputError: if the arrays differ in length, a time is not finite, or there are more errors than texts.
    """

    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    times: NDArray[np.float64]
    is_audit: NDArray[np.bool_]
    held_out_errors: int
    held_out_texts: int
    earlier: AuditRun | None = None

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

    def run(self, shift: float) -> AuditRun:
        """The earlier CUSUM, which these audits continue; a new one if it has another reference or shift."""
        new = AuditRun(self.held_out_errors, self.held_out_texts, shift)
        return self.earlier if self.earlier is not None and self.earlier.is_of(new) else new


@dataclass(frozen=True)
class ErrorRateResult:
    """One-sided p-value, and the rise: error rate of the audits minus the held-out error rate."""

    p: float
    rise: float


def label_counts(evidence: AuditEvidence) -> LabelCounts:
    """Count the errors among random audits and among other labels."""
    is_wrong, audits = evidence.labels != evidence.predicted, int(evidence.is_audit.sum())
    is_unknown = evidence.labels < 0
    errors = int(is_wrong[evidence.is_audit].sum())
    return LabelCounts(
        held_out_texts=evidence.held_out_texts,
        held_out_errors=evidence.held_out_errors,
        audit_texts=audits,
        audit_errors=errors,
        audit_interval=wilson_interval(errors, audits) if audits else None,
        other_texts=len(is_wrong) - audits,
        other_errors=int(is_wrong.sum()) - errors,
        audit_unknown=int(is_unknown[evidence.is_audit].sum()),
        other_unknown=int(is_unknown[~evidence.is_audit].sum()),
    )


def error_rate_test(is_wrong: NDArray[np.bool_], held_out_errors: int, held_out_texts: int) -> ErrorRateResult:
    """Test whether audits [n] have a higher error rate than the held-out texts: Fisher's exact test, one-sided.

    R. A. Fisher, "Statistical Methods for Research Workers", 5th edition, 1934, section 21.02: with the margins
    given, the errors among the audits have a hypergeometric distribution. This allows for the uncertainty of the
    held-out rate.
    """
    from scipy.stats import hypergeom

    errors, audits = int(is_wrong.sum()), len(is_wrong)
    p = hypergeom.sf(errors - 1, held_out_texts + audits, held_out_errors + errors, audits)
    return ErrorRateResult(min(1.0, float(p)), errors / audits - held_out_errors / held_out_texts)
