"""The parts of the OpenAPI document about the model store: /drift.json and /evaluation."""

from collections.abc import Callable

from serving.api.errors import ErrorCode
from serving.api.request_body import JSON
from serving.schemas import Json, list_schema, object_schema
from serving.store_report import METRICS
from serving.store_views import HTML
from textclf.drift.state import VERDICTS

# Samples of a drift check.
_SAMPLES = ("reference", "latest")
_STRING: Json = {"type": "string"}
_NAME: Json = {"type": ["string", "null"]}
_NUMBER: Json = {"type": ["number", "null"]}
_WHOLE: Json = {"type": "integer", "minimum": 0}
_FLAG: Json = {"type": "boolean"}
_MOMENT: Json = {"type": "number", "description": "Seconds since the epoch."}


def store_paths(get: Callable[..., Json]) -> Json:
    """Return the paths; `get` makes an operation of a description, a response and error codes."""
    busy = ErrorCode.TOO_MANY_REQUESTS
    drift = get(
        "Return the versions of the model store and the last drift check, for the page /drift.",
        {JSON: {"$ref": "#/components/schemas/StoreReport"}},
        busy,
    )
    evaluation = get("Return the evaluation page of a version.", {HTML: _STRING}, ErrorCode.NOT_FOUND, busy)
    evaluation["parameters"] = [
        {"name": "version", "in": "query", "required": True, "schema": _STRING, "description": "Id of the version."},
        {"name": "until", "in": "query", "schema": _STRING, "description": "End of a link that /drift.json contains."},
        {"name": "ticket", "in": "query", "schema": _STRING, "description": "Key of such a link, for an hour."},
    ]
    return {"/drift.json": {"get": drift}, "/evaluation": {"get": evaluation}}


def store_report_schema() -> Json:
    """Return the schema of the response of /drift.json."""
    version = {
        "id": _STRING,
        "name": _STRING,
        "created": {"type": "string", "description": "Time, ISO 8601."},
        "parent": _NAME,
        "current": _FLAG,
        "since": {**_NAME, "description": "Time at which it last became current; null if it never was."},
        "metrics": {"type": "object", "additionalProperties": object_schema(dict.fromkeys(METRICS, _NUMBER), METRICS)},
        "evaluation": {"type": "string", "description": "Path of its evaluation page; with API_KEY for an hour."},
    }
    family = {
        "family": _STRING,
        "title": _STRING,
        "effect": _NUMBER,
        "minimum": {**_NUMBER, "description": "Effect that an alarm needs."},
        "p": {**_NUMBER, "description": "p-value after Holm's correction."},
        "alarm": _FLAG,
    }
    check = {
        "time": _MOMENT,
        "version": _STRING,
        "verdict": {"enum": list(VERDICTS)},
        "sentence": _STRING,
        "texts": _WHOLE,
        "families": list_schema(object_schema(family, family)),
        "unsure": _or_null(
            object_schema(dict.fromkeys(_SAMPLES, _NUMBER), _SAMPLES),
            "Shares of unsure predictions; null without thresholds.",
        ),
    }
    window = {"since": _MOMENT, "until": _MOMENT, "version": _STRING, "verdict": _STRING, "texts": _WHOLE}
    retraining = {"time": _MOMENT, "outcome": _STRING}
    report = {
        "store": {"type": "boolean", "description": "Whether MODEL_PATH is a model store."},
        "served": {**_NAME, "description": "Version that the worker serves."},
        "current": {**_NAME, "description": "Current version of the store."},
        "problems": {**list_schema(_STRING), "description": "Sentences about files that can't be read."},
        "versions": {**list_schema(object_schema(version, version)), "description": "Newest first."},
        "check": _or_null(object_schema(check, check), "Last drift check; null before the first."),
        "windows": {**list_schema(object_schema(window, window)), "description": "Newest first."},
        "failed_runs": _WHOLE,
        "retraining": _or_null(object_schema(retraining, retraining), "Last retraining that monitoring started."),
    }
    return object_schema(report, report)


def _or_null(schema: Json, description: str) -> Json:
    return {**schema, "type": ["object", "null"], "description": description}
