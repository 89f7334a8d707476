"""Response bodies: predictions in the format of the request. The Accept header is ignored.

`score` is a Prediction's score: the probability of the second class for two classes, of the label for more. Only a
ranking (`data`) has a score for each label. `stage` is present if a cascade predicts. `empty` is present, and true, for
a text without wordpieces; for a list that contains one it has a value for each text. `unusual`, with the reason in
`unusual_reason`, is present in the same way for a text that is not of the kind of the training texts.
"""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from serving.api.request_body import CSV, JSON, JSON_LINES
from serving.api.requests import PayloadFormat

if TYPE_CHECKING:
    from textclf.runtime.prediction import Prediction

_encode: Callable[[object], str] = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
).encode

_Body = tuple[bytes, str]
_Explanations = Sequence[Mapping[str, Any]]


def json_body(value: object) -> bytes:
    """Return compact JSON in UTF-8."""
    return _encode(value).encode("utf-8")


def render_response(
    payload_format: PayloadFormat,
    predictions: Sequence["Prediction"],
    model: str,
    explanations: Sequence[Mapping[str, Any]] = (),
) -> _Body:
    """Return the body and its content type.

    Args:
        model: name and version of the model.
        explanations: fields of the explanation of each prediction, for DATA, DATA_LIST, CSV and JSON_LINES; none if
            the predictions are not explained.
    """
    if not explanations:
        return _WRITERS[payload_format](predictions, model)
    return _EXPLAINED_WRITERS[payload_format](predictions, model, explanations)


def score_body(prediction: "Prediction") -> bytes:
    """Return the response body of /invocations/predict."""
    return json_body({"text": prediction.text, "score": prediction.score, **marks_of(prediction)})


def _single(prediction: "Prediction", model: str) -> dict[str, Any]:
    return {
        "text": prediction.text,
        "label": prediction.label,
        "score": prediction.score,
        "probabilities": prediction.probabilities,
        "truncated": prediction.truncated,
        **({} if prediction.stage is None else {"stage": prediction.stage}),
        "model": model,
        **marks_of(prediction),
    }


def marks_of(prediction: "Prediction") -> dict[str, Any]:
    """Return the fields of a text without wordpieces, or unlike the training texts; {} for other texts."""
    mark: dict[str, Any] = {"empty": True} if prediction.is_empty else {}
    if prediction.unusual_reason is not None:
        mark |= {"unusual": True, "unusual_reason": prediction.unusual_reason}
    return mark


def _text(predictions: Sequence["Prediction"], model: str) -> _Body:
    return json_body(_single(predictions[0], model)), JSON


def _columns(predictions: Sequence["Prediction"], model: str) -> _Body:
    body = {
        "predictions": [item.label for item in predictions],
        "prediction_probs": [item.probabilities[item.label] for item in predictions],
        "probabilities": [item.probabilities for item in predictions],
        "truncated": [item.truncated for item in predictions],
        # One model made all predictions: each has a stage, or none has.
        **({} if predictions[0].stage is None else {"stage": [item.stage for item in predictions]}),
        "model": model,
    }
    if any(empty := [item.is_empty for item in predictions]):
        body["empty"] = empty
    if any(unusual := [item.unusual for item in predictions]):
        body |= {"unusual": unusual, "unusual_reason": [item.unusual_reason for item in predictions]}
    return json_body(body), JSON


def _ranking(prediction: "Prediction") -> list[dict[str, Any]]:
    """All labels with their probabilities, best first; ties go to the predicted label, then by class id."""
    best_first = sorted(prediction.probabilities.items(), key=lambda item: (-item[1], item[0] != prediction.label))
    return [{"label": label, "score": probability} for label, probability in best_first]


def _data(predictions: Sequence["Prediction"], _model: str) -> _Body:
    return json_body({"prediction": _ranking(predictions[0]), **marks_of(predictions[0])}), JSON


def _data_list(predictions: Sequence["Prediction"], _model: str) -> _Body:
    return json_body([{"prediction": _ranking(item), **marks_of(item)} for item in predictions]), JSON


def _csv(predictions: Sequence["Prediction"], _model: str) -> _Body:
    lines = io.StringIO(newline="")
    csv.writer(lines).writerows((item.label, item.score) for item in predictions)
    return lines.getvalue().encode("utf-8"), f"{CSV}; charset=utf-8"


def _json_lines(predictions: Sequence["Prediction"], model: str) -> _Body:
    return b"".join(json_body(_single(item, model)) + b"\n" for item in predictions), JSON_LINES


def _explained_data(predictions: Sequence["Prediction"], _model: str, explanations: _Explanations) -> _Body:
    return json_body(_explained_ranking(predictions[0], explanations[0])), JSON


def _explained_data_list(predictions: Sequence["Prediction"], _model: str, explanations: _Explanations) -> _Body:
    return json_body(list(map(_explained_ranking, predictions, explanations))), JSON


def _explained_ranking(prediction: "Prediction", explanation: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "prediction": _ranking(prediction),
        **explanation,
        "truncated": prediction.truncated,
        **marks_of(prediction),
    }


def _explained_csv(predictions: Sequence["Prediction"], _model: str, explanations: _Explanations) -> _Body:
    """Records of label, score and the explanation as one field of JSON, which has no line breaks."""
    lines = io.StringIO(newline="")
    csv.writer(lines).writerows(
        (item.label, item.score, _encode({**explanation, "truncated": item.truncated}))
        for item, explanation in zip(predictions, explanations, strict=True)
    )
    return lines.getvalue().encode("utf-8"), f"{CSV}; charset=utf-8"


def _explained_lines(predictions: Sequence["Prediction"], model: str, explanations: _Explanations) -> _Body:
    lines = [
        json_body({**_single(item, model), **explanation}) + b"\n"
        for item, explanation in zip(predictions, explanations, strict=True)
    ]
    return b"".join(lines), JSON_LINES


_EXPLAINED_WRITERS: dict[PayloadFormat, Callable[[Sequence["Prediction"], str, _Explanations], _Body]] = {
    PayloadFormat.DATA: _explained_data,
    PayloadFormat.DATA_LIST: _explained_data_list,
    PayloadFormat.CSV: _explained_csv,
    PayloadFormat.JSON_LINES: _explained_lines,
}
_WRITERS: dict[PayloadFormat, Callable[[Sequence["Prediction"], str], _Body]] = {
    PayloadFormat.TEXT: _text,
    PayloadFormat.X: _columns,
    PayloadFormat.DATA: _data,
    PayloadFormat.DATA_LIST: _data_list,
    PayloadFormat.CSV: _csv,
    PayloadFormat.JSON_LINES: _json_lines,
}
