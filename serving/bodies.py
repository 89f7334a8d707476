"""From a WSGI request to the text of its body: size, content type, character set, encoding.

Nothing of a body is looked at before its announced size is in bounds, and nothing is unpacked beyond them.
"""

import codecs
import contextlib
import zlib
from collections.abc import Collection, Mapping
from typing import Any

from werkzeug.http import parse_options_header

from serving.errors import Kind, RefusedError

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
_BLOCK_BYTES = 64 * 1024
# So much of a refused body is read and dropped, so that a client which sends first and then listens sees the answer.
_DISCARD_BYTES = 16 * 1024**2

_Environ = Mapping[str, Any]


def media_type(environ: _Environ, taken: Collection[str]) -> str:
    """Which of the content types `taken` (JSON, CSV, JSON_LINES) the body has.

    Raises:
        RefusedError: none of them, no content type at all, or a character set other than UTF-8.
    """
    header = environ.get("CONTENT_TYPE", "")
    if header == JSON:  # Nearly always.
        return JSON
    name, parameters = parse_options_header(header)
    kind = _OTHER_NAMES.get(name.lower(), name.lower())
    if kind not in taken:
        raise RefusedError(
            Kind.UNSUPPORTED_MEDIA_TYPE,
            f"expected the content type {' or '.join(taken)}, got {header[:100] or 'none'}; set Content-Type",
        )
    charset = parameters.get("charset", "utf-8")
    if charset.lower() not in _UTF8:
        raise RefusedError(
            Kind.UNSUPPORTED_MEDIA_TYPE, f"expected the character set utf-8, got {charset[:100]}; send UTF-8"
        )
    if kind == CSV and parameters.get("header", "").lower() == "present":
        raise RefusedError(
            Kind.UNSUPPORTED_MEDIA_TYPE, "expected CSV without a header, got header=present; send texts only"
        )
    return kind


def read_text(environ: _Environ, most: int) -> str:
    """The body, unpacked and decoded.

    Args:
        environ: of the request; its content type is taken to be right.
        most: bytes it may have, as sent and unpacked.

    Raises:
        RefusedError: it is too large, empty, not whole, not packed as announced, or not UTF-8.
    """
    encoding = environ.get("HTTP_CONTENT_ENCODING", "").strip().lower()
    if encoding not in _GZIP and encoding not in ("", "identity"):
        raise RefusedError(
            Kind.UNSUPPORTED_ENCODING,
            f"expected the content encoding gzip or none, got {encoding[:100]}; send it so",
            {"Accept-Encoding": "gzip"},
        )
    body = _read(environ, most)
    if encoding in _GZIP:
        body = _unpacked(body, most)
    if not body:
        raise RefusedError(Kind.EMPTY_BODY, "expected a body, got an empty one")
    try:
        return body.removeprefix(codecs.BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError as error:
        raise RefusedError(
            Kind.INVALID_UTF8, f"expected UTF-8, got {error.reason} at byte {error.start}; send UTF-8"
        ) from None


def has_body(environ: _Environ) -> bool:
    """Whether the request announces a body."""
    return environ.get("CONTENT_LENGTH") not in (None, "", "0") or "HTTP_TRANSFER_ENCODING" in environ


def discard_rest(environ: _Environ) -> None:
    """Read and drop what is left of the body, within bounds; the connection may break meanwhile."""
    left = _DISCARD_BYTES
    if not environ.get("wsgi.input_terminated"):
        left = min(left, _announced(environ) or 0)
    stream = environ["wsgi.input"]
    with contextlib.suppress(Exception):  # Each server has classes of its own for a broken body; it is dropped anyway.
        while left > 0 and (block := stream.read(min(left, _BLOCK_BYTES))):
            left -= len(block)


def _read(environ: _Environ, most: int) -> bytes:
    announced = _announced(environ)
    if announced is not None and announced > most:
        raise _too_large(most)
    if announced is None and not environ.get("wsgi.input_terminated"):
        return b""  # Neither a length nor chunks: there is no body, and reading would wait for ever.
    try:
        body: bytes = environ["wsgi.input"].read(most + 1 if announced is None else announced)
    except Exception as error:  # noqa: BLE001 each server has classes of its own for broken chunks
        raise RefusedError(
            Kind.INCOMPLETE_BODY,
            f"expected a whole body, but reading it failed ({type(error).__name__}); send it again",
        ) from None
    if len(body) > most:
        raise _too_large(most)
    if announced is not None and len(body) < announced:
        raise RefusedError(
            Kind.INCOMPLETE_BODY,
            f"expected {announced} bytes, as Content-Length says, got {len(body)}; send it again",
        )
    return body


def _announced(environ: _Environ) -> int | None:
    """The Content-Length; None if there is none. Chunks go before it (RFC 9112, 6.3)."""
    text = environ.get("CONTENT_LENGTH") or ""
    if environ.get("HTTP_TRANSFER_ENCODING") or not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise RefusedError(Kind.BAD_REQUEST, f"expected a number as Content-Length, got {text[:100]!r}")
    return int(text)


def _unpacked(body: bytes, most: int) -> bytes:
    """The content of gzip data, of one member or several; never more than `most` bytes are made of it."""
    parts: list[bytes] = []
    size = 0
    while body:
        unpacker = zlib.decompressobj(_GZIP_WINDOW)
        try:
            part = unpacker.decompress(body, most + 1 - size)
        except zlib.error as error:
            raise RefusedError(Kind.INVALID_GZIP, f"expected gzip data, got something else ({error})") from None
        parts.append(part)
        size += len(part)
        if size > most:
            raise _too_large(most)
        if not unpacker.eof:
            raise RefusedError(Kind.INVALID_GZIP, "expected whole gzip data, but its end is missing; send it again")
        body = unpacker.unused_data
    return b"".join(parts)


def _too_large(most: int) -> RefusedError:
    return RefusedError(Kind.BODY_TOO_LARGE, f"expected a body of at most {most} bytes; send fewer texts at a time")
