"""Metrics of the last drift check, read from the store's state file at each scrape.

All workers read the same file, so nothing is summed over them.
"""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from textclf.drift.state import VERDICTS, CheckSummary, read_state
from textclf.errors import ModelStoreError

_LOG = logging.getLogger(__name__)


class DriftMetrics(Collector):
    """Collects the drift metrics; there are none before the first check, or if the state can't be read."""

    def __init__(self, store_path: Path, prefix: str) -> None:
        self.store_path = store_path
        self.prefix = prefix
        self._failure = ""

    def describe(self) -> list[Metric]:
        """Return no metrics, so that registering does not read the file."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Read the state and yield the metrics of the last check."""
        try:
            state = read_state(self.store_path)
            self._failure = ""
        except (ModelStoreError, OSError) as error:
            if str(error) != self._failure:
                self._failure = str(error)
                _LOG.error("/metrics has no drift metrics: %s", error)
            return
        if state.last_check is not None:
            yield from self._of_check(state.last_check)
        failed = CounterMetricFamily(f"{self.prefix}_drift_failed_runs", "Failed runs of `textclf watch`.")
        failed.add_metric([], state.failed_runs)
        yield failed

    def _of_check(self, check: CheckSummary) -> Iterator[Metric]:
        yield self._gauge("verdict", "1 for the verdict of the last check, 0 for the others.", "verdict", {
            verdict: verdict == check.verdict for verdict in VERDICTS
        })  # fmt: skip
        checked_at = {check.version: check.time}
        yield self._gauge("last_check_timestamp_seconds", "Unix time of the last check.", "version", checked_at)
        yield self._gauge("texts", "Number of texts in the last check.", "version", {check.version: check.texts})
        yield self._gauge("effect", "Effect size of a family of tests.", "family", check.effects)
        yield self._gauge("effect_floor", "Minimum effect size for an alarm.", "family", check.floors)
        yield self._gauge("adjusted_p", "p-value after Holm's correction.", "family", check.adjusted_p)
        yield self._gauge("alarm", "1 if the family raised an alarm.", "family", {
            family: family in check.alarms for family in {**check.effects, **dict.fromkeys(check.alarms)}
        })  # fmt: skip
        yield self._gauge("unsure_share", "Share of unsure predictions, by sample.", "sample", check.unsure)

    def _gauge(self, name: str, meaning: str, label: str, values: Mapping[str, float]) -> Metric:
        gauge = GaugeMetricFamily(f"{self.prefix}_drift_{name}", f"Drift: {meaning}", labels=[label])
        for key, value in values.items():
            gauge.add_metric([key], float(value))
        return gauge
