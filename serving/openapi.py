"""What the app does, in OpenAPI 3.1: as data, with the limits of its settings and the classes of its model."""

from collections.abc import Iterable, Sequence
from typing import Any

from serving.api.errors import ErrorCode
from serving.api.request_body import CSV, JSON, JSON_LINES
from serving.api.requests import MAX_SOURCE_CHARS
from serving.observability.metrics import CONTENT_TYPE as METRICS_TYPE
from serving.settings import Settings
from textclf.runtime.cascade import ENCODER, LINEAR

_Json = dict[str, Any]

_PROBABILITY: _Json = {"type": "number", "minimum": 0, "maximum": 1}
_TRUNCATED: _Json = {
    "type": ["boolean", "null"],
    "description": "Whether the model saw only a part of the text; null where that can't be known.",
}
_STAGE: _Json = {
    "enum": [LINEAR, ENCODER],
    "description": "Which stage of the model's cascade answered; absent where the model has none, or CASCADE is off.",
}
_MODEL: _Json = {"type": "string", "description": "Name and version of the model that answered."}
_BODY_KINDS = (
    ErrorCode.EMPTY_BODY, ErrorCode.INCOMPLETE_BODY, ErrorCode.INVALID_GZIP, ErrorCode.INVALID_UTF8,
    ErrorCode.INVALID_JSON, ErrorCode.BAD_REQUEST, ErrorCode.REQUEST_TIMEOUT, ErrorCode.BODY_TOO_LARGE,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE, ErrorCode.UNSUPPORTED_ENCODING,
    ErrorCode.WRONG_SHAPE, ErrorCode.DUPLICATE_KEY, ErrorCode.TEXT_TOO_LONG, ErrorCode.INVALID_TEXT,
    ErrorCode.TOO_MANY_REQUESTS, ErrorCode.NOT_READY, ErrorCode.INTERNAL_ERROR,
)  # fmt: skip
_LIST_KINDS = (ErrorCode.EMPTY_LIST, ErrorCode.TOO_MANY_TEXTS)
_STORAGE_KINDS = (ErrorCode.QUOTA_EXCEEDED, ErrorCode.DISK_FULL, ErrorCode.STORAGE_UNAVAILABLE)
# What the nginx in front answers with 503 for any path, with a code of its own.
_NGINX_503 = (
    "- `timed_out`: From nginx: the answer took more than MODEL_SERVER_TIMEOUT.",
    "- `worker_lost`: From nginx: the worker ended before it had answered.",
)


def openapi_document(settings: Settings, class_names: Sequence[str] | None = None) -> _Json:
    """The document.

    Args:
        settings: of the server; its limits and whether it has a key.
        class_names: of the model that is served; None where none is loaded yet.
    """
    document: _Json = {
        "openapi": "3.1.0",
        "info": {
            "title": "Text classification",
            "version": "1",
            "description": "Scores texts with a fine-tuned BERT encoder. An answer has the form that the request had; "
            "the header Accept is not looked at. Bodies are UTF-8 and may be packed with gzip. Every answer carries "
            "X-Request-Id: the request's own if it is of at most 128 letters, digits, dots, colons, _ and -, else a "
            "new one. What the nginx in front refuses has the form of an Error, too, with codes of its own for 414 "
            "(`uri_too_long`), 431 (`headers_too_large`) and 503 (`timed_out`, `worker_lost`).",
        },
        "paths": {
            "/predict": {"post": _predict(settings)},
            "/invocations": {"post": _invocations(settings)},
            "/invocations/predict": {"post": _score(settings)},
            "/feedback": {"post": _feedback(settings, class_names)},
            "/ping": {"get": _get("Whether the model answers.", _status(), ErrorCode.NOT_READY)},
            "/health/live": {"get": _get("Whether the process answers.", _status())},
            "/health/ready": {"get": _get("The same as /ping.", _status(), ErrorCode.NOT_READY)},
            "/health_check": {"get": _get("The same as /ping.", _status(), ErrorCode.NOT_READY)},
            "/info": {"get": _get("What is served, within which limits.", {JSON: _ref("Info")}, ErrorCode.NOT_READY)},
            "/metrics": {"get": _get("Numbers for Prometheus.", {METRICS_TYPE: {"type": "string"}})},
            "/openapi.json": {"get": _get("This document.", {JSON: {"type": "object"}})},
        },
        "components": {"schemas": _schemas(class_names)},
    }
    if settings.api_key:
        _require_key(document)
    return document


def _predict(settings: Settings) -> _Json:
    return _post(
        "Score a text, or a list of texts.",
        {JSON: {"oneOf": [_text_body(settings), _list_body(settings)]}},
        {JSON: {"oneOf": [_ref("Prediction"), _ref("Predictions")]}},
        (*_BODY_KINDS, *_LIST_KINDS),
    )


def _invocations(settings: Settings) -> _Json:
    text = _text(settings)
    data = _object(
        {"data": {"oneOf": [text, _texts(settings)]}, "explain": {"const": False, "default": False}}, ["data"]
    )
    operation = _post(
        "Score texts, as SageMaker asks. text/csv is one text a record (RFC 4180, no header) and is answered with a "
        "record of label and score for each; application/jsonlines (or x-ndjson, jsonl, x-jsonlines) is "
        'one {"text": string} or {"data": string} a line and is answered with a line for each, in the shape of '
        '/predict. {"data": …} is answered with all labels, best first: {"prediction": […]} for a text, a list of '
        "such objects for a list of texts.",
        {
            JSON: {"oneOf": [data, _text_body(settings), _list_body(settings)]},
            CSV: {"type": "string"},
            JSON_LINES: {"type": "string"},
        },
        {
            JSON: {"oneOf": [_ref("Ranking"), _ref("Rankings"), _ref("Prediction"), _ref("Predictions")]},
            f"{CSV}; charset=utf-8": {"type": "string"},
            JSON_LINES: {"type": "string"},
        },
        (*_BODY_KINDS, *_LIST_KINDS, ErrorCode.INVALID_CSV, ErrorCode.EXPLAIN_UNAVAILABLE),
    )
    examples = {CSV: 'A fine film.\r\n"Long, and dull."\r\n', JSON_LINES: '{"text":"A fine film."}\n'}
    for media_type, example in examples.items():
        operation["requestBody"]["content"][media_type]["example"] = example
    return operation


def _score(settings: Settings) -> _Json:
    answer = _object({"text": {"type": "string"}, "score": _PROBABILITY}, ["text", "score"])
    return _post(
        "Score a text; the answer is the score that /predict gives.",
        {JSON: _text_body(settings)},
        {JSON: answer},
        _BODY_KINDS,
    )


def _feedback(settings: Settings, class_names: Sequence[str] | None) -> _Json:
    label: _Json = {"type": "string", "description": "A class of the model."}
    if class_names is not None:
        label["enum"] = list(class_names)
    review = _object(
        {
            "text": {**_text(settings), "minLength": 1, "pattern": r"\S"},
            "label": label,
            "source": {
                "type": ["string", "null"],
                "maxLength": MAX_SOURCE_CHARS,
                "description": "Where the label comes from.",
            },
            "audit": {
                "type": "boolean",
                "default": False,
                "description": "Whether the text was drawn at random to be labelled, so that it may be measured on.",
            },
        },
        ["text", "label"],
    )
    stored = _object({"id": {"type": "string"}, "label": {"type": "string"}}, ["id", "label"])
    return _post(
        "Store a labelled review; answered when it is on disk.",
        {JSON: review},
        {JSON: stored},
        (*_BODY_KINDS, ErrorCode.BLANK_TEXT, ErrorCode.UNKNOWN_LABEL, *_STORAGE_KINDS),
        status=201,
    )


def _schemas(class_names: Sequence[str] | None) -> _Json:
    label: _Json = {"type": "string"} if class_names is None else {"type": "string", "enum": list(class_names)}
    probabilities: _Json = {"type": "object", "additionalProperties": _PROBABILITY}
    prediction = {
        "text": {"type": "string"},
        "label": label,
        "score": {**_PROBABILITY, "description": "Of two classes the probability of the second, else of the label."},
        "probabilities": probabilities,
        "truncated": _TRUNCATED,
        "stage": _STAGE,
        "model": _MODEL,
    }
    predictions = {
        "predictions": _list(label),
        "prediction_probs": {**_list(_PROBABILITY), "description": "The probability of each predicted label."},
        "probabilities": _list(probabilities),
        "truncated": _list(_TRUNCATED),
        "stage": _list(_STAGE),
        "model": _MODEL,
    }
    ranking = _list(_object({"label": label, "score": _PROBABILITY}, ["label", "score"]))
    whole = {"type": "integer", "minimum": 0}
    limits = ("max_text_chars", "max_batch", "max_body_bytes", "max_concurrent")
    info = {
        "model": _MODEL,
        "name": {"type": "string"},
        "version": {"type": "string"},
        "class_names": _list({"type": "string"}),
        "max_length": {"type": ["integer", "null"]},
        "threshold": _PROBABILITY,
        "cascade": {
            **_object({"exit_confidence": {**_PROBABILITY, "type": ["number", "null"]}}, ["exit_confidence"]),
            "type": ["object", "null"],
            "description": "Probability from which on the linear stage answers alone (null: it never does); null "
            "where the encoder answers all.",
        },
        "limits": _object(dict.fromkeys(limits, whole), limits),
    }
    error = _object({"code": {"type": "string"}, "message": {"type": "string"}}, ["code", "message"])
    return {
        "Prediction": _object(prediction, _all_but_stage(prediction)),
        "Predictions": _object(predictions, _all_but_stage(predictions)),
        "Ranking": _object({"prediction": ranking}, ["prediction"]),
        "Rankings": {**_list(_object({"prediction": ranking}, ["prediction"])), "minItems": 1},
        "Info": _object(info, info),
        "Error": _object({"error": error}, ["error"]),
    }


def _text(settings: Settings) -> _Json:
    return {"type": "string", "maxLength": settings.max_text_chars}


def _texts(settings: Settings) -> _Json:
    return {"type": "array", "items": _text(settings), "minItems": 1, "maxItems": settings.max_batch}


def _text_body(settings: Settings) -> _Json:
    return _object({"text": _text(settings)}, ["text"])


def _list_body(settings: Settings) -> _Json:
    return _object({"X": _texts(settings)}, ["X"])


def _object(properties: _Json, required: Iterable[str]) -> _Json:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def _all_but_stage(properties: _Json) -> list[str]:
    """What an answer always has."""
    return [name for name in properties if name != "stage"]


def _list(items: _Json) -> _Json:
    return {"type": "array", "items": items}


def _ref(name: str) -> _Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _status() -> _Json:
    return {JSON: _object({"status": {"const": "ok"}}, ["status"])}


def _post(summary: str, takes: _Json, gives: _Json, kinds: Iterable[ErrorCode], status: int = 200) -> _Json:
    return {
        "description": summary,
        "requestBody": {"required": True, "content": _content(takes)},
        "responses": {str(status): {"description": "Done.", "content": _content(gives)}, **_refusals(kinds)},
    }


def _get(summary: str, gives: _Json, *kinds: ErrorCode) -> _Json:
    responses = {
        "200": {"description": "Yes.", "content": _content(gives)},
        **_refusals((*kinds, ErrorCode.INTERNAL_ERROR)),
    }
    return {"description": summary, "responses": responses}


def _content(schemas: _Json) -> _Json:
    return {media_type: {"schema": schema} for media_type, schema in schemas.items()}


def _refusals(kinds: Iterable[ErrorCode]) -> _Json:
    """A response for each status, which lists its codes."""
    by_status: dict[int, list[str]] = {}
    for kind in kinds:
        by_status.setdefault(kind.status, []).append(f"- `{kind.code}`: {kind.meaning}")
    by_status.setdefault(503, []).extend(_NGINX_503)
    return {
        str(status): {"description": "\n".join(codes), "content": _content({JSON: _ref("Error")})}
        for status, codes in sorted(by_status.items())
    }


def _require_key(document: _Json) -> None:
    document["components"]["securitySchemes"] = {
        "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        "bearer": {"type": "http", "scheme": "bearer"},
    }
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if method == "post" or path == "/metrics":
                operation["security"] = [{"key": []}, {"bearer": []}]
                operation["responses"]["401"] = _refusals([ErrorCode.UNAUTHORIZED])["401"]
