"""Score a random share of texts with both stages of a cascade, after the response: a fair sample for drift.

Texts that the linear stage passes on to the encoder are not a fair sample, because they are the hard ones.
"""

import dataclasses
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from textclf.runtime.backend import ModelOutputs
from textclf.runtime.predictor import PredictionBatch, Predictor

# Drift compares 5,000 texts and a day has 86,400 seconds: a higher rate would only slow down responses.
TEXTS_PER_SECOND = 1.0
# Seconds without texts that the next turn of the recorder may make up for; a short turn must stay short.
_MAX_SAVED_SECONDS = 10.0


class DualScoringSampler:
    """Draws texts and runs the encoder on those that the linear stage predicted; for one thread.

    Whether a text is drawn depends on the time, never on the text or its prediction: the share of a burst is smaller.

    Args:
        share: share of the texts to draw.
        per_second: maximum number of texts drawn per second.
    """

    def __init__(
        self,
        share: float,
        per_second: float = TEXTS_PER_SECOND,
        rng: np.random.Generator | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.share = share
        self.per_second = per_second
        self._rng = np.random.default_rng() if rng is None else rng
        self._clock = clock
        self._allowance = _MAX_SAVED_SECONDS * per_second
        self._last_draw = clock()

    def sample(self, predictor: Predictor, batch: PredictionBatch) -> PredictionBatch:
        """Return the batch with embeddings and encoder logits for the drawn texts only.

        A batch without a cascade is returned unchanged: the encoder has read all its texts.

        Raises:
            ModelStoreError: if Predictor.run raises it.
        """
        stages, pooled = batch.stages, batch.outputs.embeddings
        if stages is None:
            return batch
        is_drawn = self._draw(len(stages.exits))
        rows = np.flatnonzero(is_drawn & stages.exits)
        encoder_logits = np.where(is_drawn[:, None], stages.encoder_logits, np.float32(np.nan))
        if len(rows):
            found = predictor.run(batch.encoded.take(rows))
            encoder_logits[rows] = found.logits
            if found.embeddings is not None:
                width = found.embeddings.shape[1]
                pooled = np.full((len(is_drawn), width), np.nan, np.float32) if pooled is None else pooled.copy()
                pooled[rows] = found.embeddings
        if pooled is not None:
            pooled = np.where(is_drawn[:, None], pooled, np.float32(np.nan))
        return dataclasses.replace(
            batch,
            outputs=ModelOutputs(batch.outputs.logits, pooled),
            stages=dataclasses.replace(stages, encoder_logits=encoder_logits),
        )

    def _draw(self, texts: int) -> NDArray[np.bool_]:
        now = self._clock()
        saved = self._allowance + self.per_second * (now - self._last_draw)
        self._allowance = min(_MAX_SAVED_SECONDS * self.per_second, saved)
        self._last_draw = now
        is_drawn = self._rng.random(texts) < self.share
        drawn = np.flatnonzero(is_drawn)
        excess = len(drawn) - int(self._allowance)
        if excess > 0:
            is_drawn[self._rng.choice(drawn, excess, replace=False)] = False
        self._allowance -= int(is_drawn.sum())
        return is_drawn


def without_dual_scores(batch: PredictionBatch) -> PredictionBatch:
    """Return a cascade's batch as if no text had been drawn."""
    if batch.stages is None:
        return batch
    nothing = np.full_like(batch.stages.encoder_logits, np.nan)
    return dataclasses.replace(
        batch,
        outputs=ModelOutputs(batch.outputs.logits, None),
        stages=dataclasses.replace(batch.stages, encoder_logits=nothing),
    )
