"""The Flask app: its routes and views, and how it is put together."""

import functools
import logging
import sys
import time
from collections.abc import Callable, Collection
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from flask import Flask, Response, after_this_request, request

from inference import Inference
from serving.api.accept import accepted_columns
from serving.api.auth import check_api_key
from serving.api.concurrency import RequestSlots
from serving.api.custom_attributes import HEADER as CUSTOM_ATTRIBUTES
from serving.api.custom_attributes import parse_custom_attributes
from serving.api.errors import ApiError, ErrorCode, api_error_of, error_body, redacted_traceback
from serving.api.predict_requests import parse_predict_request
from serving.api.request_body import CSV, JSON, JSON_LINES
from serving.api.requests import Limits, parse_feedback_request
from serving.api.responses import json_body, score_body
from serving.explain_views import ExplainViews
from serving.explaining import RequestExplainer
from serving.gateway import CorsMiddleware, PrefixMiddleware, origins_of
from serving.giving_way import GivingWay
from serving.guarded_posts import GuardedPosts, Post
from serving.hosting import execution_parameters
from serving.info import info_of
from serving.model.model_holder import ModelHolder
from serving.model.served_version import ServedVersion
from serving.observability.access_log import AccessLog
from serving.observability.metrics import CONTENT_TYPE as METRICS_TYPE
from serving.observability.metrics import Metrics
from serving.observability.middleware import RequestMiddleware, record_of
from serving.observability.request_record import RequestRecord
from serving.observability.tracing import begin_trace
from serving.openapi import openapi_document
from serving.pages import register_pages
from serving.prediction_logging.dual_scoring import DualScoringSampler
from serving.prediction_logging.log_rows import LogRowBuilder, projection_of_version
from serving.prediction_logging.recorder import PredictionRecorder
from serving.protocol_views import ProtocolViews, is_of_protocol, note_route, protocol_error_body
from serving.rendering import render_response, score_records
from serving.reviewing import Reviewing
from serving.scoring import Scorer
from serving.settings import MAX_DRAWS, MAX_FEEDBACK, MAX_GETS, MAX_SCRAPES, Settings
from serving.source.origin import Origin
from serving.store_views import StoreViews
from textclf.data.feedback_store import FeedbackStore, stored_label
from textclf.data.prediction_log.database_url import OFF
from textclf.data.prediction_log.log import PredictionLog
from textclf.runtime.backend import Timings
from textclf.runtime.output_cache import cached
from textclf.runtime.prediction import Prediction
from textclf.runtime.predictor import Predictor

if TYPE_CHECKING:
    from serving.observability.trace_export import RequestTracer

_LOG = logging.getLogger(__name__)
# On one thread, batching saves up to half the time of texts below 64 tokens, and nothing above. A small batch keeps
# the next request from waiting longer than for one long text.
_TOKENS_PER_BATCH = 128
# The requests of a batch transform job need throughput, not a short wait.
_TOKENS_PER_BATCH_OF_JOB = 1024
# Seconds after which a request that waits for its body loses its slot to another one.
_PATIENCE = 2.0
_OK = json_body({"status": "ok"})


def inference_of(settings: Settings, path: Path) -> Inference:
    """Return an Inference for serving: on a worker's share of the cores, with few batch shapes to warm up."""
    return Inference(
        path,
        threads=settings.inference_threads,
        tokens_per_batch=_TOKENS_PER_BATCH_OF_JOB if settings.sagemaker_batch else _TOKENS_PER_BATCH,
        cascade=settings.cascade,
        rules=settings.rules or None,
    )


def recorder_of(settings: Settings, metrics: Metrics) -> PredictionRecorder | None:
    """Return the recorder of predictions; None if the settings turn it off."""
    if settings.prediction_log_url == OFF:
        return None
    log = PredictionLog(settings.prediction_log_url, settings.prediction_log_days, settings.prediction_log_rows)
    projection_of = functools.partial(projection_of_version, settings.model_path)
    sampler = DualScoringSampler(settings.prediction_log_both_stages)
    return PredictionRecorder(log, LogRowBuilder(projection_of, sampler, settings.prediction_log_text), metrics)


def create_app(
    settings: Settings,
    inference: Inference | None = None,
    served: ServedVersion | None = None,
    is_draining: Callable[[], bool] = lambda: False,
    origin: Origin | None = None,
    tracer: "RequestTracer | None" = None,
    on_swap: Callable[[], None] = lambda: None,
) -> Flask:
    """Create the app, with a thread that polls a model store for new versions.

    Args:
        inference: model to serve, loaded and warmed before this returns. None loads the model of the settings in the
            background; requests get 503 until then.
        served: version that the server's workers serve, shared by them; None for a single process.
        is_draining: whether the server is about to stop, so that a load balancer shall use another one.
        origin: archive that the model was unpacked from; None for a folder.
        tracer: sends traces of the requests; None sends none.
        on_swap: called after another model replaced the one that was served.

    Raises:
        TextClfError: if the model of `inference` can't be loaded.
    """
    metrics = Metrics(settings.prometheus_multiproc_dir, settings.model_path)
    recorder = recorder_of(settings, metrics)

    def load(path: Path) -> Predictor:
        return inference_of(settings, path).predictor

    def on_loaded(new: Predictor, before: Predictor | None) -> None:
        # After the warm-up, whose texts nobody sends.
        new.backend = cached(new.backend, settings.cache_bytes, metrics.cache_used)
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
        on_swap=on_swap,
    )
    if inference is not None:
        holder.set_model(inference.predictor if served is None else served.first_predictor(inference, load))
    reviews = FeedbackStore(settings.new_data_dir, settings.new_data_max_bytes)
    service = Service(settings, holder, metrics, reviews, recorder, is_draining, origin)
    app = Flask(__name__, static_folder=None)
    # No redirects to another spelling of a path.
    app.url_map.merge_slashes = False
    app.url_map.strict_slashes = True
    service.register(app)
    if settings.page:
        register_pages(app)
    app.extensions["textclf"] = service
    if settings.root_path:
        app.wsgi_app = PrefixMiddleware(app.wsgi_app, settings.root_path)  # type: ignore[method-assign]
    if origins := origins_of(settings.cors_origins):
        app.wsgi_app = CorsMiddleware(app.wsgi_app, origins)  # type: ignore[method-assign]
    traces = () if tracer is None else (tracer.request_ended,)
    observers = (metrics.request_ended, *traces, AccessLog(sys.stdout, settings.log_text))
    begin = None if tracer is None else begin_trace
    app.wsgi_app = RequestMiddleware(app.wsgi_app, metrics.request_started, observers, begin)  # type: ignore[method-assign]
    holder.start()
    if recorder is not None:
        recorder.start()
    return app


class Service:
    """The views and their shared objects; without a recorder, predictions are not logged."""

    def __init__(
        self,
        settings: Settings,
        holder: ModelHolder,
        metrics: Metrics,
        reviews: FeedbackStore,
        recorder: PredictionRecorder | None = None,
        is_draining: Callable[[], bool] = lambda: False,
        origin: Origin | None = None,
    ) -> None:
        self.settings = settings
        self.origin = origin
        self.holder = holder
        self.metrics = metrics
        self.reviews = reviews
        self.recorder = recorder
        self.is_draining = is_draining
        self.slots = RequestSlots(settings.max_concurrent, _PATIENCE)
        # Reviews wait for the disk, so they have slots of their own.
        self.feedback_slots = RequestSlots(MAX_FEEDBACK, _PATIENCE, name="reviews")
        self.get_slots = RequestSlots(MAX_GETS, _PATIENCE)
        # Clients without the key can't take these.
        self.scrape_slots = RequestSlots(MAX_SCRAPES, _PATIENCE)
        self.scorer = Scorer(settings)
        self.draw_slots = RequestSlots(MAX_DRAWS, _PATIENCE, name="draws")
        self.giving_way = GivingWay()
        self._limits = Limits(settings.max_text_chars, settings.max_batch, settings.sagemaker_batch)
        self.reviewing = Reviewing(settings, reviews, self._limits, metrics)
        self.explainer = RequestExplainer(settings, self.giving_way, _PATIENCE)
        self._explained = ExplainViews(
            self.explainer, self._predict_one, self._limits, settings.explain_max_evaluations
        )
        self._key = settings.api_key.encode("ascii")

    def stop(self, seconds: float) -> None:
        """End the threads and write the remaining log rows; `seconds` is the limit of each."""
        self.holder.stop(seconds)
        self.reviewing.stop()
        if self.recorder is not None:
            self.recorder.stop(seconds)

    def register(self, app: Flask) -> None:
        """Add the routes and the error handler to an app."""
        gets: dict[str, Callable[[], Response]] = {
            "/ping": self.ready,
            "/health/live": self.live,
            "/health/ready": self.ready,
            "/health_check": self.ready,
            "/execution-parameters": self.execution_parameters,
            "/info": self._bounded(self.info),
            "/metrics": self.metrics_text,
            "/openapi.json": self._bounded(self.openapi),
        }
        posts: dict[str, tuple[Post, Collection[str], RequestSlots]] = {
            "/predict": (self.predict, (JSON,), self.slots),
            "/explain": (self.explain, (JSON,), self.explainer.slots),
            "/invocations": (self.invocations, (JSON, CSV, JSON_LINES), self.slots),
            "/invocations/predict": (self.score, (JSON,), self.slots),
            "/feedback": (self.feedback, (JSON,), self.feedback_slots),
            "/review/texts": (self.reviewing.texts, (JSON,), self.draw_slots),
            "/review/labels": (self.reviewing.label, (JSON,), self.feedback_slots),
            "/review/undo": (self.reviewing.undo, (JSON,), self.feedback_slots),
        }
        guarded = GuardedPosts(self.settings, self.holder)
        for path, get in gets.items():
            app.add_url_rule(path, path, get, methods=["GET"])
        for path, (post, accepted, slots) in posts.items():
            app.add_url_rule(path, path, guarded.view(post, accepted, slots), methods=["POST"])
        StoreViews(self.settings, self.holder, self.get_slots).register(app)
        predict = self._ready_predictor, self._predict
        ProtocolViews(self.settings, self.holder, guarded, self.slots, self._limits, *predict).register(app)
        app.before_request(note_route)
        app.register_error_handler(Exception, self.refuse)

    def predict(self, record: RequestRecord, predictor: Predictor, content_type: str, content: str) -> Response:
        """POST /predict."""
        parsed = parse_predict_request(content, content_type, self._limits, ("text", "X"))
        del content  # Up to MAX_BODY_BYTES, and the texts are copies.
        predictions = self._predict(record, predictor, parsed.texts)
        return _response(*render_response(parsed, predictions, predictor))

    def invocations(self, record: RequestRecord, predictor: Predictor, content_type: str, content: str) -> Response:
        """POST /invocations."""
        attributes = parse_custom_attributes(request.environ)
        if attributes.trace:
            after_this_request(functools.partial(_with_header, CUSTOM_ATTRIBUTES, attributes.trace))
        columns = accepted_columns(request.environ)
        parsed = parse_predict_request(content, content_type, self._limits, columns=columns)
        del content  # Up to MAX_BODY_BYTES, and the texts are copies.
        if attributes.explain if parsed.explain is None else parsed.explain:
            self._explained.check_invocation(predictor, parsed)
            # The slot for predictions is free meanwhile.
            with self.explainer.slots.acquire(), self.slots.lent():
                environ = request.environ
                return _response(*self._explained.invocation(record, predictor, environ, parsed, attributes))
        if parsed.is_each_on_its_own:
            predict = functools.partial(self._predict, record, predictor)
            return _response(*score_records(parsed, predict, predictor))
        return _response(*render_response(parsed, self._predict(record, predictor, parsed.texts), predictor))

    def explain(self, record: RequestRecord, predictor: Predictor, _content_type: str, content: str) -> Response:
        """POST /explain."""
        return _response(self._explained.explain(record, predictor, request.environ, content))

    def score(self, record: RequestRecord, predictor: Predictor, content_type: str, content: str) -> Response:
        """POST /invocations/predict."""
        parsed = parse_predict_request(content, content_type, self._limits, ("text",))
        return _response(score_body(self._predict(record, predictor, parsed.texts)[0]))

    def feedback(self, record: RequestRecord, predictor: Predictor, _content_type: str, content: str) -> Response:
        """POST /feedback."""
        review = parse_feedback_request(content, self._limits)
        self.reviewing.check_audit(review.audit)
        record.model = predictor.full_name
        record.scored = [review.text]
        classes, model = predictor.class_names, predictor.full_name
        label = stored_label(review.label, classes)
        review_id = self.reviews.save(review.text, label, classes, model, review.source, review.audit)
        record.texts = 1
        self.metrics.review_stored()
        return _response(json_body({"id": review_id, "label": label}), status=HTTPStatus.CREATED)

    def live(self) -> Response:
        """GET /health/live: 200 if the process responds."""
        return _response(_OK)

    def ready(self) -> Response:
        """GET /ping, /health/ready and /health_check: 200 if the model is ready and the server is not draining."""
        self._ready_predictor()
        return _response(_OK)

    def info(self) -> Response:
        """GET /info: the model that is served, and the limits."""
        predictor = self.holder.predictor
        can_explain = self.explainer.can_explain(predictor)
        return _response(json_body(info_of(predictor, self.settings, self.origin, can_explain=can_explain)))

    def execution_parameters(self) -> Response:
        """GET /execution-parameters: values for a batch transform job of SageMaker."""
        return _response(json_body(execution_parameters(self.settings)))

    def metrics_text(self) -> Response:
        """GET /metrics."""
        check_api_key(request.environ, self._key)
        with self.scrape_slots.acquire():
            return _response(self.metrics.render(), METRICS_TYPE)

    def openapi(self) -> Response:
        """GET /openapi.json."""
        class_names = tuple(self.holder.predictor.class_names) if self.holder.is_ready else None
        return _response(_openapi_body(self.settings, class_names))

    def refuse(self, error: Exception) -> Response:
        """Return the response to a request whose view raised `error`."""
        api_error = api_error_of(error)
        record = record_of(request.environ)
        record.error = api_error.code.public_name
        if api_error.code in (ErrorCode.INTERNAL_ERROR, ErrorCode.RULE_FAILED):
            _LOG.error("request %s failed\n%s", record.request_id, redacted_traceback(error))
        elif api_error.code is ErrorCode.STORAGE_UNAVAILABLE:
            _LOG.error("the folder for reviews can't be used: %s", error)
        elif api_error.code is ErrorCode.LOG_UNAVAILABLE:
            _LOG.error("texts can't be drawn: %s", error)
        body = protocol_error_body if is_of_protocol(request.path) else error_body
        response = _response(body(api_error.code, api_error.message), status=api_error.code.status)
        response.headers.update(api_error.headers)
        return response

    def _ready_predictor(self) -> Predictor:
        """The model, if the server is ready for requests."""
        if self.is_draining():
            raise ApiError(ErrorCode.DRAINING, "the server is about to stop; send requests to another one")
        record_of(request.environ).model = self.holder.predictor.full_name
        return self.holder.predictor

    def _predict(self, record: RequestRecord, predictor: Predictor, texts: list[str]) -> list[Prediction]:
        record.scored = texts
        with self.giving_way.prediction():
            return self._score(record, predictor, texts)

    def _predict_one(self, record: RequestRecord, predictor: Predictor, text: str) -> Prediction:
        """Predict a text in its explanation's turn."""
        return self._score(record, predictor, [text])[0]

    def _score(self, record: RequestRecord, predictor: Predictor, texts: list[str]) -> list[Prediction]:
        """Score and log texts, and add what they took to the record; a request may call it several times."""
        record.model = predictor.full_name
        timings = record.timings or Timings(parts=None if record.trace is None else [])
        batch = self.scorer.score(predictor, texts, request.environ, timings)
        # The page sends texts that a user still types; they would look like drift.
        if self.recorder is not None and request.environ.get("HTTP_X_PREDICTION_LOG") != OFF:
            start = time.perf_counter()
            self.recorder.record(predictor, batch)
            timings.note("log", start, time.perf_counter())
        record.timings = timings
        record.count(batch.predictions)
        if batch.stages is not None:
            record.linear = (record.linear or 0) + int(batch.stages.exits.sum())
        return batch.predictions

    def _bounded(self, get: Callable[[], Response]) -> Callable[[], Response]:
        """Return the view of a GET that costs more than /ping."""

        def view() -> Response:
            with self.get_slots.acquire():
                return get()

        return view


@functools.lru_cache(maxsize=2)  # It takes as long as a prediction, and changes with the classes only.
def _openapi_body(settings: Settings, class_names: tuple[str, ...] | None) -> bytes:
    return json_body(openapi_document(settings, class_names))


def _with_header(name: str, value: str, response: Response) -> Response:
    response.headers[name] = value
    return response


def _response(body: bytes, content_type: str = JSON, status: int = HTTPStatus.OK) -> Response:
    return Response(body, status, content_type=content_type)
