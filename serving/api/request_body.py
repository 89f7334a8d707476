"""From a WSGI request to the text of its body: size, content type, character set, encoding.

Nothing of a body is looked at before its announced size is in bounds, and nothing is unpacked beyond them. Where the
server shows the connection (gthread does), no read waits for ever for a client that sends nothing.
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
JSON_LINES = "application/jsonlines"
_OTHER_NAMES = {
    "application/x-ndjson": JSON_LINES,
    "application/jsonl": JSON_LINES,
    "application/x-jsonlines": JSON_LINES,
}
_UTF8 = {"utf-8", "utf8"}
_GZIP = {"gzip", "x-gzip"}
# 16 + the largest window: gzip's header and checksum are expected and checked.
_GZIP_WINDOW = 16 + zlib.MAX_WBITS
# Each costs as much as a copy of all that follows it. Programs that pack in parallel make one of 64 KiB and more.
_MAX_GZIP_MEMBERS = 100
_BLOCK_BYTES = 64 * 1024
# Where gthread puts the socket; behind nginx a request is whole before it is read (serving/server/scgi_worker.py).
_CONNECTION = "gunicorn.socket"
# A client that sends nothing for so long is given up, as nginx does, and so is one that does not take its answer.
_READ_SECONDS = 15.0
_ANSWER_SECONDS = 60.0
# So much of a refused body is read and dropped, so that a client which sends first and then listens sees the answer.
_DISCARD_BYTES = 16 * 1024**2
_DISCARD_SECONDS = 1.0

_Environ = Mapping[str, Any]


def media_type(environ: _Environ, taken: Collection[str]) -> str:
    """Which of the content types `taken` (JSON, CSV, JSON_LINES) the body has.

    Raises:
        ApiError: none of them, no content type at all, or a character set other than UTF-8.
    """
    header = environ.get("CONTENT_TYPE", "")
    if header == JSON:  # Nearly always.
        return JSON
    name, parameters = parse_options_header(header)
    kind = _OTHER_NAMES.get(name.lower(), name.lower())
    if kind not in taken:
        raise ApiError(
            ErrorCode.UNSUPPORTED_MEDIA_TYPE,
            f"expected the content type {' or '.join(taken)}, got {header[:100] or 'none'}; set Content-Type",
        )
    charset = parameters.get("charset", "utf-8")
    if charset.lower() not in _UTF8:
        raise ApiError(
            ErrorCode.UNSUPPORTED_MEDIA_TYPE, f"expected the character set utf-8, got {charset[:100]}; send UTF-8"
        )
    if kind == CSV and parameters.get("header", "").lower() == "present":
        raise ApiError(
            ErrorCode.UNSUPPORTED_MEDIA_TYPE, "expected CSV without a header, got header=present; send texts only"
        )
    return kind


def read_text(environ: _Environ, most: int) -> str:
    """The body, unpacked and decoded.

    Args:
        environ: of the request; its content type is taken to be right.
        most: bytes it may have, as sent and unpacked.

    Raises:
        ApiError: it is too large, too slow, empty, not whole, not packed as announced, or not UTF-8.
    """
    encoding = environ.get("HTTP_CONTENT_ENCODING", "").strip().lower()
    if encoding not in _GZIP and encoding not in ("", "identity"):
        raise ApiError(
            ErrorCode.UNSUPPORTED_ENCODING,
            f"expected the content encoding gzip or none, got {encoding[:100]}; send it so",
            {"Accept-Encoding": "gzip"},
        )
    body = _read(environ, most)
    if encoding in _GZIP:
        body = _unpacked(body, most)
    if not body:
        raise ApiError(ErrorCode.EMPTY_BODY, "expected a body, got an empty one")
    try:
        return body.removeprefix(codecs.BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ApiError(
            ErrorCode.INVALID_UTF8, f"expected UTF-8, got {error.reason} at byte {error.start}; send UTF-8"
        ) from None


def has_body(environ: _Environ) -> bool:
    """Whether the request announces a body."""
    return environ.get("CONTENT_LENGTH") not in (None, "", "0") or "HTTP_TRANSFER_ENCODING" in environ


def discard_rest(environ: _Environ) -> bool:
    """Read and drop what is left of the body, within bounds: whether its end has come.

    If it has not, the next request on the connection can't be told from the body's rest: hang_up().
    """
    end = time.monotonic() + _DISCARD_SECONDS
    _wait_up_to(environ, _DISCARD_SECONDS)
    with contextlib.suppress(Exception):  # Each server has classes of its own for a broken body; it is dropped anyway.
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
    """End a wait for more of the body, in whatever thread it is."""
    _shut_down(environ, socket.SHUT_RD)


def hang_up(environ: _Environ) -> None:
    """End the connection once what was written to it is sent."""
    _shut_down(environ, socket.SHUT_RDWR)


def _read(environ: _Environ, most: int) -> bytes:
    announced = _announced(environ)
    if announced is not None and announced > most:
        raise _too_large(most)
    if announced is None and not environ.get("wsgi.input_terminated"):
        return b""  # Neither a length nor chunks: there is no body, and reading would wait for ever.
    _wait_up_to(environ, _READ_SECONDS)
    try:
        body: bytes = environ["wsgi.input"].read(most + 1 if announced is None else announced)
    except TimeoutError:
        raise ApiError(
            ErrorCode.REQUEST_TIMEOUT, f"expected the body, got nothing for {_READ_SECONDS:g} seconds; send it again"
        ) from None
    except Exception as error:  # noqa: BLE001 each server has classes of its own for broken chunks
        raise ApiError(
            ErrorCode.INCOMPLETE_BODY,
            f"expected a whole body, but reading it failed ({type(error).__name__}); send it again",
        ) from None
    if len(body) > most:
        raise _too_large(most)
    if announced is not None and len(body) < announced:
        raise ApiError(
            ErrorCode.INCOMPLETE_BODY,
            f"expected {announced} bytes, as Content-Length says, got {len(body)}; send it again",
        )
    _wait_up_to(environ, _ANSWER_SECONDS)
    return body


def _wait_up_to(environ: _Environ, seconds: float) -> None:
    """Let no read from the client, and no write to it, take longer."""
    if connection := environ.get(_CONNECTION):
        connection.settimeout(seconds)


def _shut_down(environ: _Environ, how: int) -> None:
    if connection := environ.get(_CONNECTION):
        with contextlib.suppress(OSError):  # The client may have gone.
            connection.shutdown(how)


def _announced(environ: _Environ) -> int | None:
    """The Content-Length; None if there is none. Chunks go before it (RFC 9112, 6.3)."""
    text = environ.get("CONTENT_LENGTH") or ""
    if environ.get("HTTP_TRANSFER_ENCODING") or not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ApiError(ErrorCode.BAD_REQUEST, f"expected a number as Content-Length, got {text[:100]!r}")
    return int(text)


def _unpacked(body: bytes, most: int) -> bytes:
    """The content of gzip data, of one member or several; never more than `most` bytes are made of it."""
    parts: list[bytes] = []
    size = 0
    while body:
        if len(parts) == _MAX_GZIP_MEMBERS:
            raise ApiError(
                ErrorCode.INVALID_GZIP, f"expected at most {_MAX_GZIP_MEMBERS} gzip members, got more; pack it as one"
            )
        unpacker = zlib.decompressobj(_GZIP_WINDOW)
        try:
            part = unpacker.decompress(body, most + 1 - size)
        except zlib.error as error:
            raise ApiError(ErrorCode.INVALID_GZIP, f"expected gzip data, got something else ({error})") from None
        parts.append(part)
        size += len(part)
        if size > most:
            raise _too_large(most)
        if not unpacker.eof:
            raise ApiError(ErrorCode.INVALID_GZIP, "expected whole gzip data, but its end is missing; send it again")
        body = unpacker.unused_data
    return b"".join(parts)


def _too_large(most: int) -> ApiError:
    return ApiError(ErrorCode.BODY_TOO_LARGE, f"expected a body of at most {most} bytes; send fewer texts at a time")
