"""Score the texts of a request within the limits of the worker: its memory, its time and its client's patience."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from serving.api.concurrency import Job, RequestSlots, WorkBudget
from serving.api.deadline import Deadline
from serving.api.errors import ApiError, ErrorCode
from serving.settings import Settings
from textclf.runtime.backend import Timings
from textclf.runtime.predictor import PredictionBatch, Predictor, ReadTexts
from textclf.runtime.turns import SHORT_CHARS


class Scorer:
    """Scores texts for all requests of a worker; the constructor only stores."""

    def __init__(self, settings: Settings) -> None:
        # So that lists leave slots to short texts.
        self._slots = RequestSlots(max(1, settings.max_concurrent // 2), name="lists and long texts")
        self.budget = WorkBudget(settings.max_request_wordpieces, settings.max_worker_wordpieces)
        self._max_chars = settings.max_text_chars
        self._timeout = settings.model_server_timeout

    def score(
        self, predictor: Predictor, texts: Sequence[str], environ: Mapping[str, Any], timings: Timings
    ) -> PredictionBatch:
        """Return the predictions of a request's texts; the computation ends when nobody waits for them any longer.

        Args:
            environ: WSGI environ of the request.
            timings: the seconds spent are added to it.

        Raises:
            ApiError: if the texts are too much work for the time or the memory, if the time is over, or if the client
                closed the connection.
            TextTooLongError: if a text is too long after normalisation.
        """
        # Always accepted: a short text costs less than the accounting protects from.
        if len(texts) == 1 and len(texts[0]) <= SHORT_CHARS:
            short = predictor.read(texts, timings, max_chars=self._max_chars)
            if len(short.texts[0]) <= SHORT_CHARS:  # Else the operator's rules made it long.
                return predictor.score(short, timings)
        deadline = Deadline(environ, self._timeout)
        with self._slots.acquire(), self.budget.job() as job:

            def on_group(wordpieces: int) -> None:
                job.read(wordpieces)
                deadline.check()

            read = predictor.read(texts, timings, max_chars=self._max_chars, on_group=on_group)
            _accept(job, read, predictor, deadline)
            speed = predictor.speed.current

            def on_batch(tokens: int) -> None:
                job.done(tokens * speed)
                deadline.check()

            batch = predictor.score(read, timings, on_batch=on_batch)
            deadline.check()
            return batch


def _accept(job: Job, read: ReadTexts, predictor: Predictor, deadline: Deadline) -> None:
    """Add the encoder's time for the texts to the job.

    Raises:
        ApiError: if the encoder can't end in time, alone or because of other requests, if the time is over, or if the
            client closed the connection.
    """
    deadline.check()
    tokens = np.cumsum(read.encoder_tokens)
    total = int(tokens[-1])
    if not total:
        return
    if total * predictor.speed.best > deadline.seconds:
        # The estimate may come from a busier time, and only batches correct it.
        predictor.run(read.encoded.take(np.argmax(read.encoder_tokens, keepdims=True)))
        deadline.check()
    best, available = predictor.speed.best, deadline.seconds
    needed = total * best
    if needed > deadline.usable:
        fitting = int(np.searchsorted(tokens, deadline.usable / best, side="right"))
        advice = f"up to {fitting} of them at a time" if fitting else "shorter texts"
        raise ApiError(
            ErrorCode.TOO_MUCH_WORK,
            f"expected texts that take up to {deadline.usable:.0f} seconds (MODEL_SERVER_TIMEOUT), these take about "
            f"{needed:.0f}; send {advice}",
        )
    job.accept(total * predictor.speed.current, available, needed)
