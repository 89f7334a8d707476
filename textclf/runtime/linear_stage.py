"""The linear stage of a cascade: wordpiece ids -> logits by adding up weights, in a tenth of a millisecond a text.

A text is the set of its hashed uni- and bigrams of wordpieces, of the whole text and not only of what the encoder
reads. Each has a weight for each class, and the logits are their sums (textclf.training.linear_stage fits them).

    engine/linear.npz   weights [buckets, columns], intercepts [columns]

K classes have K columns, one against the rest each; two classes have one, of the second against the first.
"""

import io
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from textclf.errors import ModelStoreError
from textclf.files import atomic_file

LINEAR_FILE = "linear.npz"
FORMAT = 1
# Wordpieces of a block; about 50 words of praise below a bad review fit in one.
BLOCK = 64

# Odd constants of multiplicative hashing (Knuth, The Art of Computer Programming 3, section 6.4).
_FIRST, _SECOND, _MIX = (np.uint64(odd) for odd in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0xD6E8FEB86659FD93))
_HASH_BITS = 64
# Of a bucket and a place in one number of 64 bits.
_PLACE_BITS = np.uint64(32)
_PLACES = np.uint64(2**32 - 1)
_MOST_BYTES = 2**27
_RESTORE = "restore the version from where it came, or export it again (train_model.py --export-again)"


@dataclass(frozen=True, eq=False)
class LinearAnswers:
    """What the linear stage says of n texts.

    Attributes:
        logits: before any temperature, float32 [n, K].
        is_steady: whether the label stays the same whichever block of BLOCK wordpieces is left out, bool [n]. Where it
            does not, one place decides against the rest of the text: praise appended to a bad review, say. A feature is
            left out with the block where it stands first, so that the same praise twice is no praise of two places.
    """

    logits: NDArray[np.float32]
    is_steady: NDArray[np.bool_]


class LinearStage:
    """Weights of hashed uni- and bigrams; several threads may call it.

    Args:
        weights: float16 [buckets, columns]; buckets is a power of two.
        intercepts: float32 [columns]; one column for two classes, else one for each class.

    Raises:
        ModelStoreError: the arrays do not fit together, or hold values that are not finite.
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
            raise ModelStoreError("expected finite weights, got some that are not")
        self.weights = weights
        self.intercepts = intercepts
        self.buckets = buckets

    @property
    def classes(self) -> int:
        """How many classes K the logits are of."""
        columns = len(self.intercepts)
        return 2 if columns == 1 else columns

    def __call__(self, texts: Sequence[Sequence[int]]) -> LinearAnswers:
        """Logits of texts, each given as all its wordpiece ids, without [CLS] and [SEP]."""
        logits = np.empty((len(texts), self.classes), np.float32)
        is_steady = np.empty(len(texts), np.bool_)
        for row, ids in enumerate(texts):
            logits[row], is_steady[row] = self._answer(ids)
        return LinearAnswers(logits, is_steady)

    def save(self, folder: Path) -> None:
        """Write the file into `folder`; the same weights give the same bytes."""
        with atomic_file(folder / LINEAR_FILE, "wb") as file:
            np.savez_compressed(file, format=FORMAT, weights=self.weights, intercepts=self.intercepts)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The stage that save() wrote into `folder`.

        Raises:
            ModelStoreError: the file is missing, damaged or something else.
        """
        path = folder / LINEAR_FILE
        try:
            with zipfile.ZipFile(path) as file:
                if (found := int(_array(file, "format"))) != FORMAT:
                    raise ValueError(f"it is in format {found}, this software reads {FORMAT}")
                weights, intercepts = _array(file, "weights"), _array(file, "intercepts")
            if weights.dtype != np.float16 or intercepts.dtype != np.float32:
                raise ValueError(f"weights of {weights.dtype} and intercepts of {intercepts.dtype}")
            return cls(weights, intercepts)
        except (
            OSError, ValueError, TypeError, KeyError, EOFError, MemoryError, RuntimeError, NotImplementedError,
            zipfile.BadZipFile, zlib.error, ModelStoreError,
        ) as error:  # fmt: skip
            raise ModelStoreError(f"{path}: expected the linear stage of a version ({error}); {_RESTORE}") from error

    def _answer(self, ids: Sequence[int]) -> tuple[NDArray[np.float32], bool]:
        features, places = features_of(ids, self.buckets)
        # [features, columns]; self.weights[features] takes six times as long where there are several columns.
        weights = self.weights.take(features, axis=0).astype(np.float32)
        totals = self.intercepts + weights.sum(axis=0)  # [columns]
        if not len(ids):
            return self._logits(totals), False  # Nothing but the class mix of the training texts speaks.
        if len(ids) <= BLOCK:
            return self._logits(totals), True
        blocks = places // BLOCK
        without = np.array(
            [total - np.bincount(blocks, column) for total, column in zip(totals, weights.T, strict=True)]
        )  # [columns, blocks]
        if len(totals) > 1:
            return self._logits(totals), bool((without.argmax(axis=0) == totals.argmax()).all())
        return self._logits(totals), bool(((without > 0) == (totals > 0)).all())

    def _logits(self, totals: NDArray[np.float32]) -> NDArray[np.float32]:
        if len(totals) > 1:
            return totals
        return np.array([-totals[0] / 2, totals[0] / 2], np.float32)


def features_of(ids: Sequence[int], buckets: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The different hashed uni- and bigrams of a text, ascending, and where each stands first: int64 [features] both.

    Args:
        ids: wordpieces of the whole text, from 0.
        buckets: a power of two.
    """
    numbers = np.array(ids, np.uint64) + np.uint64(1)  # So that id 0 does not hash to 0.
    firsts = numbers * _FIRST
    hashes = np.concatenate([firsts, firsts[:-1] ^ (numbers[1:] * _SECOND)])
    # The high bits of a product depend on all bits of the factors.
    found = (hashes * _MIX) >> np.uint64(_HASH_BITS - buckets.bit_length() + 1)
    places = np.arange(len(ids), dtype=np.uint64)
    # Sorted together in one number: numpy sorts numbers several times faster than np.unique finds where they stood.
    keys = (found << _PLACE_BITS) | np.concatenate([places, places[:-1]])
    keys.sort()
    found = keys >> _PLACE_BITS
    is_first = np.ones(len(keys), np.bool_)
    np.not_equal(found[1:], found[:-1], out=is_first[1:])
    return found[is_first].view(np.int64), (keys[is_first] & _PLACES).view(np.int64)


def _array(file: zipfile.ZipFile, name: str) -> NDArray[Any]:
    info = file.getinfo(f"{name}.npy")
    if info.file_size > _MOST_BYTES:
        raise ValueError(f"{name} is larger than {_MOST_BYTES} bytes")
    # Read to its end before it is parsed: only there its checksum is compared.
    values: NDArray[Any] = np.lib.format.read_array(io.BytesIO(file.read(info)), allow_pickle=False)
    return values
