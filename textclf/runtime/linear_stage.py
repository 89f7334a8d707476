"""The linear stage of a cascade: wordpiece ids to logits by summing weights, 0.1 ms per text.

A text is the set of its hashed wordpiece uni- and bigrams; the whole text counts, also beyond the encoder's
max_length. Each has a weight per class, and the logits are sums of weights (fitted in linear_stage_training.py).

    engine/linear.npz   weights [buckets, columns], intercepts [columns]

K classes have K columns (one-vs-rest); two classes have one column, the second class against the first.
"""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from textclf.errors import ModelStoreError
from textclf.files import atomic_file
from textclf.npz_files import UNREADABLE, read_array

LINEAR_FILE = "linear.npz"
FORMAT = 1

# Odd constants of multiplicative hashing (Knuth, The Art of Computer Programming 3, section 6.4).
_FIRST, _SECOND, _MIX = (np.uint64(odd) for odd in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0xD6E8FEB86659FD93))
_HASH_BITS = 64
# Wordpieces that are hashed at a time: each takes 100 bytes, which a thread's allocator would keep.
_SLICE = 8192
_MAX_BYTES = 2**27


class LinearStage:
    """Weights of hashed uni- and bigrams; several threads may call it.

    Args:
        weights: float16 [buckets, columns]; buckets is a power of two.
        intercepts: float32 [columns]; one column for two classes, else one per class.

    Raises:
        ModelStoreError: if the shapes do not fit together, or a value is not finite.
    """

    def __init__(self, weights: NDArray[np.float16], intercepts: NDArray[np.float32]) -> None:
        buckets = len(weights)
        fits = weights.ndim == 2 and buckets >= 2 and buckets & (buckets - 1) == 0 and weights.shape[1] != 2
        if not (fits and intercepts.shape == weights.shape[1:] and len(intercepts) > 0):
            raise ModelStoreError(
                f"expected weights [a power of two, 1 or at least 3 columns] and an intercept for each column, got "
                f"shapes {list(weights.shape)} and {list(intercepts.shape)}"
            )
        if not (np.isfinite(weights).all() and np.isfinite(intercepts).all()):
            raise ModelStoreError("expected finite weights, found NaN or infinite values")
        self.weights = weights
        self.intercepts = intercepts
        self.buckets = buckets

    @property
    def classes(self) -> int:
        """Number of classes K."""
        columns = len(self.intercepts)
        return 2 if columns == 1 else columns

    def __call__(self, texts: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Logits of n texts, before any temperature: float32 [n, K].

        Args:
            texts: all wordpiece ids of each text, without [CLS] and [SEP].
        """
        totals = np.empty((len(texts), len(self.intercepts)), np.float32)
        for row, ids in enumerate(texts):
            # With several columns, self.weights[…] takes six times as long.
            weights = self.weights.take(features_of(ids, self.buckets), axis=0)  # [features, columns]
            totals[row] = weights.sum(axis=0, dtype=np.float32)
        totals += self.intercepts
        return totals if totals.shape[1] > 1 else np.concatenate([-totals / 2, totals / 2], axis=1)

    def save(self, folder: Path) -> None:
        """Write the file into `folder`; equal weights give equal bytes."""
        with atomic_file(folder / LINEAR_FILE, "wb") as file:
            np.savez_compressed(file, format=FORMAT, weights=self.weights, intercepts=self.intercepts)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The stage that save() wrote into `folder`.

        Raises:
            ModelStoreError: if the file is missing, damaged or of another format.
        """
        path = folder / LINEAR_FILE
        try:
            with zipfile.ZipFile(path) as file:
                if (found := int(read_array(file, "format", _MAX_BYTES))) != FORMAT:
                    raise ValueError(f"it is in format {found}, this software reads {FORMAT}")
                weights, intercepts = (read_array(file, name, _MAX_BYTES) for name in ("weights", "intercepts"))
            if weights.dtype != np.float16 or intercepts.dtype != np.float32:
                raise ValueError(f"weights of {weights.dtype} and intercepts of {intercepts.dtype}")
            return cls(weights, intercepts)
        except (*UNREADABLE, TypeError, ModelStoreError) as error:  # TypeError: arrays without an axis.
            raise ModelStoreError.damaged(
                f"{path}: expected the linear stage of a version ({error})", can_export=True
            ) from error


def features_of(ids: Sequence[int], buckets: int) -> NDArray[np.int64]:
    """Distinct hashed uni- and bigrams of a text, ascending: int64 [features].

    Args:
        ids: wordpiece ids of the whole text, at least 0.
        buckets: a power of two.
    """
    if len(ids) <= _SLICE:
        return _hashed(ids, buckets)
    # Each slice starts with the last wordpiece of the one before, for the bigram of both.
    slices = [_hashed(ids[start : start + _SLICE + 1], buckets) for start in range(0, len(ids) - 1, _SLICE)]
    return np.unique(np.concatenate(slices))


def features_at(ids: Sequence[int] | NDArray[np.int64], buckets: int) -> NDArray[np.int64]:
    """Hashed features in the order of the text: those of n wordpieces, then those of n - 1 bigrams: int64 [2n - 1].

    For the arguments see features_of(); there must be at least one wordpiece.
    """
    numbers = np.array(ids, np.uint64) + np.uint64(1)  # So that id 0 does not hash to 0.
    firsts = numbers * _FIRST
    hashes = np.concatenate([firsts, firsts[:-1] ^ (numbers[1:] * _SECOND)])
    # The high bits of a product depend on all bits of the factors.
    return ((hashes * _MIX) >> np.uint64(_HASH_BITS - buckets.bit_length() + 1)).view(np.int64)


def _hashed(ids: Sequence[int], buckets: int) -> NDArray[np.int64]:
    found = features_at(ids, buckets)
    found.sort()
    is_first = np.ones(len(found), np.bool_)
    np.not_equal(found[1:], found[:-1], out=is_first[1:])
    return found[is_first]
