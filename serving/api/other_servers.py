"""Bodies of other servers' clients, with responses in the shapes of these servers.

- {"inputs": str or [str, …], "parameters"?} of Hugging Face's inference toolkit;
- {"instances": [str or {"text": str}, …]} of TF Serving and KServe (version 1);
- {"dataframe_split": {"columns", "data"}} and {"dataframe_records": [{…}, …]} of MLflow, with a column `text`.
"""

from collections.abc import Sequence
from typing import Any

from serving.api.errors import ApiError, ErrorCode
from serving.api.requests import (
    Limits,
    PayloadFormat,
    PredictRequest,
    RankedLabels,
    as_object,
    check_count,
    check_item,
    check_text,
    checked_list,
    json_name,
    refuse_unknown,
    value_of,
)

_SPLIT, _RECORDS = "dataframe_split", "dataframe_records"
OTHER_KEYS = frozenset(("inputs", "instances", _SPLIT, _RECORDS))
_TEXT = "text"


def texts_for_other_server(body: dict[str, Any], limits: Limits) -> PredictRequest:
    """Parse a body that has one of OTHER_KEYS.

    Raises:
        ApiError: if it has other keys or another shape, or its texts exceed the limits.
    """
    key = next(key for key in sorted(OTHER_KEYS) if key in body)
    if key == "inputs":
        return _inputs(body, limits)
    if key == "instances":
        refuse_unknown(body, {key, "signature_name"})
        items = _list_of(body, key)
        check_count(key, len(items), limits)
        texts = [_instance(item, index, limits) for index, item in enumerate(items)]
        return PredictRequest(PayloadFormat.INSTANCES, texts)
    refuse_unknown(body, {key})
    return _split(body, limits) if key == _SPLIT else _records(body, limits)


def _inputs(body: dict[str, Any], limits: Limits) -> PredictRequest:
    refuse_unknown(body, {"inputs", "parameters"})
    parameters = as_object(body.get("parameters") or {}, "parameters")
    refuse_unknown(parameters, {"top_k", "return_all_scores", "truncation"}, "parameters")
    ranked = None
    if "truncation" in parameters and parameters["truncation"] is not True:
        raise ApiError(
            ErrorCode.WRONG_SHAPE, "parameters.truncation: expected true, got another value; long texts are always cut"
        )
    if "return_all_scores" in parameters and value_of(parameters, "return_all_scores", bool, "true or false"):
        ranked = RankedLabels(in_class_order=True)
    if "top_k" in parameters:
        top_k = parameters["top_k"]
        if top_k is not None and (isinstance(top_k, bool) or not isinstance(top_k, int) or top_k < 1):
            raise ApiError(
                ErrorCode.WRONG_SHAPE,
                "parameters.top_k: expected a whole number of at least 1, or null for all labels, got another value; "
                "correct it",
            )
        ranked = RankedLabels(top_k)
    content = body["inputs"]
    if isinstance(content, str):
        return PredictRequest(PayloadFormat.INPUTS, [check_text(content, "inputs", limits)], ranked=ranked)
    if not isinstance(content, list):
        raise ApiError(
            ErrorCode.WRONG_SHAPE, f"inputs: expected a string or a list of strings, got {json_name(content)}"
        )
    texts = checked_list(PayloadFormat.INPUTS_LIST, "inputs", content, limits).texts
    return PredictRequest(PayloadFormat.INPUTS_LIST, texts, ranked=ranked)


def _instance(item: Any, index: int, limits: Limits) -> str:
    if isinstance(item, dict):
        refuse_unknown(item, {_TEXT}, f"instances[{index}] (counted from 0)")
        item = item.get(_TEXT)
    return check_item(item, "instances", index, limits)


def _split(body: dict[str, Any], limits: Limits) -> PredictRequest:
    table = as_object(body[_SPLIT], _SPLIT)
    refuse_unknown(table, {"columns", "data", "index"}, _SPLIT)
    columns = _list_of(table, "columns", f"{_SPLIT}.")
    position = _text_position(columns)
    rows = _list_of(table, "data", f"{_SPLIT}.")
    check_count(f"{_SPLIT}.data", len(rows), limits)
    texts = []
    for index, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(columns):
            got = f"{len(row)}" if isinstance(row, list) else json_name(row)
            raise ApiError(
                ErrorCode.WRONG_SHAPE,
                f"{_SPLIT}.data[{index}] (counted from 0): expected a list of {len(columns)} values, one per column, "
                f"got {got}",
            )
        texts.append(check_item(row[position], f"{_SPLIT}.data", index, limits))
    return PredictRequest(PayloadFormat.INSTANCES, texts)


def _records(body: dict[str, Any], limits: Limits) -> PredictRequest:
    rows = _list_of(body, _RECORDS)
    check_count(_RECORDS, len(rows), limits)
    texts = []
    for index, row in enumerate(rows):
        fields = as_object(row, f"{_RECORDS}[{index}] (counted from 0)")
        columns = list(fields)
        texts.append(check_item(fields[columns[_text_position(columns)]], _RECORDS, index, limits))
    return PredictRequest(PayloadFormat.INSTANCES, texts)


def _text_position(columns: Sequence[Any]) -> int:
    """Return the position of the column `text`."""
    if columns.count(_TEXT) == 1:
        return columns.index(_TEXT)
    shown = ", ".join(repr(name)[:50] for name in columns[:5]) or "none"
    raise ApiError(ErrorCode.WRONG_SHAPE, f"columns: expected one column {_TEXT}, got {shown}; name the texts {_TEXT}")


def _list_of(body: dict[str, Any], key: str, within: str = "") -> list[Any]:
    if not isinstance(value := body.get(key), list):
        raise ApiError(ErrorCode.WRONG_SHAPE, f"{within}{key}: expected a list, got {json_name(value)}")
    return value
