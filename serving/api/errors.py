"""Errors of the HTTP API: one table of codes and statuses, the mapping of exceptions to it, and their JSON."""

import enum
import errno
import json
import traceback
from collections.abc import Mapping
from types import MappingProxyType

from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from serving.settings import MAX_DRAWS, MAX_FEEDBACK, MAX_GETS, MAX_SCRAPES
from textclf.errors import (
    AlreadyLabelledError,
    InputError,
    InvalidDrawError,
    PredictionLogError,
    RuleError,
    StorageQuotaError,
    StorageUnavailableError,
    TextClfError,
    TextTooLongError,
    UnknownLabelError,
)

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class ErrorCode(enum.Enum):
    """Every error of the app: its HTTP status and its meaning; nginx adds three (serving/server/programs.py)."""

    EMPTY_BODY = 400, "The body is empty."
    INCOMPLETE_BODY = 400, "The body ended too early, or its chunks are broken (behind nginx: `bad_request`)."
    INVALID_GZIP = 400, "The body is not gzip data, as Content-Encoding announces, or has too many gzip members."
    INVALID_UTF8 = 400, "The body is not UTF-8."
    INVALID_JSON = (
        400,
        "The body, or a line of it, is not JSON, is nested too deeply, or has a number with too many digits.",
    )
    INVALID_CSV = 400, "The body is not CSV (RFC 4180)."
    BAD_REQUEST = 400, "The request breaks a rule of HTTP."
    UNAUTHORIZED = 401, "The API key is missing or wrong."
    REVIEW_NEEDS_KEY = 403, "Logged texts to label need API_KEY, unless HOST is a loopback address."
    NOT_FOUND = 404, "There is no such path."
    METHOD_NOT_ALLOWED = 405, "The path does not allow this method; the Allow header lists the allowed ones."
    REQUEST_TIMEOUT = 408, "The body arrived too slowly. nginx closes the connection instead."
    BODY_TOO_LARGE = 413, "The body, unpacked, has more than MAX_BODY_BYTES."
    UNSUPPORTED_MEDIA_TYPE = 415, "The path does not accept this content type or character set."
    UNSUPPORTED_ENCODING = 415, "The content encoding is not gzip."
    WRONG_SHAPE = (
        422,
        "The body, or X-Amzn-SageMaker-Custom-Attributes, has a key, a type or a value that the path does not accept.",
    )
    DUPLICATE_KEY = 422, "A JSON object has the same key twice."
    EMPTY_LIST = 422, "The list has no texts."
    TOO_MANY_TEXTS = 422, "The request has more than MAX_BATCH texts."
    TEXT_TOO_LONG = 422, "A text has more than MAX_TEXT_CHARS characters, before or after Unicode normalisation (NFKC)."
    TOO_MUCH_WORK = (
        422,
        "The texts have more than MAX_REQUEST_WORDPIECES wordpieces, take more time than MODEL_SERVER_TIMEOUT on an "
        "idle worker, or can't all be explained in EXPLAIN_SECONDS.",
    )
    INVALID_TEXT = 422, "A text is not well-formed Unicode: it has half of a surrogate pair."
    BLANK_TEXT = 422, "The review to store is blank."
    UNKNOWN_LABEL = (
        422,
        "The label of a review is neither a class of the model nor `(other)`, or a class to explain is not a class of "
        "the model.",
    )
    EXPLAIN_UNAVAILABLE = 422, "EXPLAIN is off, or the model has no engine, so it can't be explained."
    INVALID_DRAW = 422, "The server did not sign this draw for this text and version, or the signature has expired."
    REVIEW_UNAVAILABLE = 422, "There are no texts to label, because the server logs none: PREDICTION_LOG_TEXT is off."
    ALREADY_LABELLED = 409, "The draw has a label already."
    TOO_MANY_REQUESTS = (
        429,
        "The worker is busy with MAX_CONCURRENT predictions, half as many lists and long texts, MAX_WORKER_WORDPIECES "
        f"wordpieces, or texts for the rest of MODEL_SERVER_TIMEOUT. Or it handles {MAX_FEEDBACK} reviews, "
        f"{MAX_SCRAPES} requests for /metrics, {MAX_GETS} other GETs that read files, {MAX_DRAWS} for texts to label, "
        "or EXPLAIN_CONCURRENT for explanations. Or nginx holds bodies of MAX_PENDING_BODY_BYTES, or one address has "
        "half of these or of the connections. Retry after the seconds in "
        "Retry-After.",
    )
    CLIENT_GONE = 499, "The client closed the connection before the response; only log and metrics have this status."
    INTERNAL_ERROR = 500, "The server failed; its log has the reason under the request's id."
    RULE_FAILED = 500, "A rule of the operator failed; the server's log has the reason under the request's id."
    NOT_READY = 503, "The model is not loaded yet."
    DRAINING = 503, "The server is about to stop; it still responds to other requests."
    LOG_UNAVAILABLE = 503, "The prediction log can't be read; the server's log has the reason."
    TIMED_OUT = 503, "The response took more than MODEL_SERVER_TIMEOUT; from the app, or from nginx."
    QUOTA_EXCEEDED = 507, "The stored reviews take NEW_DATA_MAX_BYTES of disk space."
    DISK_FULL = 507, "The disk for reviews is full."
    STORAGE_UNAVAILABLE = 507, "The folder for reviews can't be read or written; the server's log has the reason."

    def __init__(self, status: int, meaning: str) -> None:
        self.status = status
        self.meaning = meaning

    @property
    def public_name(self) -> str:
        """The `code` that clients see."""
        return self.name.lower()


# The first class that fits counts; any other exception is an INTERNAL_ERROR.
_EXCEPTION_CODES: tuple[tuple[type[Exception], ErrorCode], ...] = (
    (NotFound, ErrorCode.NOT_FOUND),
    (MethodNotAllowed, ErrorCode.METHOD_NOT_ALLOWED),
    (HTTPException, ErrorCode.BAD_REQUEST),
    (InvalidDrawError, ErrorCode.INVALID_DRAW),
    (AlreadyLabelledError, ErrorCode.ALREADY_LABELLED),
    (UnknownLabelError, ErrorCode.UNKNOWN_LABEL),
    (TextTooLongError, ErrorCode.TEXT_TOO_LONG),
    (InputError, ErrorCode.INVALID_TEXT),
    (StorageQuotaError, ErrorCode.QUOTA_EXCEEDED),
    (RuleError, ErrorCode.RULE_FAILED),
    (PredictionLogError, ErrorCode.LOG_UNAVAILABLE),
    (StorageUnavailableError, ErrorCode.STORAGE_UNAVAILABLE),
)
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
# The exception's own message names a folder of the server.
_STORAGE_MESSAGE = (
    "the server can't use its folder for reviews, and nothing was stored; ask its operator to fix the folder, then "
    "send the request again"
)


class ApiError(Exception):
    """An error to send to the client; the message says what was expected, what was received and what to do."""

    def __init__(self, code: ErrorCode, message: str, headers: Mapping[str, str] = _NO_HEADERS) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.headers = headers


def api_error_of(error: Exception) -> ApiError:
    """Return the error to send for an exception; an unexpected exception gives no details."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        return ApiError(ErrorCode.DISK_FULL, "the disk for reviews is full; nothing was stored, try again later")
    code = next((code for cause, code in _EXCEPTION_CODES if isinstance(error, cause)), ErrorCode.INTERNAL_ERROR)
    allowed = error.valid_methods if isinstance(error, MethodNotAllowed) else None
    headers = {"Allow": ", ".join(sorted(allowed))} if allowed else _NO_HEADERS
    message = code.meaning[:-1]
    if isinstance(error, InputError | StorageQuotaError):
        message = str(error)
    elif code is ErrorCode.STORAGE_UNAVAILABLE:
        message = _STORAGE_MESSAGE
    return ApiError(code, message, headers)


def error_body(code: ErrorCode, message: str) -> bytes:
    """Return the JSON of an error."""
    body = {"error": {"code": code.public_name, "message": message}}
    return json.dumps(body, ensure_ascii=False).encode("utf-8", errors="replace")


def redacted_traceback(error: BaseException) -> str:
    """Return the frames and classes of an exception and its causes, innermost cause first.

    Messages are left out, because they may quote users' texts. Those of a TextClfError name only files and settings,
    so they are kept, except an InputError's.
    """
    parts = []
    cause: BaseException | None = error
    seen: set[int] = set()
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        frames = "".join(traceback.format_tb(cause.__traceback__))
        message = f": {cause}" if isinstance(cause, TextClfError) and not isinstance(cause, InputError) else ""
        parts.append(f"{frames}{type(cause).__module__}.{type(cause).__qualname__}{message}")
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return "\n-- which led to --\n".join(reversed(parts))
