"""Responses to requests for predictions, in the format of the request; a bad record of a batch job is on its own."""

import itertools
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from serving.api.errors import api_error_of
from serving.api.record_responses import is_of_records, render_records
from serving.api.requests import PredictRequest, RecordError
from serving.api.responses import Body, render_json
from textclf.errors import RuleError
from textclf.runtime.apart import chunks, predict_apart
from textclf.runtime.prediction import Prediction
from textclf.runtime.predictor import Predictor

_LOG = logging.getLogger(__name__)
_Predict = Callable[[list[str]], Sequence[Prediction]]


def render_response(
    parsed: PredictRequest,
    predictions: Sequence[Prediction | RecordError],
    predictor: Predictor,
    explanations: Sequence[Mapping[str, Any]] | None = None,
) -> Body:
    """Return the body and its content type, with the errors of records that are on their own.

    `predictions` are those of the texts, or errors of records that are on their own. `explanations` has the fields of
    the explanation of each prediction, or is None.
    """
    model = predictor.full_name
    if is_of_records(parsed.payload_format):
        return render_records(parsed, in_order(parsed, predictions), model, predictor.class_names, explanations)
    found = [item for item in predictions if isinstance(item, Prediction)]  # No text of JSON is on its own.
    return render_json(parsed, found, model, explanations or ())


def score_records(parsed: PredictRequest, predict: _Predict, predictor: Predictor) -> Body:
    """Return the response to records of which each is on its own; texts are scored and forgotten chunk by chunk."""
    scored = itertools.chain.from_iterable(scored_apart(chunk, predict) for chunk in chunks(parsed.texts, str))
    results = in_order(parsed, scored)
    return render_records(parsed, results, predictor.full_name, predictor.class_names)


def in_order(parsed: PredictRequest, scored: Iterable[Prediction | RecordError]) -> Iterator[Prediction | RecordError]:
    """Yield the results of all records: of those with a text, and the errors of the others."""
    of_texts = iter(scored)
    for index in range(len(parsed.texts) + len(parsed.errors)):
        yield parsed.errors.get(index) or next(of_texts)


def scored_apart(texts: list[str], predict: _Predict) -> Iterator[Prediction | RecordError]:
    """Yield the prediction of each text, or its error: it may be too long once normalised, or a rule may fail."""
    for found in predict_apart(texts, predict):
        if isinstance(found, Prediction):
            yield found
            continue
        if isinstance(found, RuleError):
            _LOG.error("a record failed: %s", found)  # Its message does not quote the text.
        refusal = api_error_of(found)
        yield RecordError(refusal.code, refusal.message)
