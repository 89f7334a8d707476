"""The checks before the view of a POST: key, model, slot, content type and body, in this order."""

import functools
import io
from collections.abc import Callable, Collection
from typing import Any, TypeVar

from flask import Response, request

from serving.api.auth import check_api_key
from serving.api.concurrency import Permit, RequestSlots
from serving.api.deadline import Deadline
from serving.api.request_body import media_type, read_body, stop_reading, text_of_body
from serving.model.model_holder import ModelHolder
from serving.observability.middleware import record_of
from serving.observability.request_record import RequestRecord
from serving.settings import Settings
from textclf.runtime.predictor import Predictor

_Content = TypeVar("_Content")
# Handles a POST: record of the request, model, content type, content of the body.
_View = Callable[[RequestRecord, Predictor, str, _Content], Response]
Post = _View[str]
# Makes the content of the environ, the bytes of the body and MAX_BODY_BYTES.
_Decode = Callable[[dict[str, Any], bytes, int], _Content]


class GuardedPosts:
    """Runs the views of POST requests.

    Args:
        holder: has the model that is served.
    """

    def __init__(self, settings: Settings, holder: ModelHolder) -> None:
        self._settings = settings
        self._holder = holder
        self._key = settings.api_key.encode("ascii")

    def view(self, post: Post, accepted: Collection[str], slots: RequestSlots) -> Callable[[], Response]:
        """Return the view of a route whose body is text; for the arguments see respond()."""
        return functools.partial(self.respond, post, accepted, slots, text_of_body)

    def respond(
        self,
        post: _View[_Content],
        accepted: Collection[str],
        slots: RequestSlots,
        decode: _Decode[_Content],
    ) -> Response:
        """Return the response to the current request.

        Args:
            post: makes the response.
            accepted: content types; "" accepts a request without one.
            slots: limit the concurrent requests.
            decode: makes the content from the body.

        Raises:
            ApiError: if the request is refused.
        """
        environ = request.environ
        check_api_key(environ, self._key)
        predictor = self._holder.predictor
        with slots.acquire() as permit:
            content_type = media_type(environ, accepted)
            return post(record_of(environ), predictor, content_type, self._content(environ, permit, decode))

    def _content(self, environ: dict[str, Any], permit: Permit, decode: _Decode[_Content]) -> _Content:
        """Return the content of the body; its bytes are free again while the texts are scored."""
        with permit.waiting_for_client(functools.partial(stop_reading, environ)):
            body = read_body(environ, self._settings.max_body_bytes)
        record_of(environ).body_is_read = True
        environ["wsgi.input"] = io.BytesIO()  # The stream may hold the body (serving/server/scgi_worker.py).
        Deadline(environ, self._settings.model_server_timeout).check()
        return decode(environ, body, self._settings.max_body_bytes)
