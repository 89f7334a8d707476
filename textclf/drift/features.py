"""What drift is measured on: of each text its length, form, wordpieces, and what the model says of it.

The texts themselves are not among it, and can't be had back from it but for their wordpieces without their order.
"""

from __future__ import annotations

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
    """How often which wordpiece stands in each of n texts: the rows of a sparse matrix, one after the other.

    Attributes:
        offsets: row i is what stands at offsets[i] … offsets[i + 1] - 1 of the other two: int64 [n + 1].
        ids: of wordpieces, each once a row, ascending: int32 [entries].
        counts: of that wordpiece in that text, from 1: int32 [entries].

    Raises:
        InputError: the arrays do not fit together.
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
                f"expected offsets that rise from 0 to the number of entries, ids from 0 and counts from 1, got "
                f"{len(self.offsets)} offsets for {len(self.ids)} ids and {len(self.counts)} counts"
            )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def of_ids(cls, texts: Sequence[Sequence[int]]) -> TokenCounts:
        """Count the ids of each text."""
        found = [np.unique(np.asarray(ids, np.int32), return_counts=True) for ids in texts]
        return cls(
            np.concatenate([[0], np.cumsum([len(ids) for ids, _ in found])]).astype(np.int64),
            np.concatenate([np.empty(0, np.int32), *(ids for ids, _ in found)]),
            np.concatenate([np.empty(0, np.int32), *(counts for _, counts in found)]).astype(np.int32),
        )

    def take(self, rows: NDArray[np.integer[Any]]) -> TokenCounts:
        """The rows at these positions, in this order."""
        starts, sizes = self.offsets[rows], np.diff(self.offsets)[rows]
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        # The position of each entry: where its row begins, and how far in the row it stands.
        entries = np.repeat(starts - offsets[:-1], sizes) + np.arange(offsets[-1])
        return TokenCounts(offsets, self.ids[entries], self.counts[entries])

    @classmethod
    def joined(cls, parts: Sequence[TokenCounts]) -> TokenCounts:
        """The rows of all parts, one part after the other."""
        sizes = [np.diff(part.offsets) for part in parts]
        return cls(
            np.concatenate([[0], np.cumsum(np.concatenate([np.empty(0, np.int64), *sizes]))]).astype(np.int64),
            np.concatenate([np.empty(0, np.int32), *(part.ids for part in parts)]),
            np.concatenate([np.empty(0, np.int32), *(part.counts for part in parts)]),
        )


class Stage(IntEnum):
    """What answered a text: the encoder alone, or of a cascade the linear stage or the encoder with it."""

    ALONE = 0
    LINEAR = 1
    ENCODER = 2


@dataclass(frozen=True, eq=False)
class TextFeatures:
    """Of n texts and a model with K classes.

    Attributes:
        lengths: wordpieces before truncation, [CLS] and [SEP] included: int64 [n].
        unknown_rates: share of [UNK] among the wordpieces that the model sees, [CLS] and [SEP] not counted:
            float32 [n].
        continuation_rates: share of those that continue a word (misspelled and rare words fall into many pieces):
            float32 [n].
        non_letter_rates: share of characters other than letters among those that are not white space: float32 [n].
        words: wordpieces that the model sees, [CLS] and [SEP] not counted.
        logits: before the temperature, float32 [n, K].
        predicted: class ids, int64 [n].
        embeddings: the encoder's pooled output, projected on a few directions (see reference.py): float32 [n, D], NaN
            for texts without one; None where no text has one.
        stages: what answered, Stage [n] as int64; None is Stage.ALONE for all.
        disagreements: 1 where the stages of a cascade, each by itself, give different labels, 0 where the same, NaN
            where that is not known: float32 [n]; None where it is known of no text.

    Raises:
        InputError: the arrays are not of the same n texts.
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
            raise InputError(f"expected as many rows of every feature, got {sizes}")
        if self.logits.ndim != 2 or (self.embeddings is not None and self.embeddings.ndim != 2):
            raise InputError("expected logits [texts, classes] and embeddings [texts, directions]")

    def __len__(self) -> int:
        return len(self.lengths)

    def take(self, rows: NDArray[np.integer[Any]]) -> TextFeatures:
        """The texts at these positions, in this order."""
        columns: dict[str, Any] = dict.fromkeys(item.name for item in dataclasses.fields(self))
        for name, value in self._values().items():
            columns[name] = value.take(rows) if isinstance(value, TokenCounts) else value[rows]
        return TextFeatures(**columns)

    @classmethod
    def joined(cls, parts: Sequence[TextFeatures]) -> TextFeatures:
        """The texts of all parts (one at least), one part after the other; without a column that a part has not."""
        columns: dict[str, Any] = {}
        for item in dataclasses.fields(cls):
            if item.name == "words":
                columns["words"] = TokenCounts.joined([part.words for part in parts])
            elif any(getattr(part, item.name) is None for part in parts):
                columns[item.name] = None
            else:
                columns[item.name] = np.concatenate([getattr(part, item.name) for part in parts])
        return cls(**columns)

    def _values(self) -> dict[str, Any]:
        """The columns by name, without those that are not there."""
        values = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        return {name: value for name, value in values.items() if value is not None}
