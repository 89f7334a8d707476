"""Which texts are read together, and which the encoder computes together."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textclf.runtime.backend import TEXTS_PER_BATCH

# Characters of a group: enough to make the cost of a group negligible, few enough to bound its wordpieces.
_GROUP_CHARS = 16_384


def groups_by_size(texts: Sequence[str], max_chars: int = _GROUP_CHARS) -> Iterator[slice]:
    """Slices of consecutive texts with up to `max_chars` characters, or one text; one empty slice for no texts."""
    start = chars = 0
    for index, text in enumerate(texts):
        if index > start and chars + len(text) > max_chars:
            yield slice(start, index)
            start, chars = index, 0
        chars += len(text)
    yield slice(start, len(texts))


def batches_by_length(
    lengths: NDArray[np.integer[Any]], tokens_per_batch: int, texts_per_batch: int = TEXTS_PER_BATCH
) -> Iterator[NDArray[np.intp]]:
    """Positions of texts of similar length, longest first; each position occurs once.

    Batch sizes are powers of two: an engine prepares each shape once, so there must be few shapes.

    Args:
        lengths: tokens of each text, [texts].
        tokens_per_batch: maximum of batch size times longest length, unless the batch is one text.
        texts_per_batch: maximum batch size.
    """
    order = np.argsort(-np.asarray(lengths, np.int64), kind="stable")
    start = 0
    while start < len(order):
        longest = max(1, int(lengths[order[start]]))
        max_size = max(1, min(texts_per_batch, tokens_per_batch // longest, len(order) - start))
        size = 1 << (max_size.bit_length() - 1)
        yield order[start : start + size]
        start += size


def rows_in_order(
    parts: Sequence[tuple[NDArray[np.intp], NDArray[np.float32]]], count: int
) -> NDArray[np.float32] | None:
    """Rows of the batches at their positions, NaN elsewhere: float32 [count, width]; None without batches."""
    if not parts:
        return None
    rows = np.full((count, parts[0][1].shape[1]), np.nan, np.float32)
    for positions, part in parts:
        rows[positions] = part
    return rows
