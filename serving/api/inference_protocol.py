"""Requests and responses of the Open Inference Protocol, version 2, for REST.

The specification is https://github.com/kserve/open-inference-protocol. The input is the tensor `text`: BYTES, [n] or
[n, 1]. OUTPUTS are the tensors of a response. A tensor is JSON, or binary by the extension `binary_tensor_data`. With
it, a body is a JSON object of as many bytes as the header Inference-Header-Content-Length tells, and then the data of
the binary tensors in their order. A binary element of BYTES is its length (4 bytes, little endian) and the bytes.
"""

import itertools
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from serving.api.errors import ApiError, ErrorCode
from serving.api.request_body import decoded
from serving.api.requests import (
    Limits,
    as_object,
    check_count,
    check_item,
    check_text,
    json_name,
    object_of,
    refuse_unknown,
    value_of,
)
from serving.api.responses import json_body

if TYPE_CHECKING:
    from textclf.runtime.prediction import Prediction
    from textclf.runtime.predictor import Predictor

EXTENSIONS = ("binary_tensor_data",)
INPUT = "text"
BYTES, FP32, BOOL = "BYTES", "FP32", "BOOL"
# Parameters that would change what a response contains; other ones that are not known are ignored.
UNSUPPORTED = ("classification", "shared_memory_region")
_DATA_SIZE, _BINARY, _ALL_BINARY = "binary_data_size", "binary_data", "binary_data_output"
_LENGTH = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class OutputTensor:
    """A tensor of every response.

    Attributes:
        datatype: BYTES, FP32 or BOOL.
        values: makes its values for the predictions, in row-major order.
        is_by_class: whether its shape is [n, classes]; otherwise it is [n].
    """

    datatype: str
    values: Callable[[Sequence["Prediction"]], list[Any]]
    is_by_class: bool = False


OUTPUTS: Mapping[str, OutputTensor] = {
    "label": OutputTensor(BYTES, lambda found: [item.label for item in found]),
    "score": OutputTensor(FP32, lambda found: [item.score for item in found]),
    "probabilities": OutputTensor(
        FP32, lambda found: [value for item in found for value in item.probabilities.values()], is_by_class=True
    ),
    "unusual": OutputTensor(BOOL, lambda found: [item.unusual for item in found]),
    "unsure": OutputTensor(BOOL, lambda found: [item.unsure for item in found]),
}


@dataclass(frozen=True, slots=True)
class InferRequest:
    """Texts to score, all within the limits.

    Attributes:
        texts: the texts.
        outputs: names of the tensors to return, and whether each is binary.
        request_id: the client's `id`; None if there is none.
    """

    texts: list[str]
    outputs: Mapping[str, bool]
    request_id: str | None = None


def parse_infer_request(body: bytes, header_length: str | None, limits: Limits) -> InferRequest:
    """Parse the body of a request.

    Args:
        body: JSON, and after it the binary data.
        header_length: value of Inference-Header-Content-Length; None without binary data.

    Raises:
        ApiError: if the body has another form, or its texts exceed the limits.
    """
    size = len(body) if header_length is None else _json_size(header_length, len(body))
    content = object_of(decoded(body[:size]), limits)
    refuse_unknown(content, {"id", "parameters", "inputs", "outputs"})
    request_id = None
    if "id" in content:
        request_id = check_text(value_of(content, "id", str, "a string"), "id", limits)
    return InferRequest(_texts(content, body[size:], limits), _outputs(content), request_id)


def render_infer_response(
    parsed: InferRequest, predictions: Sequence["Prediction"], predictor: "Predictor", model_name: str
) -> tuple[bytes, int | None]:
    """Return the body of the response, and the size of its JSON in bytes; None without binary data."""
    tensors, parts = [], []
    for name, is_binary in parsed.outputs.items():
        output = OUTPUTS[name]
        values = output.values(predictions)
        shape = [len(predictions), len(predictor.class_names)] if output.is_by_class else [len(predictions)]
        tensor: dict[str, Any] = {"name": name, "datatype": output.datatype, "shape": shape}
        if is_binary:
            parts.append(_binary(output.datatype, values))
            tensor["parameters"] = {_DATA_SIZE: len(parts[-1])}
        else:
            tensor["data"] = values
        tensors.append(tensor)
    version = {"model_version": predictor.version_id} if predictor.version_id else {}
    request_id = {} if parsed.request_id is None else {"id": parsed.request_id}
    header = json_body({"model_name": model_name, **version, **request_id, "outputs": tensors})
    return b"".join((header, *parts)), len(header) if parts else None


def model_metadata(model_name: str, predictor: "Predictor") -> dict[str, Any]:
    """Return the response to a request for the metadata of the model; -1 is any size."""
    classes = len(predictor.class_names)
    outputs = [
        {"name": name, "datatype": output.datatype, "shape": [-1, classes] if output.is_by_class else [-1]}
        for name, output in OUTPUTS.items()
    ]
    return {
        "name": model_name,
        "versions": [predictor.version_id] if predictor.version_id else [],
        "platform": "textclf",
        "inputs": [{"name": INPUT, "datatype": BYTES, "shape": [-1]}],
        "outputs": outputs,
    }


def _json_size(header_length: str, body_bytes: int) -> int:
    if header_length.isascii() and header_length.isdigit() and len(header_length) < 20:
        size = int(header_length)
        if 0 < size <= body_bytes:
            return size
    raise ApiError(
        ErrorCode.WRONG_SHAPE,
        f"Inference-Header-Content-Length: expected the size of the JSON, from 1 to {body_bytes} bytes, got "
        f"{header_length[:50]!r}; correct it",
    )


def _texts(content: dict[str, Any], binary: bytes, limits: Limits) -> list[str]:
    tensors = _objects(content, "inputs")
    if len(tensors) != 1:
        raise ApiError(ErrorCode.WRONG_SHAPE, f"inputs: expected one tensor, {INPUT}, got {len(tensors)}; send one")
    (tensor,) = tensors
    refuse_unknown(tensor, {"name", "shape", "datatype", "parameters", "data"}, "inputs[0]")
    for key, expected in (("name", INPUT), ("datatype", BYTES)):
        if (found := value_of(tensor, key, str, "a string")) != expected:
            raise ApiError(
                ErrorCode.WRONG_SHAPE, f"inputs[0].{key}: expected {expected}, got {found[:50]!r}; correct it"
            )
    count, is_nested = _shape(tensor)
    check_count("inputs[0].shape", count, limits)
    parameters = _parameters(tensor, "inputs[0].")
    if _DATA_SIZE in parameters:
        if "data" in tensor:
            raise ApiError(ErrorCode.WRONG_SHAPE, f"inputs[0]: expected data or {_DATA_SIZE}, got both; send one")
        return _binary_texts(binary, parameters[_DATA_SIZE], count, limits)
    if binary:
        raise ApiError(
            ErrorCode.WRONG_SHAPE,
            f"inputs[0].parameters.{_DATA_SIZE}: expected the size of the binary data, got none; send it",
        )
    return _json_texts(value_of(tensor, "data", list, "a list of strings"), count, is_nested, limits)


def _json_texts(data: list[Any], count: int, is_nested: bool, limits: Limits) -> list[str]:
    if is_nested and all(isinstance(item, list) for item in data):
        data = list(itertools.chain.from_iterable(data))
    if len(data) != count:
        raise ApiError(
            ErrorCode.WRONG_SHAPE, f"inputs[0].data: expected {count} texts, as in shape, got {len(data)}; correct one"
        )
    for index, item in enumerate(data):
        check_item(item, "inputs[0].data", index, limits)
    return data


def _binary_texts(binary: bytes, size: Any, count: int, limits: Limits) -> list[str]:
    if type(size) is not int or size != len(binary):
        raise ApiError(
            ErrorCode.WRONG_SHAPE,
            f"inputs[0].parameters.{_DATA_SIZE}: expected {len(binary)}, the bytes after the JSON, got another value; "
            f"correct it",
        )
    texts, position = [], 0
    for index in range(count):
        start = position + _LENGTH.size
        end = start + _LENGTH.unpack_from(binary, position)[0] if start <= size else size + 1
        if end > size:
            raise ApiError(
                ErrorCode.WRONG_SHAPE,
                f"inputs[0]: expected {count} texts, as in shape, but the data ends in text {index} (counted from 0)",
            )
        texts.append(check_item(_text(binary[start:end], index), "inputs[0]", index, limits))
        position = end
    if position < size:
        raise ApiError(
            ErrorCode.WRONG_SHAPE,
            f"inputs[0]: expected {count} texts, as in shape, got {size - position} more bytes; correct one",
        )
    return texts


def _text(element: bytes, index: int) -> str:
    try:
        return element.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ApiError(
            ErrorCode.INVALID_UTF8,
            f"inputs[0], text {index} (counted from 0): expected UTF-8, got {error.reason} at byte {error.start}; send "
            f"UTF-8",
        ) from None


def _shape(tensor: dict[str, Any]) -> tuple[int, bool]:
    """Return the number of texts, and whether the shape is [n, 1]."""
    shape = value_of(tensor, "shape", list, "a list of numbers")
    is_known = (
        len(shape) in (1, 2) and all(type(size) is int and size >= 0 for size in shape) and shape[1:] in ([], [1])
    )
    if not is_known:
        raise ApiError(ErrorCode.WRONG_SHAPE, "inputs[0].shape: expected [n] or [n, 1], got another shape; correct it")
    return shape[0], len(shape) == 2


def _outputs(content: dict[str, Any]) -> dict[str, bool]:
    """Return the names of the wanted tensors, and whether each is binary."""
    is_binary = _flag(_parameters(content), _ALL_BINARY, default=False)
    if not content.get("outputs"):  # None, or an empty list, are all.
        if "outputs" in content:
            _objects(content, "outputs")
        return dict.fromkeys(OUTPUTS, is_binary)
    wanted: dict[str, bool] = {}
    for index, output in enumerate(_objects(content, "outputs")):
        where = f"outputs[{index}]"
        refuse_unknown(output, {"name", "parameters"}, where)
        name = value_of(output, "name", str, "a string")
        if name not in OUTPUTS or name in wanted:
            raise ApiError(
                ErrorCode.WRONG_SHAPE,
                f"{where}.name: expected one of {', '.join(OUTPUTS)}, each at most once, got {name[:50]!r}; correct it",
            )
        wanted[name] = _flag(_parameters(output, f"{where}."), _BINARY, default=is_binary)
    return wanted


def _objects(content: dict[str, Any], key: str) -> list[dict[str, Any]]:
    items = value_of(content, key, list, "a list of objects")
    return [as_object(item, f"{key}[{index}] (counted from 0)") for index, item in enumerate(items)]


def _parameters(content: dict[str, Any], where: str = "") -> dict[str, Any]:
    if "parameters" not in content:
        return {}
    parameters = as_object(content["parameters"], f"{where}parameters")
    for name in UNSUPPORTED:
        if name in parameters:
            raise ApiError(ErrorCode.WRONG_SHAPE, f"{where}parameters.{name}: expected none, got one; remove it")
    return parameters


def _flag(parameters: dict[str, Any], name: str, *, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise ApiError(
            ErrorCode.WRONG_SHAPE, f"parameters.{name}: expected true or false, got {json_name(value)}; correct it"
        )
    return value


def _binary(datatype: str, values: list[Any]) -> bytes:
    if datatype == FP32:
        return np.array(values, "<f4").tobytes()
    if datatype == BOOL:
        return bytes(values)
    elements = [value.encode("utf-8") for value in values]
    return b"".join(_LENGTH.pack(len(element)) + element for element in elements)
