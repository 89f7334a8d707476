"""The prediction log: of each served text its time, features, label and model version, in SQLite or PostgreSQL.

    textclf_prediction_log   one row: version of this schema
    textclf_predictions      id, time, version, label, features (textclf.data.prediction_log.feature_codec), text

Wordpieces of a text can be read back from its features: all of it is personal data, with the text or without.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Engine,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    create_engine,
    delete,
    event,
    func,
    insert,
    inspect,
    make_url,
    or_,
    select,
)
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from textclf.data.prediction_log.database_url import DEFAULT_URL, DatabaseUrl, absolute_url
from textclf.data.prediction_log.feature_codec import (
    DISAGREEMENT_BYTE,
    FORMAT,
    UNKNOWN,
    decode_features,
    encode_features,
)
from textclf.drift.features import TextFeatures, TokenCounts
from textclf.errors import PredictionLogError

SCHEMA_VERSION = 1
DAYS = 30
MAX_ROWS = 1_000_000
# Rows that are removed in one transaction, for which other writers wait: some hundredths of a second.
PRUNED_AT_ONCE = 2_000

_SECONDS_A_DAY = 86_400
# How long to wait for a lock that another process holds, for a connection, and for a network that swallows packets.
_LOCK_SECONDS = 5
_CONNECT_SECONDS = 5
_NETWORK_SECONDS = 15
_IDS_AT_ONCE = 500
_ROWS_AT_ONCE = 10_000
# Of the rows that are read, so many may be damaged and are passed over: a tenth.
_MAX_DAMAGED = 0.1
# PostgreSQL's locks by number are the whole database's: any that nobody else takes.
_SETUP_LOCK = 0x74636C66
_WRITES = "textclf_writes"

_METADATA = MetaData()
_SCHEMA = Table("textclf_prediction_log", _METADATA, Column("version", Integer, nullable=False))
_ROWS = Table(
    "textclf_predictions",
    _METADATA,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("time", Float(53), nullable=False),
    Column("version", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("features", LargeBinary, nullable=False),
    Column("text", Text),
    # All that choosing, counting and pruning look at: none of them reads the rows themselves.
    Index("textclf_predictions_by_time", "time", "version", "id"),
)


@dataclass(frozen=True)
class LoggedPrediction:
    """A row; logged_predictions() makes them of features.

    Attributes:
        time: in seconds since the epoch.
        version_id: of the model version that answered.
        label: the predicted class.
        features: of the text, as textclf.data.prediction_log.feature_codec encodes them.
        text: itself; None where it is not to be kept.
    """

    time: float
    version_id: str
    label: str
    features: bytes
    text: str | None = None


def logged_predictions(
    times: Sequence[float],
    version_id: str,
    labels: Sequence[str],
    features: TextFeatures,
    texts: Sequence[str] | None = None,
) -> list[LoggedPrediction]:
    """Rows of n texts that one model version answered.

    Args:
        times: n, in seconds since the epoch.
        version_id: of the version.
        labels: n predicted classes.
        features: of the n texts.
        texts: the n texts themselves; None keeps none.
    """
    return [
        LoggedPrediction(*values)
        for values in zip(
            times,
            [version_id] * len(times),
            labels,
            encode_features(features),
            [None] * len(times) if texts is None else texts,
            strict=True,
        )
    ]


@dataclass(frozen=True, eq=False)
class LogWindow:
    """What was logged of one model version in a span of time, or as much of it as was asked for.

    Attributes:
        features: of n texts, in the order of time.
        times: of each, in seconds since the epoch: float64 [n].
        total_rows: of that version in the span, of which n were drawn.
        other_versions: rows of the span by the ids of other versions.
        damaged: rows that were drawn as well and passed over, because they are damaged.
    """

    features: TextFeatures
    times: NDArray[np.float64]
    total_rows: int
    other_versions: dict[str, int]
    damaged: int = 0


class PredictionLog:
    """A log in a database, which is made when first written to; the constructor only stores.

    Several processes may write and read one log at a time, and several threads may share one object. An object
    must not be taken through a fork.

    Args:
        url: see textclf.data.prediction_log.database_url.
        days: rows older than that are pruned.
        max_rows: so many rows are kept, the latest.
        clock: seconds since the epoch.

    Raises:
        ConfigError: the URL is none.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        days: float = DAYS,
        max_rows: int = MAX_ROWS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.url = DatabaseUrl.parse(url)
        self.days = days
        self.max_rows = max_rows
        self.clock = clock
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._file_id: tuple[int, int] | None = None
        # Whether SQLite's write-ahead log may still hold what was removed, by this object or before it was made.
        self._leaves_traces = True

    def append(self, rows: Sequence[LoggedPrediction]) -> None:
        """Add rows, all or none.

        Raises:
            PredictionLogError: the database can't be reached or written, or was made by a newer version.
        """
        values = [
            {
                "time": row.time,
                "version": row.version_id,
                "label": row.label,
                "features": row.features,
                # PostgreSQL has no NUL in texts.
                "text": None if row.text is None else row.text.replace("\0", "\N{REPLACEMENT CHARACTER}"),
            }
            for row in rows
        ]
        with self._writing() as connection:
            if values:
                connection.execute(insert(_ROWS), values)

    def prune(self, most: int | None = None) -> int:
        """Remove rows that are too old, and the oldest of too many, a batch at a time: how many were removed.

        Several processes may do so at a time; what one has removed the others do not count again. In SQLite nothing
        of it stays in the files, not in the write-ahead log either; if somebody reads or writes in that moment, that
        is seen to at the next call.

        Args:
            most: stop after the batch in which so many are reached; None removes all that has to go.

        Raises:
            PredictionLogError: as for append.
        """
        removed = 0
        for find in (self._too_old, self._too_many):
            batch = PRUNED_AT_ONCE
            while batch == PRUNED_AT_ONCE and (most is None or removed < most):
                with self._writing() as connection:
                    condition = find(connection)
                    if condition is None:
                        break
                    oldest = select(_ROWS.c.id).where(condition).order_by(_ROWS.c.time).limit(PRUNED_AT_ONCE)
                    batch = connection.execute(delete(_ROWS).where(_ROWS.c.id.in_(oldest))).rowcount
                removed += batch
        if removed or self._leaves_traces:
            self._leaves_traces = not self._emptied_write_ahead_log()
        return removed

    def read(
        self,
        version_id: str,
        since: float | None = None,
        until: float | None = None,
        most: int = 5000,
        rng: np.random.Generator | None = None,
        both_stages: bool = False,
    ) -> LogWindow:
        """What a model version answered in a span of time.

        Args:
            version_id: of the version.
            since, until: the span, in seconds since the epoch, without `until` itself; None is without end.
            most: if there are more rows, so many of them, each as likely as the others.
            rng: draws them; None draws the same ones each time.
            both_stages: only what went through both stages of a cascade. No index knows which that is: all rows of
                the span are looked at.

        Raises:
            PredictionLogError: there is no log, it can't be read, or more than a tenth of the rows are damaged.
        """
        span: list[ColumnElement[bool]] = []
        if since is not None:
            span.append(_ROWS.c.time >= since)
        if until is not None:
            span.append(_ROWS.c.time < until)
        wanted = [*span, *(_went_through_both_stages() if both_stages else ())]
        with self._reading() as connection:
            chosen = select(_ROWS.c.id).where(_ROWS.c.version == version_id, *wanted).order_by(_ROWS.c.time, _ROWS.c.id)
            ids = np.fromiter(
                connection.execute(chosen, execution_options={"yield_per": _ROWS_AT_ONCE}).scalars(), np.int64
            )
            others = (
                select(_ROWS.c.version, func.count())
                .where(_ROWS.c.version != version_id, *span)
                .group_by(_ROWS.c.version)
            )
            other_versions = _pairs(connection.execute(others))
            total = len(ids)
            if total > most:
                rng = np.random.default_rng(0) if rng is None else rng
                ids = ids[np.sort(rng.choice(total, most, replace=False, shuffle=False))]
            rows = _rows_of(connection, ids.tolist())
        return self._window(rows, total, other_versions)

    def versions(self) -> dict[str, int]:
        """Rows by the id of the model version, of all there are.

        Raises:
            PredictionLogError: there is no log, or it can't be read.
        """
        counted = select(_ROWS.c.version, func.count()).group_by(_ROWS.c.version).order_by(_ROWS.c.version)
        with self._reading() as connection:
            return _pairs(connection.execute(counted))

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        with self._lock:
            self._drop_engine()

    def _too_old(self, _connection: Connection) -> ColumnElement[bool] | None:
        return _ROWS.c.time < self.clock() - self.days * _SECONDS_A_DAY

    def _too_many(self, connection: Connection) -> ColumnElement[bool] | None:
        """Before the oldest row that is kept: which, unlike a number of rows to go, two processes see alike."""
        latest_first = (_ROWS.c.time.desc(), _ROWS.c.id.desc())
        oldest_kept = select(_ROWS.c.time, _ROWS.c.id).order_by(*latest_first).offset(self.max_rows - 1).limit(1)
        found = connection.execute(oldest_kept).first()
        if found is None:
            return None
        return or_(_ROWS.c.time < found.time, (_ROWS.c.time == found.time) & (_ROWS.c.id < found.id))

    def _emptied_write_ahead_log(self) -> bool:
        """Move what SQLite's write-ahead log holds into the database, and cut it; False if another is in the way."""
        if self.url.file is None:
            return True
        with (
            self._errors_say("written"),
            contextlib.closing(self._ready_engine(makes=True).raw_connection()) as connection,
            contextlib.closing(connection.cursor()) as cursor,
        ):
            # Who waited for the others here would keep them from writing meanwhile.
            cursor.execute("PRAGMA busy_timeout = 0")
            try:
                cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                ((is_blocked, *_),) = cursor.fetchall()
            finally:
                cursor.execute(f"PRAGMA busy_timeout = {1000 * _LOCK_SECONDS}")
        return not is_blocked

    def _window(self, rows: Sequence[Any], total: int, other_versions: dict[str, int]) -> LogWindow:
        """What is whole of the rows; see read."""
        names = [f"{self.url.shown}, row {row.id} of {_ROWS.name}" for row in rows]
        # SQLite keeps a text in a column of numbers; nothing is decoded of a row whose time is none.
        blobs = [row.features if isinstance(row.time, float) else None for row in rows]
        features, damage = decode_features(blobs, names)
        if len(damage) > _MAX_DAMAGED * len(rows):
            first = next(iter(damage.values()))
            raise PredictionLogError(
                f"{first} (the first of {len(damage)} damaged rows among {len(rows)}; up to a tenth are passed over)"
            )
        times = [row.time for position, row in enumerate(rows) if position not in damage]
        return LogWindow(
            _NO_FEATURES if features is None else features,
            np.array(times, np.float64),
            total,
            other_versions,
            len(damage),
        )

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Connection]:
        """A transaction that writes."""
        with self._errors_say("written"):
            engine = self._ready_engine(makes=True).execution_options(**{_WRITES: True})
            with engine.begin() as connection:
                yield connection

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Connection]:
        """A transaction that reads a log that is there, and neither makes nor changes anything."""
        file = self.url.file
        with self._errors_say("read"):
            if file is None:
                with self._ready_engine(makes=False).begin() as connection:
                    yield connection
                return
            if not file.exists():
                # A path from here is another one where the server runs.
                raise _no_log(absolute_url(self.url.shown))
            is_still = not any(file.with_name(file.name + end).exists() for end in ("-wal", "-journal"))
            before = os.stat(file)
            reader = _sqlite_reader(file, is_still=is_still)
            _check_schema(reader, self.url.shown, makes=False)
            with reader.begin() as connection:
                yield connection
            after = os.stat(file)
            if is_still and (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
                raise PredictionLogError(
                    f"the prediction log, {self.url.shown}, was written to while it was read; read it again"
                )

    @contextlib.contextmanager
    def _errors_say(self, done: str) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error, OSError, ImportError) as error:
            raise PredictionLogError(
                f"the prediction log, {self.url.shown}, can't be {done}: {_reason(error)}"
            ) from error

    def _ready_engine(self, *, makes: bool) -> Engine:
        """The engine of a database whose schema is there; it is made if it may be, in SQLite always."""
        with self._lock:
            # A file that was removed would go on being written, where nobody reads it.
            if self._engine is not None and self._file_id != _file_id(self.url.file):
                self._drop_engine()
            if self._engine is None:
                engine = self._new_engine()
                try:
                    _check_schema(engine, self.url.shown, makes=makes)
                except BaseException:
                    engine.dispose()
                    raise
                self._engine, self._file_id = engine, _file_id(self.url.file)
            return self._engine

    def _new_engine(self) -> Engine:
        file = self.url.file
        if file is None:
            return _postgresql_engine(self.url.driver_url)
        _make_private(file)
        return _sqlite_engine(file)

    def _drop_engine(self) -> None:
        if self._engine is not None:
            self._engine.dispose()
        self._engine = self._file_id = None


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


def _went_through_both_stages() -> list[ColumnElement[bool]]:
    """Of a row: its features say whether the stages disagree (textclf.data.prediction_log.feature_codec)."""

    def byte(position: int) -> ColumnElement[bytes]:
        return func.substr(_ROWS.c.features, position + 1, 1, type_=LargeBinary)

    return [byte(0) == bytes([FORMAT]), byte(DISAGREEMENT_BYTE) != bytes([UNKNOWN])]


def _pairs(rows: Iterable[Any]) -> dict[str, int]:
    return {row[0]: row[1] for row in rows}


def _rows_of(connection: Connection, ids: list[int]) -> list[Any]:
    """The rows with these ids, in their order, without those that are gone."""
    found: dict[int, Any] = {}
    for start in range(0, len(ids), _IDS_AT_ONCE):
        some = select(_ROWS.c.id, _ROWS.c.time, _ROWS.c.features).where(
            _ROWS.c.id.in_(ids[start : start + _IDS_AT_ONCE])
        )
        found.update((row.id, row) for row in connection.execute(some))
    return [found[row_id] for row_id in ids if row_id in found]


def _make_private(file: Path) -> None:
    """Make the file, and its folder, readable by their owner alone; SQLite gives its other files the same mode."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Only if it is not there: closing one that is would undo the locks that this process holds on it (POSIX).
    with contextlib.suppress(FileExistsError):
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def _file_id(file: Path | None) -> tuple[int, int] | None:
    """Which file it is, whatever its name; None if there is none."""
    try:
        found = None if file is None else os.stat(file)
    except OSError:
        return None
    return None if found is None else (found.st_dev, found.st_ino)


def _sqlite_engine(file: Path) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(file)),
        hide_parameters=True,
        pool_size=1,
        connect_args={"timeout": _LOCK_SECONDS},
    )

    @event.listens_for(engine, "connect")
    def set_up(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # The module would begin transactions by rules of its own.
        _use_write_ahead_log(connection)
        # Killed processes lose nothing that was committed; a machine that loses its power may lose the last seconds.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA secure_delete = ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # At once, because a transaction that reads first and then finds another writing can't wait for it.
        writes = connection.get_execution_options().get(_WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _sqlite_reader(file: Path, *, is_still: bool) -> Engine:
    """One that opens the file anew each time, and only to read.

    Args:
        file: of the database.
        is_still: whether nobody has it open to write. SQLite then needs no files beside it, which may be impossible to
            make, or would belong to the reader afterwards and keep the writer out.
    """
    query = {"mode": "ro", "uri": "true", **({"immutable": "1"} if is_still else {})}
    engine = create_engine(
        URL.create("sqlite", database=f"file:{quote(str(file.absolute()))}", query=query),
        hide_parameters=True,
        poolclass=NullPool,
        connect_args={"timeout": _LOCK_SECONDS},
    )

    @event.listens_for(engine, "connect")
    def set_up(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Readers and the writer do not wait for each other; the file remembers it. This change alone waits for no lock."""
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def _postgresql_engine(driver_url: str) -> Engine:
    url = make_url(driver_url)
    timeouts = {
        "connect_timeout": str(_CONNECT_SECONDS),
        "tcp_user_timeout": str(1000 * _NETWORK_SECONDS),
        "application_name": "textclf",
    }
    url = url.update_query_dict({name: value for name, value in timeouts.items() if name not in url.query})
    # Poolers between here and the server may not know what was prepared on another connection.
    engine = create_engine(url, hide_parameters=True, pool_size=1, connect_args={"prepare_threshold": None})

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if connection.get_execution_options().get(_WRITES):
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'")

    return engine


def _check_schema(engine: Engine, shown: str, *, makes: bool) -> None:
    """See that the tables are there and known; make them if they may be made.

    Raises:
        PredictionLogError: they are not, or of another version.
    """
    if makes:
        with engine.execution_options(**{_WRITES: True}).begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(select(func.pg_advisory_xact_lock(_SETUP_LOCK)))
            if not inspect(connection).has_table(_SCHEMA.name):
                _METADATA.create_all(connection)
                connection.execute(insert(_SCHEMA).values(version=SCHEMA_VERSION))
    with engine.begin() as connection:
        if not inspect(connection).has_table(_SCHEMA.name):
            raise _no_log(shown)
        found = connection.execute(select(_SCHEMA.c.version)).scalars().all()
    if found != [SCHEMA_VERSION]:
        what = "by a newer version of this software" if found and max(found) > SCHEMA_VERSION else "otherwise"
        raise PredictionLogError(
            f"{shown}: expected a prediction log of schema {SCHEMA_VERSION}, got one made {what} (schema "
            f"{', '.join(map(str, found)) or 'unknown'}); update this software, or name another database"
        )


def _no_log(shown: str) -> PredictionLogError:
    return PredictionLogError(
        f"{shown}: expected a prediction log, found none; the server makes it with its first answer "
        f"(PREDICTION_LOG_URL); give the URL that it has"
    )


def _reason(error: BaseException) -> str:
    """What a library says, without statement, values and details, which may hold a text."""
    cause = getattr(error, "orig", None) or error
    message = getattr(getattr(cause, "diag", None), "message_primary", None) or str(cause).partition("\nDETAIL")[0]
    return f"{' '.join(message.split())[:300] or type(cause).__name__}"
