"""Parse a request body into the texts to score and the format of the response.

Everything is checked here, before a text is tokenised; messages name the bad item.
"""

import csv
import enum
import io
import json
import sys
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, TypeVar

from serving.api.errors import ApiError, ErrorCode
from serving.api.json_steps import TooManyValuesError, decode_in_steps
from serving.api.request_body import CSV, JSON, JSON_LINES
from textclf.errors import InputError
from textclf.tokenization.text_key import is_blank
from textclf.unicode import encode_utf8

# Keys of a body that have texts.
_TEXT_KEYS = ("text", "X", "data")
MAX_SOURCE_CHARS = 200
# A body of up to this many characters is decoded at once, in at most 5 ms.
_SMALL_CHARS = 32_768
# Values in a large body, next to its texts: enough to find what else is wrong with it.
_MAX_OTHER_VALUES = 1000

_JSON_NAMES: dict[type, str] = {
    bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list", dict: "an object"
}  # fmt: skip

_T = TypeVar("_T")


class PayloadFormat(enum.Enum):
    """Format of a request, which decides the format of its response."""

    TEXT = enum.auto()  # {"text": str}
    X = enum.auto()  # {"X": [str, …]}
    DATA = enum.auto()  # {"data": str}
    DATA_LIST = enum.auto()  # {"data": [str, …]}
    CSV = enum.auto()
    JSON_LINES = enum.auto()


@dataclass(frozen=True, slots=True)
class PredictRequest:
    """Texts to score, all within the limits, and the format of the response.

    Attributes:
        payload_format: format of the request and of its response.
        texts: the texts.
        explain: whether the predictions are to be explained; None if the body does not say it.
    """

    payload_format: PayloadFormat
    texts: list[str]
    explain: bool | None = None


@dataclass(frozen=True, slots=True)
class FeedbackRequest:
    """A labelled text to store."""

    text: str
    label: str
    source: str | None
    audit: bool


@dataclass(frozen=True)
class Limits:
    """Limits of a request: characters per text, texts per request."""

    text_chars: int
    batch: int


def parse_predict_request(
    content: str, media_type: str, limits: Limits, keys: Collection[str] = _TEXT_KEYS
) -> PredictRequest:
    """Parse the body of a request for predictions.

    Args:
        content: text of the body.
        media_type: JSON, CSV or JSON_LINES.
        keys: accepted keys of a JSON body: some of text, X and data.

    Raises:
        ApiError: if the body does not match media_type, has another shape, or its texts exceed the limits.
    """
    if media_type == JSON:
        return texts_of(object_of(content, limits), limits, keys)
    if media_type == CSV:
        return _checked(PayloadFormat.CSV, "record", _csv_texts(content, limits), limits)
    assert media_type == JSON_LINES, media_type  # noqa: S101 media_type() accepts no other
    return _checked(PayloadFormat.JSON_LINES, "line", _line_texts(content, limits), limits)


def parse_feedback_request(content: str, limits: Limits) -> FeedbackRequest:
    """Parse the body of a request that stores a labelled text.

    Raises:
        ApiError: if the body is not JSON, has another shape, or a text that can't be stored.
    """
    body = object_of(content, limits)
    refuse_unknown(body, {"text", "label", "source", "audit"})
    text = check_text(value_of(body, "text", str, "a string"), "text", limits)
    if is_blank(text):
        raise ApiError(ErrorCode.BLANK_TEXT, "text: expected a review, got only blanks; send a text")
    source = None
    if body.get("source") is not None:
        source = value_of(body, "source", str, "a string or null")
        check_text(source, "source", Limits(MAX_SOURCE_CHARS, 1))
    audit = value_of(body, "audit", bool, "true or false") if "audit" in body else False
    return FeedbackRequest(text, check_text(value_of(body, "label", str, "a string"), "label", limits), source, audit)


def object_of(content: str, limits: Limits) -> dict[str, Any]:
    """Return the object of a JSON body.

    Raises:
        ApiError: if the body is not JSON, or not an object.
    """
    return _object(_json(content, limits), "the body")


def texts_of(body: dict[str, Any], limits: Limits, keys: Collection[str]) -> PredictRequest:
    """The texts of a JSON body, whose keys may only be `keys`, and `explain` next to data.

    Raises:
        ApiError: if the body has other keys or another shape, or its texts exceed the limits.
    """
    refuse_unknown(body, {*keys, "explain"} if "data" in keys else set(keys))
    found = [key for key in keys if key in body]
    if len(found) != 1:
        raise ApiError(
            ErrorCode.WRONG_SHAPE,
            f"expected exactly one of {', '.join(keys)}, got {' and '.join(found) or 'none'}; send one",
        )
    (key,) = found
    explain = None
    if "explain" in body:
        if key != "data":
            raise ApiError(
                ErrorCode.WRONG_SHAPE,
                f"explain: expected it only with data, got it with {key}; remove it, or send the texts to /explain",
            )
        explain = value_of(body, "explain", bool, "true or false")
    content = body[key]
    if key == "text" or (key == "data" and isinstance(content, str)):
        payload_format = PayloadFormat.TEXT if key == "text" else PayloadFormat.DATA
        return PredictRequest(payload_format, [check_text(value_of(body, key, str, "a string"), key, limits)], explain)
    if not isinstance(content, list):
        expected = "a list of strings" if key == "X" else "a string or a list of strings"
        raise ApiError(ErrorCode.WRONG_SHAPE, f"{key}: expected {expected}, got {json_name(content)}")
    return _checked(PayloadFormat.X if key == "X" else PayloadFormat.DATA_LIST, key, content, limits, explain)


def check_text(text: str, where: str, limits: Limits) -> str:
    """Return a text after its checks; `where` names it in messages.

    Raises:
        ApiError: if it is too long, or is not well-formed.
    """
    if len(text) > limits.text_chars:
        raise ApiError(
            ErrorCode.TEXT_TOO_LONG,
            f"{where}: expected at most {limits.text_chars} characters, got {len(text)}; shorten the text",
        )
    if not text.isascii():
        try:
            encode_utf8(text)
        except InputError as error:
            raise ApiError(ErrorCode.INVALID_TEXT, f"{where}: {error}") from None
    return text


def refuse_unknown(body: dict[str, Any], known: Collection[str], where: str = "the body") -> None:
    """Refuse keys other than the known ones.

    Raises:
        ApiError: if there are any.
    """
    if unknown := body.keys() - known:
        names = ", ".join(repr(key[:50]) for key in sorted(unknown)[:5])
        raise ApiError(ErrorCode.WRONG_SHAPE, f"{where}: expected only {', '.join(sorted(known))}, got {names}")


def value_of(body: dict[str, Any], key: str, expected_type: type[_T], expected: str) -> _T:
    """Return the value of a key; `expected` describes it in messages.

    Raises:
        ApiError: if the key is missing, or its value has another type.
    """
    if key not in body:
        raise ApiError(ErrorCode.WRONG_SHAPE, f"{key}: expected {expected}, got none")
    value = body[key]
    if not isinstance(value, expected_type):
        raise ApiError(ErrorCode.WRONG_SHAPE, f"{key}: expected {expected}, got {json_name(value)}")
    return value


def json_name(value: object) -> str:
    """Return the name of the value's type in JSON, for messages."""
    return _JSON_NAMES.get(type(value), "null")


def _csv_texts(content: str, limits: Limits) -> list[object]:
    """One text per record (RFC 4180); an empty line is an empty text."""
    csv.field_size_limit(sys.maxsize)  # Process-wide; the limit of a text is checked later.
    texts: list[object] = []
    try:
        for record in csv.reader(io.StringIO(content, newline=""), strict=True):
            if len(record) > 1:
                raise ApiError(
                    ErrorCode.WRONG_SHAPE,
                    f"record {len(texts)} (counted from 0): expected one field, got {len(record)}; "
                    f"put double quotes around texts with commas",
                )
            if len(texts) == limits.batch:
                raise _too_many("record", limits, "more")
            texts.append(record[0] if record else "")
    except csv.Error as error:
        raise ApiError(
            ErrorCode.INVALID_CSV,
            f"record {len(texts)} (counted from 0): expected CSV (RFC 4180), but {error}; double the quotes in texts",
        ) from None
    return texts


def _line_texts(content: str, limits: Limits) -> list[object]:
    """One text per line, as {"text": str} or {"data": str}; blank lines at the end are ignored."""
    content = content.rstrip()
    if (lines := content.count("\n") + 1) > limits.batch:
        raise _too_many("line", limits, lines)
    texts: list[object] = []
    for index, line in enumerate(content.split("\n") if content else ()):
        where = f"line {index} (counted from 0)"
        body = _object(_json(line, limits, f"{where}: "), where)
        refuse_unknown(body, {"text", "data"}, where)
        if len(body) != 1:
            raise ApiError(ErrorCode.WRONG_SHAPE, f"{where}: expected exactly one of text, data, got {len(body)}")
        texts += body.values()
    return texts


def _checked(
    payload_format: PayloadFormat, name: str, items: list[Any], limits: Limits, explain: bool | None = None
) -> PredictRequest:
    if not items:
        raise ApiError(ErrorCode.EMPTY_LIST, f"{name}: expected at least one text, got none")
    if len(items) > limits.batch:
        raise _too_many(name, limits, len(items))
    for index, item in enumerate(items):
        if not isinstance(item, str):
            raise ApiError(
                ErrorCode.WRONG_SHAPE, f"{name}[{index}] (counted from 0): expected a string, got {json_name(item)}"
            )
        if len(item) > limits.text_chars or not item.isascii():
            check_text(item, f"{name}[{index}] (counted from 0)", limits)
    return PredictRequest(payload_format, items, explain)


def _too_many(name: str, limits: Limits, got: object) -> ApiError:
    return ApiError(
        ErrorCode.TOO_MANY_TEXTS,
        f"{name}: expected at most {limits.batch} texts, got {got}; send them in several requests",
    )


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ApiError(ErrorCode.WRONG_SHAPE, f"{where}: expected an object, got {json_name(value)}")
    return value


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object; duplicate keys are refused, because parsers disagree on which counts (RFC 8259, 4)."""
    result = dict(pairs)
    if len(result) < len(pairs):
        raise ApiError(ErrorCode.DUPLICATE_KEY, "expected each key of an object once, got one twice; remove one")
    return result


class _ConstantError(ValueError):
    """NaN or an infinity, which Python accepts but JSON does not have."""


def _refuse_constant(name: str) -> Any:
    raise _ConstantError(f"{name} is not JSON")


_decoder = json.JSONDecoder(object_pairs_hook=_without_repeats, parse_constant=_refuse_constant)


def _json(content: str, limits: Limits, where: str = "") -> Any:
    try:
        if len(content) <= _SMALL_CHARS:
            return _decoder.decode(content)
        return decode_in_steps(content, limits.batch + _MAX_OTHER_VALUES, _without_repeats, _refuse_constant)
    except TooManyValuesError:
        raise _too_many("the body", limits, "more") from None
    except json.JSONDecodeError as error:
        reason = f"{error.msg} at character {error.pos}"
    except _ConstantError as error:
        reason = str(error)
    except ValueError:  # Python's message is advice for programmers.
        reason = f"a number has more than {sys.get_int_max_str_digits()} digits; shorten it, or send it as a string"
    except RecursionError:
        reason = "it is nested too deeply; flatten it"
    raise ApiError(ErrorCode.INVALID_JSON, f"{where}expected JSON, but {reason}")
