"""From predictions to the body of an answer, in the form that the question had; Accept is not looked at.

`score` is that of a Prediction everywhere: of two classes the probability of the second, of more that of the label;
only a ranking (`data`) gives each label its own. `stage` is there where a cascade answers.
"""

import csv
import io
import json
from collections.abc import Callable, Sequence
from typing import Any

from serving.api.request_body import CSV, JSON, JSON_LINES
from serving.api.requests import PayloadFormat
from textclf.runtime.predictor import Prediction

_encode: Callable[[object], str] = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
).encode

_Answer = tuple[bytes, str]


def json_body(value: object) -> bytes:
    """Compact JSON in UTF-8."""
    return _encode(value).encode("utf-8")


def answer(form: PayloadFormat, predictions: Sequence[Prediction], model: str) -> _Answer:
    """The body and its content type.

    Args:
        form: of the question.
        predictions: one a text, in the order of the texts.
        model: name and version of what predicted.
    """
    return _WRITERS[form](predictions, model)


def score_body(prediction: Prediction) -> bytes:
    """The answer of /invocations/predict."""
    return json_body({"text": prediction.text, "score": prediction.score})


def _single(prediction: Prediction, model: str) -> dict[str, Any]:
    return {
        "text": prediction.text,
        "label": prediction.label,
        "score": prediction.score,
        "probabilities": prediction.probabilities,
        "truncated": prediction.truncated,
        **({} if prediction.stage is None else {"stage": prediction.stage}),
        "model": model,
    }


def _text(predictions: Sequence[Prediction], model: str) -> _Answer:
    return json_body(_single(predictions[0], model)), JSON


def _columns(predictions: Sequence[Prediction], model: str) -> _Answer:
    body = {
        "predictions": [item.label for item in predictions],
        "prediction_probs": [item.probabilities[item.label] for item in predictions],
        "probabilities": [item.probabilities for item in predictions],
        "truncated": [item.truncated for item in predictions],
        # One model answers all: each has a stage, or none has.
        **({} if predictions[0].stage is None else {"stage": [item.stage for item in predictions]}),
        "model": model,
    }
    return json_body(body), JSON


def _ranking(prediction: Prediction) -> list[dict[str, Any]]:
    """All labels with their probabilities, best first; of equal ones the predicted label, then by class id."""
    best_first = sorted(prediction.probabilities.items(), key=lambda item: (-item[1], item[0] != prediction.label))
    return [{"label": label, "score": probability} for label, probability in best_first]


def _data(predictions: Sequence[Prediction], _model: str) -> _Answer:
    return json_body({"prediction": _ranking(predictions[0])}), JSON


def _data_list(predictions: Sequence[Prediction], _model: str) -> _Answer:
    return json_body([{"prediction": _ranking(item)} for item in predictions]), JSON


def _csv(predictions: Sequence[Prediction], _model: str) -> _Answer:
    lines = io.StringIO(newline="")
    csv.writer(lines).writerows((item.label, item.score) for item in predictions)
    return lines.getvalue().encode("utf-8"), f"{CSV}; charset=utf-8"


def _json_lines(predictions: Sequence[Prediction], model: str) -> _Answer:
    return b"".join(json_body(_single(item, model)) + b"\n" for item in predictions), JSON_LINES


_WRITERS: dict[PayloadFormat, Callable[[Sequence[Prediction], str], _Answer]] = {
    PayloadFormat.TEXT: _text,
    PayloadFormat.X: _columns,
    PayloadFormat.DATA: _data,
    PayloadFormat.DATA_LIST: _data_list,
    PayloadFormat.CSV: _csv,
    PayloadFormat.JSON_LINES: _json_lines,
}
