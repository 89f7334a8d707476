"""The optional API key, compared in constant time."""

import hmac
from collections.abc import Iterator, Mapping
from typing import Any

from serving.api.errors import ApiError, ErrorCode


def check_api_key(environ: Mapping[str, Any], expected: bytes) -> None:
    """Check the keys in X-API-Key and Authorization: Bearer; one right key suffices.

    An empty `expected` accepts every request.

    Raises:
        ApiError: if no key is given, or all are wrong.
    """
    if not expected:
        return
    given = list(_given_keys(environ, expected.count(b",") + 1))
    # Compare all, so that the time does not depend on which one is right.
    if sum([hmac.compare_digest(key, expected) for key in given]) == 0:
        raise ApiError(
            ErrorCode.UNAUTHORIZED,
            "expected the server's API key in X-API-Key or Authorization: Bearer, got "
            + ("a wrong one" if any(given) else "none"),
            {"WWW-Authenticate": "Bearer"},
        )


def _given_keys(environ: Mapping[str, Any], pieces: int) -> Iterator[bytes]:
    """The bytes of each key. Servers join repeated headers with commas; a key that has some has several `pieces`."""
    # WSGI gives the bytes of a header as Latin-1.
    parts = environ.get("HTTP_X_API_KEY", "").encode("latin-1", errors="replace").split(b",")
    for start in range(len(parts) - pieces + 1):
        yield b",".join(parts[start : start + pieces]).strip()
    scheme, _, key = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    if scheme.lower() == "bearer":
        yield key.strip().encode("latin-1", errors="replace")
