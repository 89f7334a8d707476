"""The progress bar of long operations."""

import sys

from tqdm import tqdm

# Without a terminal a bar is a line in a log.
_SECONDS_BETWEEN_LINES = 30


def progress_bar(
    total: int | None, label: str, unit: str, initial: int = 0, stays: bool = False, unit_scale: bool = False
) -> tqdm:
    """A bar with rate and remaining time on stderr; if that is not a terminal, one line every 30 seconds."""
    is_terminal = sys.stderr.isatty()
    return tqdm(
        total=total,
        initial=initial,
        desc=label,
        unit=unit,
        unit_scale=unit_scale,
        mininterval=0.5 if is_terminal else _SECONDS_BETWEEN_LINES,
        delay=0 if is_terminal else _SECONDS_BETWEEN_LINES,
        smoothing=0.05,
        leave=stays,
        position=None if is_terminal else 0,  # 0: no codes that move the cursor.
    )
