"""The OpenAPI 3.1 document of the app, with the limits of its settings and the classes of its model."""

from collections.abc import Iterable, Sequence

from serving.api.errors import ErrorCode
from serving.api.request_body import CSV, JSON, JSON_LINES, OTHER_JSON_LINES
from serving.api.requests import MAX_SOURCE_CHARS
from serving.info import info_schema
from serving.observability.metrics import CONTENT_TYPE as METRICS_TYPE
from serving.openapi_explanations import (
    CUSTOM_ATTRIBUTES,
    CUSTOM_ATTRIBUTES_RESPONSE,
    EXPLAINED_FIELDS,
    explain_options,
    explanation_schemas,
)
from serving.openapi_protocol import infer_body, protocol_paths, protocol_schemas
from serving.openapi_review import review_paths
from serving.openapi_servers import RESPONSES, execution_parameters_path, other_bodies, other_schemas
from serving.openapi_store import store_paths, store_report_schema
from serving.schemas import PROBABILITY as _PROBABILITY
from serving.schemas import RULES
from serving.schemas import TRUNCATED as _TRUNCATED
from serving.schemas import Json as _Json
from serving.schemas import list_schema as _list
from serving.schemas import object_schema as _object
from serving.schemas import ref as _ref
from serving.settings import Settings
from textclf.labels import OTHER_LABEL
from textclf.runtime.cascade import ENCODER, LINEAR
from textclf.runtime.prediction import RULE, UNSURE
from textclf.unusual_reasons import REASONS

_EMPTY: _Json = {"const": True, "description": "Present if the text has no wordpieces, such as a text of blanks."}
_UNUSUAL: _Json = {
    "const": True,
    "description": "Present if the text is not of the kind that the version was trained on. Versions of earlier "
    "software mark no text.",
}
_UNUSUAL_REASON: _Json = {
    "enum": list(REASONS),
    "description": "Present next to `unusual`: the text has no letters, or its words are not those of the training "
    "texts (such as another language), or it is far from the training texts otherwise.",
}
_UNSURE: _Json = {
    "const": True,
    "description": "Present if the probability of the label is below the version's threshold of its class, or if a "
    "rule chose `unsure`.",
}
_MARKS: _Json = {
    "empty": _EMPTY, "unusual": _UNUSUAL, "unusual_reason": _UNUSUAL_REASON, "unsure": _UNSURE, "rules": RULES
}  # fmt: skip
_STAGE: _Json = {
    "enum": [LINEAR, ENCODER, RULE],
    "description": "Stage of the cascade that made the prediction; absent without a cascade, or if CASCADE is off. "
    f"`{RULE}` if a rule of the operator decided instead.",
}
_MODEL: _Json = {"type": "string", "description": "Name and version of the model."}
# A schema can't describe the inside of a string, so the descriptions do.
_CSV_BODY: _Json = {
    "type": "string",
    "minLength": 1,
    "description": "One text per record (RFC 4180), without a header. With the content type `text/csv; header=present` "
    "the first record names columns, and the texts are in the column `text`. An empty line is an empty text, which is "
    "scored. A body of no bytes returns 400 (`empty_body`).",
}
_LINES_BODY: _Json = {
    "type": "string",
    "pattern": r"\S",
    "description": 'One {"text": string} or {"data": string} per line; other fields come back. Blank '
    "lines at the end are ignored, and a blank line before another returns 400 (`invalid_json`). A body of blanks "
    "returns 422 (`empty_list`), and one of no bytes 400 (`empty_body`).",
}
_RETRY_AFTER: _Json = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds until another try."}}
_HEADERS: dict[int, _Json] = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}}},
    429: _RETRY_AFTER,
    503: {
        "Retry-After": {
            "schema": {"type": "integer"},
            "description": "Seconds until another try; absent with `draining` and `timed_out`.",
        }
    },
}
_INVOCATION_RESPONSES = (
    "Ranking", "Rankings", "Prediction", "Predictions", "ExplainedRanking", "ExplainedRankings", "Clarify",
    *RESPONSES,
)  # fmt: skip
_GETS_WITH_KEY = ("/metrics", "/drift.json", "/evaluation")
_BODY_ERRORS = (
    ErrorCode.EMPTY_BODY, ErrorCode.INCOMPLETE_BODY, ErrorCode.INVALID_GZIP, ErrorCode.INVALID_UTF8,
    ErrorCode.INVALID_JSON, ErrorCode.BAD_REQUEST, ErrorCode.REQUEST_TIMEOUT, ErrorCode.BODY_TOO_LARGE,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE, ErrorCode.UNSUPPORTED_ENCODING,
    ErrorCode.WRONG_SHAPE, ErrorCode.DUPLICATE_KEY, ErrorCode.TEXT_TOO_LONG, ErrorCode.INVALID_TEXT,
    ErrorCode.TOO_MANY_REQUESTS, ErrorCode.NOT_READY, ErrorCode.INTERNAL_ERROR,
)  # fmt: skip
_PREDICT_ERRORS = (*_BODY_ERRORS, ErrorCode.TOO_MUCH_WORK, ErrorCode.RULE_FAILED)
_LIST_ERRORS = (ErrorCode.EMPTY_LIST, ErrorCode.TOO_MANY_TEXTS)
_STORAGE_ERRORS = (ErrorCode.QUOTA_EXCEEDED, ErrorCode.DISK_FULL, ErrorCode.STORAGE_UNAVAILABLE)
# Errors with status 503 that nginx may return for any path.
_NGINX_503 = (
    f"- `timed_out`: {ErrorCode.TIMED_OUT.meaning}",
    "- `worker_lost`: From nginx: the worker ended during the request.",
)


def openapi_document(settings: Settings, class_names: Sequence[str] | None = None) -> _Json:
    """Return the document; `class_names` is None if no model is loaded yet."""
    info = {JSON: _ref("Info")}
    busy = ErrorCode.TOO_MANY_REQUESTS
    not_ready = (ErrorCode.NOT_READY, ErrorCode.DRAINING)
    document: _Json = {
        "openapi": "3.1.0",
        "info": {
            "title": "Text classification",
            "version": "1",
            "description": "Scores texts with a fine-tuned BERT encoder. A response has the format of its request. "
            "`Accept: text/csv; probabilities=all; unsure=true` chooses the columns of CSV; otherwise Accept is "
            "ignored. Bodies are UTF-8 and may be compressed with gzip. Every response has the header "
            "X-Request-Id: the request's own if it has at most 128 letters, digits, dots, colons, _ and -, else a new "
            "one. Texts of a request with `X-Prediction-Log: off` are not logged for drift monitoring. "
            "Errors from nginx also have the form of Error, with their own codes for 414 (`uri_too_long`), 431 "
            "(`headers_too_large`) and 503 (`timed_out`, `worker_lost`).",
        },
        **({"servers": [{"url": settings.root_path}]} if settings.root_path else {}),
        "paths": {
            "/predict": {"post": _predict(settings)},
            "/explain": {"post": _explain(settings, class_names)},
            "/invocations": {"post": _invocations(settings)},
            "/invocations/predict": {"post": _score(settings)},
            "/feedback": {"post": _feedback(settings, class_names)},
            **review_paths(_review_text(settings), _label(class_names), _BODY_ERRORS, _STORAGE_ERRORS, _post),
            "/ping": {"get": _get("Check that the model is ready.", _status(), *not_ready)},
            "/health/live": {"get": _get("Check that the process responds.", _status())},
            "/health/ready": {"get": _get("Same as /ping.", _status(), *not_ready)},
            "/health_check": {"get": _get("Same as /ping.", _status(), *not_ready)},
            "/info": {"get": _get("Return the served model and the limits.", info, ErrorCode.NOT_READY, busy)},
            "/metrics": {"get": _get("Return metrics for Prometheus.", {METRICS_TYPE: {"type": "string"}}, busy)},
            **execution_parameters_path(_get),
            **store_paths(_get),
            **protocol_paths(settings.model_name, _get, _infer(settings)),
            "/openapi.json": {"get": _get("Return this document.", {JSON: {"type": "object"}}, busy)},
        },
        "components": {"schemas": _schemas(settings, class_names)},
    }
    if settings.api_key:
        _require_key(document)
    return document


def _predict(settings: Settings) -> _Json:
    return _post(
        "Score a text, or a list of texts.",
        {JSON: {"oneOf": [_text_body(settings), _list_body(settings)]}},
        {JSON: {"oneOf": [_ref("Prediction"), _ref("Predictions")]}},
        (*_PREDICT_ERRORS, *_LIST_ERRORS),
    )


def _invocations(settings: Settings) -> _Json:
    text = _text(settings)
    data = _object(
        {"data": {"oneOf": [text, _texts(settings)]}, "explain": {"type": "boolean", "default": False}}, ["data"]
    )
    operation = _post(
        'Score texts in the formats of SageMaker. {"data": …} returns all labels, best first: {"prediction": […]} for '
        "a text, a list of such objects for a list of texts. With `explain` each object has an explanation too.",
        {
            JSON: {
                "oneOf": [
                    data,
                    _text_body(settings),
                    _list_body(settings),
                    *other_bodies(text, _texts(settings), settings.max_batch),
                ]
            },
            CSV: _CSV_BODY,
            **dict.fromkeys((JSON_LINES, *OTHER_JSON_LINES), _LINES_BODY),
        },
        {
            JSON: {"oneOf": list(map(_ref, _INVOCATION_RESPONSES))},
            f"{CSV}; charset=utf-8": {
                "type": "string",
                "description": "A record of label and score for each text. With `Accept: text/csv; "
                "probabilities=all` it has the probabilities of all classes, in the order of /info. With `unsure=true` "
                "one more field is true for an unsure prediction, else false. With `explain` one more field has the "
                "explanation as JSON. In a batch transform job the last field has the error, or nothing.",
            },
            JSON_LINES: {
                "type": "string",
                "description": "A Prediction in each line, also for a line with `data`, after the other fields of the "
                "line. A field that a Prediction has, too, gets `input_` in front. In a batch transform job a bad line "
                f"gets an Error. With `explain` there are the fields {', '.join(EXPLAINED_FIELDS)} too.",
            },
        },
        (*_PREDICT_ERRORS, *_LIST_ERRORS, ErrorCode.INVALID_CSV, ErrorCode.EXPLAIN_UNAVAILABLE),
    )
    content = operation["requestBody"]["content"]
    content[CSV]["example"] = 'A fine film.\r\n"Long, and dull."\r\n'
    content[JSON_LINES]["example"] = '{"id":1,"text":"A fine film."}\n{"data":"Long, and dull."}\n'
    operation["parameters"] = [CUSTOM_ATTRIBUTES]
    operation["responses"]["200"]["headers"] = CUSTOM_ATTRIBUTES_RESPONSE
    return operation


def _infer(settings: Settings) -> _Json:
    return _post(
        "Score texts in the form of the Open Inference Protocol.",
        {JSON: infer_body(_text(settings), settings.max_batch)},
        {JSON: _ref("InferResponse")},
        (*_PREDICT_ERRORS, *_LIST_ERRORS, ErrorCode.NOT_FOUND),
    )


def _explain(settings: Settings, class_names: Sequence[str] | None) -> _Json:
    options = explain_options(settings, class_names)
    text = _object({"text": _text(settings), **options}, ["text"])
    texts = _object({"X": _texts(settings), **options}, ["X"])
    return _post(
        "Explain the prediction of a text, or of each text of a list: the values of its words for each class. The "
        f"texts have at most {settings.max_text_chars} characters together.",
        {JSON: {"oneOf": [text, texts]}},
        {JSON: {"oneOf": [_ref("Explanation"), _ref("Explanations"), _ref("Clarify")]}},
        (*_PREDICT_ERRORS, *_LIST_ERRORS, ErrorCode.UNKNOWN_LABEL, ErrorCode.EXPLAIN_UNAVAILABLE),
    )


def _score(settings: Settings) -> _Json:
    scored = _object({"text": {"type": "string"}, "score": _PROBABILITY, **_MARKS}, ["text", "score"])
    summary = "Score a text; the response has the same score as /predict."
    return _post(summary, {JSON: _text_body(settings)}, {JSON: scored}, _PREDICT_ERRORS)


def _label(class_names: Sequence[str] | None) -> _Json:
    return {
        "type": "string",
        "description": f"A class of the model, or {OTHER_LABEL} if the model does not have the true class.",
        **({} if class_names is None else {"enum": [*class_names, OTHER_LABEL]}),
    }


def _feedback(settings: Settings, class_names: Sequence[str] | None) -> _Json:
    label = _label(class_names)
    source = {"type": ["string", "null"], "maxLength": MAX_SOURCE_CHARS, "description": "Sender of the label."}
    audit = {
        "type": "boolean",
        "default": False,
        "description": "Whether the text was drawn at random to be labelled, so that it measures accuracy. A server "
        "that logs texts accepts true only if it has an API key; /review needs none for its own draws.",
    }
    text = _review_text(settings)
    review = _object({"text": text, "label": label, "source": source, "audit": audit}, ["text", "label"])
    stored = _object({"id": {"type": "string"}, "label": {"type": "string"}}, ["id", "label"])
    return _post(
        "Store a labelled review; the response is sent when it is on disk.",
        {JSON: review},
        {JSON: stored},
        (*_BODY_ERRORS, ErrorCode.BLANK_TEXT, ErrorCode.UNKNOWN_LABEL, ErrorCode.UNAUTHORIZED, *_STORAGE_ERRORS),
        status=201,
    )


def _review_text(settings: Settings) -> _Json:
    return {**_text(settings), "minLength": 1, "pattern": r"\S"}


def _schemas(settings: Settings, class_names: Sequence[str] | None) -> _Json:
    label: _Json = (
        {"type": "string"}
        if class_names is None
        else {
            "type": "string",
            "enum": list(class_names if UNSURE in class_names or not settings.rules else (*class_names, UNSURE)),
        }
    )
    probabilities: _Json = {"type": "object", "additionalProperties": _PROBABILITY}
    prediction = {
        "text": {"type": "string"},
        "label": label,
        "score": {**_PROBABILITY, "description": "Probability of the second class for two classes, else of the label."},
        "probabilities": probabilities,
        "truncated": _TRUNCATED,
        "stage": _STAGE,
        "model": _MODEL,
        **_MARKS,
    }
    predictions = {
        "predictions": _list(label),
        "prediction_probs": {**_list(_PROBABILITY), "description": "Probability of each predicted label."},
        "probabilities": _list(probabilities),
        "truncated": _list(_TRUNCATED),
        "stage": {
            **_list({**_STAGE, "enum": [*_STAGE["enum"], None]}),
            "description": "Stage of each prediction; null for the model's predictions without a cascade.",
        },
        "model": _MODEL,
        "empty": {**_list({"type": "boolean"}), "description": "Present if a text of the list has no wordpieces."},
        "unusual": {**_list({"type": "boolean"}), "description": "Present if a text of the list is unusual."},
        "unusual_reason": {
            **_list({"enum": [*REASONS, None]}),
            "description": "Present next to `unusual`; null for a text that is not unusual.",
        },
        "unsure": {**_list({"type": "boolean"}), "description": "Present if a prediction of the list is unsure."},
        "rules": {**_list(_list({"type": "string"})), "description": "Present if a rule changed a text of the list."},
    }
    ranking = _list(_object({"label": label, "score": _PROBABILITY}, ["label", "score"]))
    error = _object({"code": {"type": "string"}, "message": {"type": "string"}}, ["code", "message"])
    return {
        "Prediction": _object(prediction, _always_present(prediction)),
        "Predictions": _object(predictions, _always_present(predictions)),
        "Ranking": _object({"prediction": ranking, **_MARKS}, ["prediction"]),
        "Rankings": {**_list(_ref("Ranking")), "minItems": 1},
        **explanation_schemas(label, _MARKS, ranking, _MODEL),
        **other_schemas(label, probabilities, _MARKS),
        **protocol_schemas(label),
        "StoreReport": store_report_schema(),
        "Info": info_schema(_MODEL),
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


def _always_present(properties: _Json) -> list[str]:
    return [name for name in properties if name not in ("stage", *_MARKS)]


def _status() -> _Json:
    return {JSON: _object({"status": {"const": "ok"}}, ["status"])}


def _post(summary: str, accepts: _Json, returns: _Json, codes: Iterable[ErrorCode], status: int = 200) -> _Json:
    return {
        "description": summary,
        "requestBody": {"required": True, "content": _content(accepts)},
        "responses": {str(status): {"description": "Success.", "content": _content(returns)}, **_errors(codes)},
    }


def _get(summary: str, returns: _Json, *codes: ErrorCode) -> _Json:
    errors = _errors((*codes, ErrorCode.INTERNAL_ERROR))
    success = {"description": "Success.", "content": _content(returns)}
    return {"description": summary, "responses": {"200": success, **errors}}


def _content(schemas: _Json) -> _Json:
    return {media_type: {"schema": schema} for media_type, schema in schemas.items()}


def _errors(codes: Iterable[ErrorCode]) -> _Json:
    """Return one response per status, with a list of its codes."""
    by_status: dict[int, list[str]] = {}
    for code in codes:
        by_status.setdefault(code.status, []).append(f"- `{code.public_name}`: {code.meaning}")
    by_status.setdefault(503, []).extend(_NGINX_503)
    return {
        str(status): {
            "description": "\n".join(lines),
            "content": _content({JSON: _ref("Error")}),
            **({"headers": _HEADERS[status]} if status in _HEADERS else {}),
        }
        for status, lines in sorted(by_status.items())
    }


def _require_key(document: _Json) -> None:
    document["components"]["securitySchemes"] = {
        "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        "bearer": {"type": "http", "scheme": "bearer"},
    }
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if method == "post" or path in _GETS_WITH_KEY:
                operation["security"] = [{"key": []}, {"bearer": []}]
                operation["responses"]["401"] = _errors([ErrorCode.UNAUTHORIZED])["401"]
