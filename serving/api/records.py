"""Bodies of one record per text: CSV and JSON lines.

In a batch transform job each record is on its own: a bad one gets an error, and the others are scored. There a record
of CSV that never ends, because a quote is missing, takes only its first line, so that the lines after it are scored.
"""

import contextlib
import csv
import io
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from serving.api.errors import ApiError, ErrorCode
from serving.api.requests import (
    Limits,
    PayloadFormat,
    PredictRequest,
    RecordError,
    as_object,
    check_count,
    check_item,
    json_value,
    too_many,
)

TEXT_COLUMN = "text"
_KEYS = ("text", "data")
# The text of a record, or why it has none; and its other fields.
_Item = tuple[Any, dict[str, Any]]
_NO_FIELDS: dict[str, Any] = {}
# Lists and objects in each other that a field may have; the encoder of the response fails at about a thousand.
_MAX_DEPTH = 100


def csv_request(content: str, limits: Limits, *, has_header: bool = False) -> PredictRequest:
    """Parse CSV (RFC 4180): one text per record; an empty line is an empty text.

    Args:
        has_header: whether the first record has the names of columns. The texts are in the column `text`; the other
            columns are ignored.

    Raises:
        ApiError: if the body, or a record that is not on its own, is not CSV or has another shape, or if there are no
            records or too many.
    """
    return _request(PayloadFormat.CSV, "record", _csv_items(content, has_header), limits)


def json_lines_request(content: str, limits: Limits) -> PredictRequest:
    """Parse JSON lines: {"text": str} or {"data": str}, with any other fields; blank lines at the end are ignored.

    Raises:
        ApiError: if a line that is not on its own is not JSON or has another shape, or if there are no lines or too
            many.
    """
    content = content.rstrip()
    lines = content.split("\n") if content else []
    check_count("line", len(lines), limits)
    return _request(PayloadFormat.JSON_LINES, "line", (_line_item(*line, limits) for line in enumerate(lines)), limits)


def _request(payload_format: PayloadFormat, name: str, items: Iterable[_Item], limits: Limits) -> PredictRequest:
    texts: list[str] = []
    errors: dict[int, RecordError] = {}
    extras: list[dict[str, Any]] = []
    count = 0
    for text, fields in items:
        if count == limits.batch:
            raise too_many(name, limits, "more")
        extras.append(fields)
        try:
            if isinstance(text, ApiError):
                raise text
            texts.append(check_item(text, name, count, limits))
        except ApiError as error:
            if not limits.is_each_on_its_own:
                raise
            errors[count] = RecordError(error.code, error.message)
        count += 1
    check_count(name, count, limits)
    return PredictRequest(
        payload_format,
        texts,
        errors=errors,
        extras=extras if any(extras) else (),
        is_each_on_its_own=limits.is_each_on_its_own,
    )


def _csv_items(content: str, has_header: bool) -> Iterator[_Item]:
    records = _csv_records(content)
    columns: Sequence[str] = ()
    position = 0
    if has_header:
        columns, position = _columns(next(records, None))
    for index, record in enumerate(records):
        if isinstance(record, csv.Error):
            error = ApiError(
                ErrorCode.INVALID_CSV,
                f"record {index} (counted from 0): expected CSV (RFC 4180), but {record}; double the quotes in texts",
            )
            yield error, _NO_FIELDS
        elif not record:  # A blank line, also below several columns.
            yield "", _NO_FIELDS
        elif len(record) > max(1, len(columns)) or (len(columns) > 1 and len(record) < len(columns)):
            expected = f"{len(columns)} fields, as in the header" if has_header else "one field"
            advice = (
                "" if has_header else ", or send a header with the column text (Content-Type: text/csv; header=present)"
            )
            error = ApiError(
                ErrorCode.WRONG_SHAPE,
                f"record {index} (counted from 0): expected {expected}, got {len(record)}; "
                f"put double quotes around texts with commas{advice}",
            )
            yield error, _NO_FIELDS
        else:
            yield record[position], _NO_FIELDS


def _columns(header: "list[str] | csv.Error | None") -> tuple[Sequence[str], int]:
    """Return the columns of a header, and the position of the texts."""
    names = [name.strip() for name in header] if isinstance(header, list) else []
    if names.count(TEXT_COLUMN) != 1:
        # Not guessed: only the first request of a batch transform job may have the header of its file.
        shown = ", ".join(repr(name[:50]) for name in names[:5]) or "none"
        raise ApiError(
            ErrorCode.WRONG_SHAPE,
            f"header: expected a first record with one column {TEXT_COLUMN}, got {shown}; add the header, or send "
            f"Content-Type: text/csv without header=present",
        )
    return names, names.index(TEXT_COLUMN)


def _csv_records(content: str) -> "Iterator[list[str] | csv.Error]":
    """Yield the records, and an error for a line at which no record begins."""
    csv.field_size_limit(sys.maxsize)  # Process-wide; the limit of a text is checked later.
    lines = io.StringIO(content, newline="")
    reader = csv.reader(lines, strict=True)
    while True:
        start = lines.tell()
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield error
            lines.seek(start)
            lines.readline()


def _line_item(index: int, line: str, limits: Limits) -> _Item:
    where = f"line {index} (counted from 0)"
    body: dict[str, Any] = {}
    try:
        body = as_object(json_value(line, limits, f"{where}: "), where)
        found = [key for key in _KEYS if key in body]
        if len(found) != 1:
            names = ", ".join(repr(key[:50]) for key in sorted(body)[:5]) or "no key"
            raise ApiError(
                ErrorCode.WRONG_SHAPE, f"{where}: expected exactly one of {', '.join(_KEYS)}, got {names}; send one"
            )
        if "explain" in body:
            raise ApiError(
                ErrorCode.WRONG_SHAPE,
                f"{where}: expected no explain, got one; send explain=true in X-Amzn-SageMaker-Custom-Attributes",
            )
        text = body.pop(found[0])
        if body:
            _check_extras(body, where)
        return text, body
    except ApiError as error:
        return error, _returnable(body, where)


def _returnable(body: dict[str, Any], where: str) -> dict[str, Any]:
    """The fields of a line with an error that can be returned: all but texts, `explain`, and values that JSON lacks."""
    returnable = {}
    for name, value in body.items():
        if name not in (*_KEYS, "explain"):
            with contextlib.suppress(ApiError):
                _check_extras({name: value}, where)
                returnable[name] = value
    return returnable


def _check_extras(fields: dict[str, Any], where: str) -> None:
    """Check that fields can be returned.

    Raises:
        ApiError: if one is a number that JSON can't have, is nested too deeply, or is not well-formed.
    """
    if _is_deep(fields):
        raise ApiError(
            ErrorCode.WRONG_SHAPE,
            f"{where}: expected fields of at most {_MAX_DEPTH} lists and objects in each other, got more; flatten them",
        )
    try:
        json.dumps(fields, allow_nan=False, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise ApiError(
            ErrorCode.INVALID_TEXT, f"{where}: expected well-formed fields, got half of a surrogate pair; correct it"
        ) from None
    except ValueError:
        raise ApiError(
            ErrorCode.WRONG_SHAPE, f"{where}: expected numbers up to 1.8e308, got a larger one; send it as a string"
        ) from None


def _is_deep(fields: dict[str, Any]) -> bool:
    level: list[Any] = list(fields.values())
    for _ in range(_MAX_DEPTH + 1):
        if not (level := [value for value in level if isinstance(value, (dict, list))]):
            return False
        level = [item for value in level for item in (value.values() if isinstance(value, dict) else value)]
    return True
