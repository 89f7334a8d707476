"""The routes of the Open Inference Protocol below /v2; serving/api/inference_protocol.py has its bodies.

The model has the name in MODEL_NAME. A path with a version is that of the served one; the others are not found.
Errors of these routes have the protocol's form, {"error": str}.
"""

import functools
from collections.abc import Callable, Sequence
from http import HTTPStatus

from flask import Flask, Response, request
from werkzeug.exceptions import NotFound

import textclf
from serving.api.concurrency import RequestSlots
from serving.api.errors import ApiError, ErrorCode
from serving.api.headers import INFERENCE_HEADER_LENGTH
from serving.api.inference_protocol import EXTENSIONS, model_metadata, parse_infer_request, render_infer_response
from serving.api.request_body import BINARY, JSON, bytes_of_body
from serving.api.requests import Limits
from serving.api.responses import json_body
from serving.guarded_posts import GuardedPosts
from serving.model.model_holder import ModelHolder
from serving.observability.middleware import record_of
from serving.observability.request_record import RequestRecord
from serving.settings import Settings
from textclf.runtime.prediction import Prediction
from textclf.runtime.predictor import Predictor

ROOT = "/v2"
MODEL = f"{ROOT}/models/<model>"
VERSION = f"{MODEL}/versions/<version>"
SERVER_NAME = "textclf"
_MAX_SHOWN = 100


def is_of_protocol(path: str) -> bool:
    """Return whether a path is below /v2."""
    return path == ROOT or path.startswith(f"{ROOT}/")


def protocol_error_body(_code: ErrorCode, message: str) -> bytes:
    """Return the body of an error in the protocol's form."""
    return json_body({"error": message.encode("utf-8", errors="replace").decode("utf-8")})


def note_route() -> None:
    """Note the route of the current request in its record.

    Raises:
        NotFound: if the path is spelled in another way than the route; werkzeug takes //metrics for /metrics.
    """
    if request.url_rule is not None:
        rule, path = request.url_rule.rule, request.environ["PATH_INFO"]
        if (rule != path and not request.view_args) or "//" in path:
            raise NotFound
        record_of(request.environ).route = rule


class ProtocolViews:
    """The views.

    Args:
        holder: has the model that is served.
        posts: runs the views of POST requests.
        slots: of requests for predictions.
        limits: those of every request.
        ready: returns the model if the server is ready; else it raises an ApiError.
        predict: scores and logs texts.
    """

    def __init__(
        self,
        settings: Settings,
        holder: ModelHolder,
        posts: GuardedPosts,
        slots: RequestSlots,
        limits: Limits,
        ready: Callable[[], Predictor],
        predict: Callable[[RequestRecord, Predictor, list[str]], Sequence[Prediction]],
    ) -> None:
        self._name = settings.model_name
        self._holder = holder
        self._posts = posts
        self._slots = slots
        self._limits = limits
        self._ready = ready
        self._predict = predict

    def register(self, app: Flask) -> None:
        """Add the routes to an app."""
        app.add_url_rule(ROOT, ROOT, self.server, methods=["GET"])
        app.add_url_rule(f"{ROOT}/health/live", f"{ROOT}/health/live", self.live, methods=["GET"])
        app.add_url_rule(f"{ROOT}/health/ready", f"{ROOT}/health/ready", self.ready, methods=["GET"])
        for path in (MODEL, VERSION):
            app.add_url_rule(path, path, self.metadata, methods=["GET"])
            app.add_url_rule(f"{path}/ready", f"{path}/ready", self.model_ready, methods=["GET"])
            app.add_url_rule(f"{path}/infer", f"{path}/infer", self.infer, methods=["POST"])

    def server(self) -> Response:
        """GET /v2: name and version of the software, and the extensions of the protocol."""
        return _response({"name": SERVER_NAME, "version": _version(), "extensions": EXTENSIONS})

    def live(self) -> Response:
        """GET /v2/health/live: 200 if the process responds."""
        return _response({"live": True})

    def ready(self) -> Response:
        """GET /v2/health/ready: 200 if the model is ready and the server is not draining."""
        self._ready()
        return _response({"live": True, "ready": True})

    def model_ready(self, model: str, version: str | None = None) -> Response:
        """GET …/ready: as /v2/health/ready, for the model of the path."""
        self._check(self._ready(), model, version)
        return _response({"name": model, "ready": True})

    def metadata(self, model: str, version: str | None = None) -> Response:
        """GET the metadata of the model."""
        predictor = self._holder.predictor
        self._check(predictor, model, version)
        return _response(model_metadata(self._name, predictor))

    def infer(self, model: str, version: str | None = None) -> Response:
        """POST …/infer."""
        post = functools.partial(self._infer, model, version)
        return self._posts.respond(post, (JSON, BINARY, ""), self._slots, bytes_of_body)

    def _infer(
        self,
        model: str,
        version: str | None,
        record: RequestRecord,
        predictor: Predictor,
        _content_type: str,
        content: bytes,
    ) -> Response:
        self._check(predictor, model, version)
        header_length = request.environ.get("HTTP_INFERENCE_HEADER_CONTENT_LENGTH")
        parsed = parse_infer_request(content, header_length, self._limits)
        del content  # Up to MAX_BODY_BYTES, and the texts are copies.
        predictions = self._predict(record, predictor, parsed.texts)
        body, json_bytes = render_infer_response(parsed, predictions, predictor, self._name)
        response = Response(body, content_type=JSON if json_bytes is None else BINARY)
        if json_bytes is not None:
            response.headers[INFERENCE_HEADER_LENGTH] = str(json_bytes)
        return response

    def _check(self, predictor: Predictor, model: str, version: str | None) -> None:
        """Check that the path is that of the served model.

        Raises:
            ApiError: if it is not.
        """
        if model != self._name:
            raise ApiError(
                ErrorCode.NOT_FOUND,
                f"model: expected {self._name} (MODEL_NAME), got {model[:_MAX_SHOWN]!r}; correct the path",
            )
        if version is not None and version != predictor.version_id:
            raise ApiError(
                ErrorCode.NOT_FOUND,
                f"version: expected {predictor.version_id or 'none'}, which is served, got {version[:_MAX_SHOWN]!r}; "
                f"correct the path, or leave the version out",
            )


@functools.cache  # Reading it takes as long as a prediction.
def _version() -> str:
    return textclf.__version__


def _response(body: object) -> Response:
    return Response(json_body(body), HTTPStatus.OK, content_type=JSON)
