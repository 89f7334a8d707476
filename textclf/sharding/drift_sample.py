"""A uniform sample of the texts of all shards, for the drift report, in constant memory.

Each row gets a random number. A shard keeps the features of the rows with its smallest numbers. Below the largest
number that every shard has kept, all rows of the data set are known: those are the sample.
"""

import heapq
import io
import math
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textclf.drift.features import TextFeatures, TokenCounts
from textclf.drift.reference import MAX_TEXTS
from textclf.errors import InputError
from textclf.npz_files import UNREADABLE, read_array

_MIN_PER_SHARD = 20
_MAX_BYTES = 1 << 28
_WORDS = ("offsets", "ids", "counts")


def sample_size(shards: int) -> int:
    """Rows that a shard keeps, so that with all shards of one size the sample has about MAX_TEXTS rows.

    The largest number that a shard keeps varies like a sum of random gaps, so four standard deviations are added.
    """
    mean = MAX_TEXTS / shards
    return max(_MIN_PER_SHARD, math.ceil(mean + 4 * math.sqrt(mean)))


class ShardSample:
    """The rows with the smallest random numbers of a shard.

    Args:
        size: maximum number of rows.
        seed: seed of the random numbers; each shard has its own.
    """

    def __init__(self, size: int, seed: Sequence[int]) -> None:
        self._size = size
        self._random = np.random.default_rng(list(seed))
        self._heap: list[tuple[float, int, str]] = []
        self._rows = 0

    def add(self, text: str) -> None:
        """Draw a number for a row, and keep the row if it is small."""
        item = (-float(self._random.random()), self._rows, text)
        self._rows += 1
        if len(self._heap) < self._size:
            heapq.heappush(self._heap, item)
        else:
            heapq.heappushpop(self._heap, item)

    @property
    def texts(self) -> list[str]:
        """The texts of the kept rows, in the order of the rows."""
        return [text for _, _, text in sorted(self._heap, key=lambda item: item[1])]

    @property
    def numbers(self) -> NDArray[np.float64]:
        """The random numbers of the kept rows, in the order of the rows: float64 [rows]."""
        return np.array([-number for number, _, _ in sorted(self._heap, key=lambda item: item[1])], np.float64)

    @property
    def limit(self) -> float:
        """All rows of the shard with smaller numbers, or with this one, are kept; 1 if every row is."""
        return 1.0 if self._rows <= self._size else -min(self._heap)[0]


@dataclass(frozen=True, eq=False)
class SampledRows:
    """Rows of a shard that were kept.

    Attributes:
        limit: see ShardSample.limit.
        numbers: random numbers, float64 [rows].
        features: features of the rows; None if only the numbers were read, or there is no row.
    """

    limit: float
    numbers: NDArray[np.float64]
    features: TextFeatures | None = None


def sample_bytes(sample: ShardSample, features: TextFeatures | None) -> bytes:
    """The content of a file with the kept rows; `features` is None without rows."""
    arrays: dict[str, Any] = {"limit": np.float64(sample.limit), "numbers": sample.numbers}
    for item in () if features is None else fields(features):
        value = getattr(features, item.name)
        if isinstance(value, TokenCounts):
            arrays |= {name: getattr(value, name) for name in _WORDS}
        elif value is not None:
            arrays[item.name] = value
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    return content.getvalue()


def read_sample(content: bytes, name: str, *, with_features: bool = True) -> SampledRows:
    """The kept rows of sample_bytes().

    Raises:
        InputError: if the content is damaged.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            limit, numbers = (read_array(file, key, _MAX_BYTES) for key in ("limit", "numbers"))
            found = None
            if with_features and len(numbers):
                names = {entry.removesuffix(".npy") for entry in file.namelist()}
                values: dict[str, Any] = {
                    item.name: read_array(file, item.name, _MAX_BYTES) if item.name in names else None
                    for item in fields(TextFeatures)
                    if item.name != "words"
                }
                words = TokenCounts(*(read_array(file, key, _MAX_BYTES) for key in _WORDS))
                found = TextFeatures(words=words, **values)
            return SampledRows(float(limit), numbers, found)
    except (*UNREADABLE, InputError) as error:
        raise InputError(f"{name}: damaged ({error}); remove the shard's files, and run the command again") from error


def largest_number(samples: Iterable[SampledRows], max_texts: int = MAX_TEXTS) -> float:
    """The number up to which rows belong to the sample of all shards: at most `max_texts` rows, all of them known."""
    limit, parts = 1.0, []
    for sample in samples:
        limit = min(limit, sample.limit)
        parts.append(sample.numbers)
    numbers = np.sort(np.concatenate([np.empty(0), *parts]))
    numbers = numbers[numbers <= limit]
    return float(numbers[max_texts - 1]) if len(numbers) > max_texts else limit


def rows_up_to(sample: SampledRows, number: float) -> TextFeatures | None:
    """The features of the rows with at most this number; None without any."""
    chosen = np.flatnonzero(sample.numbers <= number)
    return None if sample.features is None or not len(chosen) else sample.features.take(chosen)
