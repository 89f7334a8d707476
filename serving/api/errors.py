"""What a server refuses: one table from errors to statuses and codes, and the JSON that says so."""

import enum
import errno
import json
from collections.abc import Mapping
from types import MappingProxyType

from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from textclf.errors import InputError

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class ErrorCode(enum.Enum):
    """Every kind of refusal: its status, and when it comes. The name in lower case is the code that clients see."""

    EMPTY_BODY = 400, "The body is empty."
    INCOMPLETE_BODY = 400, "The body ended before it was complete, or its chunks are broken."
    INVALID_GZIP = 400, "The body is not the gzip data that Content-Encoding announces, or has too many members."
    INVALID_UTF8 = 400, "The body is not UTF-8."
    INVALID_JSON = (
        400,
        "The body, or a line of it, is not JSON, is nested too deeply to be read, or has a number of too many digits.",
    )
    INVALID_CSV = 400, "The body is not CSV (RFC 4180)."
    BAD_REQUEST = 400, "The request breaks a rule of HTTP."
    UNAUTHORIZED = 401, "The key is missing or wrong."
    NOT_FOUND = 404, "There is no such path."
    METHOD_NOT_ALLOWED = 405, "The path does not take this method; the header Allow names those it takes."
    REQUEST_TIMEOUT = 408, "The body came too slowly."
    BODY_TOO_LARGE = 413, "The body, unpacked, has more than MAX_BODY_BYTES."
    UNSUPPORTED_MEDIA_TYPE = 415, "The path does not take this content type, or not this character set."
    UNSUPPORTED_ENCODING = 415, "The content encoding is another than gzip."
    WRONG_SHAPE = 422, "The body has another shape than the path takes: a key or a type is wrong."
    DUPLICATE_KEY = 422, "A JSON object has the same key twice."
    EMPTY_LIST = 422, "There is no text in the list."
    TOO_MANY_TEXTS = 422, "There are more than MAX_BATCH texts."
    TEXT_TOO_LONG = 422, "A text has more than MAX_TEXT_CHARS characters."
    INVALID_TEXT = 422, "A text is not well-formed Unicode: half of a surrogate pair."
    BLANK_TEXT = 422, "A review to store is blank."
    UNKNOWN_LABEL = 422, "The label is no class of the model."
    EXPLAIN_UNAVAILABLE = 422, "Explanations are not available."
    TOO_MANY_REQUESTS = (
        429,
        "The worker has MAX_CONCURRENT requests in hand, or lists with twice MAX_BATCH texts; "
        "Retry-After says when to come again.",
    )
    INTERNAL_ERROR = 500, "A fault of the server; its log has the reason under the request's id."
    NOT_READY = 503, "The model is not loaded yet."
    QUOTA_EXCEEDED = 507, "The stored reviews take NEW_DATA_MAX_BYTES of disk space."
    DISK_FULL = 507, "The disk for reviews is full."
    STORAGE_UNAVAILABLE = 507, "The folder for reviews can't be written; the server's log says why."

    def __init__(self, status: int, meaning: str) -> None:
        self.status = status
        self.meaning = meaning

    @property
    def code(self) -> str:
        """What clients see."""
        return self.name.lower()


# The first class that fits; anything else is an INTERNAL_ERROR.
_KINDS: tuple[tuple[type[Exception], ErrorCode], ...] = (
    (NotFound, ErrorCode.NOT_FOUND),
    (MethodNotAllowed, ErrorCode.METHOD_NOT_ALLOWED),
    (HTTPException, ErrorCode.BAD_REQUEST),
    (InputError, ErrorCode.INVALID_TEXT),
)
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}


class ApiError(Exception):
    """A request that is not served.

    Args:
        kind: a row of the table.
        message: what was expected, what came, and what to do.
        headers: of the answer, beside the usual ones.
    """

    def __init__(self, kind: ErrorCode, message: str, headers: Mapping[str, str] = _NO_HEADERS) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.headers = headers


def api_error_of(error: Exception) -> ApiError:
    """What a client is told of an exception; of an unforeseen one only that there was one."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        return ApiError(ErrorCode.DISK_FULL, "the disk for reviews is full; nothing was stored, try again later")
    for exception_class, kind in _KINDS:
        if isinstance(error, exception_class):
            headers = _NO_HEADERS
            if isinstance(error, MethodNotAllowed) and error.valid_methods:
                headers = {"Allow": ", ".join(sorted(error.valid_methods))}
            message = str(error) if isinstance(error, InputError) else kind.meaning[:-1]
            return ApiError(kind, message, headers)
    return ApiError(ErrorCode.INTERNAL_ERROR, ErrorCode.INTERNAL_ERROR.meaning[:-1])


def error_body(kind: ErrorCode, message: str) -> bytes:
    """The JSON of a refusal."""
    return json.dumps({"error": {"code": kind.code, "message": message}}, ensure_ascii=False).encode(
        "utf-8", errors="replace"
    )
