"""One text as a function of the words that are present: what the model would predict without the others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from textclf.errors import ModelStoreError
from textclf.explain.word_spans import TextWords
from textclf.runtime.backend import Timings
from textclf.runtime.batching import batches_by_length
from textclf.runtime.cascade import Cascade, Stages
from textclf.runtime.linear_stage import LinearStage, features_at
from textclf.runtime.predictor import Predictor
from textclf.stats.calibration import softmax
from textclf.tokenization.text_tokenizer import TextTokenizer
from textclf.tokenization.tokenizer import MAX_WORDPIECES

Floats = NDArray[np.float64]
Masks = NDArray[np.bool_]

# How words are taken away: replaced by [MASK], hidden from attention, or deleted.
MASK, ATTENTION, DELETION = "mask", "attention", "deletion"
BASELINES = (DELETION, MASK, ATTENTION)


def _never() -> bool:
    """The end of evaluations without a time limit."""
    return False


@dataclass(frozen=True, eq=False)
class ReadPieces:
    """The wordpieces of a text that the encoder reads.

    Attributes:
        positions: their positions in the text: int64 [read].
        ids: int64 [read].
        players: for each the position of its word among the words that are read: int64 [read].
        words: the words that are read, as positions among all words of the text: int64 [players].
    """

    positions: NDArray[np.int64]
    ids: NDArray[np.int64]
    players: NDArray[np.int64]
    words: NDArray[np.int64]

    @classmethod
    def of(cls, words: TextWords, tokenizer: TextTokenizer) -> "ReadPieces":
        """The part of a text that is left after truncation, in all windows."""
        positions = np.array(tokenizer.kept_positions(len(words.wordpieces)), np.int64)
        owners, players = np.unique(words.word_of_piece[positions], return_inverse=True)
        return cls(positions, words.wordpieces[positions], players.astype(np.int64), owners)


class MaskedText:
    """The function of one text: masks of its words to calibrated logits; not for several threads.

    Args:
        predictor: the model.
        tokenizer: tokenizer of its backend.
        words: the words of the text.
        read: the part of the text that the encoder reads.
        logits: calibrated logits of the whole text, which are served: [K].
        baseline: how words are taken away, one of BASELINES.
        unit: "probability" or "logit".
        tokens_per_batch: maximum tokens of a batch, padding included.
        on_batch: called before each batch; an exception from it ends the call.
        is_over: asked before each batch; once true, only the text without words is still evaluated.
    """

    def __init__(
        self,
        predictor: Predictor,
        tokenizer: TextTokenizer,
        words: TextWords,
        read: ReadPieces,
        logits: Floats,
        baseline: str,
        unit: str,
        tokens_per_batch: int,
        on_batch: Callable[[], None],
        is_over: Callable[[], bool] = _never,
    ) -> None:
        self._predictor = predictor
        self._tokenizer = tokenizer
        self._read = read
        self._logits = logits
        self._baseline = baseline
        self._unit = unit
        self._tokens_per_batch = tokens_per_batch
        self._on_batch = on_batch
        self._is_over = is_over
        windows = tokenizer.windows([0, *range(len(read.ids)), 0])
        self._windows = [np.array(window[1:-1], np.int64) for window in windows]
        self._length = len(words.wordpieces)
        cascade = predictor.cascade
        self._linear = None
        if cascade is not None and self._length >= cascade.settings.least_length:
            self._linear = _MaskedLinear(cascade.linear, words, read)
        self._rows: dict[bytes, Floats] = {}

    def __call__(self, masks: Masks) -> Floats:
        """Values of the text with only these words: masks [m, players] -> [m, K] in the unit.

        If `is_over` ends the evaluations, the values of the masks that are left are NaN.

        Raises:
            ModelStoreError: if the engine gives logits that are not finite.
        """
        logits = np.empty((len(masks), len(self._logits)))
        is_whole = masks.all(axis=1)
        logits[is_whole] = self._logits
        # Without words there would be no base value, whatever the time.
        for part, is_over in ((~masks.any(axis=1) & ~is_whole, _never), (masks.any(axis=1) & ~is_whole, self._is_over)):
            if part.any():
                logits[part] = self.read_logits(masks[part], is_over)
        return in_unit(logits, self._unit)

    def read_logits(self, masks: Masks, is_over: Callable[[], bool] = _never) -> Floats:
        """Calibrated logits that the encoder computes for these words, [m, K]; NaN for masks that are left over."""
        rows = [self._row(mask, window) for mask in masks for window in self._windows]
        self._compute(rows, is_over)
        nothing = np.full(len(self._logits), np.nan)
        encoder = np.array([self._rows.get(row.tobytes(), nothing) for row in rows])
        encoder = encoder.reshape(len(masks), len(self._windows), -1).mean(axis=1)
        cascade = self._predictor.cascade
        if cascade is not None and self._linear is not None:
            encoder = _combined(cascade, encoder, self._linear(masks), self._length, self._predictor.temperature)
        return encoder / self._predictor.temperature

    def _row(self, mask: NDArray[np.bool_], window: NDArray[np.int64]) -> NDArray[np.int32]:
        """Encoder input of one window without the words that are absent."""
        ids = self._read.ids[window]
        is_present = mask[self._read.players[window]]
        ids = ids[is_present] if self._baseline == DELETION else np.where(is_present, ids, self._absent_id)
        return np.array([self._tokenizer.start_id, *ids.tolist(), self._tokenizer.end_id], np.int32)

    @property
    def _absent_id(self) -> int:
        # The encoder takes the id of [PAD] for padding at any position.
        return self._tokenizer.padding_id if self._baseline == ATTENTION else self._tokenizer.mask_id

    def _compute(self, rows: Sequence[NDArray[np.int32]], is_over: Callable[[], bool]) -> None:
        """Run the encoder on the rows that it has not read yet, and keep the logits: equal rows get equal logits."""
        missing = [row for key, row in {row.tobytes(): row for row in rows}.items() if key not in self._rows]
        lengths = np.array([len(row) for row in missing], np.int64)
        for batch in batches_by_length(lengths, self._tokens_per_batch):
            self._on_batch()
            if is_over():
                return
            logits = self._predictor.backend.run([missing[index].tolist() for index in batch], Timings()).logits
            if not np.isfinite(logits).all():
                raise ModelStoreError(
                    f"{self._predictor.name or 'the model'}: gave logits that are not finite numbers; its weights are "
                    f"damaged"
                )
            self._rows.update(
                (missing[index].tobytes(), row) for index, row in zip(batch, logits.astype(np.float64), strict=True)
            )


class _MaskedLinear:
    """Logits of the linear stage for the words that are present; words that the encoder does not read are present.

    Features of an absent wordpiece are absent; its neighbours do not become a bigram.
    """

    def __init__(self, linear: LinearStage, words: TextWords, read: ReadPieces) -> None:
        self._linear = linear
        ids = words.wordpieces[:MAX_WORDPIECES]
        features = features_at(ids, linear.buckets) if len(ids) else np.zeros(0, np.int64)
        player = np.full(len(ids), -1, np.int64)
        inside = read.positions < len(ids)
        player[read.positions[inside]] = read.players[inside]
        first = np.concatenate([player, player[:-1]])
        second = np.concatenate([player, player[1:]])
        # A feature that occurs in the gap is always present.
        always = np.unique(features[(first < 0) & (second < 0)])
        is_open = ~np.isin(features, always)
        self._features, self._first, self._second = features[is_open], first[is_open], second[is_open]
        self._always = linear.weights.take(always, axis=0).sum(axis=0, dtype=np.float64) + linear.intercepts

    def __call__(self, masks: Masks) -> NDArray[np.float32]:
        """Logits before any temperature: masks [m, players] -> [m, K]."""
        # A column more for the position -1: always present.
        extended = np.concatenate([masks, np.ones((len(masks), 1), np.bool_)], axis=1)
        totals = np.empty((len(masks), len(self._linear.intercepts)), np.float64)
        for row, mask in enumerate(extended):
            present = np.unique(self._features[mask[self._first] & mask[self._second]])
            totals[row] = self._always + self._linear.weights.take(present, axis=0).sum(axis=0, dtype=np.float64)
        logits = totals if totals.shape[1] > 1 else np.concatenate([-totals / 2, totals / 2], axis=1)
        return logits.astype(np.float32)


def _combined(
    cascade: Cascade, encoder: Floats, linear: NDArray[np.float32], length: int, temperature: float
) -> Floats:
    """Logits of both stages as they are served for texts that do not exit, on the scale of the encoder."""
    rows = len(encoder)
    stages = Stages(np.zeros(rows, np.bool_), linear, encoder.astype(np.float32), np.full(rows, length, np.int64))
    return cascade.final_logits(stages, temperature).astype(np.float64)


def in_unit(logits: Floats, unit: str) -> Floats:
    """Calibrated logits [m, K] as probabilities, or as logits with mean 0 over the classes."""
    return softmax(logits) if unit == "probability" else np.asarray(logits - logits.mean(axis=-1, keepdims=True))
