"""The CUSUM of a version's random audits, as one window leaves it to the next."""

import math
from dataclasses import dataclass

from textclf.errors import ModelStoreError


@dataclass(frozen=True)
class AuditRun:
    """A CUSUM after some audits; without audits, the start of one.

    Attributes:
        held_out_errors, held_out_texts: number of wrong predictions in the reference, and of its texts.
        shift: rise of the error rate that the sum is tuned to.
        audits, errors: audits since the sum was started, and errors among them.
        height: the sum after the last audit.
        risen_audits, risen_errors: audits since the sum was last 0, and errors among them.

    Raises:
        ModelStoreError: if a value is impossible.
    """

    held_out_errors: int
    held_out_texts: int
    shift: float
    audits: int = 0
    errors: int = 0
    height: float = 0.0
    risen_audits: int = 0
    risen_errors: int = 0

    def __post_init__(self) -> None:
        right, risen_right = self.audits - self.errors, self.risen_audits - self.risen_errors
        counts = (self.held_out_errors, self.held_out_texts, self.errors, right, self.risen_errors, risen_right)
        holds = (
            all(isinstance(count, int) and not isinstance(count, bool) and count >= 0 for count in counts)
            and all(isinstance(value, int | float) and math.isfinite(value) for value in (self.shift, self.height))
            and self.held_out_errors <= self.held_out_texts
            and self.risen_errors <= self.errors
            and risen_right <= right
            and 0 < self.shift < 1
            and self.height >= 0
        )
        if not holds:
            raise ModelStoreError(f"audit_runs: found an invalid value, {self!r}")

    def is_of(self, other: "AuditRun") -> bool:
        """Whether both sums have the same reference and the same shift, so that one continues the other."""
        return (self.held_out_errors, self.held_out_texts, self.shift) == (
            other.held_out_errors,
            other.held_out_texts,
            other.shift,
        )
