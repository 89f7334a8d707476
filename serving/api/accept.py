"""The Accept header, which chooses only the columns of CSV: all probabilities, and a column of unsure predictions."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from werkzeug.http import parse_options_header

from serving.api.errors import ApiError, ErrorCode
from serving.api.request_body import CSV

# Parameter of text/csv -> its only value.
_VALUES = {"probabilities": "all", "unsure": "true"}


class CsvColumns(NamedTuple):
    """Columns of a response in CSV.

    Attributes:
        all_probabilities: the probabilities of all classes, instead of label and score.
        unsure: whether each prediction is unsure, after these.
    """

    all_probabilities: bool = False
    unsure: bool = False


DEFAULT_COLUMNS = CsvColumns()


def accepted_columns(environ: Mapping[str, Any]) -> CsvColumns:
    """Return the columns that the request asks for, as in `text/csv; probabilities=all; unsure=true`.

    Raises:
        ApiError: if a parameter has another value.
    """
    header: str = environ.get("HTTP_ACCEPT", "")
    if not any(name in header.lower() for name in _VALUES):  # The usual case.
        return DEFAULT_COLUMNS
    for item in header.split(","):
        name, parameters = parse_options_header(item.strip())
        if name.lower() == CSV and not _VALUES.keys().isdisjoint(parameters):
            return CsvColumns(*(_is_asked(parameters, one) for one in _VALUES))
    return DEFAULT_COLUMNS


def _is_asked(parameters: Mapping[str, str], name: str) -> bool:
    given, expected = parameters.get(name), _VALUES[name]
    if given is not None and given.lower() != expected:
        raise ApiError(
            ErrorCode.WRONG_SHAPE,
            f"Accept: expected {name}={expected}, got {name}={given[:50]}; correct or remove it",
        )
    return given is not None
