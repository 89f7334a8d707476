"""Slices of texts by their lengths."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def quartile_edges(lengths: NDArray[np.integer[Any]]) -> list[int]:
    """The distinct quartiles of lengths [n], ascending: up to three whole numbers."""
    return [int(edge) for edge in np.unique(np.quantile(lengths, [0.25, 0.5, 0.75]).astype(np.int64))]


def length_slices(lengths: NDArray[np.integer[Any]], edges: Sequence[int]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """The name and the texts, bool [n], of each range of lengths between ascending edges; the upper edge is in it."""
    for low, high in itertools.pairwise([None, *edges, None]):
        words = f"up to {high}" if low is None else f"over {low}" if high is None else f"{low + 1} to {high}"
        over = True if low is None else lengths > low
        within = True if high is None else lengths <= high
        yield f"{words} tokens", np.broadcast_to(np.logical_and(over, within), len(lengths))
