"""Write predictions to the prediction log off the request path: a queue in memory and a thread that empties it.

A failure of the log never fails or delays a response. Rows that can't be written are kept, up to a limit, and tried
again; rows above the limit are dropped and counted.
"""

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from serving.api.errors import redacted_traceback
from serving.prediction_logging.log_rows import LogRowBuilder, ServedBatch
from textclf.data.prediction_log.log import PRUNED_AT_ONCE, LoggedPrediction, PredictionLog
from textclf.errors import PredictionLogError
from textclf.runtime.predictor import PredictionBatch, Predictor

# Seconds between two turns of the thread. A killed process may lose one second; the rest is for the write itself.
INTERVAL = 0.25
# Limit of one worker's queues while the log can't be written: about 30,000 rows without their texts.
MAX_BYTES = 32 * 1024**2
# Pauses after a failed write; the last one repeats.
PAUSES = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
PRUNE_SECONDS = 3600.0

_ROWS_AT_ONCE = 500
# Memory of a row without its features and its text.
_ROW_BYTES = 400
_LAST_PAUSE = 0.1

_LOG = logging.getLogger(__name__)


class LogCounts(Protocol):
    """Counts what becomes of the rows."""

    def rows_logged(self, rows: int) -> None:
        """Count written rows."""

    def rows_dropped(self, rows: int) -> None:
        """Count dropped rows."""

    def rows_waiting(self, rows: int) -> None:
        """Set the number of rows that are not in the log yet."""

    def logging_failed(self) -> None:
        """Count a failed write or prune."""


class PredictionRecorder:
    """Records the predictions of a process; the constructor only stores, and the end closes the log."""

    def __init__(
        self,
        log: PredictionLog,
        rows: LogRowBuilder,
        counts: LogCounts,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.log = log
        self._builder = rows
        self._counts = counts
        self._clock = clock
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._incoming: deque[ServedBatch] = deque()
        self._pending: deque[LoggedPrediction] = deque()
        # Rows and bytes currently held in the two queues.
        self._rows = 0
        self._bytes = 0
        self._new_model: Predictor | None = None
        # Failed tries and dropped rows since the last successful write.
        self._failures = 0
        self._dropped = 0
        self._next_try = 0.0
        self._next_prune = 0.0
        self._has_logged_bug = False
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread; call it in the process that serves."""
        self._thread = threading.Thread(target=self._run, name="prediction recorder", daemon=True)
        self._thread.start()

    def model_loaded(self, predictor: Predictor) -> None:
        """Let the thread prepare for the batches of a model."""
        self._new_model = predictor

    def record(self, predictor: Predictor, batch: PredictionBatch) -> None:
        """Queue a batch. Takes some microseconds, and never waits for the log."""
        rows = len(batch.predictions)
        served = ServedBatch(self._clock(), predictor, batch)
        size = served.size
        with self._lock:
            if self._bytes + size <= MAX_BYTES:
                self._incoming.append(served)
                self._bytes += size
                self._rows += rows
                return
        self._drop(rows)

    def stop(self, seconds: float) -> None:
        """Write the remaining rows, for up to `seconds`; record nothing afterwards."""
        self._ended.set()
        if self._thread is None:
            return
        self._thread.join(seconds)
        if self._thread.is_alive():
            self._counts.rows_dropped(self._rows)
            _LOG.error("the server ends, and %d predictions could not be logged", self._rows)
        else:
            self.log.close()

    def _run(self) -> None:
        while not self._ended.wait(INTERVAL):
            self._turn()
        self._next_try = 0.0
        while self._rows:
            self._turn()
            if self._rows:
                time.sleep(_LAST_PAUSE)

    def _turn(self) -> None:
        try:
            self._work()
        except Exception as error:  # noqa: BLE001 a bug must not end the thread
            self._log_bug_once(error)
        self._counts.rows_waiting(self._rows)

    def _work(self) -> None:
        is_busy = True
        while is_busy:
            is_busy = self._build_some() | self._write_some()
        # After the last batches of the old model.
        if self._new_model is not None:
            model, self._new_model = self._new_model, None
            self._builder.prepare(model)
        self._prune_some()

    def _build_some(self) -> bool:
        """Build rows of the first batches, which then take a fifth of the memory; False if there are none."""
        served: list[ServedBatch] = []
        count = 0
        while self._incoming and count < _ROWS_AT_ONCE:
            served.append(self._incoming.popleft())
            count += len(served[-1].batch.predictions)
        if not served:
            return False
        rows: list[LoggedPrediction] = []
        try:
            rows = self._builder.build(served)
        except Exception as error:  # noqa: BLE001 these batches would fail again, others may not
            self._drop(count)
            self._log_bug_once(error)
        self._pending += rows
        self._account(len(rows) - count, sum(map(_size, rows)) - sum(item.size for item in served))
        return True

    def _write_some(self) -> bool:
        """Write the first rows; False if there are none, the next try is not due, or the write fails.

        If PostgreSQL is lost during the commit, rows may be written twice.
        """
        if not self._pending or self._monotonic() < self._next_try:
            return False
        rows = [self._pending[index] for index in range(min(len(self._pending), _ROWS_AT_ONCE))]
        if not self._try(lambda: self.log.append(rows)):
            return False
        for _ in rows:
            self._pending.popleft()
        self._account(-len(rows), -sum(map(_size, rows)))
        self._counts.rows_logged(len(rows))
        return True

    def _prune_some(self) -> None:
        """Once an hour, remove the first of the expired rows; the next turns remove the others."""
        now = self._monotonic()
        if now < max(self._next_prune, self._next_try) or self._ended.is_set():
            return
        removed = 0

        def prune() -> None:
            nonlocal removed
            removed = self.log.prune(PRUNED_AT_ONCE)

        if self._try(prune) and removed < PRUNED_AT_ONCE:
            self._next_prune = now + PRUNE_SECONDS

    def _try(self, work: Callable[[], None]) -> bool:
        """Return whether work on the log succeeds; log a change, and set the time of the next try after a failure."""
        try:
            work()
        except Exception as error:  # noqa: BLE001 whatever the database does, the process keeps serving
            pause = PAUSES[min(self._failures, len(PAUSES) - 1)]
            self._next_try = self._monotonic() + (0.0 if self._ended.is_set() else pause)
            self._failures += 1
            self._counts.logging_failed()
            if self._failures == 1:
                reason = str(error) if isinstance(error, PredictionLogError) else redacted_traceback(error)
                _LOG.error("predictions wait in memory, up to a limit, because %s", reason)
            return False
        if self._failures:
            _LOG.warning("predictions are logged again; %d were dropped meanwhile", self._dropped)
        self._failures = self._dropped = 0
        return True

    def _log_bug_once(self, error: Exception) -> None:
        if not self._has_logged_bug:
            self._has_logged_bug = True
            _LOG.error("predictions can't be logged\n%s", redacted_traceback(error))

    def _drop(self, rows: int) -> None:
        self._dropped += rows
        self._counts.rows_dropped(rows)

    def _account(self, rows: int, size: int) -> None:
        with self._lock:
            self._rows += rows
            self._bytes += size


def _size(row: LoggedPrediction) -> int:
    texts = sum(sys.getsizeof(text) for text in (row.text, row.rules) if text is not None)
    return _ROW_BYTES + len(row.features) + texts
