"""The progress bar of long operations."""

import sys

from tqdm import tqdm


def progress_bar(total: int, label: str, unit: str, initial: int = 0, stays: bool = False) -> tqdm:
    """A bar with rate and remaining time on stderr; if that is not a terminal, one line every 30 seconds."""
    is_terminal = sys.stderr.isatty()
    return tqdm(
        total=total,
        initial=initial,
        desc=label,
        unit=unit,
        mininterval=0.5 if is_terminal else 30,
        smoothing=0.05,
        leave=stays,
        position=None if is_terminal else 0,  # 0: no codes that move the cursor.
    )
