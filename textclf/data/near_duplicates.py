"""Near duplicates: MinHash finds candidates, and their exact Jaccard similarity decides.

Texts are compared as sets of runs of words ("shingles"): Broder, On the resemblance and containment of documents,
1997. Candidates come from locality-sensitive hashing (Leskovec, Rajaraman, Ullman, Mining of Massive Datasets,
chapter 3) by datasketch. Its permutations have a fixed seed, so the results are reproducible.
"""

import hashlib
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from textclf.tokenization.basic_tokenizer import words
from textclf.tokenization.tensorflow_text import UNCASED

# Each sign of a script that is written without spaces counts as a word.
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # Odd, so that no bit is lost.

_PERMUTATIONS = 64
_SEED = 1
# Maximum probability to miss a pair whose similarity is at the limit.
_MISSED = 1e-3
# A flood of similar texts makes each a candidate of all others; compare only the likeliest.
_MAX_CANDIDATES = 32
_TABLE_BITS = 24


class Shingles:
    """Turns texts into sets of hashed runs of words; the hashes are the same on every machine.

    Words are those of the lower-case BasicTokenizer, without punctuation.

    Args:
        length: number of words in a run.
    """

    def __init__(self, length: int) -> None:
        self._length = length
        self._hashes = _WordHashes()

    def of(self, text: str) -> np.ndarray:
        """The distinct runs, sorted, uint64 [n >= 1]; a text with fewer words is one run."""
        plain = " ".join(words(text, UNCASED))
        found = _WORD.findall(plain) or [plain]
        hashes = np.fromiter(map(self._hashes.__getitem__, found), np.uint64, len(found))
        length = min(self._length, len(found))
        runs = np.zeros(len(found) - length + 1, np.uint64)
        for start in range(length):
            runs = runs * _MULTIPLIER + hashes[start : start + len(runs)]
        return np.unique(runs)


class _WordHashes(dict[str, int]):
    """Cache of 64-bit BLAKE2b hashes of words."""

    def __missing__(self, word: str) -> int:
        value = int.from_bytes(hashlib.blake2b(word.encode("utf-8"), digest_size=8).digest(), "little")
        self[word] = value
        return value


class Familiar:
    """A fast filter for texts that may be near one of many; without false negatives.

    A text near another shares at least the share `jaccard` of its runs with it, so also with all of them together.

    Args:
        runs: the runs of each of the many texts.
        jaccard: minimum similarity of near texts.
    """

    def __init__(self, runs: Iterable[np.ndarray], jaccard: float) -> None:
        self._jaccard = jaccard
        # Runs with the same first bits share a slot: the collisions cost time, but miss nothing.
        self._table = np.zeros(1 << _TABLE_BITS, bool)
        for some in runs:
            self._table[_slots(some)] = True

    def may_hold(self, runs: np.ndarray) -> bool:
        """Whether a text with these runs may be near one of the texts."""
        return float(np.count_nonzero(self._table[_slots(runs)])) >= self._jaccard * len(runs)


class Repeated(Familiar):
    """The same filter for texts that may be near another one of the texts themselves."""

    def __init__(self, runs: Iterable[np.ndarray], jaccard: float) -> None:
        super().__init__((), jaccard)
        seen = np.zeros(1 << _TABLE_BITS, bool)
        for some in runs:
            slots = _slots(some)
            self._table[slots] |= seen[slots]
            seen[slots] = True


def _slots(runs: np.ndarray) -> np.ndarray:
    return (runs >> np.uint64(64 - _TABLE_BITS)).astype(np.intp)


class Near(NamedTuple):
    """The key of a near text, and its Jaccard similarity."""

    key: int
    jaccard: float


class NearDuplicates:
    """An index of texts to find near ones in. Needs datasketch, which a serving environment lacks.

    Args:
        jaccard: minimum similarity of near texts.
    """

    def __init__(self, jaccard: float) -> None:
        from datasketch import MinHash, MinHashLSH

        self._jaccard = jaccard
        self._minhash = MinHash
        self._permutations = MinHash(num_perm=_PERMUTATIONS, seed=_SEED).permutations
        self._buckets = MinHashLSH(num_perm=_PERMUTATIONS, params=_bands(jaccard))
        self._runs: list[np.ndarray] = []
        self._signatures = np.zeros((0, _PERMUTATIONS), np.uint32)
        self._keys: list[int] = []

    def add(self, key: int, runs: np.ndarray) -> None:
        """Add a text under a key."""
        sketch = self._sketch(runs)
        place = len(self._keys)
        if place == len(self._signatures):
            self._signatures = np.resize(self._signatures, (max(1024, 2 * place), _PERMUTATIONS))
        self._signatures[place] = sketch.hashvalues
        self._buckets.insert(place, sketch, check_duplication=False)
        self._runs.append(runs)
        self._keys.append(key)

    def find(self, runs: np.ndarray) -> Near | None:
        """The first near text in the order of estimated similarity; None without one."""
        if not self._keys:
            return None
        sketch = self._sketch(runs)
        places = np.array(sorted(self._buckets.query(sketch)), np.intp)
        if len(places) > _MAX_CANDIDATES:
            agreement = np.count_nonzero(self._signatures[places] == sketch.hashvalues, axis=1)
            places = places[np.argsort(-agreement, kind="stable")[:_MAX_CANDIDATES]]
        for place in places.tolist():
            similarity = jaccard(runs, self._runs[place])
            if similarity >= self._jaccard:
                return Near(self._keys[place], similarity)
        return None

    def _sketch(self, runs: np.ndarray) -> Any:
        sketch = self._minhash(
            hashfunc=int, permutations=self._permutations, num_perm=_PERMUTATIONS, seed=_SEED, scheme="affine32"
        )
        sketch.update_batch((runs >> np.uint64(32)).tolist())
        return sketch


def jaccard(first: np.ndarray, second: np.ndarray) -> float:
    """Jaccard similarity of two sets, each given as a sorted array without repeats."""
    common = len(np.intersect1d(first, second, assume_unique=True))
    return common / (len(first) + len(second) - common)


def _bands(similarity: float) -> tuple[int, int]:
    """Number of bands and rows of a band: the maximum of rows (fewest false candidates) that misses few near pairs."""
    for rows in range(_PERMUTATIONS // 2, 1, -1):
        bands = _PERMUTATIONS // rows
        if (1 - similarity**rows) ** bands <= _MISSED:
            return bands, rows
    return _PERMUTATIONS, 1
