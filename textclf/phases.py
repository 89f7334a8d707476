"""Announces the phases of a command that take seconds, so that nobody takes silence for a hang."""

import sys
from collections.abc import Sequence

import click

# Rough average of English texts, white space included.
_CHARACTERS_PER_WORDPIECE = 5
# Wordpieces per second that the engine of a small encoder scores on two cores.
SCORING_SPEED = 12_000
# A shorter phase needs no line.
_MIN_SECONDS = 5
_TENSORFLOW_SECONDS = 8


def announce(phase: str, seconds: float) -> None:
    """Print on stderr that a phase begins and roughly how long it takes; a phase of less than 5 seconds gets no line.

    Args:
        phase: what begins, such as "exporting the engine".
        seconds: expected duration on two cores.
    """
    if seconds >= _MIN_SECONDS:
        click.echo(f"{phase}: about {rough_duration(seconds)} …", err=True)


def announce_tensorflow() -> None:
    """Announce that TensorFlow is imported, unless it was before."""
    announce("loading TensorFlow", 0 if "tensorflow" in sys.modules else _TENSORFLOW_SECONDS)


def announce_scoring(texts: Sequence[str], max_length: int, what: str) -> None:
    """Announce that an engine scores texts; `what` says which, such as "1,000 new texts"."""
    announce(f"scoring {what}", rough_wordpieces(texts, max_length) / SCORING_SPEED)


def rough_wordpieces(texts: Sequence[str], max_length: int) -> int:
    """About how many wordpieces texts have together after truncation, without tokenizing them."""
    return sum(min(len(text) // _CHARACTERS_PER_WORDPIECE, max_length) for text in texts)


def rough_duration(seconds: float) -> str:
    """A duration with one unit: seconds in steps of 5, then minutes, then hours."""
    if seconds < 90:
        return f"{max(5, 5 * round(seconds / 5))} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.0f} h"
