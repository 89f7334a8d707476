"""Parts of a batch with about equal numbers of tokens.

B: batch, S: sequence length, K: classes.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from textclf.training.fitting.batching import rounded_length

# A part with more tokens, padding included, is computed in several pieces, whose gradients are added. So a batch may
# be larger than the memory of a host allows, and be exchanged over a slow network more seldom.
MAX_TOKENS = 8192


@dataclass(frozen=True, eq=False)
class Piece:
    """Some texts of a batch.

    Attributes:
        rows: their positions in the batch, int [B].
        width: number of columns that hold their tokens.
    """

    rows: npt.NDArray[np.intp]
    width: int

    def tokens_of(self, batch: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """The word ids or the mask of the texts: [B, S] -> [b, width]."""
        return batch[self.rows, : self.width]


def split_batch(lengths: npt.NDArray[np.integer[Any]], parts: int) -> list[list[Piece]]:
    """Divide the texts of a batch into `parts` with about as many tokens each, and each part into pieces.

    A part of a batch with fewer texts than parts may have no piece. `lengths` are the tokens of each text, int [B].
    """
    order = np.argsort(lengths, kind="stable")
    padded = np.array([rounded_length(int(lengths[row])) for row in order])
    ends = np.cumsum(padded) - padded / 2
    owners = np.minimum((ends * parts / padded.sum()).astype(int), parts - 1)
    return [_pieces(order[owners == part], lengths) for part in range(parts)]


def _pieces(rows: npt.NDArray[np.intp], lengths: npt.NDArray[np.integer[Any]]) -> list[Piece]:
    if not len(rows):
        return []
    width = rounded_length(int(lengths[rows].max()))
    count = -(-len(rows) * width // MAX_TOKENS)
    pieces = np.array_split(rows, min(count, len(rows)))
    return [Piece(piece, rounded_length(int(lengths[piece].max()))) for piece in pieces]
