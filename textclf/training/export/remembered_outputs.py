"""A backend that computes a batch once, for the passes of an export over the same texts."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from textclf.runtime.backend import Backend, EncodedBatch, ModelOutputs, Timings
from textclf.tokenization.text_tokenizer import TextTokenizer

# Outputs of more texts would take more than about 10 MB.
_MAX_TEXTS = 5000


class RememberedOutputs:
    """Computes as `backend`, except for batches among its first 5,000 texts that it has computed already.

    Their order must be the same, because the texts of a batch share its padding.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._found: dict[bytes, ModelOutputs] = {}
        self._texts = 0

    @property
    def tokenizer(self) -> TextTokenizer | None:
        """The tokenizer of the backend."""
        return self._backend.tokenizer

    def encode(self, texts: list[str], max_chars: int | None = None) -> EncodedBatch:
        """The texts as the backend encodes them."""
        return self._backend.encode(texts, max_chars)

    def run(self, inputs: Sequence[Any], timings: Timings) -> ModelOutputs:
        """Outputs of ids; only those that are computed now add to `timings`."""
        key = _digest(inputs)
        if (known := self._found.get(key)) is not None:
            return known
        outputs = self._backend.run(inputs, timings)
        if self._texts < _MAX_TEXTS:
            self._texts += len(inputs)
            self._found[key] = outputs
        return outputs

    def warm_up(self, tokens_per_batch: int) -> None:
        """Prepare every batch shape of the backend."""
        self._backend.warm_up(tokens_per_batch)


def _digest(inputs: Sequence[Any]) -> bytes:
    digest = hashlib.sha256(np.array([len(ids) for ids in inputs], np.int64).tobytes())
    for ids in inputs:
        digest.update(np.asarray(ids, np.int64).tobytes())
    return digest.digest()
