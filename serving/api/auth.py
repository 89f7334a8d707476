"""The optional API key, compared in constant time."""

import hmac
from collections.abc import Mapping
from typing import Any

from serving.api.errors import ApiError, ErrorCode

_BEARER = "bearer "


def check_api_key(environ: Mapping[str, Any], expected: bytes) -> None:
    """Check the key in X-API-Key or Authorization: Bearer; an empty `expected` accepts every request.

    Raises:
        ApiError: if the key is missing or wrong.
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
            "expected the server's API key in X-API-Key or Authorization: Bearer, got "
            + ("a wrong one" if given else "none"),
            {"WWW-Authenticate": "Bearer"},
        )
