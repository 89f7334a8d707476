"""The Accept header, which chooses only one thing: CSV with the probabilities of all classes."""

from collections.abc import Mapping
from typing import Any

from werkzeug.http import parse_options_header

from serving.api.errors import ApiError, ErrorCode
from serving.api.request_body import CSV

_PARAMETER, _ALL = "probabilities", "all"


def wants_all_probabilities(environ: Mapping[str, Any]) -> bool:
    """Return whether the request accepts `text/csv; probabilities=all`.

    Raises:
        ApiError: if it asks for other probabilities.
    """
    header: str = environ.get("HTTP_ACCEPT", "")
    if _PARAMETER not in header.lower():  # The usual case.
        return False
    for item in header.split(","):
        name, parameters = parse_options_header(item.strip())
        given = parameters.get(_PARAMETER)
        if name.lower() == CSV and given is not None:
            if given.lower() != _ALL:
                raise ApiError(
                    ErrorCode.WRONG_SHAPE,
                    f"Accept: expected {_PARAMETER}={_ALL}, got {_PARAMETER}={given[:50]}; correct or remove it",
                )
            return True
    return False
