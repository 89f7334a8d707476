"""One record per request: the app fills it, metrics and the access log read it at the end.

This is a WSGI middleware and not a hook of Flask, because it must also see failures before and after the views.
"""

import contextlib
import functools
import logging
import re
import time
import uuid
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from werkzeug.wsgi import ClosingIterator

from serving.api.concurrency import RequestSlots
from serving.api.deadline import CONNECTION, is_client_gone
from serving.api.errors import ApiError, ErrorCode, redacted_traceback
from serving.api.request_body import discard_rest, hang_up, has_body, stop_reading
from serving.observability.request_record import RequestRecord, public_method
from serving.settings import MAX_DISCARDS

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from serving.observability.tracing import RequestTrace

_RECORD = "textclf.request"
_REQUEST_ID = re.compile(r"[0-9A-Za-z._:-]{1,128}", re.ASCII)
_DISCARD_PATIENCE = 3.0
# After these errors the start of the next request on the connection is unknown.
_BREAKS = {ErrorCode.REQUEST_TIMEOUT.public_name, ErrorCode.INCOMPLETE_BODY.public_name}

_LOG = logging.getLogger(__name__)


def record_of(environ: "WSGIEnvironment") -> RequestRecord:
    """Return the record of the request with this environ."""
    record: RequestRecord = environ[_RECORD]
    return record


class RequestMiddleware:
    """A WSGI app that gives each request a record and an id. A failing observer is logged once and stops no request.

    `on_start` is called before each request, and each of `on_end` with the record when the response is ready to send.
    `begin_trace` makes the trace of the record; None: it has none.
    """

    def __init__(
        self,
        app: "WSGIApplication",
        on_start: Callable[[], None],
        on_end: Iterable[Callable[[RequestRecord], None]],
        begin_trace: "Callable[[WSGIEnvironment], RequestTrace] | None" = None,
    ) -> None:
        self._app = app
        self._on_start = on_start
        self._on_end = tuple(on_end)
        self._begin_trace = begin_trace
        self._failed: set[Callable[..., None]] = set()
        self._discard_slots = RequestSlots(MAX_DISCARDS, _DISCARD_PATIENCE)

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Serve a request."""
        start = time.perf_counter()
        record = environ[_RECORD] = _record(environ)
        if self._begin_trace is not None:
            record.trace = self._begin_trace(environ)

        def start_recorded(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            record.status = int(status[:3])
            headers.append(("X-Request-Id", record.request_id))
            return start_response(status, headers, exc_info)

        self._notify(self._on_start)
        try:
            response = self._app(environ, start_recorded)
        finally:
            record.seconds = time.perf_counter() - start
            record.is_left_to_nginx = CONNECTION in environ and is_client_gone(environ)
            for observe in self._on_end:
                self._notify(observe, record)
        if not record.body_is_read and has_body(environ):
            # Send the response first: a client may have announced more than it ever sends.
            return ClosingIterator(response, [lambda: self._finish_connection(environ, record)])
        return response

    def _notify(self, observe: Callable[..., None], *records: RequestRecord) -> None:
        try:
            observe(*records)
        except Exception as error:  # noqa: BLE001 the response matters more than its log line
            if observe not in self._failed:
                self._failed.add(observe)
                _LOG.error("requests are no longer counted or logged correctly\n%s", redacted_traceback(error))

    def _finish_connection(self, environ: "WSGIEnvironment", record: RequestRecord) -> None:
        """Discard the rest of a refused body, so that the connection can be reused; close it if that fails."""
        is_drained = False
        if record.error not in _BREAKS:
            with (
                contextlib.suppress(ApiError),
                self._discard_slots.acquire() as permit,
                permit.waiting_for_client(functools.partial(stop_reading, environ)),
            ):
                is_drained = discard_rest(environ)
        if not is_drained:
            hang_up(environ)


def _record(environ: "WSGIEnvironment") -> RequestRecord:
    request_id = environ.get("HTTP_X_REQUEST_ID", "")
    if not _REQUEST_ID.fullmatch(request_id):
        request_id = uuid.uuid4().hex
    path = environ.get("PATH_INFO", "")
    if not path.isascii():  # WSGI gives the bytes of a path as Latin-1.
        path = path.encode("latin-1", errors="replace").decode("utf-8", errors="replace")
    return RequestRecord(request_id, public_method(environ["REQUEST_METHOD"]), path)
