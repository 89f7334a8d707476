"""Response bodies: predictions in the format of the request; serving/api/record_responses.py writes CSV and JSON lines.

`score` is a Prediction's score: the probability of the second class for two classes, of the label for more. Only a
ranking (`data`) has a score for each label. `stage` is present if a cascade predicts. `empty` is present, and true, for
a text without wordpieces; for a list that contains one it has a value for each text. `unusual`, with the reason in
`unusual_reason`, is present in the same way for a text that is not of the kind of the training texts. So are `unsure`,
for a prediction below its class's threshold, and `rules`, the names of the rules that rewrote the text or decided.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from serving.api.request_body import JSON
from serving.api.requests import PayloadFormat, PredictRequest, RankedLabels

if TYPE_CHECKING:
    from textclf.runtime.prediction import Prediction

_encode: Callable[[object], str] = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
).encode

Body = tuple[bytes, str]


def json_body(value: object) -> bytes:
    """Return compact JSON in UTF-8."""
    return _encode(value).encode("utf-8")


def encode_json(value: object) -> str:
    """Return compact JSON."""
    return _encode(value)


def render_json(
    parsed: PredictRequest,
    predictions: Sequence["Prediction"],
    model: str,
    explanations: Sequence[Mapping[str, Any]] = (),
) -> Body:
    """Return the body and its content type of the response to a JSON body.

    Args:
        model: name and version of the model.
        explanations: fields of the explanation of each prediction, for DATA and DATA_LIST; none if the predictions are
            not explained.
    """
    if explanations:
        items = list(map(_explained_ranking, predictions, explanations))
        return json_body(items if parsed.payload_format is PayloadFormat.DATA_LIST else items[0]), JSON
    if parsed.payload_format in (PayloadFormat.INPUTS, PayloadFormat.INPUTS_LIST):
        return json_body(_inputs(parsed, predictions)), JSON
    return json_body(_WRITERS[parsed.payload_format](predictions, model)), JSON


def score_body(prediction: "Prediction") -> bytes:
    """Return the response body of /invocations/predict."""
    return json_body({"text": prediction.text, "score": prediction.score, **marks_of(prediction)})


def prediction_fields(prediction: "Prediction", model: str) -> dict[str, Any]:
    """Return the fields of a prediction, as /predict responds to a text."""
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
    """Return the fields of a text that is blank, unlike the training texts or changed by rules; {} for other texts."""
    mark: dict[str, Any] = {"empty": True} if prediction.is_empty else {}
    if prediction.unusual_reason is not None:
        mark |= {"unusual": True, "unusual_reason": prediction.unusual_reason}
    if prediction.unsure:
        mark["unsure"] = True
    if prediction.rules:
        mark["rules"] = prediction.rules
    return mark


def _text(predictions: Sequence["Prediction"], model: str) -> Any:
    return prediction_fields(predictions[0], model)


def _columns(predictions: Sequence["Prediction"], model: str) -> Any:
    stages = [item.stage for item in predictions]
    body = {
        "predictions": [item.label for item in predictions],
        "prediction_probs": [item.probability for item in predictions],
        "probabilities": [item.probabilities for item in predictions],
        "truncated": [item.truncated for item in predictions],
        # Without a cascade, only predictions of rules have a stage.
        **({"stage": stages} if any(stages) else {}),
        "model": model,
    }
    if any(empty := [item.is_empty for item in predictions]):
        body["empty"] = empty
    if any(unusual := [item.unusual for item in predictions]):
        body |= {"unusual": unusual, "unusual_reason": [item.unusual_reason for item in predictions]}
    if any(unsure := [item.unsure for item in predictions]):
        body["unsure"] = unsure
    if any(rules := [item.rules for item in predictions]):
        body["rules"] = rules
    return body


def _ranking(prediction: "Prediction") -> list[dict[str, Any]]:
    """All labels with their probabilities, best first; ties go to the predicted label, then by class id.

    A label that a rule chose comes first: `unsure`, which is not a class, has the probability 0.
    """
    first = {} if prediction.replaced is None else {prediction.label: prediction.probability}
    best_first = sorted(prediction.probabilities.items(), key=lambda item: (-item[1], item[0] != prediction.label))
    return [{"label": label, "score": probability} for label, probability in {**first, **dict(best_first)}.items()]


def _data(predictions: Sequence["Prediction"], _model: str) -> Any:
    return {"prediction": _ranking(predictions[0]), **marks_of(predictions[0])}


def _data_list(predictions: Sequence["Prediction"], _model: str) -> Any:
    return [{"prediction": _ranking(item), **marks_of(item)} for item in predictions]


def _explained_ranking(prediction: "Prediction", explanation: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "prediction": _ranking(prediction),
        **explanation,
        "truncated": prediction.truncated,
        **marks_of(prediction),
    }


def _inputs(parsed: PredictRequest, predictions: Sequence["Prediction"]) -> list[Any]:
    """As the pipeline of Hugging Face: a list also for one text, unless its labels are a list themselves."""
    ranked = parsed.ranked
    if ranked is None:
        return list(map(_best, predictions))
    lists = [_ranked(item, ranked) for item in predictions]
    return lists if ranked.in_class_order or parsed.payload_format is PayloadFormat.INPUTS_LIST else lists[0]


def _ranked(prediction: "Prediction", ranked: RankedLabels) -> list[dict[str, Any]]:
    if ranked.in_class_order:
        return [{"label": label, "score": probability} for label, probability in prediction.probabilities.items()]
    return _ranking(prediction)[: ranked.top_k]


def _best(prediction: "Prediction") -> dict[str, Any]:
    return {"label": prediction.label, "score": prediction.probability}


def _instances(predictions: Sequence["Prediction"], _model: str) -> Any:
    return {
        "predictions": [
            {
                **_best(item),
                "probabilities": item.probabilities,
                "truncated": item.truncated,
                **marks_of(item),
            }
            for item in predictions
        ]
    }


_WRITERS: dict[PayloadFormat, Callable[[Sequence["Prediction"], str], Any]] = {
    PayloadFormat.TEXT: _text,
    PayloadFormat.X: _columns,
    PayloadFormat.DATA: _data,
    PayloadFormat.DATA_LIST: _data_list,
    PayloadFormat.INSTANCES: _instances,
}
