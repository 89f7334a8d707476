"""One record a request, filled on its way through the app, counted and logged at its end.

A WSGI middleware rather than hooks of the framework: it also sees what fails before and after the views.
"""

import contextlib
import functools
import logging
import re
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from werkzeug.wsgi import ClosingIterator

from serving.api.concurrency import RequestSlots
from serving.api.errors import ApiError, ErrorCode
from serving.api.request_body import discard_rest, hang_up, has_body, stop_reading
from serving.api.tracebacks import redacted_traceback
from textclf.runtime.backend import Timings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_RECORD = "textclf.request"
UNKNOWN_ROUTE = "unknown"
_REQUEST_ID = re.compile(r"[0-9A-Za-z._:-]{1,128}", re.ASCII)
# The rests of so many refused bodies are waited for at a time; the threads of a server have better to do.
_DISCARDS = 3
_DISCARD_PATIENCE = 3.0
# After these nobody knows where the next request on the connection begins.
_BREAKS = {ErrorCode.REQUEST_TIMEOUT.code, ErrorCode.INCOMPLETE_BODY.code}
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})

_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class RequestRecord:
    """What is known of a request.

    Attributes:
        request_id: the client's X-Request-Id if it has a form that can be logged, else a new one.
        method: of HTTP; "other" for a made-up one.
        path: as asked for, without the query.
        route: the template of the path, of which there are few; UNKNOWN_ROUTE if no route takes it.
        status: of the answer; 0 until there is one.
        error: code of the refusal; "" if there was none.
        texts: that were scored or stored.
        tokens: wordpieces of the scored texts.
        truncated: texts that the model saw only a part of.
        linear: texts that the linear stage of a cascade answered; None without a cascade.
        model: name and version of what answered.
        scored: the scored texts themselves; logged only if asked for.
        timings: of the predictor; None if it was not called.
        body_is_read: whether the whole body was taken from the connection.
        seconds: from the call of the app, when all headers are there, until the answer is ready to be sent.
    """

    request_id: str
    method: str
    path: str
    route: str = UNKNOWN_ROUTE
    status: int = 0
    error: str = ""
    texts: int = 0
    tokens: int = 0
    truncated: int = 0
    linear: int | None = None
    model: str = ""
    scored: list[str] = field(default_factory=list)
    timings: Timings | None = None
    body_is_read: bool = False
    seconds: float = 0.0


def record_of(environ: "WSGIEnvironment") -> RequestRecord:
    """The record of the request that `environ` belongs to."""
    record: RequestRecord = environ[_RECORD]
    return record


class RequestMiddleware:
    """A WSGI app whose requests get a record and an id. An observer that fails stops no request; it is said once.

    Args:
        app: the app inside.
        on_start: called before each request.
        on_end: each is called with the record of a request whose answer is ready to be sent.
    """

    def __init__(
        self,
        app: "WSGIApplication",
        on_start: Callable[[], None],
        on_end: Iterable[Callable[[RequestRecord], None]],
    ) -> None:
        self._app = app
        self._on_start = on_start
        self._on_end = tuple(on_end)
        self._failed: set[Callable[..., None]] = set()
        self._discards = RequestSlots(_DISCARDS, _DISCARD_PATIENCE)

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Serve a request."""
        start = time.perf_counter()
        record = environ[_RECORD] = _record(environ)

        def start_observed(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            record.status = int(status[:3])
            headers.append(("X-Request-Id", record.request_id))
            return start_response(status, headers, exc_info)

        self._tell(self._on_start)
        try:
            response = self._app(environ, start_observed)
        finally:
            record.seconds = time.perf_counter() - start
            for observe in self._on_end:
                self._tell(observe, record)
        if not record.body_is_read and has_body(environ):
            # The answer goes out first: a client may have announced more than it ever sends.
            return ClosingIterator(response, [lambda: self._finish_connection(environ, record)])
        return response

    def _tell(self, observe: Callable[..., None], *what: RequestRecord) -> None:
        try:
            observe(*what)
        except Exception as error:  # noqa: BLE001 a full disk, say: the answer is worth more than its line
            if observe not in self._failed:
                self._failed.add(observe)
                _LOG.error("requests are no longer counted or logged as they should be\n%s", redacted_traceback(error))

    def _finish_connection(self, environ: "WSGIEnvironment", record: RequestRecord) -> None:
        """Read what is left of a refused body, so that the connection can be used again; else end it."""
        is_over = False
        if record.error not in _BREAKS:
            with (
                contextlib.suppress(ApiError),
                self._discards.taken() as slot,
                slot.waiting(functools.partial(stop_reading, environ)),
            ):
                is_over = discard_rest(environ)
        if not is_over:
            hang_up(environ)


def _record(environ: "WSGIEnvironment") -> RequestRecord:
    request_id = environ.get("HTTP_X_REQUEST_ID", "")
    if not _REQUEST_ID.fullmatch(request_id):
        request_id = uuid.uuid4().hex
    method = environ["REQUEST_METHOD"]
    path = environ.get("PATH_INFO", "")
    if not path.isascii():  # WSGI gives the bytes of a path as Latin-1.
        path = path.encode("latin-1", errors="replace").decode("utf-8", errors="replace")
    return RequestRecord(request_id, method if method in _METHODS else "other", path)
