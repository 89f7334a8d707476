"""Features of texts for drift tests: length, form, wordpiece counts and outputs of the model.

The texts are not stored; only their wordpieces, without order, can be recovered.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textclf.errors import InputError


@dataclass(frozen=True, eq=False)
class TokenCounts:
    """Counts of wordpieces in n texts, as a sparse matrix in CSR form with a row for each text.

    Attributes:
        offsets: row i has the entries offsets[i] to offsets[i + 1] - 1 of the other arrays: int64 [n + 1].
        ids: wordpiece ids, distinct and ascending in each row: int32 [entries].
        counts: counts of these wordpieces, from 1: int32 [entries].

    Raises:
        InputError: if the arrays do not fit together.
    """

    offsets: NDArray[np.int64]
    ids: NDArray[np.int32]
    counts: NDArray[np.int32]

    def __post_init__(self) -> None:
        fits = (
            self.offsets.ndim == self.ids.ndim == self.counts.ndim == 1
            and len(self.offsets) > 0
            and self.offsets[0] == 0
            and self.offsets[-1] == len(self.ids) == len(self.counts)
            and bool(np.all(np.diff(self.offsets) >= 0))
            and bool(np.all(self.ids >= 0))
            and bool(np.all(self.counts >= 1))
        )
        if not fits:
            raise InputError(
                f"expected ascending offsets from 0 to the number of entries, ids from 0 and counts from 1, got "
                f"{len(self.offsets)} offsets for {len(self.ids)} ids and {len(self.counts)} counts"
            )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def of_ids(cls, texts: Sequence[Sequence[int]]) -> "TokenCounts":
        """Count the ids of each text."""
        found = [np.unique(np.asarray(ids, np.int32), return_counts=True) for ids in texts]
        return cls(
            np.concatenate([[0], np.cumsum([len(ids) for ids, _ in found])]).astype(np.int64),
            np.concatenate([np.empty(0, np.int32), *(ids for ids, _ in found)]),
            np.concatenate([np.empty(0, np.int32), *(counts for _, counts in found)]).astype(np.int32),
        )

    def take(self, rows: NDArray[np.integer[Any]]) -> "TokenCounts":
        """The rows at these positions, in this order."""
        starts, sizes = self.offsets[rows], np.diff(self.offsets)[rows]
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        # Position of each entry: start of its row plus position in the row.
        entries = np.repeat(starts - offsets[:-1], sizes) + np.arange(offsets[-1])
        return TokenCounts(offsets, self.ids[entries], self.counts[entries])

    @classmethod
    def concatenate(cls, parts: Sequence["TokenCounts"]) -> "TokenCounts":
        """The rows of all parts, in order."""
        sizes = [np.diff(part.offsets) for part in parts]
        return cls(
            np.concatenate([[0], np.cumsum(np.concatenate([np.empty(0, np.int64), *sizes]))]).astype(np.int64),
            np.concatenate([np.empty(0, np.int32), *(part.ids for part in parts)]),
            np.concatenate([np.empty(0, np.int32), *(part.counts for part in parts)]),
        )


class Stage(IntEnum):
    """Stage that predicted a text: an encoder without a cascade, or the linear stage or encoder of a cascade."""

    ALONE = 0
    LINEAR = 1
    ENCODER = 2


@dataclass(frozen=True, eq=False)
class TextFeatures:
    """Features of n texts for a model with K classes.

    Attributes:
        lengths: number of wordpieces before truncation, including [CLS] and [SEP], which alone are those of a blank
            text: int64 [n].
        unknown_rates: share of [UNK] among the wordpieces after truncation, without [CLS] and [SEP]: float32 [n].
        continuation_rates: share of wordpieces that continue a word; high for misspelled and rare words: float32 [n].
        non_letter_rates: share of characters other than letters, without white space: float32 [n].
        words: wordpieces after truncation, without [CLS] and [SEP].
        logits: logits before the temperature, float32 [n, K].
        predicted: predicted class ids, int64 [n].
        embeddings: pooled output of the encoder, projected on D directions (see reference.py): float32 [n, D], NaN
            for a text without one; None if no text has one.
        stages: Stage of each text as int64 [n]; None means Stage.ALONE for all.
        disagreements: 1 if the stages of a cascade predict different labels, 0 if they agree, NaN if unknown:
            float32 [n]; None if unknown for all texts.

    Raises:
        InputError: if the arrays differ in length or number of axes.
    """

    lengths: NDArray[np.int64]
    unknown_rates: NDArray[np.float32]
    continuation_rates: NDArray[np.float32]
    non_letter_rates: NDArray[np.float32]
    words: TokenCounts
    logits: NDArray[np.float32]
    predicted: NDArray[np.int64]
    embeddings: NDArray[np.float32] | None
    stages: NDArray[np.int64] | None = None
    disagreements: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        sizes = {name: len(value) for name, value in self._values().items()}
        if len(set(sizes.values())) > 1:
            raise InputError(f"expected the same number of rows for every feature, got {sizes}")
        if self.logits.ndim != 2 or (self.embeddings is not None and self.embeddings.ndim != 2):
            raise InputError("expected logits [texts, classes] and embeddings [texts, directions]")

    def __len__(self) -> int:
        return len(self.lengths)

    def take(self, rows: NDArray[np.integer[Any]]) -> "TextFeatures":
        """The texts at these positions, in this order."""
        columns: dict[str, Any] = dict.fromkeys(item.name for item in dataclasses.fields(self))
        for name, value in self._values().items():
            columns[name] = value.take(rows) if isinstance(value, TokenCounts) else value[rows]
        return TextFeatures(**columns)

    @classmethod
    def concatenate(cls, parts: Sequence["TextFeatures"]) -> "TextFeatures":
        """The texts of all parts, at least one; a column that is None in a part is None in the result."""
        columns: dict[str, Any] = {}
        for item in dataclasses.fields(cls):
            if item.name == "words":
                columns["words"] = TokenCounts.concatenate([part.words for part in parts])
            elif any(getattr(part, item.name) is None for part in parts):
                columns[item.name] = None
            else:
                columns[item.name] = np.concatenate([getattr(part, item.name) for part in parts])
        return cls(**columns)

    def _values(self) -> dict[str, Any]:
        """The columns that are not None, by name."""
        values = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        return {name: value for name, value in values.items() if value is not None}
