"""GET /info and its schema: the model that is served, where it comes from, and the limits."""

from dataclasses import asdict
from typing import Any

from serving.schemas import PROBABILITY, Json, list_schema, object_schema
from serving.settings import Settings
from serving.source.origin import Origin
from textclf.runtime.predictor import Predictor

_LIMITS = (
    "max_text_chars",
    "max_batch",
    "max_body_bytes",
    "max_concurrent",
    "max_request_wordpieces",
    "max_worker_wordpieces",
    "explain_max_evaluations",
)


def info_of(predictor: Predictor, settings: Settings, origin: Origin | None, *, can_explain: bool) -> dict[str, Any]:
    """Return the body of the response.

    Args:
        origin: archive or model of the Hub that was fetched; None for a folder.
        can_explain: whether the server explains the predictions of this model.
    """
    cascade = predictor.cascade
    return {
        "model": predictor.full_name,
        "name": predictor.name,
        "version": predictor.version_id,
        "class_names": predictor.class_names,
        "max_length": predictor.max_wordpieces,
        "threshold": predictor.threshold,
        "explain": can_explain,
        "api_key": bool(settings.api_key),
        "cascade": None if cascade is None else {"exit_confidence": cascade.settings.exit_confidence},
        "rules": None if predictor.rules is None else {"sha256": predictor.rules.sha256},
        "source": None if origin is None else asdict(origin),
        "limits": {name: getattr(settings, name) for name in _LIMITS},
    }


def info_schema(model: Json) -> Json:
    """Return the schema of the body; `model` is that of the model's full name."""
    text: Json = {"type": "string"}
    source = {
        "location": {**text, "description": "Path, address without user, password and query, or name in the Hub."},
        "sha256": {**text, "description": "Hash of the archive, or of the weights."},
        "etag": {"type": ["string", "null"], "description": "ETag of an S3 object."},
        "commit": {"type": ["string", "null"], "description": "Commit of a model of the Hub."},
        "tokenizer": {"type": ["string", "null"], "description": "Another model of the Hub, with the tokenizer."},
        "tokenizer_commit": {"type": ["string", "null"], "description": "Commit of the model with the tokenizer."},
    }
    properties = {
        "model": model,
        "name": text,
        "version": text,
        "class_names": list_schema(text),
        "max_length": {
            "type": ["integer", "null"],
            "description": "Maximum wordpieces of a text that the encoder reads, in all its windows together, with "
            "[CLS] and [SEP]; null if unknown.",
        },
        "threshold": PROBABILITY,
        "api_key": {"type": "boolean", "description": "Whether POST requests need the key."},
        "explain": {"type": "boolean", "description": "Whether the server explains the predictions of this model."},
        "cascade": {
            **object_schema({"exit_confidence": {**PROBABILITY, "type": ["number", "null"]}}, ["exit_confidence"]),
            "type": ["object", "null"],
            "description": "Minimum confidence at which the linear stage predicts alone (null: it never does); null "
            "if the encoder predicts all texts.",
        },
        "rules": {
            **object_schema({"sha256": text}, ["sha256"]),
            "type": ["object", "null"],
            "description": "Hash of the file of rules; null without RULES.",
        },
        "source": {
            **object_schema(source, source),
            "type": ["object", "null"],
            "description": "Archive or model of the Hub that is served; null for a folder.",
        },
        "limits": object_schema({name: {"type": "integer", "minimum": 0} for name in _LIMITS}, _LIMITS),
    }
    return object_schema(properties, properties)
