"""Parse the bodies of requests for explanations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from serving.api.errors import ApiError, ErrorCode
from serving.api.requests import (
    Limits,
    PayloadFormat,
    check_text,
    json_name,
    object_of,
    refuse_unknown,
    texts_of,
    value_of,
)

# Keys next to the texts, and their values; the first value is the default.
_KEYS = ("classes", "unit", "max_evaluations", "format")
CLARIFY = "clarify"
EXPLAIN_FORMATS = ("textclf", CLARIFY)
# Formats whose responses have no place for an explanation.
_UNEXPLAINED = {
    PayloadFormat.TEXT: "text",
    PayloadFormat.X: "X",
    PayloadFormat.INPUTS: "inputs",
    PayloadFormat.INPUTS_LIST: "inputs",
    PayloadFormat.INSTANCES: "instances or a data frame",
}
# The whole text and the baseline.
MIN_EVALUATIONS = 2


@dataclass(frozen=True, slots=True)
class ExplainRequest:
    """Texts to explain, all within the limits.

    Attributes:
        texts: the texts.
        is_list: whether the response is a list.
        classes: names of the classes to explain, as sent; None explains all.
        unit: "probability" or "logit".
        max_evaluations: maximum number of evaluations for each text; None is the server's choice.
        is_clarify: whether the response has the shape of SageMaker Clarify.
    """

    texts: list[str]
    is_list: bool
    classes: tuple[str, ...] | None
    unit: str
    max_evaluations: int | None
    is_clarify: bool


def check_explained_format(payload_format: PayloadFormat) -> None:
    """Check that a response in this format can have explanations.

    Raises:
        ApiError: if it can't.
    """
    if (key := _UNEXPLAINED.get(payload_format)) is not None:
        raise ApiError(
            ErrorCode.WRONG_SHAPE,
            f"explain: expected it with data, CSV or JSON lines, got it with {key}; send the texts as data, or to "
            f"/explain",
        )


def parse_explain_request(content: str, limits: Limits, max_evaluations: int, units: Sequence[str]) -> ExplainRequest:
    """Parse the body of a request for explanations.

    Args:
        max_evaluations: maximum number of evaluations that the request may ask for.
        units: accepted units; the first one is the default.

    Raises:
        ApiError: if the body is not JSON, has another shape, or its texts exceed the limits.
    """
    body = object_of(content, limits)
    refuse_unknown(body, {"text", "X", *_KEYS})
    parsed = texts_of({key: value for key, value in body.items() if key not in _KEYS}, limits, ("text", "X"))
    classes = value_of(body, "classes", list, "a list of class names") if "classes" in body else None
    if classes is not None:
        if not classes:
            raise ApiError(ErrorCode.EMPTY_LIST, "classes: expected at least one class, got none; remove it for all")
        for index, name in enumerate(classes):
            where = f"classes[{index}] (counted from 0)"
            if not isinstance(name, str):
                raise ApiError(ErrorCode.WRONG_SHAPE, f"{where}: expected a string, got {json_name(name)}")
            check_text(name, where, limits)
    evaluations = _evaluations(body["max_evaluations"], max_evaluations) if "max_evaluations" in body else None
    return ExplainRequest(
        parsed.texts,
        parsed.payload_format is PayloadFormat.X,
        None if classes is None else tuple(classes),
        _choice(body, "unit", units),
        evaluations,
        _choice(body, "format", EXPLAIN_FORMATS) == CLARIFY,
    )


def _evaluations(value: Any, max_evaluations: int) -> int:
    """The value as a whole number; 3.0 is one, as in JSON Schema."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not MIN_EVALUATIONS <= value <= max_evaluations or value != int(value):
        raise ApiError(
            ErrorCode.WRONG_SHAPE,
            f"max_evaluations: expected a whole number from {MIN_EVALUATIONS} to {max_evaluations} "
            f"(EXPLAIN_MAX_EVALUATIONS), got {str(value)[:20] if is_number else json_name(value)}",
        )
    return int(value)


def _choice(body: dict[str, Any], key: str, choices: Sequence[str]) -> str:
    """The value of a key; the first choice if the key is missing."""
    expected = " or ".join(choices)
    value = value_of(body, key, str, expected) if key in body else choices[0]
    if value not in choices:
        raise ApiError(ErrorCode.WRONG_SHAPE, f"{key}: expected {expected}, got {value[:50]!r}")
    return value
