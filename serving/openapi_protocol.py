"""The parts of the OpenAPI document about the Open Inference Protocol."""

import copy
from collections.abc import Callable

from serving.api.errors import ErrorCode
from serving.api.headers import INFERENCE_HEADER_LENGTH
from serving.api.inference_protocol import BYTES, EXTENSIONS, INPUT, OUTPUTS, UNSUPPORTED
from serving.api.request_body import BINARY, JSON
from serving.protocol_views import MODEL, ROOT, SERVER_NAME, VERSION
from serving.schemas import PROBABILITY, Json, list_schema, object_schema, ref

_NOT_FOUND = ErrorCode.NOT_FOUND
_STRING: Json = {"type": "string"}
_SIZE: Json = {"type": "integer", "minimum": 0}
_BINARY_BODY: Json = {
    "schema": {"type": "string", "contentMediaType": BINARY},
}
_LENGTH_MEANING = "Size of the JSON in bytes; the binary data of the tensors follows."


def protocol_paths(model_name: str, get: Callable[..., Json], infer: Json) -> Json:
    """Return the paths.

    Args:
        model_name: name of the model in paths.
        get: makes an operation of a description, a response and error codes.
        infer: operation of a request for predictions.
    """
    not_ready = (ErrorCode.NOT_READY, ErrorCode.DRAINING)
    live = object_schema({"live": {"const": True}}, ["live"])
    ready = object_schema({"live": {"const": True}, "ready": {"const": True}}, ["live", "ready"])
    model_ready = object_schema({"name": {"const": model_name}, "ready": {"const": True}}, ["name", "ready"])
    paths: Json = {
        ROOT: {"get": get("Return the server's name, version and extensions.", {JSON: ref("ServerMetadata")})},
        f"{ROOT}/health/live": {"get": get("Check that the process responds.", {JSON: live})},
        f"{ROOT}/health/ready": {"get": get("Check that the model is ready.", {JSON: ready}, *not_ready)},
    }
    for rule, parameters in ((MODEL, [_model(model_name)]), (VERSION, [_model(model_name), _version()])):
        operations = {
            "": ("get", get("Return the model's tensors.", {JSON: ref("ModelMetadata")}, _NOT_FOUND, not_ready[0])),
            "/ready": ("get", get("Check that the model is ready.", {JSON: model_ready}, _NOT_FOUND, *not_ready)),
            "/infer": ("post", _with_binary_data(copy.deepcopy(infer))),
        }
        for suffix, (method, operation) in operations.items():
            operation["parameters"] = [*operation.get("parameters", []), *parameters]
            paths[rule.replace("<", "{").replace(">", "}") + suffix] = {method: operation}
    for operations in paths.values():
        for operation in operations.values():
            _use_protocol_errors(operation)
    return paths


def infer_body(text: Json, max_texts: int) -> Json:
    """Return the schema of a request for predictions; `text` is that of a text."""
    reserved = dict.fromkeys(UNSUPPORTED, False)
    parameters: Json = {"type": "object", "properties": reserved, "description": "Other parameters are ignored."}
    of_input = {**parameters, "properties": {**reserved, "binary_data_size": False}}
    of_output = {**parameters, "properties": {**reserved, "binary_data": {"type": "boolean"}}}
    of_request = {**parameters, "properties": {**reserved, "binary_data_output": {"type": "boolean"}}}
    tensor = {
        "name": {"const": INPUT},
        "datatype": {"const": BYTES},
        "shape": {
            "type": "array",
            "prefixItems": [{"type": "integer", "minimum": 1, "maximum": max_texts}, {"const": 1}],
            "minItems": 1,
            "maxItems": 2,
            "description": "The number of texts, or [n, 1].",
        },
        "parameters": of_input,
        "data": {
            **list_schema(text),
            "minItems": 1,
            "maxItems": max_texts,
            "description": "As many texts as in shape.",
        },
    }
    output = object_schema({"name": {"enum": list(OUTPUTS)}, "parameters": of_output}, ["name"])
    properties = {
        "id": _STRING,
        "parameters": of_request,
        "inputs": {
            **list_schema(object_schema(tensor, ["name", "datatype", "shape", "data"])), "minItems": 1, "maxItems": 1
        },
        "outputs": {**list_schema(output), "description": "Tensors to return, each once; none stands for all."},
    }  # fmt: skip
    return object_schema(properties, ["inputs"])


def protocol_schemas(label: Json) -> Json:
    """Return the schemas of the responses; `label` is that of a label."""
    tensor = object_schema(
        {"name": _STRING, "datatype": _STRING, "shape": list_schema({"type": "integer"})}, ["name", "datatype", "shape"]
    )
    values: Json = {
        "anyOf": [list_schema(label), list_schema(PROBABILITY), list_schema({"type": "boolean"})],
        "description": "Values in row-major order; absent if the tensor is binary.",
    }
    output = {
        "name": {"enum": list(OUTPUTS)},
        "datatype": {"enum": sorted({output.datatype for output in OUTPUTS.values()})},
        "shape": list_schema(_SIZE),
        "parameters": object_schema({"binary_data_size": _SIZE}, ["binary_data_size"]),
        "data": values,
    }
    response = {
        "model_name": _STRING,
        "model_version": {**_STRING, "description": "Absent for a model without versions."},
        "id": {**_STRING, "description": "That of the request, if it has one."},
        "outputs": list_schema(object_schema(output, ["name", "datatype", "shape"])),
    }
    server = {"name": {"const": SERVER_NAME}, "version": _STRING, "extensions": list_schema({"enum": list(EXTENSIONS)})}
    model = {
        "name": _STRING,
        "versions": {**list_schema(_STRING), "description": "The served version; none for a model without versions."},
        "platform": _STRING,
        "inputs": list_schema(tensor),
        "outputs": list_schema(tensor),
    }
    return {
        "ServerMetadata": object_schema(server, server),
        "ModelMetadata": object_schema(model, model),
        "InferResponse": object_schema(response, ["model_name", "outputs"]),
        "ProtocolError": object_schema({"error": _STRING}, ["error"]),
    }


def _model(name: str) -> Json:
    schema = {"const": name}
    return {"name": "model", "in": "path", "required": True, "schema": schema, "description": "MODEL_NAME."}


def _version() -> Json:
    return {
        "name": "version", "in": "path", "required": True, "schema": _STRING, "description": "Version that is served."
    }  # fmt: skip


def _with_binary_data(infer: Json) -> Json:
    """Add the extension for binary tensors, whose bodies are no JSON."""
    infer["requestBody"]["content"][BINARY] = _BINARY_BODY
    infer["responses"]["200"]["content"][BINARY] = _BINARY_BODY
    length = {"schema": _SIZE, "description": _LENGTH_MEANING}
    infer["responses"]["200"]["headers"] = {INFERENCE_HEADER_LENGTH: length}
    infer["parameters"] = [{"name": INFERENCE_HEADER_LENGTH, "in": "header", **length}]
    return infer


def _use_protocol_errors(operation: Json) -> None:
    for status, response in operation["responses"].items():
        if status != "200":
            response["content"] = {JSON: {"schema": ref("ProtocolError")}}
