"""Response bodies with explanations.

`explanation` is a list of [piece of the text, {class: value}]. The pieces join to the text; the first and the last
stand for [CLS] and [SEP], and their values are 0. For each class, its base and its values sum to the value of the whole
text: to its probability, or to its logit. If a rule replaced the prediction, they sum to `model_probabilities`.
`explanation_spans` has the words between, [start, end) in characters.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from serving.api.request_body import CSV
from serving.api.responses import json_body, marks_of

if TYPE_CHECKING:
    from textclf.explain.explanation import Explanation
    from textclf.runtime.prediction import Prediction


def explanation_fields(explanation: "Explanation") -> dict[str, Any]:
    """Return the fields that an explanation adds to a prediction of /invocations."""
    return {
        "explanation": explanation.pieces(),
        "explanation_base": _by_class(explanation, explanation.base_values.tolist()),
        "explanation_unit": explanation.unit,
        "explanation_spans": explanation.spans,
        "explanation_evaluations": explanation.evaluations,
        "explanation_complete": explanation.complete,
        **({} if explanation.stage is None else {"explanation_stage": explanation.stage}),
        "explanation_baseline": explanation.baseline,
        "explanation_unseen": explanation.unseen,
        **explanation.rule_fields(),
    }


def explain_body(prediction: "Prediction", explanation: "Explanation", classes: Sequence[str], model: str) -> bytes:
    """Return the response of /explain for a text; `classes` are those whose values are given."""
    return json_body({**_single(prediction, explanation, classes), "model": model})


def explain_list_body(
    predictions: Sequence["Prediction"], explanations: Sequence["Explanation"], classes: Sequence[str], model: str
) -> bytes:
    """Return the response of /explain for a list of texts."""
    found = [
        _single(prediction, explanation, classes)
        for prediction, explanation in zip(predictions, explanations, strict=True)
    ]
    return json_body({"explanations": found, "model": model})


def clarify_body(
    content: bytes, content_type: str, explanations: Sequence["Explanation | None"], classes: Sequence[str]
) -> bytes:
    """Return explanations in the shape of SageMaker Clarify's online explanations.

    Args:
        content: the predictions, as the response without explanations contains them.
        content_type: content type of the predictions.
        explanations: of each record; None for a record with an error, whose list of features is empty.
        classes: those whose values are given, in the order of each `attribution`.
    """
    return json_body(
        {
            "version": "1.0",
            "predictions": {"content_type": content_type, "data": content.decode("utf-8")},
            "label_headers": list(classes),
            # The name belongs to the shape; the values are Owen values (docs/explanations.md).
            "explanations": {"kernel_shap": [_clarify_features(item, classes) for item in explanations]},
        }
    )


def probabilities_csv(predictions: Sequence["Prediction"]) -> tuple[bytes, str]:
    """Return a record of all probabilities, in class order, for each prediction; and its content type."""
    records = (",".join(map(repr, item.probabilities.values())) + "\r\n" for item in predictions)
    return "".join(records).encode("ascii"), CSV


def _single(prediction: "Prediction", explanation: "Explanation", classes: Sequence[str]) -> dict[str, Any]:
    fields = explanation.to_dict()
    return {
        **fields,
        **{key: {name: fields[key][name] for name in classes} for key in ("values", "base_values")},
        # Those of the prediction that the response and the log are about.
        "label": prediction.label,
        "probabilities": prediction.probabilities,
        "truncated": prediction.truncated,
        **marks_of(prediction),
    }


def _clarify_features(explanation: "Explanation | None", classes: Sequence[str]) -> list[dict[str, Any]]:
    if explanation is None:
        return []
    columns = [explanation.class_names.index(name) for name in classes]
    rows = explanation.values[:, columns].tolist()  # [words][classes]
    attributions = [
        {"attribution": row, "description": {"partial_text": word, "start_idx": start}}
        for row, word, (start, _) in zip(rows, explanation.words, explanation.spans, strict=True)
    ]
    return [{"feature_type": "text", "attributions": attributions}]


def _by_class(explanation: "Explanation", row: list[float]) -> dict[str, float]:
    return dict(zip(explanation.class_names, row, strict=True))
