"""Durations on the command line: 90m, 6h, 7d, 2w."""

import math
import re
from typing import Any

import click

from textclf.errors import InputError

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_DURATION = re.compile(rf"([0-9]{{1,9}}(?:\.[0-9]{{1,9}})?)([{''.join(_SECONDS)}])")


def parse_duration(text: str) -> float:
    """Parse a duration into seconds above 0.

    Raises:
        InputError: if it is not a number above 0 with a unit.
    """
    match = _DURATION.fullmatch(text.strip())
    seconds = float(match[1]) * _SECONDS[match[2]] if match else 0.0
    if seconds <= 0:
        raise InputError(f"expected a number above 0 with a unit (s, m, h, d, w), such as 6h or 7d, got {text!r:.40}")
    return seconds


class Duration(click.ParamType[float]):
    """Type of a duration option from `min_seconds` to `max_seconds`; the command gets seconds."""

    name = "duration"

    def __init__(self, min_seconds: float = 0.0, max_seconds: float = math.inf) -> None:
        self.min_seconds = min_seconds
        self.max_seconds = max_seconds

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds of the typed duration; a default may be a number of seconds."""
        if isinstance(value, int | float):
            return float(value)
        try:
            seconds = parse_duration(value)
        except InputError as error:
            self.fail(str(error), param, ctx)
        if not self.min_seconds <= seconds <= self.max_seconds:
            self.fail(f"expected {self.min_seconds:g}s to {self.max_seconds:g}s, got {value!r:.40}", param, ctx)
        return seconds
