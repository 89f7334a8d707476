"""Pieces of JSON schemas that the parts of the OpenAPI document share."""

from collections.abc import Iterable
from typing import Any

Json = dict[str, Any]

PROBABILITY: Json = {"type": "number", "minimum": 0, "maximum": 1}
TRUNCATED: Json = {
    "type": ["boolean", "null"],
    "description": "Whether the model read only a part of the text; null if unknown.",
}
RULES: Json = {
    "type": "array",
    "items": {"type": "string"},
    "minItems": 1,
    "description": "Present if rules of the operator rewrote the text or decided its label: their names.",
}


def object_schema(properties: Json, required: Iterable[str]) -> Json:
    """Return the schema of an object with these properties and no others."""
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def list_schema(items: Json) -> Json:
    """Return the schema of a list."""
    return {"type": "array", "items": items}


def ref(name: str) -> Json:
    """Return a reference to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}
