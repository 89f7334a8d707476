"""Tables of the prediction log, and engines for SQLite and PostgreSQL."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
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
    event,
    func,
    insert,
    inspect,
    make_url,
    select,
)
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool

from textclf.errors import PredictionLogError

SCHEMA_VERSION = 1
# Execution option of connections that write.
WRITES = "textclf_writes"
# Timeouts for a lock that another process holds, for a connection, and for a network that drops packets.
LOCK_SECONDS = 5
_CONNECT_SECONDS = 5
_NETWORK_SECONDS = 15
# PostgreSQL's advisory locks are numbers of the whole database: any number that no other program uses.
_SETUP_LOCK = 0x74636C66
_IDS_AT_ONCE = 500

_METADATA = MetaData()
_SCHEMA = Table("textclf_prediction_log", _METADATA, Column("version", Integer, nullable=False))
ROWS = Table(
    "textclf_predictions",
    _METADATA,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("time", Float(53), nullable=False),
    Column("version", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("features", LargeBinary, nullable=False),
    Column("text", Text),
    Column("rules", Text),
    Column("unsure", Boolean),
    # Covers all columns that selecting, counting and pruning look at, so that none of them reads the rows.
    Index("textclf_predictions_by_time", "time", "version", "id"),
)


def make_private(file: Path) -> None:
    """Create the file and its folder, readable only by their owner; SQLite gives its other files the same mode."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Never open an existing file: closing it would release the locks that this process holds on it (POSIX).
    with contextlib.suppress(FileExistsError):
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def file_id(file: Path | None) -> tuple[int, int] | None:
    """Device and inode of a file; None if it does not exist."""
    try:
        found = None if file is None else os.stat(file)
    except OSError:
        return None
    return None if found is None else (found.st_dev, found.st_ino)


def sqlite_engine(file: Path) -> Engine:
    """An engine that reads and writes."""
    engine = create_engine(
        URL.create("sqlite", database=str(file)),
        hide_parameters=True,
        pool_size=1,
        connect_args={"timeout": LOCK_SECONDS},
    )

    @event.listens_for(engine, "connect")
    def set_up(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # Otherwise the sqlite3 module begins transactions itself.
        _use_write_ahead_log(connection)
        # A killed process loses nothing that was committed; a power cut may lose the last seconds.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA secure_delete = ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # Lock at once: a transaction that first reads and then meets another writer can't wait for it.
        writes = connection.get_execution_options().get(WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def sqlite_reader(file: Path, *, is_still: bool) -> Engine:
    """An engine that opens the file again for each connection, and only reads.

    It `is_still` if no process has it open to write. SQLite then needs no files next to it. A reader may be unable to
    create them, or would own them and so lock out the writer.
    """
    query = {"mode": "ro", "uri": "true", **({"immutable": "1"} if is_still else {})}
    engine = create_engine(
        URL.create("sqlite", database=f"file:{quote(str(file.absolute()))}", query=query),
        hide_parameters=True,
        poolclass=NullPool,
        connect_args={"timeout": LOCK_SECONDS},
    )

    @event.listens_for(engine, "connect")
    def set_up(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Let readers and the writer work at the same time. SQLite's timeout does not cover this change, so retry here."""
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def postgresql_engine(driver_url: str) -> Engine:
    """An engine with timeouts, unless the URL sets its own."""
    url = make_url(driver_url)
    timeouts = {
        "connect_timeout": str(_CONNECT_SECONDS),
        "tcp_user_timeout": str(1000 * _NETWORK_SECONDS),
        "application_name": "textclf",
    }
    url = url.update_query_dict({name: value for name, value in timeouts.items() if name not in url.query})
    # A connection pooler may not know statements that were prepared on another connection.
    engine = create_engine(url, hide_parameters=True, pool_size=1, connect_args={"prepare_threshold": None})

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if connection.get_execution_options().get(WRITES):
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")

    return engine


def check_schema(engine: Engine, shown: str, *, creates: bool) -> None:
    """Check that the tables exist and have this schema version; create missing ones if `creates` is true.

    Raises:
        PredictionLogError: if there are no tables, or they have another schema version.
    """
    if creates:
        with engine.execution_options(**{WRITES: True}).begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(select(func.pg_advisory_xact_lock(_SETUP_LOCK)))
            if not inspect(connection).has_table(_SCHEMA.name):
                _METADATA.create_all(connection)
                connection.execute(insert(_SCHEMA).values(version=SCHEMA_VERSION))
    with engine.begin() as connection:
        if not inspect(connection).has_table(_SCHEMA.name):
            raise missing_log(shown)
        found = connection.execute(select(_SCHEMA.c.version)).scalars().all()
    if found != [SCHEMA_VERSION]:
        is_newer = bool(found) and max(found) > SCHEMA_VERSION
        raise PredictionLogError(
            f"{shown}: expected a prediction log of schema {SCHEMA_VERSION}, found schema "
            f"{', '.join(map(str, found)) or 'unknown'}{' of a newer version of this software' if is_newer else ''}; "
            f"update this software, or name another database"
        )


def add_columns(engine: Engine, names: Iterable[str]) -> None:
    """Add columns that a log of earlier software lacks; that software can still use the log."""
    with engine.execution_options(**{WRITES: True}).begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(select(func.pg_advisory_xact_lock(_SETUP_LOCK)))
        found = {column["name"] for column in inspect(connection).get_columns(ROWS.name)}
        for name in names:
            if name not in found:
                kind = ROWS.c[name].type.compile(connection.dialect)
                connection.exec_driver_sql(f"ALTER TABLE {ROWS.name} ADD COLUMN {name} {kind}")


def rows_with_ids(connection: Connection, ids: Sequence[int]) -> list[Any]:
    """Id, time and features of these rows, in the order of `ids`, without rows that were removed meanwhile."""
    found: dict[int, Any] = {}
    for start in range(0, len(ids), _IDS_AT_ONCE):
        some = select(ROWS.c.id, ROWS.c.time, ROWS.c.features).where(ROWS.c.id.in_(ids[start : start + _IDS_AT_ONCE]))
        found.update((row.id, row) for row in connection.execute(some))
    return [found[row_id] for row_id in ids if row_id in found]


def missing_log(shown: str) -> PredictionLogError:
    """The error for a database without a prediction log."""
    return PredictionLogError(
        f"{shown}: expected a prediction log, found none; the server creates it with its first prediction; pass the "
        f"server's PREDICTION_LOG_URL"
    )


def safe_reason(error: BaseException) -> str:
    """The message of a database error, without statement, values and details, which may contain a text."""
    cause = getattr(error, "orig", None) or error
    message = getattr(getattr(cause, "diag", None), "message_primary", None) or str(cause).partition("\nDETAIL")[0]
    return f"{' '.join(message.split())[:300] or type(cause).__name__}"
