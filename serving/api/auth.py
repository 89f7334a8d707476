"""The optional key of the server, compared in a time that does not tell how much of it was right."""

import hmac
from collections.abc import Mapping
from typing import Any

from serving.api.errors import ApiError, ErrorCode

_BEARER = "bearer "


def check_api_key(environ: Mapping[str, Any], expected: bytes) -> None:
    """Pass if the request carries the key, as X-API-Key or Authorization: Bearer, or if `expected` is empty.

    Raises:
        ApiError: it does not.
    """
    if not expected:
        return
    given = environ.get("HTTP_X_API_KEY", "")
    authorization = environ.get("HTTP_AUTHORIZATION", "")
    if not given and authorization[: len(_BEARER)].lower() == _BEARER:
        given = authorization[len(_BEARER) :].strip()
    # WSGI gives the bytes of a header as Latin-1.
    if not hmac.compare_digest(given.encode("latin-1", errors="replace"), expected):
        raise ApiError(
            ErrorCode.UNAUTHORIZED,
            "expected the key of this server in X-API-Key, or as Authorization: Bearer; got "
            + ("another" if given else "none"),
            {"WWW-Authenticate": "Bearer"},
        )
