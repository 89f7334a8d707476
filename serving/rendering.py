"""Responses to requests for predictions, in the format of the request; a bad record of a batch job is on its own."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from serving.api.errors import api_error_of
from serving.api.record_responses import is_of_records, render_records
from serving.api.requests import PredictRequest, RecordError
from serving.api.responses import Body, render_json
from textclf.errors import InputError
from textclf.runtime.prediction import Prediction
from textclf.runtime.predictor import Predictor

# As of scored files: the texts of a chunk are sorted by length, and their wordpieces are in memory together.
CHUNK_TEXTS = 1024
CHUNK_CHARS = 4_000_000

_Predict = Callable[[list[str]], Sequence[Prediction]]


def render_response(
    parsed: PredictRequest,
    predictions: Sequence[Prediction],
    predictor: Predictor,
    explanations: Sequence[Mapping[str, Any]] = (),
) -> Body:
    """Return the body and its content type; `explanations` has the fields of each explanation, or nothing."""
    model = predictor.full_name
    if is_of_records(parsed.payload_format):
        return render_records(parsed, predictions, model, predictor.class_names, explanations)
    return render_json(parsed, predictions, model, explanations)


def score_records(parsed: PredictRequest, predict: _Predict, predictor: Predictor) -> Body:
    """Return the response to records of which each is on its own; texts are scored and forgotten chunk by chunk."""
    results = _in_order(parsed, predict)
    return render_records(parsed, results, predictor.full_name, predictor.class_names)


def _in_order(parsed: PredictRequest, predict: _Predict) -> Iterator[Prediction | RecordError]:
    scored = itertools.chain.from_iterable(_scored(chunk, predict) for chunk in _chunks(parsed.texts))
    for index in range(len(parsed.texts) + len(parsed.errors)):
        yield parsed.errors.get(index) or next(scored)


def _scored(texts: list[str], predict: _Predict) -> Iterable[Prediction | RecordError]:
    """Return the predictions of texts, or errors: a text may be too long only after Unicode normalisation."""
    try:
        return predict(texts)
    except InputError as error:
        if len(texts) > 1:
            middle = len(texts) // 2
            return [*_scored(texts[:middle], predict), *_scored(texts[middle:], predict)]
        refusal = api_error_of(error)
        return [RecordError(refusal.code, refusal.message)]


def _chunks(texts: Sequence[str]) -> Iterator[list[str]]:
    chunk: list[str] = []
    chars = 0
    for text in texts:
        if chunk and (len(chunk) == CHUNK_TEXTS or chars + len(text) > CHUNK_CHARS):
            yield chunk
            chunk, chars = [], 0
        chunk.append(text)
        chars += len(text)
    if chunk:
        yield chunk
