"""The prediction log: time, features, label and model version of each served text, in SQLite or PostgreSQL.

    textclf_prediction_log   one row: version of this schema
    textclf_predictions      id, time, version, label, features (textclf.data.prediction_log.feature_codec), text,
                             rules, unsure

Label and features are those of the model; `rules` has what the operator's rules did. The text is the one that was sent.
The features contain the wordpieces of a text, so the log is personal data even if it stores no texts.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, Engine, LargeBinary, delete, func, insert, or_, select
from sqlalchemy.exc import SQLAlchemyError

from textclf.data.prediction_log.clock_check import AHEAD_SECONDS, ClockCheck
from textclf.data.prediction_log.database import (
    LOCK_SECONDS,
    ROWS,
    WRITES,
    add_columns,
    check_schema,
    file_id,
    make_private,
    missing_log,
    postgresql_engine,
    rows_with_ids,
    safe_reason,
    sqlite_engine,
    sqlite_reader,
)
from textclf.data.prediction_log.database_url import DAYS, DEFAULT_URL, MAX_ROWS, DatabaseUrl, absolute_url
from textclf.data.prediction_log.feature_codec import (
    DISAGREEMENT_BYTE,
    FORMAT,
    UNKNOWN,
    decode_features,
    encode_features,
)
from textclf.drift.features import TextFeatures, TokenCounts
from textclf.errors import PredictionLogError

# Rows that one transaction removes while other writers wait: a few hundredths of a second.
PRUNED_AT_ONCE = 2_000

# Columns that earlier software did not create.
_LATER_COLUMNS = ("rules", "unsure")
_SECONDS_A_DAY = 86_400
_ROWS_AT_ONCE = 10_000
# Reading fails if a larger share of the rows is damaged.
_MAX_DAMAGED = 0.1


@dataclass(frozen=True)
class LoggedPrediction:
    """A row of the log; logged_predictions() creates rows from features.

    Attributes:
        time: seconds since the epoch.
        features: features of the text, encoded by textclf.data.prediction_log.feature_codec.
        text: the text; None if it is not to be stored.
        rules: JSON with `names`, the names of the rules that acted, and with `label`, if a rule decided the label;
            None if no rule acted.
        unsure: whether the prediction of the model is unsure; None if the version has no thresholds.
    """

    time: float
    version_id: str
    label: str
    features: bytes
    text: str | None = None
    rules: str | None = None
    unsure: bool | None = None


def logged_predictions(
    times: Sequence[float],
    version_id: str,
    labels: Sequence[str],
    features: TextFeatures,
    texts: Sequence[str] | None = None,
    rules: Sequence[str | None] | None = None,
    unsure: Sequence[bool] | None = None,
) -> list[LoggedPrediction]:
    """Rows of n texts that one model version predicted.

    Args:
        times: n times, in seconds since the epoch.
        version_id: model version.
        labels: n predicted classes.
        features: features of the n texts.
        texts: the n texts; None stores none.
        rules: what the rules did to each text (see LoggedPrediction); None if they did nothing.
        unsure: whether each prediction is unsure; None for a version without thresholds.
    """
    nothing = [None] * len(times)
    others = texts or nothing, rules or nothing, unsure or nothing
    columns = zip(times, labels, encode_features(features), *others, strict=True)
    return [LoggedPrediction(time, version_id, label, blob, *rest) for time, label, blob, *rest in columns]


@dataclass(frozen=True, eq=False)
class LogWindow:
    """Predictions of one model version in a span of time, or a random sample of them.

    Attributes:
        features: n texts in the order of time.
        times: seconds since the epoch, float64 [n].
        total_rows: number of rows of the version in the span, including those that were not drawn.
        other_versions: number of rows of each other version in the span, by version id.
        damaged: number of damaged rows that were left out of the sample.
        from_future: number of rows of the version that are more than a minute ahead of the clock; they are left out.
    """

    features: TextFeatures
    times: NDArray[np.float64]
    total_rows: int
    other_versions: dict[str, int]
    damaged: int = 0
    from_future: int = 0


class PredictionLog:
    """A log in a database, which the first write creates; the constructor opens nothing.

    Several processes may use one log at a time, and several threads may share one object. Create the object after a
    fork, not before.

    Args:
        url: see textclf.data.prediction_log.database_url.
        days: prune() removes older rows.
        max_rows: prune() keeps this many rows, the latest.
        clock: returns seconds since the epoch.
        monotonic: returns seconds that no setting of the clock changes.

    Raises:
        ConfigError: if the URL can't hold a prediction log.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        days: float = DAYS,
        max_rows: int = MAX_ROWS,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = DatabaseUrl.parse(url)
        self.days = days
        self.max_rows = max_rows
        self.clock = clock
        self._clock_check = ClockCheck(clock, self.url.shown, monotonic)
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._file_id: tuple[int, int] | None = None
        self._known_columns: frozenset[str] = frozenset()
        # True while SQLite's write-ahead log may contain removed rows, also those removed before this object existed.
        self._leaves_traces = True

    def append(self, rows: Sequence[LoggedPrediction]) -> None:
        """Add all rows, or none.

        Raises:
            PredictionLogError: if the database can't be reached or written, or has a newer schema.
        """
        # A log of earlier software gets a column with the first row that needs it.
        added = [name for name in _LATER_COLUMNS if any(getattr(row, name) is not None for row in rows)]
        values = [
            {
                "time": row.time,
                "version": row.version_id,
                "label": row.label,
                "features": row.features,
                # PostgreSQL stores no NUL in texts.
                "text": None if row.text is None else row.text.replace("\0", "\N{REPLACEMENT CHARACTER}"),
                **{name: getattr(row, name) for name in added},
            }
            for row in rows
        ]
        if not self._known_columns.issuperset(added):
            with self._database_errors("written"):
                add_columns(self._ready_engine(creates=True), added)
                self._known_columns |= frozenset(added)
        with self._writing() as connection:
            if values:
                connection.execute(insert(ROWS), values)

    def prune(self, max_removed: int | None = None) -> int:
        """Remove rows older than `days` and the oldest beyond `max_rows`, in batches; return how many were removed.

        Several processes may prune at a time; each counts only the rows that it removed itself. In SQLite the removed
        rows also leave the write-ahead log. If another process uses the log just then, the next call does that.

        Age counts only while the clock agrees with the rows (textclf.data.prediction_log.clock_check). A row from the
        future is not one of the latest.

        It stops after the batch that reaches `max_removed`; None removes everything that is due.

        Raises:
            PredictionLogError: if the database can't be reached or written, or has a newer schema.
        """
        removed = 0
        for find in (self._too_old, self._too_many):
            batch = PRUNED_AT_ONCE
            while batch == PRUNED_AT_ONCE and (max_removed is None or removed < max_removed):
                with self._writing() as connection:
                    condition = find(connection)
                    if condition is None:
                        break
                    oldest = select(ROWS.c.id).where(condition).order_by(ROWS.c.time).limit(PRUNED_AT_ONCE)
                    batch = connection.execute(delete(ROWS).where(ROWS.c.id.in_(oldest))).rowcount
                removed += batch
        if removed or self._leaves_traces:
            self._leaves_traces = not self._truncate_write_ahead_log()
        return removed

    def read(
        self,
        version_id: str,
        since: float | None = None,
        until: float | None = None,
        max_rows: int = 5000,
        rng: np.random.Generator | None = None,
        both_stages: bool = False,
    ) -> LogWindow:
        """Read the predictions of a model version in the span [since, until).

        Args:
            version_id: model version.
            since, until: seconds since the epoch; None leaves that end open, except for rows from the future.
            max_rows: draw this many rows at random if there are more.
            rng: draws the rows; None draws the same rows each time.
            both_stages: read only texts that both stages of a cascade scored. Needs a scan of the span, because no
                index covers it.

        Raises:
            PredictionLogError: if there is no log, it can't be read, or more than a tenth of the rows are damaged.
        """
        now = self.clock() + AHEAD_SECONDS
        end = now if until is None else until
        span = [ROWS.c.time < end]
        if since is not None:
            span.append(ROWS.c.time >= since)
        wanted = [*span, *(_scored_by_both_stages() if both_stages else ())]
        with self.reading() as connection:
            chosen = select(ROWS.c.id).where(ROWS.c.version == version_id, *wanted).order_by(ROWS.c.time, ROWS.c.id)
            found = connection.execute(chosen, execution_options={"yield_per": _ROWS_AT_ONCE}).scalars()
            ids = np.fromiter(found, np.int64)
            others = select(ROWS.c.version, func.count()).where(ROWS.c.version != version_id, *span)
            other_versions = {row[0]: row[1] for row in connection.execute(others.group_by(ROWS.c.version))}
            ahead = select(func.count()).where(ROWS.c.version == version_id, ROWS.c.time >= max(now, end))
            from_future = connection.execute(ahead).scalar_one()
            total = len(ids)
            if total > max_rows:
                rng = np.random.default_rng(0) if rng is None else rng
                ids = ids[np.sort(rng.choice(total, max_rows, replace=False, shuffle=False))]
            rows = rows_with_ids(connection, ids.tolist())
        return dataclasses.replace(self._decoded(rows, total, other_versions), from_future=from_future)

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        with self._lock:
            self._drop_engine()

    def _too_old(self, connection: Connection) -> ColumnElement[bool] | None:
        """Rows older than `days`; None if the clock disagrees with the rows."""
        retention = self.days * _SECONDS_A_DAY
        settled = ROWS.c.time < self._clock_check.settled_before(retention)
        newest = connection.execute(select(func.max(ROWS.c.time)).where(settled)).scalar_one()
        if not self._clock_check.is_trusted(newest, retention):
            return None
        return ROWS.c.time < self.clock() - retention

    def _too_many(self, connection: Connection) -> ColumnElement[bool] | None:
        """Rows before the oldest one to keep. Two processes that prune agree on that row, but not on a count."""
        latest_first = (ROWS.c.time.desc(), ROWS.c.id.desc())
        known = select(ROWS.c.time, ROWS.c.id).where(ROWS.c.time < self.clock() + AHEAD_SECONDS)
        oldest_kept = known.order_by(*latest_first).offset(self.max_rows - 1).limit(1)
        found = connection.execute(oldest_kept).first()
        if found is None:
            return None
        return or_(ROWS.c.time < found.time, (ROWS.c.time == found.time) & (ROWS.c.id < found.id))

    def _truncate_write_ahead_log(self) -> bool:
        """Move SQLite's write-ahead log into the database and empty it; False if another process is in the way."""
        if self.url.file is None:
            return True
        with (
            self._database_errors("written"),
            contextlib.closing(self._ready_engine(creates=True).raw_connection()) as connection,
            contextlib.closing(connection.cursor()) as cursor,
        ):
            # Waiting for readers here would block all writers meanwhile.
            cursor.execute("PRAGMA busy_timeout = 0")
            try:
                cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                ((is_blocked, *_),) = cursor.fetchall()
            finally:
                cursor.execute(f"PRAGMA busy_timeout = {1000 * LOCK_SECONDS}")
        return not is_blocked

    def _decoded(self, rows: Sequence[Any], total: int, other_versions: dict[str, int]) -> LogWindow:
        names = [f"{self.url.shown}, row {row.id} of {ROWS.name}" for row in rows]
        # SQLite accepts a text in a column of numbers; a row with such a time is damaged.
        blobs = [row.features if isinstance(row.time, float) else None for row in rows]
        features, damage = decode_features(blobs, names)
        if len(damage) > _MAX_DAMAGED * len(rows):
            first = next(iter(damage.values()))
            raise PredictionLogError(
                f"{first} (the first of {len(damage)} damaged rows among {len(rows)}; at most a tenth may be damaged)"
            )
        times = [row.time for position, row in enumerate(rows) if position not in damage]
        found = _NO_FEATURES if features is None else features
        return LogWindow(found, np.array(times, np.float64), total, other_versions, len(damage))

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Connection]:
        with self._database_errors("written"):
            engine = self._ready_engine(creates=True).execution_options(**{WRITES: True})
            with engine.begin() as connection:
                yield connection

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads, and creates nothing; its database errors are raised as PredictionLogError."""
        file = self.url.file
        with self._database_errors("read"):
            if file is None:
                with self._ready_engine(creates=False).begin() as connection:
                    yield connection
                return
            if not file.exists():
                # Show the absolute path: the server may run in another folder.
                raise missing_log(absolute_url(self.url.shown))
            is_still = not any(file.with_name(file.name + end).exists() for end in ("-wal", "-journal"))
            before = os.stat(file)
            reader = sqlite_reader(file, is_still=is_still)
            check_schema(reader, self.url.shown, creates=False)
            with reader.begin() as connection:
                yield connection
            after = os.stat(file)
            if is_still and (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
                raise PredictionLogError(
                    f"the prediction log, {self.url.shown}, was written to while it was read; read it again"
                )

    @contextlib.contextmanager
    def _database_errors(self, done: str) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error, OSError, ImportError) as error:
            reason = f"the prediction log, {self.url.shown}, can't be {done}: {safe_reason(error)}"
            raise PredictionLogError(reason) from error

    def _ready_engine(self, *, creates: bool) -> Engine:
        """The engine of a database whose schema was checked, or created if `creates` is true."""
        with self._lock:
            # After the file was removed or replaced, the old engine would write to a file that has no name.
            if self._engine is not None and self._file_id != file_id(self.url.file):
                self._drop_engine()
            if self._engine is None:
                engine = self._new_engine()
                try:
                    check_schema(engine, self.url.shown, creates=creates)
                except BaseException:
                    engine.dispose()
                    raise
                self._engine, self._file_id = engine, file_id(self.url.file)
            return self._engine

    def _new_engine(self) -> Engine:
        file = self.url.file
        if file is None:
            return postgresql_engine(self.url.driver_url)
        make_private(file)
        return sqlite_engine(file)

    def _drop_engine(self) -> None:
        if self._engine is not None:
            self._engine.dispose()
        self._engine = self._file_id = None
        self._known_columns = frozenset()


_NO_FEATURES = TextFeatures(
    lengths=np.empty(0, np.int64),
    unknown_rates=np.empty(0, np.float32),
    continuation_rates=np.empty(0, np.float32),
    non_letter_rates=np.empty(0, np.float32),
    words=TokenCounts(np.zeros(1, np.int64), np.empty(0, np.int32), np.empty(0, np.int32)),
    logits=np.empty((0, 0), np.float32),
    predicted=np.empty(0, np.int64),
    embeddings=None,
)


def _scored_by_both_stages() -> list[ColumnElement[bool]]:
    """Conditions on the bytes of the features: the row records whether the stages of a cascade disagree."""

    def byte(position: int) -> ColumnElement[bytes]:
        return func.substr(ROWS.c.features, position + 1, 1, type_=LargeBinary)

    return [byte(0) == bytes([FORMAT]), byte(DISAGREEMENT_BYTE) != bytes([UNKNOWN])]
