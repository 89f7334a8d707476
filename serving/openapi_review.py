"""The operations of the labelling queue in the OpenAPI document."""

from collections.abc import Callable, Iterable

from serving.api.errors import ErrorCode
from serving.api.request_body import JSON
from serving.api.requests import MAX_SOURCE_CHARS
from serving.api.review_requests import DEFAULT_COUNT, MAX_COUNT, MAX_DAYS, MAX_SIGNED_CHARS, MAX_SKIPPED
from serving.schemas import Json, list_schema, object_schema
from textclf.data.labelling.informative import STAGES_DISAGREE, UNCERTAIN
from textclf.data.labelling.queue import MODES
from textclf.unusual_reasons import REASONS

_STRING: Json = {"type": "string"}
_KEY: Json = {"type": "string", "pattern": "^[0-9a-f]{32}$"}
_WHOLE: Json = {"type": "integer", "minimum": 0}


def review_paths(
    text: Json,
    label: Json,
    body_errors: Iterable[ErrorCode],
    storage_errors: Iterable[ErrorCode],
    post: Callable[..., Json],
) -> Json:
    """Return the paths.

    Args:
        text: schema of a text to store.
        label: schema of a label.
        body_errors: errors of every request with a body.
        storage_errors: errors of requests that store something.
        post: makes an operation of a description, bodies, responses, error codes and a status.
    """
    errors = (*body_errors, *storage_errors)
    of_label = (ErrorCode.BLANK_TEXT, ErrorCode.UNKNOWN_LABEL, ErrorCode.INVALID_DRAW, ErrorCode.ALREADY_LABELLED)
    of_draw = (ErrorCode.REVIEW_NEEDS_KEY, ErrorCode.REVIEW_UNAVAILABLE, ErrorCode.LOG_UNAVAILABLE)
    return {
        "/review/texts": {
            "post": post(
                "Draw logged texts to label, each text once. `audit` draws at random and signs each draw; "
                "`informative` returns the texts whose labels teach most. Needs PREDICTION_LOG_TEXT, and API_KEY "
                "unless HOST is a loopback address.",
                {JSON: _draw_request()},
                {JSON: _drawn()},
                (*errors, *of_draw),
            )
        },
        "/review/labels": {
            "post": post(
                "Store the label of a drawn text; the response is sent when it is on disk. With `draw` the label "
                "counts as a random audit. A text without `draw` may be any text.",
                {JSON: _label_request(text, label)},
                {JSON: _stored()},
                (*errors, *of_label),
                status=201,
            )
        },
        "/review/undo": {
            "post": post(
                "Take back a label that was stored within the last hour.",
                {JSON: object_schema({"undo": {**_STRING, "maxLength": MAX_SIGNED_CHARS}}, ["undo"])},
                {JSON: object_schema({"id": _STRING, "removed": {"type": "boolean"}}, ["id", "removed"])},
                (*errors, ErrorCode.INVALID_DRAW),
            )
        },
    }


def _draw_request() -> Json:
    days = {
        "type": ["number", "null"],
        "exclusiveMinimum": 0,
        "maximum": MAX_DAYS,
        "description": "Only texts of the last days; null for all that are logged.",
    }
    skipped = {
        "type": "array",
        "items": _KEY,
        "maxItems": MAX_SKIPPED,
        "description": "Keys of texts that were skipped, or that wait to be labelled; they are not drawn.",
    }
    count = {"type": "integer", "minimum": 1, "maximum": MAX_COUNT, "default": DEFAULT_COUNT}
    return object_schema({"mode": {"enum": list(MODES)}, "count": count, "days": days, "skipped": skipped}, ["mode"])


def _drawn() -> Json:
    audit = object_schema({"key": _KEY, "text": _STRING, "draw": _STRING}, ["key", "text", "draw"])
    reasons = list_schema({"enum": [*REASONS, STAGES_DISAGREE, UNCERTAIN]})
    informative = {"key": _KEY, "text": _STRING, "label": _STRING, "reasons": reasons}
    texts = list_schema({"oneOf": [audit, object_schema(informative, informative)]})
    drawn = {
        "mode": {"enum": list(MODES)},
        "texts": {**texts, "description": "Fewer than asked for if there are no more; a draw shows no prediction."},
        "labels": list_schema(_STRING),
        "labelled": object_schema({"texts": _WHOLE, "audits": _WHOLE}, ["texts", "audits"]),
        "model": _STRING,
    }
    return object_schema(drawn, drawn)


def _label_request(text: Json, label: Json) -> Json:
    draw = {
        "type": ["string", "null"],
        "maxLength": MAX_SIGNED_CHARS,
        "description": "Signed draw of /review/texts, valid for 14 days, for this text and the version that is served.",
    }
    source = {"type": ["string", "null"], "maxLength": MAX_SOURCE_CHARS, "description": "Sender of the label."}
    return object_schema({"text": text, "label": label, "draw": draw, "source": source}, ["text", "label"])


def _stored() -> Json:
    undo = {**_STRING, "description": "For POST /review/undo, within an hour."}
    stored = {"id": _STRING, "label": _STRING, "audit": {"type": "boolean"}, "undo": undo}
    return object_schema(stored, stored)
