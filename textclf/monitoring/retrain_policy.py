"""Rules for when monitoring may start a retraining."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from textclf.config import Config
from textclf.drift.state import DRIFT, MAX_WINDOWS, DriftState, Window
from textclf.errors import ConfigError
from textclf.fields import number, whole

_WINDOWS = re.compile(r"([0-9]{1,3})of([0-9]{1,3})")


@dataclass(frozen=True)
class RetrainPolicy(Config):
    """Conditions for another retraining."""

    min_new_labels: int = whole(200, "Minimum number of labelled texts that no retraining has used yet.", min=1)
    cool_down: float = number(
        24 * 3600.0, "Minimum time between the starts of two retrainings.", min=0, shown="1d", metavar="TIME"
    )
    # A retraining with fewer trains nothing (textclf.retraining.preflight.check_holdout).
    min_labels: int = whole(
        1,
        "Minimum number of labelled texts in all, so that the held-out ones can decide.",
        min=1,
        shown="of `--min-holdout`, 500 for its default",
    )


@dataclass(frozen=True)
class WindowRule:
    """Retrain if `needed` of the last `last` windows show drift, so that one unusual window does not."""

    needed: int
    last: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a rule such as 2of3.

        Raises:
            ConfigError: if the text is not KofN with 1 <= K <= N <= MAX_WINDOWS.
        """
        match = _WINDOWS.fullmatch(text.replace(" ", ""))
        rule = cls(int(match[1]), int(match[2])) if match else None
        if rule is None or not 1 <= rule.needed <= rule.last <= MAX_WINDOWS:
            raise ConfigError(f"expected KofN, such as 2of3, with 1 <= K <= N <= {MAX_WINDOWS}, got {text!r}")
        return rule

    def __str__(self) -> str:
        return f"{self.needed}of{self.last}"

    def alarms(self, windows: Sequence[Window], version: str) -> int:
        """Number of windows with drift among the last ones of this version; `windows` has the oldest first."""
        own = [window for window in windows if window.version == version]
        return sum(window.verdict == DRIFT for window in own[-self.last :])


def why_not_retrain(state: DriftState, fingerprint: str, labels: int, now: float, policy: RetrainPolicy) -> str | None:
    """The reason against a retraining now, in words; None if there is none.

    A retraining that failed, could not decide, or whose model was held back, has not used up the labels (see
    RetrainTry). The cool-down also follows such a retraining, so that an error is not repeated all day.

    Args:
        state, policy: state of monitoring, and conditions for a retraining.
        fingerprint: of the labelled texts (textclf.data.labelled_reviews).
        labels: number of different labelled texts.
        now: seconds since the epoch.
    """
    last = state.last_retrain
    if last is not None and 0 <= now - last.time < policy.cool_down:
        left = policy.cool_down - (now - last.time)
        return f"the last one was {_hours(now - last.time)} ago, and the cool-down lasts another {_hours(left)}"
    if last is not None and fingerprint == last.fingerprint:
        return "the labelled data has not changed since the last one"
    new = labels if last is None else max(0, labels - last.labels)
    if new < policy.min_new_labels:
        return f"there are {new:,} labelled texts that it has not used, and it needs {policy.min_new_labels:,}"
    if labels < policy.min_labels:
        return f"there are {labels:,} labelled texts, and it takes about {policy.min_labels:,} to decide about a model"
    return None


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.0f} min"
