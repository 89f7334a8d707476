"""Explain the predictions of a request next to other requests: in slots and turns of its own, in limited time."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from serving.api.concurrency import RequestSlots
from serving.api.deadline import Deadline
from serving.api.errors import ApiError, ErrorCode
from serving.api.explain_requests import MIN_EVALUATIONS
from serving.giving_way import GivingWay
from serving.observability.request_record import RequestRecord
from serving.settings import Settings
from textclf.errors import InputError, UnknownLabelError
from textclf.explain.explainer import DEFAULT_EVALUATIONS, Explainer, check_classes
from textclf.explain.explanation import Explanation
from textclf.runtime.prediction import Prediction
from textclf.runtime.predictor import Predictor

# A prediction; or, for a record that is on its own, a prediction or an error.
_Predicted = TypeVar("_Predicted")

# A prediction waits for at most one batch of an explanation: 10 to 30 ms.
_TOKENS_PER_BATCH = 512
# Share of the time until the deadline that explanations use: the response must be written in time.
_USED = 0.9
# When the time is used up, a text still gets its base value.
_MIN_SECONDS = 0.001
# Time of a text in times of its prediction: its prediction, that of the explainer, and 8 evaluations in one batch. With
# fewer evaluations all words get about the same value.
_MIN_PREDICTIONS = 6
# Predictions whose mean time decides whether the texts of a request fit; the first one may be slow.
_MEASURED = 3
# Time after EXPLAIN_SECONDS, as a share of it, in which texts that were expected to fit may still end.
_GRACE = 0.5


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
        predict: Callable[[str], _Predicted],
        environ: Mapping[str, Any],
        record: RequestRecord,
        options: ExplainOptions,
    ) -> tuple[list[_Predicted], list[Explanation]]:
        """Return the results of `predict`, and the explanations of the predictions in them; the caller holds a slot.

        Each text is predicted alone, so that its values sum to the prediction in the response: the engine's rounding
        depends on the other texts of a batch. All texts are predicted first: the time shows whether all can be
        explained, and how many evaluations fit in the share of each.

        Args:
            predict: predicts a text, and logs the prediction; may return an error, which is not explained.
            environ: WSGI environ of the request.
            record: gets the number of explanations, and what they took.

        Raises:
            ApiError: if `predict` raises it, if the texts need more time than there is, if it is over, or if the
                client closed the connection.
            TextTooLongError: if a text is too long after normalisation.
        """
        start = time.monotonic()
        deadline = Deadline(environ, self._timeout)
        end = start + self._seconds
        explainer = Explainer(predictor, tokens_per_batch=_TOKENS_PER_BATCH)
        predictions: list[_Predicted] = []
        explanations: list[Explanation] = []
        pace = _Pace()
        try:
            with self._giving_way.explanation() as give_way:

                def on_batch() -> None:
                    give_way()
                    deadline.check()

                def left() -> float:
                    return min(end - time.monotonic(), _USED * deadline.seconds)

                for text in texts:
                    on_batch()
                    before = time.monotonic()
                    predictions.append(predict(text))
                    pace.predictions.append(time.monotonic() - before)
                    self._check_pace(pace, len(texts), left())
                for position, text in enumerate(texts):
                    if not isinstance(predictions[position], Prediction):
                        continue
                    if position and left() < -_GRACE * self._seconds:
                        raise self._too_many(len(texts), position)
                    seconds = max(_MIN_SECONDS, left()) / (len(texts) - position)
                    evaluations = options.max_evaluations or self._evaluations
                    if len(texts) > 1:
                        evaluations = pace.evaluations(position, seconds, evaluations)
                    before = time.monotonic()
                    (explanation,) = explainer.explain(
                        [text],
                        unit=options.unit,
                        max_evaluations=evaluations,
                        seconds=seconds,
                        on_batch=on_batch,
                    )
                    pace.add(position, explanation.evaluations, time.monotonic() - before)
                    record.explanations += 1
                    record.evaluations += explanation.evaluations
                    record.incomplete += not explanation.complete
                    explanations.append(explanation)
            deadline.check()
        finally:
            record.explain_seconds = time.monotonic() - start
        return predictions, explanations

    def _check_pace(self, pace: "_Pace", texts: int, left: float) -> None:
        """Refuse texts that can't all be explained in the time that is left, as soon as predictions show it."""
        predicted = len(pace.predictions)
        if texts == 1 or predicted < min(_MEASURED, texts):
            return
        mean = sum(pace.predictions) / predicted
        if mean * (_MIN_PREDICTIONS * texts - predicted) > left:
            total = min(self._seconds, _USED * self._timeout)
            raise self._too_many(texts, int(total / (_MIN_PREDICTIONS * mean)))

    def _too_many(self, texts: int, fitting: int) -> ApiError:
        fitting = max(1, min(fitting, texts - 1))
        return ApiError(
            ErrorCode.TOO_MUCH_WORK,
            f"expected texts that this server explains in {min(self._seconds, _USED * self._timeout):g} seconds "
            f"(EXPLAIN_SECONDS, MODEL_SERVER_TIMEOUT), got {texts}, of which about {fitting} fit; send up to {fitting} "
            f"at a time",
        )


@dataclass(slots=True)
class _Pace:
    """How long the texts of a request take.

    Attributes:
        predictions: seconds of the prediction of each text.
        evaluated: seconds of the evaluations so far.
        expected: the same if each evaluation took as long as the prediction of its text; a batch makes it shorter.
    """

    predictions: list[float] = field(default_factory=list)
    evaluated: float = 0.0
    expected: float = 0.0

    def evaluations(self, position: int, seconds: float, max_evaluations: int) -> int:
        """Evaluations of a text that fit in its share: the time is looked at only between batches."""
        ratio = self.evaluated / self.expected if self.expected else 1.0
        each = max(1e-6, ratio * self.predictions[position])
        return min(max_evaluations, max(MIN_EVALUATIONS, int((seconds - self.predictions[position]) / each)))

    def add(self, position: int, evaluations: int, seconds: float) -> None:
        """Count an explanation, whose time includes a second prediction."""
        if evaluations:
            self.evaluated += max(0.0, seconds - self.predictions[position])
            self.expected += evaluations * self.predictions[position]


def chosen_classes(wanted: Sequence[str] | None, class_names: Sequence[str]) -> tuple[str, ...]:
    """Return the classes that a request asks for, in its order; None asks for all.

    Raises:
        ApiError: if the model has no such class, or one is there twice.
    """
    if wanted is None:
        return tuple(class_names)
    try:
        check_classes(wanted, class_names)
    except UnknownLabelError as error:
        raise ApiError(ErrorCode.UNKNOWN_LABEL, str(error)) from None
    except InputError as error:
        raise ApiError(ErrorCode.WRONG_SHAPE, str(error)) from None
    return tuple(wanted)
