"""Response bodies of one record per text: CSV and JSON lines, in the order of the request."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from serving.api.request_body import CSV, JSON_LINES
from serving.api.requests import PayloadFormat, PredictRequest, RecordError
from serving.api.responses import Body, encode_json, json_body, prediction_fields

if TYPE_CHECKING:
    from textclf.runtime.prediction import Prediction

# Names that a line of a prediction can have, so that a name means the same in all lines.
RESERVED = frozenset(
    (
        "text", "label", "score", "probabilities", "truncated", "stage", "model", "empty", "unusual", "unusual_reason",
        "unsure", "rules", "error", "explanation", "explanation_base", "explanation_unit", "explanation_spans",
        "explanation_evaluations", "explanation_complete", "explanation_stage", "explanation_baseline",
        "explanation_unseen", "model_probabilities",
    )
)  # fmt: skip
# In front of the name of a field of the request that a field of the response has, as in scored files.
_INPUT = "input_"


def is_of_records(payload_format: PayloadFormat) -> bool:
    """Return whether a body in this format has records."""
    return payload_format in (PayloadFormat.CSV, PayloadFormat.JSON_LINES)


def render_records(
    parsed: PredictRequest,
    results: "Iterable[Prediction | RecordError]",
    model: str,
    class_names: Sequence[str],
    explanations: Sequence[Mapping[str, Any]] | None = None,
) -> Body:
    """Return the body and its content type.

    Args:
        parsed: the request, CSV or JSON lines.
        results: of each record, in order.
        model: name and version of the model.
        class_names: class names of the model.
        explanations: fields of the explanation of each prediction; None if the predictions are not explained.
    """
    if parsed.payload_format is PayloadFormat.JSON_LINES:
        return b"".join(_lines(parsed, results, model, iter(explanations or ()))), JSON_LINES
    return _csv(parsed, results, class_names, explanations).encode("utf-8"), f"{CSV}; charset=utf-8"


def _lines(
    parsed: PredictRequest,
    results: "Iterable[Prediction | RecordError]",
    model: str,
    explanations: Iterator[Mapping[str, Any]],
) -> Iterator[bytes]:
    for index, result in enumerate(results):
        fields: dict[str, Any]
        if isinstance(result, RecordError):
            fields = {"error": {"code": result.code.public_name, "message": result.message}}
        else:
            fields = {**prediction_fields(result, model), **next(explanations, {})}
        if parsed.extras and parsed.extras[index]:
            fields = _renamed(parsed.extras[index], fields) | fields
        yield json_body(fields) + b"\n"


def _renamed(extra: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of the request under names that the response does not have."""
    renamed: dict[str, Any] = {}
    for name, value in extra.items():
        while name in fields or name in RESERVED or name in renamed:
            name = f"{_INPUT}{name}"
        renamed[name] = value
    return renamed


def _csv(
    parsed: PredictRequest,
    results: "Iterable[Prediction | RecordError]",
    class_names: Sequence[str],
    explanations: Sequence[Mapping[str, Any]] | None,
) -> str:
    """Records of label and score, or of all probabilities; then the other columns that were asked for.

    These are whether the prediction is unsure, the explanation as JSON, and an error or nothing.
    """
    lines = io.StringIO(newline="")
    writer = csv.writer(lines)
    explained = iter(explanations or ())
    no_error = [""] if parsed.is_each_on_its_own else []
    asked = parsed.columns
    columns = (len(class_names) if asked.all_probabilities else 2) + asked.unsure + (explanations is not None)
    for result in results:
        if isinstance(result, RecordError):
            writer.writerow([*[""] * columns, f"{result.code.public_name}: {result.message}"])
            continue
        record: list[Any] = list(result.probabilities.values())
        if not asked.all_probabilities:
            record = [result.label, result.score]
        if asked.unsure:
            record.append("true" if result.unsure else "false")
        if (explanation := next(explained, None)) is not None:
            record.append(encode_json({**explanation, "truncated": result.truncated}))
        writer.writerow(record + no_error)
    return lines.getvalue()
