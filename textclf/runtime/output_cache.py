"""Keeps the encoder's outputs of recent texts in memory, so that a repeated text costs no computation.

The key is the ids that the encoder reads. A cache belongs to one loaded model and ends with it. The linear stage, the
rules and the thresholds see every text, and every prediction is logged.
"""

import array
import collections
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textclf.runtime.backend import Backend, EncodedBatch, ModelOutputs, Timings
from textclf.tokenization.text_tokenizer import TextTokenizer

# Memory of an entry next to its ids and numbers, as tracemalloc finds it (CPython 3.11, numpy 2).
_ENTRY_BYTES = 600


class OutputCache:
    """The outputs of the texts used last; threads may share it.

    Args:
        max_bytes: maximum memory of all entries.
        on_size: called with the memory of all entries, in bytes, after each change.
    """

    def __init__(self, max_bytes: int, on_size: Callable[[int], None] = lambda _: None) -> None:
        self.max_bytes = max_bytes
        self._on_size = on_size
        self._guard = threading.Lock()
        self._entries: collections.OrderedDict[bytes, ModelOutputs] = collections.OrderedDict()
        self._used = 0

    @property
    def used(self) -> int:
        """Memory of all entries."""
        return self._used

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes) -> ModelOutputs | None:
        """The outputs of a text, which can't be written to; None if they are unknown."""
        with self._guard:
            if (found := self._entries.get(key)) is not None:
                self._entries.move_to_end(key)
            return found

    def put(self, key: bytes, outputs: ModelOutputs) -> None:
        """Keep a copy of the outputs of one text, and drop those that were not used for the longest time."""
        embeddings = None if outputs.embeddings is None else _kept(outputs.embeddings)
        kept = ModelOutputs(_kept(outputs.logits), embeddings)
        size = _size(key, kept)
        if size > self.max_bytes:
            return
        with self._guard:
            if (before := self._entries.pop(key, None)) is not None:
                self._used -= _size(key, before)
            self._entries[key] = kept
            self._used += size
            while self._used > self.max_bytes:
                self._used -= _size(*self._entries.popitem(last=False))
            self._on_size(self._used)


class CachedBackend:
    """A backend with a cache for calls of one text; calls of several texts are batches of prepared sizes.

    Args:
        backend: computes the outputs; its inputs are ids.
        cache: outputs of this backend only.
    """

    def __init__(self, backend: Backend, cache: OutputCache) -> None:
        self.backend = backend
        self.cache = cache

    @property
    def tokenizer(self) -> TextTokenizer | None:
        """See Backend."""
        return self.backend.tokenizer

    def encode(self, texts: list[str], max_chars: int | None = None) -> EncodedBatch:
        """See Backend."""
        return self.backend.encode(texts, max_chars)

    def run(self, inputs: Sequence[Any], timings: Timings) -> ModelOutputs:
        """See Backend; counts hits and misses in `timings`."""
        if len(inputs) != 1:
            return self.backend.run(inputs, timings)
        key = array.array("i", inputs[0]).tobytes()
        found = self.cache.get(key)
        if found is None:
            timings.cache_misses += 1
            found = self.backend.run(inputs, timings)
            self.cache.put(key, found)
        else:
            timings.cache_hits += 1
        return found

    def warm_up(self, tokens_per_batch: int) -> None:
        """See Backend."""
        self.backend.warm_up(tokens_per_batch)


def cached(backend: Backend, max_bytes: int, on_size: Callable[[int], None]) -> Backend:
    """The backend with an empty cache of its own; without one if `max_bytes` is 0, or if its inputs are not ids."""
    if isinstance(backend, CachedBackend):
        backend = backend.backend
    if not max_bytes or backend.tokenizer is None:
        return backend
    on_size(0)
    return CachedBackend(backend, OutputCache(max_bytes, on_size))


def _kept(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """A copy that can't be written to: the original may be a row of a larger batch."""
    copy = values.copy()
    copy.setflags(write=False)
    return copy


def _size(key: bytes, outputs: ModelOutputs) -> int:
    embeddings = 0 if outputs.embeddings is None else outputs.embeddings.nbytes
    return len(key) + outputs.logits.nbytes + embeddings + _ENTRY_BYTES
