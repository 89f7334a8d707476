"""Explain the predictions of a request next to other requests: in slots and turns of its own, in limited time."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serving.api.concurrency import RequestSlots
from serving.api.deadline import Deadline
from serving.api.errors import ApiError, ErrorCode
from serving.giving_way import GivingWay
from serving.observability.request_record import RequestRecord
from serving.settings import Settings
from textclf.explain.explainer import DEFAULT_EVALUATIONS, Explainer
from textclf.explain.explanation import Explanation
from textclf.runtime.prediction import Prediction
from textclf.runtime.predictor import Predictor

# Share of the time until the deadline that explanations use: the response must be written in time.
_USED = 0.9
# When the time is used up, a text still gets its base value.
_MIN_SECONDS = 0.001


@dataclass(frozen=True, slots=True)
class ExplainOptions:
    """How the texts of a request are explained: the unit of the values, and the evaluations for each text."""

    unit: str = "probability"
    max_evaluations: int | None = None


class RequestExplainer:
    """Explains texts for all requests of a worker.

    Args:
        giving_way: lets explanations give way to the worker's predictions.
        patience: seconds that a request may wait for its client before it can lose its slot.
    """

    def __init__(self, settings: Settings, giving_way: GivingWay, patience: float) -> None:
        self.slots = RequestSlots(settings.explain_concurrent, patience, name="explanations")
        self._is_on = settings.explain
        self._giving_way = giving_way
        self._max_chars = settings.max_text_chars
        self._evaluations = min(DEFAULT_EVALUATIONS, settings.explain_max_evaluations)
        self._seconds = settings.explain_seconds
        self._timeout = settings.model_server_timeout

    def can_explain(self, predictor: Predictor) -> bool:
        """Return whether predictions of this model can be explained."""
        return self._is_on and predictor.backend.tokenizer is not None

    def check(self, predictor: Predictor, texts: Sequence[str]) -> None:
        """Check that the texts can be explained.

        Raises:
            ApiError: if explanations are off, if the model has no engine, or if the texts are too long together.
        """
        if not self._is_on:
            raise ApiError(
                ErrorCode.EXPLAIN_UNAVAILABLE,
                "expected a request without explanations (EXPLAIN=off), got one for them; remove explain, or ask the "
                "operator to set EXPLAIN=on",
            )
        if predictor.backend.tokenizer is None:
            raise ApiError(
                ErrorCode.EXPLAIN_UNAVAILABLE,
                "expected a model with an engine to explain, got a plain SavedModel; ask the operator for a version "
                "with an engine",
            )
        # A response has a number for each word and class.
        chars = sum(map(len, texts))
        if chars > self._max_chars:
            raise ApiError(
                ErrorCode.TEXT_TOO_LONG,
                f"expected texts to explain of at most {self._max_chars} characters together (MAX_TEXT_CHARS), got "
                f"{chars}; send fewer or shorter texts at a time",
            )

    def explain(
        self,
        predictor: Predictor,
        texts: Sequence[str],
        predict: Callable[[str], Prediction],
        environ: Mapping[str, Any],
        record: RequestRecord,
        options: ExplainOptions,
    ) -> tuple[list[Prediction], list[Explanation]]:
        """Return the predictions of the texts, and their explanations; the caller holds a slot.

        Each text is predicted alone, so that its values sum to the prediction in the response: the engine's rounding
        depends on the other texts of a batch.

        Args:
            predict: predicts a text, and logs the prediction.
            environ: WSGI environ of the request.
            record: gets the number of explanations, and what they took.

        Raises:
            ApiError: if `predict` raises it, if the time is over, or if the client closed the connection.
            TextTooLongError: if a text is too long after normalisation.
        """
        start = time.monotonic()
        deadline = Deadline(environ, self._timeout)
        end = start + self._seconds
        explainer = Explainer(predictor)
        predictions, explanations = [], []
        try:
            with self._giving_way.explanation() as give_way:

                def on_batch() -> None:
                    give_way()
                    deadline.check()

                for position, text in enumerate(texts):
                    on_batch()
                    prediction = predict(text)
                    left = min(end - time.monotonic(), _USED * deadline.seconds)
                    seconds = max(_MIN_SECONDS, left) / (len(texts) - position)
                    (explanation,) = explainer.explain(
                        [text],
                        unit=options.unit,
                        max_evaluations=options.max_evaluations or self._evaluations,
                        seconds=seconds,
                        on_batch=on_batch,
                    )
                    record.explanations += 1
                    record.evaluations += explanation.evaluations
                    record.incomplete += not explanation.complete
                    predictions.append(prediction)
                    explanations.append(explanation)
            deadline.check()
        finally:
            record.explain_seconds = time.monotonic() - start
        return predictions, explanations


def chosen_classes(wanted: Sequence[str] | None, class_names: Sequence[str]) -> tuple[str, ...]:
    """Return the classes that a request asks for, in its order; None asks for all.

    Raises:
        ApiError: if the model has no such class.
    """
    if wanted is None:
        return tuple(class_names)
    for name in wanted:
        if name not in class_names:
            raise ApiError(
                ErrorCode.UNKNOWN_LABEL,
                f"classes: expected some of {', '.join(class_names)}, got {name[:100]!r}; correct the name",
            )
    return tuple(wanted)
