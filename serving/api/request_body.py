"""The text of a WSGI request's body: size, content type, character set, encoding.

A body is read only if its announced size is within the limit, and unpacked only up to the limit. If the server exposes
the connection (gthread does), a read from a silent client times out.
"""

import codecs
import contextlib
import socket
import time
import zlib
from collections.abc import Collection, Mapping
from typing import Any

from werkzeug.http import parse_options_header

from serving.api.errors import ApiError, ErrorCode

JSON = "application/json"
CSV = "text/csv"
CSV_WITH_HEADER = "text/csv; header=present"
JSON_LINES = "application/jsonlines"
BINARY = "application/octet-stream"
OTHER_JSON_LINES = ("application/x-ndjson", "application/jsonl", "application/x-jsonlines")
_OTHER_NAMES = dict.fromkeys(OTHER_JSON_LINES, JSON_LINES)
_UTF8 = {"utf-8", "utf8"}
_GZIP = {"gzip", "x-gzip"}
# 16 + the largest window: zlib expects and checks gzip's header and checksum.
_GZIP_WINDOW = 16 + zlib.MAX_WBITS
# Each member costs a copy of all that follows it. Parallel compressors write members of 64 KiB and more.
_MAX_GZIP_MEMBERS = 100
_BLOCK_BYTES = 64 * 1024
# Key of gthread's socket. Behind nginx a request is complete before it is read (serving/server/scgi_worker.py).
_CONNECTION = "gunicorn.socket"
# Time-outs for a client that sends nothing (as in nginx), and for one that does not read its response.
_READ_SECONDS = 15.0
_WRITE_SECONDS = 60.0
# Limits on discarding a refused body, so that a client that sends before it reads gets the response.
_DISCARD_BYTES = 16 * 1024**2
_DISCARD_SECONDS = 1.0

_Environ = Mapping[str, Any]


def media_type(environ: _Environ, accepted: Collection[str]) -> str:
    """Return the body's content type: one of `accepted` (JSON, CSV, JSON_LINES), or CSV_WITH_HEADER.

    With "" in `accepted` the content type may be missing; the result is then "".

    Raises:
        ApiError: if the content type is missing or not accepted, or the character set is not UTF-8.
    """
    header = environ.get("CONTENT_TYPE", "")
    if header == JSON:  # The usual case.
        return JSON
    name, parameters = parse_options_header(header)
    content_type = _OTHER_NAMES.get(name.lower(), name.lower())
    if content_type not in accepted:
        raise ApiError(
            ErrorCode.UNSUPPORTED_MEDIA_TYPE,
            f"expected the content type {' or '.join(filter(None, accepted))}, got {header[:100] or 'none'}; set "
            f"Content-Type",
        )
    charset = parameters.get("charset", "utf-8")
    if charset.lower() not in _UTF8:
        raise ApiError(
            ErrorCode.UNSUPPORTED_MEDIA_TYPE, f"expected the character set utf-8, got {charset[:100]}; send UTF-8"
        )
    if content_type == CSV and parameters.get("header", "").lower() == "present":
        return CSV_WITH_HEADER
    return content_type


def read_body(environ: _Environ, max_bytes: int) -> bytes:
    """Return the whole body as sent, which has at most `max_bytes`.

    Raises:
        ApiError: if the body is too large, too slow or incomplete, or has an unknown encoding.
    """
    encoding = _content_encoding(environ)
    if encoding not in _GZIP and encoding not in ("", "identity"):
        raise ApiError(
            ErrorCode.UNSUPPORTED_ENCODING,
            f"expected the content encoding gzip or none, got {encoding[:100]}; use one of them",
            {"Accept-Encoding": "gzip"},
        )
    return _read(environ, max_bytes)


def bytes_of_body(environ: _Environ, body: bytes, max_bytes: int) -> bytes:
    """Return a body from read_body, unpacked to at most `max_bytes`.

    Raises:
        ApiError: if the body is empty, too large, or not gzip as announced.
    """
    if _content_encoding(environ) in _GZIP:
        body = _unpacked(body, max_bytes)
    if not body:
        raise ApiError(ErrorCode.EMPTY_BODY, "expected a body, got an empty one; send one")
    return body


def text_of_body(environ: _Environ, body: bytes, max_bytes: int) -> str:
    """Return a body from read_body, unpacked to at most `max_bytes` and decoded.

    Raises:
        ApiError: if the body is empty, too large, not gzip as announced, or not UTF-8.
    """
    return decoded(bytes_of_body(environ, body, max_bytes))


def decoded(body: bytes) -> str:
    """Return the text of an unpacked body.

    Raises:
        ApiError: if it is not UTF-8.
    """
    try:
        return body.removeprefix(codecs.BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ApiError(
            ErrorCode.INVALID_UTF8, f"expected UTF-8, got {error.reason} at byte {error.start}; send UTF-8"
        ) from None


def has_body(environ: _Environ) -> bool:
    """Return whether the request announces a body."""
    return environ.get("CONTENT_LENGTH") not in (None, "", "0") or "HTTP_TRANSFER_ENCODING" in environ


def discard_rest(environ: _Environ) -> bool:
    """Read and discard the rest of the body, within limits; return whether its end was reached.

    If not, the start of the next request on the connection is unknown, so call hang_up().
    """
    end = time.monotonic() + _DISCARD_SECONDS
    _wait_up_to(environ, _DISCARD_SECONDS)
    with contextlib.suppress(Exception):  # Servers have different exceptions for a broken body.
        announced = _announced(environ)
        if announced is None and not environ.get("wsgi.input_terminated"):
            return False
        left = _DISCARD_BYTES if announced is None else min(announced, _DISCARD_BYTES)
        while left > 0 and time.monotonic() < end:
            block = environ["wsgi.input"].read(min(left, _BLOCK_BYTES))
            if not block:
                return announced is None
            left -= len(block)
        return left == 0 and announced is not None and announced <= _DISCARD_BYTES
    return False


def stop_reading(environ: _Environ) -> None:
    """End a wait for more of the body in another thread."""
    _shut_down(environ, socket.SHUT_RD)


def hang_up(environ: _Environ) -> None:
    """Close the connection after the written data is sent."""
    _shut_down(environ, socket.SHUT_RDWR)


def _content_encoding(environ: _Environ) -> str:
    encoding: str = environ.get("HTTP_CONTENT_ENCODING", "")
    return encoding.strip().lower()


def _read(environ: _Environ, max_bytes: int) -> bytes:
    announced = _announced(environ)
    if announced is not None and announced > max_bytes:
        raise _too_large(max_bytes)
    if announced is None and not environ.get("wsgi.input_terminated"):
        return b""  # Neither a length nor chunks: reading would wait forever.
    _wait_up_to(environ, _READ_SECONDS)
    try:
        body: bytes = environ["wsgi.input"].read(max_bytes + 1 if announced is None else announced)
    except TimeoutError:
        raise ApiError(
            ErrorCode.REQUEST_TIMEOUT, f"expected the body, got nothing for {_READ_SECONDS:g} seconds; send it again"
        ) from None
    except Exception as error:  # noqa: BLE001 servers have different exceptions for broken chunks
        raise ApiError(
            ErrorCode.INCOMPLETE_BODY,
            f"expected a complete body, but reading it failed ({type(error).__name__}); send it again",
        ) from None
    if len(body) > max_bytes:
        raise _too_large(max_bytes)
    if announced is not None and len(body) < announced:
        raise ApiError(
            ErrorCode.INCOMPLETE_BODY, f"expected {announced} bytes (Content-Length), got {len(body)}; send it again"
        )
    _wait_up_to(environ, _WRITE_SECONDS)
    return body


def _wait_up_to(environ: _Environ, seconds: float) -> None:
    if connection := environ.get(_CONNECTION):
        connection.settimeout(seconds)


def _shut_down(environ: _Environ, how: int) -> None:
    if connection := environ.get(_CONNECTION):
        with contextlib.suppress(OSError):  # The client may have gone.
            connection.shutdown(how)


def _announced(environ: _Environ) -> int | None:
    """The Content-Length; None if it is missing or overruled by chunks (RFC 9112, 6.3)."""
    text = environ.get("CONTENT_LENGTH") or ""
    if environ.get("HTTP_TRANSFER_ENCODING") or not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ApiError(ErrorCode.BAD_REQUEST, f"expected a number as Content-Length, got {text[:100]!r}; correct it")
    return int(text)


def _unpacked(body: bytes, max_bytes: int) -> bytes:
    """Unpack gzip data of one or more members; at most max_bytes + 1 bytes are made of it."""
    parts: list[bytes] = []
    size = 0
    while body:
        if len(parts) == _MAX_GZIP_MEMBERS:
            raise ApiError(
                ErrorCode.INVALID_GZIP, f"expected at most {_MAX_GZIP_MEMBERS} gzip members, got more; send one"
            )
        unpacker = zlib.decompressobj(_GZIP_WINDOW)
        try:
            part = unpacker.decompress(body, max_bytes + 1 - size)
        except zlib.error as error:
            raise ApiError(ErrorCode.INVALID_GZIP, f"expected gzip data, got invalid data ({error})") from None
        parts.append(part)
        size += len(part)
        if size > max_bytes:
            raise _too_large(max_bytes)
        if not unpacker.eof:
            raise ApiError(ErrorCode.INVALID_GZIP, "expected complete gzip data, but its end is missing; send it again")
        body = unpacker.unused_data
    return b"".join(parts)


def _too_large(max_bytes: int) -> ApiError:
    return ApiError(
        ErrorCode.BODY_TOO_LARGE, f"expected a body of at most {max_bytes} bytes, got more; send fewer texts at a time"
    )
