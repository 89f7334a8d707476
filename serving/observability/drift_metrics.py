"""The last verdict of the monitoring, as /metrics says it: read from the state file beside the store at each scrape.

All workers read the same file, so nothing has to be added up over them.
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
    """Nothing where monitoring has not run yet, or its state can't be read; that is said once.

    Args:
        store_path: the model store, beside whose versions the state lies.
        prefix: of the names.
    """

    def __init__(self, store_path: Path, prefix: str) -> None:
        self.store_path = store_path
        self.prefix = prefix
        self._failure = ""

    def describe(self) -> list[Metric]:
        """Nothing: the file is first read when it is asked for."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The figures of the last check."""
        try:
            state = read_state(self.store_path)
            self._failure = ""
        except (ModelStoreError, OSError) as error:
            if str(error) != self._failure:
                self._failure = str(error)
                _LOG.error("/metrics says nothing of drift: %s", error)
            return
        if state.last_check is not None:
            yield from self._of_check(state.last_check)
        failed = CounterMetricFamily(f"{self.prefix}_drift_failed_runs", "Runs of the monitoring's watch that failed.")
        failed.add_metric([], state.failed_runs)
        yield failed

    def _of_check(self, check: CheckSummary) -> Iterator[Metric]:
        yield self._gauge("verdict", "1 for that of the last check.", "verdict", {
            verdict: verdict == check.verdict for verdict in VERDICTS
        })  # fmt: skip
        yield self._gauge(
            "last_check_timestamp_seconds",
            "When it was made, of a model version.",
            "version",
            {check.version: check.time},
        )
        yield self._gauge("texts", "How many it compared.", "version", {check.version: check.texts})
        yield self._gauge("effect", "Effect of a family of tests.", "family", check.effects)
        yield self._gauge("effect_floor", "Below it an effect is negligible.", "family", check.floors)
        yield self._gauge("adjusted_p", "p-value after Holm's correction.", "family", check.adjusted_p)
        yield self._gauge("alarm", "1 if the family alarms.", "family", {
            family: family in check.alarms for family in {**check.effects, **dict.fromkeys(check.alarms)}
        })  # fmt: skip

    def _gauge(self, name: str, meaning: str, label: str, values: Mapping[str, float]) -> Metric:
        gauge = GaugeMetricFamily(f"{self.prefix}_drift_{name}", f"Drift: {meaning}", labels=[label])
        for key, value in values.items():
            gauge.add_metric([key], float(value))
        return gauge
