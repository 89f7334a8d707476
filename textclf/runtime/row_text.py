"""Values of scored rows as text: CSV cells and lines, and JSON."""

import base64
import csv
import datetime
import io
import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from textclf.errors import InputError
from textclf.unicode import is_unicode

_OTHER_TYPES = (datetime.date, datetime.time, datetime.timedelta, Decimal, UUID, bytes)


def cell(value: Any) -> Any:
    """A value as a cell of CSV: a text as it is, null as "", anything else as JSON or as the text of its type.

    Raises:
        InputError: if JSON has no form for the value.
    """
    if isinstance(value, _OTHER_TYPES):
        value = json_value(value)
    return value if isinstance(value, str) else "" if value is None else json_text(value)


def csv_line(cells: Sequence[Any]) -> str:
    """A line of CSV with a line feed at its end."""
    line = io.StringIO()
    # With this line terminator, the writer quotes cells that contain either character.
    csv.writer(line, lineterminator="\r\n").writerow(cells)
    return line.getvalue().removesuffix("\r\n") + "\n"


def json_text(value: Any) -> str:
    """A value as strict JSON.

    Raises:
        InputError: if JSON has no form for the value.
    """
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, default=json_value)
    except ValueError as error:
        raise InputError(f"JSON can't store NaN and infinite numbers: {error}") from None


def json_value(value: Any) -> str:
    """The text of a value of Parquet and workbooks for which JSON has no type.

    Raises:
        InputError: if the value is of another type.
    """
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, _OTHER_TYPES):
        return value.isoformat() if hasattr(value, "isoformat") else str(value)
    raise InputError(f"expected a text, a number, a date, a list or an object in every field, got {value!r:.80}")


def utf8(line: str) -> bytes:
    """A line in UTF-8.

    Raises:
        InputError: if it has half of a surrogate pair.
    """
    if not is_unicode(line):
        raise InputError("expected well-formed Unicode in every field, got half of a surrogate pair")
    return line.encode("utf-8")
