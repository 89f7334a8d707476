"""The interface between the predictor and the models that compute logits: batches in, outputs out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from textclf.tokenization.text_tokenizer import TextTokenizer
from textclf.tokenization.windows import means_of_windows

# Bounds memory where lengths are only estimated: a foreign model may pad every text to its own maximum.
TEXTS_PER_BATCH = 64
# Bounds what a request with many batches notes.
_PARTS_PER_STEP = 8
# English prose has about four characters per wordpiece; the estimate only orders and sizes batches.
_CHARS_PER_TOKEN = 4


@dataclass(frozen=True)
class EncodedBatch:
    """Texts in the form that a backend reads.

    Attributes:
        inputs: one item per text, as the backend's run() takes it.
        lengths: cost of each text in tokens, as the backend pads it, in all windows together: int64 [texts].
        token_counts: wordpieces before truncation, with [CLS] and [SEP]: int64 [texts]; None if unknown.
        wordpieces: ids of all wordpieces without [CLS] and [SEP], one list per text; None if unknown or dropped.
        windows: number of windows that the encoder reads of each text, int64 [texts]; None if each text has one.
    """

    inputs: Sequence[Any]
    lengths: NDArray[np.int64]
    token_counts: NDArray[np.int64] | None
    wordpieces: Sequence[Sequence[int]] | None = None
    windows: NDArray[np.int64] | None = None

    def take(self, rows: NDArray[np.integer[Any]]) -> "EncodedBatch":
        """The texts at these positions, in this order, without their wordpieces."""
        counts = None if self.token_counts is None else self.token_counts[rows]
        windows = None if self.windows is None else self.windows[rows]
        inputs = [self.inputs[row] for row in rows.tolist()]
        return EncodedBatch(inputs, self.lengths[rows], counts, windows=windows)

    @classmethod
    def joined(cls, parts: Sequence["EncodedBatch"]) -> "EncodedBatch":
        """The texts of all parts, at least one, in order and without their wordpieces."""
        counts = [part.token_counts for part in parts if part.token_counts is not None]
        windows: NDArray[np.int64] | None = None
        if any(part.windows is not None for part in parts):
            ones = (np.ones(len(part.inputs), np.int64) for part in parts)
            windows = np.concatenate(
                [one if part.windows is None else part.windows for part, one in zip(parts, ones, strict=True)]
            )
        return cls(
            [text for part in parts for text in part.inputs],
            np.concatenate([part.lengths for part in parts]),
            np.concatenate(counts) if len(counts) == len(parts) else None,
            windows=windows,
        )

    def by_window(self, tokenizer: TextTokenizer, windows: NDArray[np.int64]) -> "EncodedBatch":
        """The windows of all texts in order, each as a text; `windows` is the attribute, which is not None."""
        inputs = [window for ids in self.inputs for window in tokenizer.windows(ids)]
        # All windows of one text have the same length.
        return EncodedBatch(inputs, np.repeat(self.lengths // windows, windows), None)


@dataclass(frozen=True)
class ModelOutputs:
    """Outputs of a backend for a batch.

    Attributes:
        logits: before temperature and softmax, float32 [batch, classes].
        embeddings: pooled encoder output, float32 [batch, width], NaN for texts that the encoder did not read; None
            if there are no embeddings.
    """

    logits: NDArray[np.float32]
    embeddings: NDArray[np.float32] | None = None

    def of_texts(self, windows: NDArray[np.int64]) -> "ModelOutputs":
        """The outputs of texts, from those of their windows in order; for `windows` see EncodedBatch."""
        embeddings = None if self.embeddings is None else means_of_windows(self.embeddings, windows)
        return ModelOutputs(means_of_windows(self.logits, windows), embeddings)


@dataclass(slots=True)
class TimedPart:
    """A time in which a step took place.

    Attributes:
        step: an attribute of Timings, or another name.
        start, end: values of time.perf_counter.
        seconds: without pauses in between.
    """

    step: str
    start: float
    end: float
    seconds: float


@dataclass
class Timings:
    """Seconds spent in each step; every call adds to them.

    Attributes:
        tokenise: texts to wordpieces, and whether they are unusual.
        linear: the linear stage.
        queue: waiting for the engine while other calls use it.
        infer: computing in the encoder; of a batch with texts of other calls, this call's share.
        cache_hits, cache_misses: calls of one text whose outputs a cache had, or had not; 0 without a cache.
        parts: when the steps took place, in order; None notes nothing.
    """

    tokenise: float = 0.0
    linear: float = 0.0
    queue: float = 0.0
    infer: float = 0.0
    cache_hits: int = 0
    cache_misses: int = 0
    parts: list[TimedPart] | None = None

    def add(self, step: str, start: float, end: float, share: float = 1.0) -> None:
        """Add a share of the time between two values of time.perf_counter to a step, an attribute."""
        setattr(self, step, getattr(self, step) + (end - start) * share)
        self.note(step, start, end)

    def note(self, step: str, start: float, end: float) -> None:
        """Note when a step took place, if that is wanted; the last part of a step with many parts becomes longer."""
        if self.parts is None:
            return
        same = [part for part in self.parts if part.step == step]
        if len(same) < _PARTS_PER_STEP:
            self.parts.append(TimedPart(step, start, end, end - start))
        else:
            same[-1].end = end
            same[-1].seconds += end - start


class Backend(Protocol):
    """A model that computes logits; several threads may call its methods at the same time."""

    @property
    def tokenizer(self) -> TextTokenizer | None:
        """Makes the ids in EncodedBatch.inputs; None if the inputs are not ids."""

    def encode(self, texts: list[str], max_chars: int | None = None) -> EncodedBatch:
        """The texts in the form that run() takes; raises TextTooLongError as TextTokenizer does."""

    def run(self, inputs: Sequence[Any], timings: Timings) -> ModelOutputs:
        """Outputs for a batch of EncodedBatch.inputs; adds to `timings`."""

    def warm_up(self, tokens_per_batch: int) -> None:
        """Prepare every batch shape, so that no later call waits for it."""


def estimated_lengths(texts: Sequence[str]) -> NDArray[np.int64]:
    """Estimated wordpieces of each text, with [CLS] and [SEP]: int64 [batch]."""
    return np.array([len(text) // _CHARS_PER_TOKEN + 2 for text in texts], np.int64)
