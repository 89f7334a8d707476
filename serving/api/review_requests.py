"""Parse the request bodies of the labelling queue."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from serving.api.errors import ApiError, ErrorCode
from serving.api.requests import MAX_SOURCE_CHARS, Limits, check_text, object_of, refuse_unknown, value_of
from textclf.tokenization.text_key import is_blank

DEFAULT_COUNT = 20
MAX_COUNT = 100
MAX_SKIPPED = 1000
MAX_DAYS = 36_500
MAX_SIGNED_CHARS = 1000
_KEY = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class DrawRequest:
    """How many texts to draw, and which.

    Attributes:
        mode: which texts to draw.
        count: number of texts.
        days: only predictions of the last days; None for all that are logged.
        skipped: keys of texts that were skipped.
    """

    mode: str
    count: int
    days: float | None
    skipped: list[str]


@dataclass(frozen=True, slots=True)
class LabelRequest:
    """A label of a text; `draw` is the signed draw of a random audit."""

    text: str
    label: str
    draw: str | None
    source: str | None


def parse_draw_request(content: str, limits: Limits, modes: Sequence[str]) -> DrawRequest:
    """Parse the body of POST /review/texts; `modes` are the accepted modes.

    Raises:
        ApiError: if the body is not JSON, or has another shape.
    """
    body = object_of(content, limits)
    refuse_unknown(body, {"mode", "count", "days", "skipped"})
    mode = value_of(body, "mode", str, "a string")
    if mode not in modes:
        raise _wrong("mode", f"one of {', '.join(modes)}", repr(mode[:50]))
    count = DEFAULT_COUNT
    if "count" in body:
        count = value_of(body, "count", int, "a number")
        if isinstance(count, bool) or not 1 <= count <= MAX_COUNT:
            raise _wrong("count", f"a number from 1 to {MAX_COUNT}", str(count)[:50])
    days = body.get("days")
    if days is not None and (isinstance(days, bool) or not isinstance(days, int | float) or not 0 < days <= MAX_DAYS):
        raise _wrong("days", f"null or a number above 0, at most {MAX_DAYS}", str(days)[:50])
    skipped = value_of(body, "skipped", list, "a list of keys") if "skipped" in body else []
    if len(skipped) > MAX_SKIPPED or not all(isinstance(key, str) and _KEY.fullmatch(key) for key in skipped):
        raise _wrong("skipped", f"at most {MAX_SKIPPED} keys of 32 hex digits", f"a list of {len(skipped)}")
    return DrawRequest(mode, count, days, skipped)


def parse_label_request(content: str, limits: Limits) -> LabelRequest:
    """Parse the body of POST /review/labels.

    Raises:
        ApiError: if the body is not JSON, has another shape, or a text that can't be stored.
    """
    body = object_of(content, limits)
    refuse_unknown(body, {"text", "label", "draw", "source"})
    text = check_text(value_of(body, "text", str, "a string"), "text", limits)
    if is_blank(text):
        raise ApiError(ErrorCode.BLANK_TEXT, "text: expected a review, got only blanks; send a text")
    label = check_text(value_of(body, "label", str, "a string"), "label", limits)
    draw = _optional(body, "draw", MAX_SIGNED_CHARS)
    return LabelRequest(text, label, draw, _optional(body, "source", MAX_SOURCE_CHARS))


def parse_undo_request(content: str, limits: Limits) -> str:
    """Parse the body of POST /review/undo; returns the signed permission.

    Raises:
        ApiError: if the body is not JSON, or has another shape.
    """
    body = object_of(content, limits)
    refuse_unknown(body, {"undo"})
    return check_text(value_of(body, "undo", str, "a string"), "undo", Limits(MAX_SIGNED_CHARS, 1))


def _optional(body: dict[str, object], key: str, max_chars: int) -> str | None:
    if body.get(key) is None:
        return None
    return check_text(value_of(body, key, str, "a string or null"), key, Limits(max_chars, 1))


def _wrong(key: str, expected: str, got: str) -> ApiError:
    return ApiError(ErrorCode.WRONG_SHAPE, f"{key}: expected {expected}, got {got}; correct it")
