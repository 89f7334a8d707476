"""Windows: the parts of a long text that the encoder reads one by one, because the whole has too many wordpieces.

The logits and the embedding of a text are the means over its windows. The classification layer is linear, so the mean
of the logits is also what it computes from the mean embedding.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def window_count(length: int, capacity: int, max_windows: int) -> int:
    """Number of windows of a text; for the arguments see window_starts()."""
    return max(1, min(max_windows, -(-length // capacity)))


def window_starts(length: int, capacity: int, max_windows: int) -> list[int]:
    """Positions where the windows of a text start: the first at its beginning, the last at its end, evenly spaced.

    A text has as few windows as can hold it. If it does not fit into max_windows, there are gaps between them.

    Args:
        length: wordpieces of the text, without [CLS] and [SEP].
        capacity: wordpieces of a window, without [CLS] and [SEP].
        max_windows: maximum number of windows.
    """
    count = window_count(length, capacity, max_windows)
    spare, gaps = max(0, length - capacity), max(1, count - 1)
    return [position * spare // gaps for position in range(count)]


def covered(wordpieces: Sequence[int], capacity: int, max_windows: int) -> list[int]:
    """The wordpieces that the windows of a text contain, each once; their windows are those of the text."""
    if len(wordpieces) <= max_windows * capacity:
        return list(wordpieces)
    starts = window_starts(len(wordpieces), capacity, max_windows)
    return [piece for start in starts for piece in wordpieces[start : start + capacity]]


def means_of_windows(values: NDArray[np.float32], counts: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
    """Means over the windows of each text.

    Args:
        values: a row for each window, in the order of the texts, [windows of all texts, outputs].
        counts: windows of each text, at least 1, [texts].
    """
    sums = np.add.reduceat(values, np.cumsum(counts) - counts, axis=0)
    return np.asarray(sums / counts[:, None], np.float32)
