"""The Flask app: which path does what. Everything else is in the files that it imports."""

import functools
import logging
import sys
from collections.abc import Callable, Collection
from http import HTTPStatus
from pathlib import Path
from typing import Any

from flask import Flask, Response, request

from inference import Inference
from serving.api.auth import check_api_key
from serving.api.concurrency import BatchBudget, RequestSlots
from serving.api.errors import ErrorCode, api_error_of, error_body
from serving.api.request_body import CSV, JSON, JSON_LINES, media_type, read_text, stop_reading
from serving.api.requests import Limits, parse_feedback_request, parse_predict_request
from serving.api.responses import answer, json_body, score_body
from serving.api.tracebacks import redacted_traceback
from serving.feedback_store import FeedbackStore
from serving.model.model_holder import ModelHolder
from serving.model.served_version import ServedVersion
from serving.observability.access_log import AccessLog
from serving.observability.metrics import CONTENT_TYPE as METRICS_TYPE
from serving.observability.metrics import Metrics
from serving.observability.middleware import RequestMiddleware, RequestRecord, record_of
from serving.openapi import openapi_document
from serving.prediction_logging.dual_scoring import DualScoringSampler
from serving.prediction_logging.log_rows import LogRowBuilder, projection_of_version
from serving.prediction_logging.recorder import PredictionRecorder
from serving.settings import Settings
from textclf.data.prediction_log.database_url import OFF
from textclf.data.prediction_log.prediction_log import PredictionLog
from textclf.runtime.backend import Timings
from textclf.runtime.predictor import Prediction, Predictor

_LOG = logging.getLogger(__name__)
# On one thread, texts of 64 tokens and more take as long together as one by one, while shorter ones gain up to a
# half from company; and the next request has to wait no longer than for one long text.
_TOKENS_PER_BATCH = 128
# A body that comes slowly gives way to another request after so many seconds, if there is no room for both.
_PATIENCE = 2.0
_OK = json_body({"status": "ok"})

# What a POST does with the content of its body: record of the request, the model, content type, content.
_Post = Callable[[RequestRecord, Predictor, str, str], Response]


def inference_of(settings: Settings, path: Path) -> Inference:
    """The model at `path` as a server needs it: on its share of the cores, and with few shapes to warm up."""
    return Inference(
        path,
        threads=settings.inference_threads,
        tokens_per_batch=_TOKENS_PER_BATCH,
        cascade=settings.cascade,
    )


def recorder_of(settings: Settings, metrics: Metrics) -> PredictionRecorder | None:
    """Records predictions as the settings ask for; None where they say not to."""
    if settings.prediction_log_url == OFF:
        return None
    log = PredictionLog(settings.prediction_log_url, settings.prediction_log_days, settings.prediction_log_rows)
    projection_of = functools.partial(projection_of_version, settings.model_path)
    sample = DualScoringSampler(settings.prediction_log_both_stages)
    return PredictionRecorder(log, LogRowBuilder(projection_of, settings.prediction_log_text, sample), metrics)


def create_app(settings: Settings, inference: Inference | None = None, served: ServedVersion | None = None) -> Flask:
    """The app, with a thread that looks for new versions where the model is a store.

    Args:
        settings: all there are.
        inference: used as it is; its model is loaded and warmed before this returns, if it is not yet. None loads
            that of the settings in the background, and answers 503 meanwhile.
        served: what the server's workers tell each other of the version they serve; None for a single process.

    Raises:
        TextClfError: the model of `inference` can't be loaded.
    """
    metrics = Metrics(settings.prometheus_multiproc_dir, settings.model_path)
    recorder = recorder_of(settings, metrics)

    def load(path: Path) -> Predictor:
        return inference_of(settings, path).predictor

    def on_loaded(new: Predictor, before: Predictor | None) -> None:
        metrics.model_loaded(new.name, new.version_id, (before.name, before.version_id) if before else None)
        if recorder is not None:
            recorder.model_loaded(new)
        if served is not None:
            served.record(new)

    holder = ModelHolder(
        settings.model_path if inference is None else Path(inference.model_path),
        load,
        on_loaded,
        metrics.swap_failed,
        settings.model_poll_seconds,
    )
    if inference is not None:
        holder.take(inference.predictor if served is None else served.first_predictor(inference, load))
    reviews = FeedbackStore(settings.new_data_dir, settings.new_data_max_bytes)
    service = Service(settings, holder, metrics, reviews, recorder)
    app = Flask(__name__, static_folder=None)
    # A path is what it is: no redirects to another spelling.
    app.url_map.merge_slashes = False
    app.url_map.strict_slashes = True
    service.register(app)
    app.extensions["textclf"] = service
    observed = RequestMiddleware(
        app.wsgi_app, metrics.request_started, (metrics.request_ended, AccessLog(sys.stdout, settings.log_text))
    )
    app.wsgi_app = observed  # type: ignore[method-assign]
    holder.start()
    if recorder is not None:
        recorder.start()
    return app


class Service:
    """The views, and what they share.

    Args:
        settings: of the server.
        holder: of the model.
        metrics: of this process.
        reviews: where feedback goes.
        recorder: of predictions; None where they are not logged.
    """

    def __init__(
        self,
        settings: Settings,
        holder: ModelHolder,
        metrics: Metrics,
        reviews: FeedbackStore,
        recorder: PredictionRecorder | None = None,
    ) -> None:
        self.settings = settings
        self.holder = holder
        self.metrics = metrics
        self.reviews = reviews
        self.recorder = recorder
        self.slots = RequestSlots(settings.max_concurrent, _PATIENCE)
        self.texts = BatchBudget(2 * settings.max_batch)
        self._limits = Limits(settings.max_text_chars, settings.max_batch)
        self._key = settings.api_key.encode("ascii")

    def stop(self, seconds: float) -> None:
        """End the threads, and write what is not logged yet; each gets so many seconds."""
        self.holder.stop(seconds)
        if self.recorder is not None:
            self.recorder.stop(seconds)

    def register(self, app: Flask) -> None:
        """Add all routes and the handler of errors to an app."""
        gets: dict[str, Callable[[], Response]] = {
            "/ping": self.ready,
            "/health/live": self.live,
            "/health/ready": self.ready,
            "/health_check": self.ready,
            "/info": self.info,
            "/metrics": self.metrics_text,
            "/openapi.json": self.openapi,
        }
        posts: dict[str, tuple[_Post, Collection[str]]] = {
            "/predict": (self.predict, (JSON,)),
            "/invocations": (self.invocations, (JSON, CSV, JSON_LINES)),
            "/invocations/predict": (self.score, (JSON,)),
            "/feedback": (self.feedback, (JSON,)),
        }
        for path, get in gets.items():
            app.add_url_rule(path, path, get, methods=["GET"])
        for path, (post, taken) in posts.items():
            app.add_url_rule(path, path, self._guarded(post, taken), methods=["POST"])
        app.before_request(_note_route)
        app.register_error_handler(Exception, self.refuse)

    def predict(self, record: RequestRecord, predictor: Predictor, kind: str, content: str) -> Response:
        """POST /predict."""
        question = parse_predict_request(content, kind, self._limits, ("text", "X"))
        predictions = self._predict(record, predictor, question.texts)
        return _response(*answer(question.form, predictions, predictor.full_name))

    def invocations(self, record: RequestRecord, predictor: Predictor, kind: str, content: str) -> Response:
        """POST /invocations."""
        question = parse_predict_request(content, kind, self._limits)
        predictions = self._predict(record, predictor, question.texts)
        return _response(*answer(question.form, predictions, predictor.full_name))

    def score(self, record: RequestRecord, predictor: Predictor, kind: str, content: str) -> Response:
        """POST /invocations/predict."""
        question = parse_predict_request(content, kind, self._limits, ("text",))
        return _response(score_body(self._predict(record, predictor, question.texts)[0]))

    def feedback(self, record: RequestRecord, predictor: Predictor, _kind: str, content: str) -> Response:
        """POST /feedback."""
        review = parse_feedback_request(content, self._limits)
        record.model = predictor.full_name
        record.scored = [review.text]
        review_id = self.reviews.save(review, predictor.class_names, predictor.full_name)
        record.texts = 1
        self.metrics.review_stored()
        return _response(json_body({"id": review_id, "label": review.label}), status=HTTPStatus.CREATED)

    def live(self) -> Response:
        """GET /health/live: the process answers."""
        return _response(_OK)

    def ready(self) -> Response:
        """GET /ping, /health/ready and /health_check: the model answers, too."""
        record_of(request.environ).model = self.holder.predictor.full_name
        return _response(_OK)

    def info(self) -> Response:
        """GET /info: what is served, within which limits."""
        predictor = self.holder.predictor
        cascade = predictor.cascade
        body: dict[str, Any] = {
            "model": predictor.full_name,
            "name": predictor.name,
            "version": predictor.version_id,
            "class_names": predictor.class_names,
            "max_length": predictor.max_length,
            "threshold": predictor.threshold,
            "cascade": None if cascade is None else {"exit_confidence": cascade.settings.exit_confidence},
            "limits": {
                "max_text_chars": self.settings.max_text_chars,
                "max_batch": self.settings.max_batch,
                "max_body_bytes": self.settings.max_body_bytes,
                "max_concurrent": self.settings.max_concurrent,
            },
        }
        return _response(json_body(body))

    def metrics_text(self) -> Response:
        """GET /metrics."""
        check_api_key(request.environ, self._key)
        return _response(self.metrics.render(), METRICS_TYPE)

    def openapi(self) -> Response:
        """GET /openapi.json."""
        class_names = self.holder.predictor.class_names if self.holder.is_ready else None
        return _response(json_body(openapi_document(self.settings, class_names)))

    def refuse(self, error: Exception) -> Response:
        """The answer to a request that raised `error`."""
        refusal = api_error_of(error)
        record = record_of(request.environ)
        record.error = refusal.kind.code
        if refusal.kind is ErrorCode.INTERNAL_ERROR:
            _LOG.error("request %s failed\n%s", record.request_id, redacted_traceback(error))
        response = _response(error_body(refusal.kind, refusal.message), status=refusal.kind.status)
        response.headers.update(refusal.headers)
        return response

    def _predict(self, record: RequestRecord, predictor: Predictor, texts: list[str]) -> list[Prediction]:
        """Score texts, and note in the record what it took."""
        record.model = predictor.full_name
        record.scored = texts
        timings = Timings()
        with self.texts.held(len(texts)):
            answered = predictor.predict_batch(texts, timings)
        if self.recorder is not None:
            self.recorder.record(predictor, answered)
        record.timings = timings
        record.texts = len(texts)
        for prediction in answered.predictions:
            record.tokens += prediction.tokens or 0
            record.truncated += bool(prediction.truncated)
        if answered.stages is not None:
            record.linear = int(answered.stages.exits.sum())
        return answered.predictions

    def _guarded(self, post: _Post, taken: Collection[str]) -> Callable[[], Response]:
        """The view of a POST: key, model, slot, content type and body come before it, in this order."""

        def view() -> Response:
            environ = request.environ
            check_api_key(environ, self._key)
            predictor = self.holder.predictor
            with self.slots.taken() as slot:
                kind = media_type(environ, taken)
                with slot.waiting(functools.partial(stop_reading, environ)):
                    content = read_text(environ, self.settings.max_body_bytes)
                record = record_of(environ)
                record.body_is_read = True
                return post(record, predictor, kind, content)

        return view


def _note_route() -> None:
    if request.url_rule is not None:
        record_of(request.environ).route = request.url_rule.rule


def _response(body: bytes, content_type: str = JSON, status: int = HTTPStatus.OK) -> Response:
    return Response(body, status, content_type=content_type)
