"""A random share of the texts goes through both stages of a cascade, after they were answered: a fair sample for drift.

The texts that the linear stage leaves to the encoder are no fair sample, because they are the hard ones.
"""

import dataclasses
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from textclf.runtime.backend import ModelOutputs
from textclf.runtime.predictor import PredictionBatch, Predictor

SHARE = 0.05
# A day has 86,400 seconds, and drift looks at 5,000 texts: more would only take time from the answers.
TEXTS_A_SECOND = 1.0
# So many seconds without texts may be made up for, in one turn of the recorder, which must not keep it for long.
_MAX_SAVED = 10.0


class DualScoringSampler:
    """Draws texts, and lets the encoder read those of them that the linear stage answered; for one thread.

    Whether a text is drawn never depends on the text or its answer. It depends on the time: of texts that come all at
    once a smaller share is drawn than of those that come one by one.

    Args:
        share: of the texts.
        per_second: so many are drawn at most, whatever their share.
        rng: draws.
        clock: seconds that only rise.
    """

    def __init__(
        self,
        share: float = SHARE,
        per_second: float = TEXTS_A_SECOND,
        rng: np.random.Generator | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.share = share
        self.per_second = per_second
        self._rng = np.random.default_rng() if rng is None else rng
        self._clock = clock
        self._room = _MAX_SAVED * per_second
        self._seen = clock()

    def completed(self, predictor: Predictor, answer: PredictionBatch) -> PredictionBatch:
        """The answer with embeddings and the encoder's own logits for the texts that are drawn, and for no others.

        An answer without a cascade is returned as it is: the encoder has read all of it.

        Raises:
            ModelStoreError: as for Predictor.run.
        """
        stages, pooled = answer.stages, answer.outputs.embeddings
        if stages is None:
            return answer
        is_drawn = self._drawn(len(stages.exits))
        rows = np.flatnonzero(is_drawn & stages.exits)
        encoder_logits = np.where(is_drawn[:, None], stages.encoder_logits, np.float32(np.nan))
        if len(rows):
            found = predictor.run(answer.encoded.take(rows))
            encoder_logits[rows] = found.logits
            if found.embeddings is not None:
                width = found.embeddings.shape[1]
                pooled = np.full((len(is_drawn), width), np.nan, np.float32) if pooled is None else pooled.copy()
                pooled[rows] = found.embeddings
        if pooled is not None:
            pooled = np.where(is_drawn[:, None], pooled, np.float32(np.nan))
        return dataclasses.replace(
            answer,
            outputs=ModelOutputs(answer.outputs.logits, pooled),
            stages=dataclasses.replace(stages, encoder_logits=encoder_logits),
        )

    def _drawn(self, texts: int) -> NDArray[np.bool_]:
        now = self._clock()
        self._room = min(_MAX_SAVED * self.per_second, self._room + self.per_second * (now - self._seen))
        self._seen = now
        is_drawn = self._rng.random(texts) < self.share
        drawn = np.flatnonzero(is_drawn)
        too_many = len(drawn) - int(self._room)
        if too_many > 0:
            is_drawn[self._rng.choice(drawn, too_many, replace=False)] = False
        self._room -= int(is_drawn.sum())
        return is_drawn


def without_both_stages(answer: PredictionBatch) -> PredictionBatch:
    """The answer of a cascade as if no text had been drawn."""
    if answer.stages is None:
        return answer
    nothing = np.full_like(answer.stages.encoder_logits, np.nan)
    return dataclasses.replace(
        answer,
        outputs=ModelOutputs(answer.outputs.logits, None),
        stages=dataclasses.replace(answer.stages, encoder_logits=nothing),
    )
