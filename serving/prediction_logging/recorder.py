"""What was answered goes to the prediction log off the request path: a queue in memory, and a thread that empties it.

Nothing that happens to the log fails or delays an answer. What can't be written is kept, up to a bound, and tried
again; what is beyond the bound is dropped and counted.
"""

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from serving.api.tracebacks import redacted_traceback
from serving.prediction_logging.log_rows import LogRowBuilder, ServedBatch
from textclf.data.prediction_log.prediction_log import PRUNED_AT_ONCE, LoggedPrediction, PredictionLog
from textclf.errors import PredictionLogError
from textclf.runtime.predictor import PredictionBatch, Predictor

# Seconds from an answer until it is written, at most: of the one second that a killed process may lose, the rest is
# for the writing itself.
INTERVAL = 0.25
# What waits in a worker while the log can't be written: about 30,000 rows without their texts.
MAX_BYTES = 32 * 1024**2
# From a failed try to the next; the last pause comes again and again.
PAUSES = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
PRUNE_SECONDS = 3600.0

_ROWS_AT_ONCE = 500
# Of a row in memory, beside its features and its text.
_ROW_BYTES = 400
_LAST_PAUSE = 0.1

_LOG = logging.getLogger(__name__)


class LogCounts(Protocol):
    """Is told what becomes of the rows."""

    def rows_logged(self, rows: int) -> None:
        """They are in the log."""
        ...

    def rows_dropped(self, rows: int) -> None:
        """They never will be."""
        ...

    def rows_waiting(self, rows: int) -> None:
        """So many are not in the log yet."""
        ...

    def logging_failed(self) -> None:
        """A try to write or to prune failed."""
        ...


class PredictionRecorder:
    """Records what a process answers; the constructor only stores.

    Args:
        log: where it goes; closed at the end.
        answer_rows: makes rows of answers.
        counts: of what becomes of them.
        clock: seconds since the epoch.
        monotonic: seconds that only rise.
    """

    def __init__(
        self,
        log: PredictionLog,
        answer_rows: LogRowBuilder,
        counts: LogCounts,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.log = log
        self._answer_rows = answer_rows
        self._counts = counts
        self._clock = clock
        self._monotonic = monotonic
        self._guard = threading.Lock()
        self._incoming: deque[ServedBatch] = deque()
        self._pending: deque[LoggedPrediction] = deque()
        # Of both: of what is counted in, and not yet written or dropped.
        self._rows = 0
        self._bytes = 0
        self._served: Predictor | None = None
        # Since the log was last written.
        self._failures = 0
        self._dropped = 0
        self._next_try = 0.0
        self._next_prune = 0.0
        self._is_stumped = False
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to write, in a thread; to be called in the process that serves."""
        self._thread = threading.Thread(target=self._run, name="prediction recorder", daemon=True)
        self._thread.start()

    def model_loaded(self, predictor: Predictor) -> None:
        """Let the thread prepare for the answers of a model."""
        self._served = predictor

    def record(self, predictor: Predictor, answer: PredictionBatch) -> None:
        """Take note of an answer. Takes some microseconds, and never waits for the log."""
        rows = len(answer.predictions)
        answered = ServedBatch(self._clock(), predictor, answer)
        size = answered.size
        with self._guard:
            if self._bytes + size <= MAX_BYTES:
                self._incoming.append(answered)
                self._bytes += size
                self._rows += rows
                return
        self._drop(rows)

    def stop(self, seconds: float) -> None:
        """Write what waits, trying for so long if need be; nothing may be recorded afterwards."""
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
            self._say_bug(error)
        self._counts.rows_waiting(self._rows)

    def _work(self) -> None:
        is_busy = True
        while is_busy:
            is_busy = self._encode_some() | self._write_some()
        # Afterwards, because the last answers of the model before have come first.
        if self._served is not None:
            served, self._served = self._served, None
            self._answer_rows.prepare(served)
        self._prune_some()

    def _encode_some(self) -> bool:
        """Make rows of the first answers, which then take a fifth of the room; False if there are none."""
        answered: list[ServedBatch] = []
        count = 0
        while self._incoming and count < _ROWS_AT_ONCE:
            answered.append(self._incoming.popleft())
            count += len(answered[-1].answer.predictions)
        if not answered:
            return False
        rows: list[LoggedPrediction] = []
        try:
            rows = self._answer_rows.of(answered)
        except Exception as error:  # noqa: BLE001 these would fail again, others may not
            self._drop(count)
            self._say_bug(error)
        self._pending += rows
        self._account(len(rows) - count, sum(map(_size, rows)) - sum(item.size for item in answered))
        return True

    def _write_some(self) -> bool:
        """Write the first rows; False if there are none, or it is not the time for it, or it fails.

        Where PostgreSQL is lost in the very moment of the commit, they may be written twice.
        """
        if not self._pending or self._monotonic() < self._next_try:
            return False
        rows = [self._pending[index] for index in range(min(len(self._pending), _ROWS_AT_ONCE))]
        if not self._tried(lambda: self.log.append(rows)):
            return False
        for _ in rows:
            self._pending.popleft()
        self._account(-len(rows), -sum(map(_size, rows)))
        self._counts.rows_logged(len(rows))
        return True

    def _prune_some(self) -> None:
        """Remove the first of the rows that have to go, once an hour; the others with the next turns."""
        now = self._monotonic()
        if now < max(self._next_prune, self._next_try) or self._ended.is_set():
            return
        removed = 0

        def prune() -> None:
            nonlocal removed
            removed = self.log.prune(PRUNED_AT_ONCE)

        if self._tried(prune) and removed < PRUNED_AT_ONCE:
            self._next_prune = now + PRUNE_SECONDS

    def _tried(self, work: Callable[[], None]) -> bool:
        """Whether work on the log succeeds. Says when that changes; sets the time of the next try after a failure."""
        try:
            work()
        except Exception as error:  # noqa: BLE001 whatever the database does, the process goes on serving
            pause = PAUSES[min(self._failures, len(PAUSES) - 1)]
            self._next_try = self._monotonic() + (0.0 if self._ended.is_set() else pause)
            self._failures += 1
            self._counts.logging_failed()
            if self._failures == 1:
                reason = str(error) if isinstance(error, PredictionLogError) else redacted_traceback(error)
                _LOG.error("predictions wait in memory, as far as there is room, because %s", reason)
            return False
        if self._failures:
            _LOG.warning("predictions are logged again; %d were dropped meanwhile", self._dropped)
        self._failures = self._dropped = 0
        return True

    def _say_bug(self, error: Exception) -> None:
        if not self._is_stumped:
            self._is_stumped = True
            _LOG.error("predictions can't be logged\n%s", redacted_traceback(error))

    def _drop(self, rows: int) -> None:
        self._dropped += rows
        self._counts.rows_dropped(rows)

    def _account(self, rows: int, size: int) -> None:
        with self._guard:
            self._rows += rows
            self._bytes += size


def _size(row: LoggedPrediction) -> int:
    return _ROW_BYTES + len(row.features) + (0 if row.text is None else sys.getsizeof(row.text))
