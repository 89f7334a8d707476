"""Prometheus metrics of one worker, or of all workers through files that they share."""

import math
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.multiprocess import MultiProcessCollector

from serving.observability.drift_metrics import DriftMetrics
from serving.observability.request_record import ERROR_COUNTER, PREFIX, REQUEST_COUNTER, RequestRecord
from serving.observability.shared_values import share_values
from serving.observability.value_file import GAUGE_MODE, WORKER
from textclf.data.labelling.queue import MODES
from textclf.errors import ConfigError
from textclf.runtime.backend import Timings
from textclf.runtime.cascade import ENCODER, LINEAR
from textclf.unusual_reasons import REASONS

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
# Seconds: from a short text on an idle machine to a queued full batch of long texts.
BUCKETS = (
    0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03,
    0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
# More names of rules are counted together.
OTHER_RULES = "(other)"
_MAX_RULE_NAMES = 200
# A scrape reads the files of all workers, which takes some milliseconds for each of them.
_RENDER_SECONDS = 1.0


class Metrics:
    """The metrics of this process; instances do not share numbers.

    Args:
        folder: folder where all workers write their metrics; "" keeps them in this process.
        store_path: model store with the state of monitoring; None leaves out the drift metrics.
        clock: seconds; each worker computes /metrics at most once per second.

    Raises:
        ConfigError: if PROMETHEUS_MULTIPROC_DIR was not set before prometheus_client was imported.
    """

    def __init__(
        self, folder: str = "", store_path: Path | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if folder and not getattr(values.ValueClass, "_multiprocess", False):
            raise ConfigError(
                f"PROMETHEUS_MULTIPROC_DIR: expected {folder} in the environment before the server starts, got "
                f"{os.environ.get('PROMETHEUS_MULTIPROC_DIR')!r}; export it and start again"
            )
        if folder:
            share_values(Path(folder), os.environ.get(WORKER) or str(os.getpid()))
        self._folder = folder
        self._clock = clock
        self._rendering = threading.Lock()
        self._rendered, self._rendered_at = b"", -math.inf
        # Separate, because the drift metrics are read at each scrape and are equal in all workers.
        self._drift = CollectorRegistry()
        if store_path is not None:
            self._drift.register(DriftMetrics(store_path, PREFIX))
        self._registry = CollectorRegistry()
        self._requests = self._counter(*REQUEST_COUNTER)
        self._errors = self._counter(*ERROR_COUNTER)
        self._texts = self._counter("texts", "Texts scored.")
        self._tokens = self._counter("tokens", "Wordpieces of scored texts, before truncation.")
        self._truncated = self._counter("truncated_texts", "Scored texts that the model read only in part.")
        self._empty = self._counter("empty_texts", "Scored texts without wordpieces.")
        unusual = self._counter("unusual_texts", "Scored texts unlike the training texts, by the reason.", "reason")
        self._unusual = {reason: unusual.labels(reason) for reason in REASONS}
        self._unsure = self._counter("unsure_texts", "Scored texts whose prediction is unsure.")
        self._rules = self._counter("rule_texts", "Texts that a rule rewrote or decided, by the rule.", "rule")
        self._rule_names: set[str] = set()
        self._explanations = self._counter("explanations", "Texts explained.")
        self._evaluations = self._counter("explanation_evaluations", "Evaluations of the encoder for explanations.")
        self._incomplete = self._counter(
            "incomplete_explanations", "Explanations that ended early, because time or evaluations were used up."
        )
        self._explain_seconds = self._histogram("explanation_seconds", "Seconds of the explanations of a request.")
        self._reviews = self._counter("reviews_stored", "Labelled reviews stored.")
        self._removed = self._counter("reviews_removed", "Labels that were taken back in the labelling queue.")
        drawn = self._counter("drawn_texts", "Texts that the labelling queue drew, by mode.", "mode")
        self._drawn = {mode: drawn.labels(mode) for mode in MODES}
        self._swaps = self._counter("model_swaps", "Changes to another model version.")
        self._swap_failures = self._counter(
            "model_swap_failures", "Failed polls of the model store and failed loads of its current version."
        )
        self._request_seconds = self._histogram("request_seconds", "Seconds from a request to its response.", "route")
        stages = self._histogram(
            "stage_seconds",
            "Seconds of a part of scoring: tokenise, linear (stage of a cascade), queue (for the engine), infer.",
            "stage",
        )
        self._tokenise, self._linear, self._queue, self._infer = (
            stages.labels(name) for name in ("tokenise", "linear", "queue", "infer")
        )
        cascade = self._counter("cascade_texts", "Texts scored by a cascade, by the stage that predicted.", "stage")
        self._by_linear, self._by_encoder = cascade.labels(LINEAR), cascade.labels(ENCODER)
        self._hits = self._counter("cache_hits", "Texts whose encoder outputs the cache of the worker had.")
        self._misses = self._counter("cache_misses", "Texts whose encoder outputs the cache of the worker lacked.")
        self._cache_bytes = self._gauge("cache_bytes", "Memory of the encoder outputs in the caches.")
        self._in_flight = self._gauge("requests_in_flight", "Requests in progress.")
        self._model_workers = self._gauge("model_workers", "Workers that serve a version.", "model", "version")
        self._logged = self._counter("prediction_log_rows", "Predictions written to the prediction log.")
        self._dropped = self._counter("prediction_log_dropped", "Predictions dropped instead of logged.")
        self._log_failures = self._counter("prediction_log_failures", "Failed writes to the prediction log.")
        self._waiting = self._gauge("prediction_log_waiting", "Predictions that wait for the log.")
        # Looking up a child by its labels costs more than counting with it.
        self._children: dict[tuple[str, str, int], tuple[Any, Any]] = {}

    def request_started(self) -> None:
        """Count a request that started."""
        self._in_flight.inc()

    def request_ended(self, record: RequestRecord) -> None:
        """Count a request that ended, with the facts in its record."""
        self._in_flight.dec()
        if not record.is_left_to_nginx:
            self._answered(record)
        if record.timings is not None:
            self._scored(record, record.timings)
        if record.explain_seconds is not None:
            self._explained(record, record.explain_seconds)

    def review_stored(self) -> None:
        """Count a stored review."""
        self._reviews.inc()

    def review_removed(self) -> None:
        """Count a label that was taken back."""
        self._removed.inc()

    def texts_drawn(self, mode: str, texts: int) -> None:
        """Count texts that were drawn to be labelled; `mode` is one of MODES."""
        self._drawn[mode].inc(texts)

    def model_loaded(self, model: str, version: str, before: tuple[str, str] | None) -> None:
        """Set the model that serves, and unset the one before."""
        self._model_workers.labels(model, version).set(1)
        if before is not None:
            self._swaps.inc()
            if before != (model, version):
                self._model_workers.labels(*before).set(0)

    def swap_failed(self) -> None:
        """Count a failed poll or load of a new version."""
        self._swap_failures.inc()

    def cache_used(self, size: int) -> None:
        """Set the memory of the cache, in bytes."""
        self._cache_bytes.set(size)

    def rows_logged(self, rows: int) -> None:
        """Count logged predictions."""
        self._logged.inc(rows)

    def rows_dropped(self, rows: int) -> None:
        """Count dropped predictions."""
        self._dropped.inc(rows)

    def rows_waiting(self, rows: int) -> None:
        """Set the number of predictions that wait for the log."""
        self._waiting.set(rows)

    def logging_failed(self) -> None:
        """Count a failed write to the log."""
        self._log_failures.inc()

    def render(self) -> bytes:
        """Return the metrics in Prometheus' text format, up to a second old; of all workers if there is a folder."""
        with self._rendering:
            if self._clock() - self._rendered_at >= _RENDER_SECONDS:
                # Before the files are read, so that a response is at most this old.
                self._rendered_at = self._clock()
                self._rendered = self._text()
            return self._rendered

    def _text(self) -> bytes:
        gathered = self._registry
        if self._folder:
            gathered = CollectorRegistry()
            MultiProcessCollector(gathered, self._folder)  # type: ignore[no-untyped-call]
        return generate_latest(gathered) + generate_latest(self._drift)

    def _answered(self, record: RequestRecord) -> None:
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

    def _scored(self, record: RequestRecord, timings: Timings) -> None:
        self._texts.inc(record.texts)
        self._tokens.inc(record.tokens)
        if record.truncated:
            self._truncated.inc(record.truncated)
        if record.empty:
            self._empty.inc(record.empty)
        for reason in record.unusual:
            self._unusual[reason].inc()
        if record.unsure:
            self._unsure.inc(record.unsure)
        for rule in record.rules:
            self._rules.labels(self._rule_label(rule)).inc()
        self._tokenise.observe(timings.tokenise)
        by_encoder = record.texts
        if record.linear is not None:
            by_encoder -= record.linear
            self._linear.observe(timings.linear)
            # Most requests use only one of the stages.
            if record.linear:
                self._by_linear.inc(record.linear)
            if by_encoder:
                self._by_encoder.inc(by_encoder)
        if timings.cache_hits:
            self._hits.inc(timings.cache_hits)
        if timings.cache_misses:
            self._misses.inc(timings.cache_misses)
        # Requests served by the linear stage or the cache never queue for the engine; keep them out of its histograms.
        if by_encoder and timings.infer:
            self._queue.observe(timings.queue)
            self._infer.observe(timings.infer)

    def _rule_label(self, rule: str) -> str:
        """The name of a rule; OTHER_RULES beyond a number of names, which code of an operator may invent."""
        if rule not in self._rule_names and len(self._rule_names) >= _MAX_RULE_NAMES:
            return OTHER_RULES
        self._rule_names.add(rule)
        return rule

    def _explained(self, record: RequestRecord, seconds: float) -> None:
        self._explanations.inc(record.explanations)
        self._evaluations.inc(record.evaluations)
        self._incomplete.inc(record.incomplete)
        self._explain_seconds.observe(seconds)

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(f"{PREFIX}_{name}", meaning, labels, registry=self._registry)

    def _histogram(self, name: str, meaning: str, *labels: str) -> Histogram:
        return Histogram(f"{PREFIX}_{name}", meaning, labels, buckets=BUCKETS, registry=self._registry)

    def _gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(f"{PREFIX}_{name}", meaning, labels, registry=self._registry, multiprocess_mode=GAUGE_MODE)
