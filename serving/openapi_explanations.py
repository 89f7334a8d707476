"""The parts of the OpenAPI document about explanations."""

from collections.abc import Sequence

from serving.api.custom_attributes import HEADER, MAX_CHARS
from serving.api.explain_requests import EXPLAIN_FORMATS, MIN_EVALUATIONS
from serving.schemas import PROBABILITY, RULES, TRUNCATED, Json, list_schema, object_schema, ref
from serving.settings import Settings
from textclf.explain.explanation import UNITS

_NUMBER: Json = {"type": "number"}
_WHOLE: Json = {"type": "integer", "minimum": 0}
_SPANS: Json = list_schema({"type": "array", "items": _WHOLE, "minItems": 2, "maxItems": 2})
_BY_CLASS: Json = {"type": "object", "additionalProperties": _NUMBER}
_UNIT: Json = {
    "enum": list(UNITS),
    "description": "Unit of the values: probability, or calibrated logit with mean 0 over the classes.",
}
_BASELINE: Json = {
    "enum": ["mask", "attention", "deletion", "absence"],
    "description": "How words are taken away; absence at the linear stage.",
}
_EVALUATIONS: Json = {**_WHOLE, "description": "Variants of the text that the encoder read."}
_COMPLETE: Json = {
    "type": "boolean",
    "description": "False if time or evaluations were used up; then some words share the value of their group.",
}
_UNSEEN: Json = {**_SPANS, "description": "Characters [start, end) that the model did not read."}
_WORD_SPANS: Json = {**_SPANS, "description": "Characters [start, end) of each word."}
_MODEL_PROBABILITIES: Json = {
    **_BY_CLASS,
    "description": "Present if a rule decided: probabilities of the model, which the values are about.",
}
_BASE: Json = {**_BY_CLASS, "description": "Value of the text without any word. With the values it sums to the whole."}

# Next to the prediction in /invocations.
EXPLAINED_FIELDS: Json = {
    "explanation": {
        **list_schema({"type": "array", "prefixItems": [{"type": "string"}, _BY_CLASS], "items": False, "minItems": 2}),
        "description": "[piece of the text, {class: value}] in order. The pieces join to the text; the first and the "
        "last stand for [CLS] and [SEP] and have the value 0.",
        "minItems": 2,
    },
    "explanation_base": _BASE,
    "explanation_unit": _UNIT,
    "explanation_spans": {**_SPANS, "description": "Characters [start, end) of each word, one for each piece between."},
    "explanation_evaluations": _EVALUATIONS,
    "explanation_complete": _COMPLETE,
    "explanation_stage": {
        "enum": ["linear", "encoder", "rule"],
        "description": "Stage that is explained, with a cascade; rule if a rule decided instead of the model.",
    },
    "explanation_baseline": _BASELINE,
    "explanation_unseen": _UNSEEN,
    "rules": RULES,
    "model_probabilities": _MODEL_PROBABILITIES,
}
_OPTIONAL = ("stage", "explanation_stage", "model_probabilities")
CUSTOM_ATTRIBUTES: Json = {
    "name": HEADER,
    "in": "header",
    "schema": {"type": "string", "maxLength": MAX_CHARS, "pattern": "^[ -~]*$"},
    "description": "`name=value` items between commas. `explain=true` asks for explanations in CSV, JSON lines and "
    "`data`; `explain=clarify` asks for the shape of SageMaker Clarify. `trace=…` comes back in the same header of the "
    "response. Others are ignored.",
}
CUSTOM_ATTRIBUTES_RESPONSE: Json = {
    HEADER: {"schema": {"type": "string"}, "description": "The item `trace=…` of the request; absent without one."}
}


def explain_options(settings: Settings, class_names: Sequence[str] | None) -> Json:
    """Return the properties of a request to /explain, next to its texts."""
    label: Json = {"type": "string"} if class_names is None else {"enum": list(class_names)}
    return {
        "classes": {
            **list_schema(label),
            "minItems": 1,
            "uniqueItems": True,
            "description": "Classes to explain; all by default.",
        },
        "unit": {**_UNIT, "default": UNITS[0]},
        "max_evaluations": {
            "type": "integer",
            "minimum": MIN_EVALUATIONS,
            "maximum": settings.explain_max_evaluations,
            "description": "Maximum number of evaluations of the encoder for each text.",
        },
        "format": {
            "enum": list(EXPLAIN_FORMATS),
            "default": EXPLAIN_FORMATS[0],
            "description": "Shape of the response; clarify is that of SageMaker Clarify.",
        },
    }


def explanation_schemas(label: Json, marks: Json, ranking: Json, model: Json) -> Json:
    """Return the schemas of the responses; the arguments are schemas that other responses share."""
    explanation = {
        "text": {"type": "string"},
        "label": label,
        "probabilities": {"type": "object", "additionalProperties": PROBABILITY},
        "words": list_schema({"type": "string"}),
        "spans": _WORD_SPANS,
        "values": {
            "type": "object",
            "additionalProperties": list_schema(_NUMBER),
            "description": "For each class a value of each word.",
        },
        "base_values": _BASE,
        "unit": _UNIT,
        "stage": EXPLAINED_FIELDS["explanation_stage"],
        "baseline": _BASELINE,
        "evaluations": _EVALUATIONS,
        "complete": _COMPLETE,
        "unseen": _UNSEEN,
        "truncated": TRUNCATED,
        "model_probabilities": _MODEL_PROBABILITIES,
        **marks,
    }
    always = [name for name in explanation if name not in (*_OPTIONAL, *marks)]
    explained = {"prediction": ranking, **EXPLAINED_FIELDS, "truncated": TRUNCATED, **marks}
    attribution = object_schema(
        {
            "attribution": {**list_schema(_NUMBER), "description": "A value for each of the label headers."},
            "description": object_schema(
                {"partial_text": {"type": "string"}, "start_idx": _WHOLE}, ["partial_text", "start_idx"]
            ),
        },
        ["attribution", "description"],
    )
    feature = object_schema(
        {"feature_type": {"const": "text"}, "attributions": list_schema(attribution)}, ["feature_type", "attributions"]
    )
    predictions = object_schema(
        {"content_type": {"type": "string"}, "data": {"type": "string"}}, ["content_type", "data"]
    )
    clarify = {
        "version": {"const": "1.0"},
        "predictions": predictions,
        "label_headers": list_schema({"type": "string"}),
        "explanations": object_schema({"kernel_shap": list_schema(list_schema(feature))}, ["kernel_shap"]),
    }
    return {
        "Explanation": object_schema({**explanation, "model": model}, [*always, "model"]),
        "Explanations": object_schema(
            {"explanations": {**list_schema(object_schema(explanation, always)), "minItems": 1}, "model": model},
            ["explanations", "model"],
        ),
        "ExplainedRanking": object_schema(explained, [name for name in explained if name not in (*_OPTIONAL, *marks)]),
        "ExplainedRankings": {**list_schema(ref("ExplainedRanking")), "minItems": 1},
        "Clarify": {
            **object_schema(clarify, clarify),
            "description": "The shape of SageMaker Clarify's online explanations.",
        },
    }
