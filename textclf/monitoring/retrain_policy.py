"""When monitoring may start a retraining by itself: pure decisions, apart from the scores that lead to them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from textclf.config import Config
from textclf.drift.state import DRIFT, MAX_WINDOWS, DriftState, Window
from textclf.errors import ConfigError

_WINDOWS = re.compile(r"([0-9]{1,3})of([0-9]{1,3})")


@dataclass(frozen=True)
class RetrainPolicy(Config):
    """What must have come together since the last retraining.

    Attributes:
        min_new_labels: different labelled texts that it has not seen yet.
        cool_down: seconds since it was started.
    """

    min_new_labels: int = 200
    cool_down: float = 24 * 3600.0

    def __post_init__(self) -> None:
        self._check_whole("min_new_labels", 1)
        self._check("cool_down", isinstance(self.cool_down, int | float) and self.cool_down >= 0, "seconds from 0")


@dataclass(frozen=True)
class WindowRule:
    """Drift counts once `needed` of the last `last` windows show it: a single odd night is none."""

    needed: int
    last: int

    @classmethod
    def parse(cls, text: str) -> WindowRule:
        """The rule as people write it, such as 2of3.

        Raises:
            ConfigError: it is not one.
        """
        match = _WINDOWS.fullmatch(text.replace(" ", ""))
        rule = cls(int(match[1]), int(match[2])) if match else None
        if rule is None or not 1 <= rule.needed <= rule.last <= MAX_WINDOWS:
            raise ConfigError(f"expected KofN, such as 2of3, with 1 <= K <= N <= {MAX_WINDOWS}, got {text!r}")
        return rule

    def __str__(self) -> str:
        return f"{self.needed}of{self.last}"

    def alarms(self, windows: Sequence[Window], version: str) -> int:
        """Of the last windows of this version, oldest first, how many show drift."""
        own = [window for window in windows if window.version == version]
        return sum(window.verdict == DRIFT for window in own[-self.last :])


def why_not_retrain(state: DriftState, fingerprint: str, labels: int, now: float, policy: RetrainPolicy) -> str | None:
    """Why no retraining is to be started now, in words; None if one is.

    A try that ended in an error, or whose model was held back, has not used up the labels (see RetrainTry); but it,
    too, is followed by the cool-down, so that what fails does not fail all day.

    Args:
        state: of monitoring.
        fingerprint: of the labelled texts as they are (textclf.data.labelled_reviews).
        labels: how many different ones these are.
        now: in seconds since the epoch.
        policy: see RetrainPolicy.
    """
    last = state.last_retrain
    if last is not None and 0 <= now - last.time < policy.cool_down:
        left = policy.cool_down - (now - last.time)
        return f"the last one was {_hours(now - last.time)} ago, and the cool-down lasts for another {_hours(left)}"
    if last is not None and fingerprint == last.fingerprint:
        return "the labelled data has not changed since the last one"
    new = labels if last is None else max(0, labels - last.labels)
    if new < policy.min_new_labels:
        return f"there are {new:,} labelled texts that it has not seen, and {policy.min_new_labels:,} are asked for"
    return None


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.0f} min"
