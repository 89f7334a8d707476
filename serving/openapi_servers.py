"""The parts of the OpenAPI document about bodies of other servers' clients, and about batch transform jobs."""

from collections.abc import Callable

from serving.api.request_body import JSON
from serving.hosting import MULTI_RECORD, SINGLE_RECORD
from serving.schemas import PROBABILITY, TRUNCATED, Json, list_schema, object_schema

RESPONSES = ("LabelScores", "InstancePredictions")
_STRING: Json = {"type": "string"}
_POSITIVE: Json = {"type": "integer", "minimum": 1}


def other_bodies(text: Json, texts: Json, max_texts: int) -> list[Json]:
    """Return the schemas of the bodies; `text` and `texts` are those of a text and of a list of texts."""
    parameters = object_schema(
        {
            "top_k": {"type": ["integer", "null"], "minimum": 1, "description": "Number of labels; null for all."},
            "return_all_scores": {"type": "boolean", "description": "All labels in the order of the classes."},
            "truncation": {"const": True},
        },
        (),
    )
    count = {"minItems": 1, "maxItems": max_texts}
    instances = {**list_schema({"oneOf": [text, object_schema({"text": text}, ["text"])]}), **count}
    columns = {
        "type": "array",
        "contains": {"const": "text"},
        "maxContains": 1,
        "description": "One is `text`; others are ignored.",
    }
    row = {**list_schema({}), "minItems": 1, "description": "One value per column; that of `text` is a string."}
    split = object_schema(
        {"columns": columns, "data": {**list_schema(row), **count}, "index": list_schema({})}, ["columns", "data"]
    )
    record = {"type": "object", "properties": {"text": text}, "required": ["text"]}
    records = {**list_schema(record), **count}
    return [
        object_schema({"inputs": {"oneOf": [text, texts]}, "parameters": parameters}, ["inputs"]),
        object_schema({"instances": instances, "signature_name": _STRING}, ["instances"]),
        object_schema({"dataframe_split": split}, ["dataframe_split"]),
        object_schema({"dataframe_records": records}, ["dataframe_records"]),
    ]


def other_schemas(label: Json, probabilities: Json, marks: Json) -> Json:
    """Return the schemas of the responses; `marks` are the fields of unusual texts."""
    best = {"label": label, "score": {**PROBABILITY, "description": "Probability of the label."}}
    scores = object_schema(best, best)
    fields = {**best, "probabilities": probabilities, "truncated": TRUNCATED, **marks}
    instance = object_schema(fields, [name for name in fields if name not in marks])
    return {
        "LabelScores": {
            **list_schema({"oneOf": [scores, list_schema(scores)]}),
            "description": "Response to `inputs`: the label of each text. With `top_k` the labels of the text, best "
            "first, or a list of them for each text of a list.",
        },
        "InstancePredictions": {
            **object_schema({"predictions": list_schema(instance)}, ["predictions"]),
            "description": "Response to `instances`, `dataframe_split` and `dataframe_records`.",
        },
    }


def execution_parameters_path(get: Callable[..., Json]) -> Json:
    """Return the path of GET /execution-parameters; `get` makes an operation of a description and a response."""
    parameters = {
        "MaxConcurrentTransforms": _POSITIVE,
        "BatchStrategy": {"enum": [MULTI_RECORD, SINGLE_RECORD]},
        "MaxPayloadInMB": _POSITIVE,
    }
    described = get(
        "Return values for a batch transform job of SageMaker.", {JSON: object_schema(parameters, parameters)}
    )
    return {"/execution-parameters": {"get": described}}
