"""The parsed requests, and the checks of JSON bodies and texts that all of them share.

Everything is checked before a text is tokenised; messages name the bad item.
"""

import enum
import json
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from serving.api.accept import DEFAULT_COLUMNS, CsvColumns
from serving.api.errors import ApiError, ErrorCode
from serving.api.json_steps import TooManyValuesError, decode_in_steps
from textclf.errors import InputError
from textclf.tokenization.text_key import is_blank
from textclf.unicode import encode_utf8

# Keys of a body that have texts.
TEXT_KEYS = ("text", "X", "data")
MAX_SOURCE_CHARS = 200
# A body of up to this many characters is decoded at once, in at most 5 ms.
_SMALL_CHARS = 32_768
# Values in a large body: a text may be in an object or a row, and enough to find what else is wrong with it.
_VALUES_PER_TEXT = 2
_MAX_OTHER_VALUES = 1000

_ADVICE_FOR_FIELDS = (
    "; remove it, or send JSON lines (Content-Type: application/jsonlines) to /invocations, which returns other fields"
)

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
    INPUTS = enum.auto()  # {"inputs": str}: Hugging Face's inference toolkit
    INPUTS_LIST = enum.auto()  # {"inputs": [str, …]}
    INSTANCES = enum.auto()  # {"instances": […]} of TF Serving and KServe, {"dataframe_split": …} of MLflow


class RecordError(NamedTuple):
    """Why a record can't be scored."""

    code: ErrorCode
    message: str


@dataclass(frozen=True, slots=True)
class RankedLabels:
    """Labels of a response to `inputs`, each with its probability.

    Attributes:
        top_k: number of labels, best first; None for all.
        in_class_order: all labels, in the order of the classes.
    """

    top_k: int | None = None
    in_class_order: bool = False


@dataclass(frozen=True, slots=True)
class PredictRequest:
    """Texts to score, all within the limits, and the format of the response.

    Attributes:
        payload_format: format of the request and of its response.
        texts: the texts.
        explain: whether the predictions are to be explained; None if the body does not say it.
        errors: of records without a text, by position among all records; empty unless each record is on its own.
        extras: for JSON lines, the other fields of each line; empty if no line has any.
        ranked: for INPUTS, labels of each text; None for the predicted label only.
        columns: for CSV, the columns of the response.
        is_each_on_its_own: whether a bad record of CSV or JSON lines gets an error of its own.
    """

    payload_format: PayloadFormat
    texts: list[str]
    explain: bool | None = None
    errors: Mapping[int, RecordError] = field(default_factory=dict)
    extras: Sequence[Mapping[str, Any]] = ()
    ranked: RankedLabels | None = None
    columns: CsvColumns = DEFAULT_COLUMNS
    is_each_on_its_own: bool = False


@dataclass(frozen=True, slots=True)
class FeedbackRequest:
    """A labelled text to store."""

    text: str
    label: str
    source: str | None
    audit: bool


@dataclass(frozen=True)
class Limits:
    """Limits of a request: characters per text, texts per request.

    With `is_each_on_its_own` a bad record of CSV or JSON lines does not refuse the request.
    """

    text_chars: int
    batch: int
    is_each_on_its_own: bool = False


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
    return as_object(json_value(content, limits), "the body")


def texts_of(body: dict[str, Any], limits: Limits, keys: Collection[str]) -> PredictRequest:
    """The texts of a JSON body, whose keys may only be `keys`, and `explain` next to data.

    Raises:
        ApiError: if the body has other keys or another shape, or its texts exceed the limits.
    """
    refuse_unknown(body, {*keys, "explain"} if "data" in keys else set(keys), advice=_ADVICE_FOR_FIELDS)
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
    return checked_list(PayloadFormat.X if key == "X" else PayloadFormat.DATA_LIST, key, content, limits, explain)


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


def refuse_unknown(body: dict[str, Any], known: Collection[str], where: str = "the body", advice: str = "") -> None:
    """Refuse keys other than the known ones; `advice` ends the message.

    Raises:
        ApiError: if there are any.
    """
    if unknown := body.keys() - known:
        names = ", ".join(repr(key[:50]) for key in sorted(unknown)[:5])
        raise ApiError(ErrorCode.WRONG_SHAPE, f"{where}: expected only {', '.join(sorted(known))}, got {names}{advice}")


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


def checked_list(
    payload_format: PayloadFormat, name: str, items: list[Any], limits: Limits, explain: bool | None = None
) -> PredictRequest:
    """Return the request for a list of texts; `name` names the list in messages.

    Raises:
        ApiError: if the list is empty or too long, or an item is not a text within the limits.
    """
    check_count(name, len(items), limits)
    for index, item in enumerate(items):
        check_item(item, name, index, limits)
    return PredictRequest(payload_format, items, explain)


def check_count(name: str, count: int, limits: Limits) -> None:
    """Refuse a list with no texts, or too many.

    Raises:
        ApiError: if it has.
    """
    if not count:
        raise ApiError(ErrorCode.EMPTY_LIST, f"{name}: expected at least one text, got none")
    if count > limits.batch:
        raise too_many(name, limits, count)


def check_item(item: Any, name: str, index: int, limits: Limits) -> str:
    """Return an item of the list `name`, after its checks.

    Raises:
        ApiError: if it is not a text within the limits.
    """
    if not isinstance(item, str):
        raise ApiError(
            ErrorCode.WRONG_SHAPE, f"{name}[{index}] (counted from 0): expected a string, got {json_name(item)}"
        )
    if len(item) > limits.text_chars or not item.isascii():
        check_text(item, f"{name}[{index}] (counted from 0)", limits)
    return item


def too_many(name: str, limits: Limits, got: object) -> ApiError:
    """Return the refusal of a list with more texts than a request may have."""
    return ApiError(
        ErrorCode.TOO_MANY_TEXTS,
        f"{name}: expected at most {limits.batch} texts, got {got}; send them in several requests",
    )


def as_object(value: Any, where: str) -> dict[str, Any]:
    """Return a JSON value that is an object.

    Raises:
        ApiError: if it is not.
    """
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


def json_value(content: str, limits: Limits, where: str = "") -> Any:
    """Return the value of a JSON text; `where` is the start of messages.

    Raises:
        ApiError: if it is not JSON, has an object with a key twice, or has far more values than a request has texts.
    """
    try:
        if len(content) <= _SMALL_CHARS:
            return _decoder.decode(content)
        max_values = _VALUES_PER_TEXT * limits.batch + _MAX_OTHER_VALUES
        return decode_in_steps(content, max_values, _without_repeats, _refuse_constant)
    except TooManyValuesError:
        raise too_many("the body", limits, "more") from None
    except json.JSONDecodeError as error:
        reason = f"{error.msg} at character {error.pos}"
        if error.msg == "Extra data" and "\n" in content[len(content[: error.pos].rstrip()) : error.pos]:
            reason += "; for JSON lines, send Content-Type: application/jsonlines to /invocations"
    except _ConstantError as error:
        reason = str(error)
    except ValueError:  # Python's message is advice for programmers.
        reason = f"a number has more than {sys.get_int_max_str_digits()} digits; shorten it, or send it as a string"
    except RecursionError:
        reason = "it is nested too deeply; flatten it"
    raise ApiError(ErrorCode.INVALID_JSON, f"{where}expected JSON, but {reason}")
