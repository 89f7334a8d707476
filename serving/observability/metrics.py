"""What Prometheus reads: counters, histograms and gauges of one worker, or of all through files they share."""

import os
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.multiprocess import MultiProcessCollector

from serving.observability.drift_metrics import DriftMetrics
from serving.observability.middleware import RequestRecord
from textclf.errors import ConfigError
from textclf.runtime.backend import Timings
from textclf.runtime.cascade import ENCODER, LINEAR

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
# Seconds: from a short text on an idle machine to a full batch of long ones behind a queue.
BUCKETS = (
    0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03,
    0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
_PREFIX = "textclf"


class Metrics:
    """The numbers of this process; several may live in one process, each with numbers of its own.

    Args:
        folder: where all workers write theirs; "" keeps them in this process. The library decides when it is
            imported, so PROMETHEUS_MULTIPROC_DIR must have named the folder before.
        store_path: of the model store, beside which monitoring keeps its state; None says nothing of drift.

    Raises:
        ConfigError: it had not.
    """

    def __init__(self, folder: str = "", store_path: Path | None = None) -> None:
        if folder and not getattr(values.ValueClass, "_multiprocess", False):
            raise ConfigError(
                f"PROMETHEUS_MULTIPROC_DIR: expected {folder} in the environment before the server starts, got "
                f"{os.environ.get('PROMETHEUS_MULTIPROC_DIR')!r}; export it and start again"
            )
        self._folder = folder
        # Of its own, because it is read at each scrape, and the same for all workers.
        self._drift = CollectorRegistry()
        if store_path is not None:
            self._drift.register(DriftMetrics(store_path, _PREFIX))
        self._registry = CollectorRegistry()
        self._requests = self._counter("requests", "Requests answered.", "route", "method", "status")
        self._errors = self._counter("errors", "Requests refused, by the code of the error.", "code")
        self._texts = self._counter("texts", "Texts scored.")
        self._tokens = self._counter("tokens", "Wordpieces of scored texts, before they were cut.")
        self._truncated = self._counter("truncated_texts", "Scored texts of which the model saw only a part.")
        self._reviews = self._counter("reviews_stored", "Labelled reviews stored.")
        self._swaps = self._counter("model_swaps", "Changes to another model version.")
        self._swap_failures = self._counter(
            "model_swap_failures", "Looks at the model store, and tries to load its current version, that failed."
        )
        self._request_seconds = self._histogram("request_seconds", "From request to answer.", "route")
        stages = self._histogram(
            "stage_seconds",
            "Parts of scoring: tokenise, linear (of a cascade), queue (for the engine), infer.",
            "stage",
        )
        self._tokenise, self._linear, self._queue, self._infer = (
            stages.labels(name) for name in ("tokenise", "linear", "queue", "infer")
        )
        answered = self._counter("cascade_texts", "Texts that a cascade scored, by the stage that answered.", "stage")
        self._by_linear, self._by_encoder = answered.labels(LINEAR), answered.labels(ENCODER)
        self._in_flight = self._gauge("requests_in_flight", "Requests in hand.", "livesum")
        self._model_workers = self._gauge(
            "model_workers", "Workers that serve a version.", "livesum", "model", "version"
        )
        self._logged = self._counter("prediction_log_rows", "Predictions written into the log.")
        self._dropped = self._counter("prediction_log_dropped", "Predictions that were not, and never will be.")
        self._log_failures = self._counter("prediction_log_failures", "Tries to write into the log that failed.")
        self._waiting = self._gauge("prediction_log_waiting", "Predictions that are not in the log yet.", "livesum")
        # Looking a child up by its labels costs more than counting with it.
        self._children: dict[tuple[str, str, int], tuple[Any, Any]] = {}

    def request_started(self) -> None:
        """Count a request in."""
        self._in_flight.inc()

    def request_ended(self, record: RequestRecord) -> None:
        """Count a request out, with what is known of it."""
        self._in_flight.dec()
        key = (record.route, record.method, record.status)
        children = self._children.get(key)
        if children is None:
            children = self._requests.labels(*map(str, key)), self._request_seconds.labels(record.route)
            self._children[key] = children
        requests, seconds = children
        requests.inc()
        seconds.observe(record.seconds)
        if record.error:
            self._errors.labels(record.error).inc()
        if record.timings is not None:
            self._scored(record, record.timings)

    def review_stored(self) -> None:
        """Count a stored review."""
        self._reviews.inc()

    def model_loaded(self, model: str, version: str, before: tuple[str, str] | None) -> None:
        """Note which model serves, and that another does no more."""
        self._model_workers.labels(model, version).set(1)
        if before is not None:
            self._swaps.inc()
            if before != (model, version):
                self._model_workers.labels(*before).set(0)

    def swap_failed(self) -> None:
        """Count a try to load another version that failed."""
        self._swap_failures.inc()

    def rows_logged(self, rows: int) -> None:
        """Count predictions that are in the log."""
        self._logged.inc(rows)

    def rows_dropped(self, rows: int) -> None:
        """Count predictions that never will be."""
        self._dropped.inc(rows)

    def rows_waiting(self, rows: int) -> None:
        """Note how many predictions wait for the log."""
        self._waiting.set(rows)

    def logging_failed(self) -> None:
        """Count a try to write into the log that failed."""
        self._log_failures.inc()

    def render(self) -> bytes:
        """All numbers in Prometheus' text format; those of all workers where there is a folder."""
        gathered = self._registry
        if self._folder:
            gathered = CollectorRegistry()
            MultiProcessCollector(gathered, self._folder)  # type: ignore[no-untyped-call]
        return generate_latest(gathered) + generate_latest(self._drift)

    def _scored(self, record: RequestRecord, timings: Timings) -> None:
        self._texts.inc(record.texts)
        self._tokens.inc(record.tokens)
        if record.truncated:
            self._truncated.inc(record.truncated)
        self._tokenise.observe(timings.tokenise)
        by_encoder = record.texts
        if record.linear is not None:
            by_encoder -= record.linear
            self._linear.observe(timings.linear)
            # Nearly every request is answered by one of them alone.
            if record.linear:
                self._by_linear.inc(record.linear)
            if by_encoder:
                self._by_encoder.inc(by_encoder)
        # What waited for no engine says nothing of how long one waits.
        if by_encoder:
            self._queue.observe(timings.queue)
            self._infer.observe(timings.infer)

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(f"{_PREFIX}_{name}", meaning, labels, registry=self._registry)

    def _histogram(self, name: str, meaning: str, *labels: str) -> Histogram:
        return Histogram(f"{_PREFIX}_{name}", meaning, labels, buckets=BUCKETS, registry=self._registry)

    def _gauge(self, name: str, meaning: str, mode: Any, *labels: str) -> Gauge:
        return Gauge(f"{_PREFIX}_{name}", meaning, labels, registry=self._registry, multiprocess_mode=mode)
