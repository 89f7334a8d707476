"""The prediction log in SQLite and a real PostgreSQL: what was written comes back, and only its owner may read it."""

import contextlib
import dataclasses
import os
import sqlite3
import stat
import tempfile
import threading
import time
import traceback
from pathlib import Path

import numpy as np
import pytest
from clean_processes import clean_processes
from postgresql_server import PASSWORD, running_postgresql
from random_features import assert_same, random_features, random_rows
from sqlalchemy import create_engine, text

from textclf.data.prediction_log.database_url import DEFAULT_URL, OFF, DatabaseUrl, absolute_url
from textclf.data.prediction_log.feature_codec import FORMAT, decode_features, encode_features
from textclf.data.prediction_log.log import (
    LoggedPrediction,
    PredictionLog,
    logged_predictions,
)
from textclf.drift.features import TextFeatures, TokenCounts
from textclf.errors import ConfigError, PredictionLogError

DAY = 86_400.0


@pytest.fixture(scope="module")
def postgresql():
    with running_postgresql() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """Of a database without a log."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/log/predictions.sqlite"
        return
    server = request.getfixturevalue("postgresql")
    yield server.url
    execute(server.url, "DROP TABLE IF EXISTS textclf_predictions, textclf_prediction_log")


@pytest.fixture
def log(url):
    with contextlib.closing(PredictionLog(url, clock=lambda: 100 * DAY)) as log:
        yield log


def execute(url, statement, **values):
    """A statement past the log, in a connection of its own."""
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        result = connection.execute(text(statement), values)
        rows = result.fetchall() if result.returns_rows else []
    engine.dispose()
    return rows


@pytest.mark.parametrize("how", [{}, {"directions": None}, {"classes": 7, "directions": 64}, {"vocabulary": 120_000}])
def test_features_come_back_as_they_were(log, how):
    rows = random_rows(60, **how)
    log.append(rows[:20])
    log.append(rows[20:])
    window = log.read("v1")
    assert_same(window.features, random_features(60, **how))
    assert window.times.tolist() == list(range(60))
    assert window.times.dtype == np.float64
    assert (window.total_rows, window.other_versions) == (60, {})


def test_long_texts_and_empty_ones(log, url):
    words = TokenCounts.of_ids([[], [7] * 300 + [2**20], []])
    features = TextFeatures(
        np.array([2, 10**8, 2]), *[np.array([0, 0.1, 1], np.float32)] * 3, words,
        np.array([[1e-30, -1e30]] * 3, np.float32), np.array([0, 1, 1]), None,
    )  # fmt: skip
    log.append(logged_predictions([1.0, 2.0, 3.0], "v", ["a", "b", "b"], features, ["", "x\0y", "ü\n'; --"]))
    log.append(random_rows(1))
    assert_same(log.read("v").features, features)
    texts = [text for (text,) in execute(url, "SELECT text FROM textclf_predictions ORDER BY id")]
    assert texts == ["", "x\N{REPLACEMENT CHARACTER}y", "ü\n'; --", None]


def test_without_a_row_there_are_no_features(log):
    log.append([])
    window = log.read("v1")
    assert len(window.features) == len(window.times) == window.total_rows == 0


def test_some_texts_may_have_no_embedding(log):
    log.append(random_rows(3))
    log.append(random_rows(3, start=10, directions=None))
    found = log.read("v1").features.embeddings
    assert np.isfinite(found).all(axis=1).tolist() == [True] * 3 + [False] * 3
    np.testing.assert_array_equal(found[:3], log.read("v1", until=3).features.embeddings)
    assert log.read("v1", since=10).features.embeddings is None


def test_a_span_without_its_end_and_the_other_versions(log):
    log.append(random_rows(10))
    log.append(random_rows(10, version="v2"))
    log.append(random_rows(4, version="v3", start=8))
    window = log.read("v1", 2, 9)
    assert window.times.tolist() == [2, 3, 4, 5, 6, 7, 8]
    assert window.other_versions == {"v2": 7, "v3": 1}
    assert log.read("").other_versions == {"v1": 10, "v2": 10, "v3": 4}
    assert log.read("v9").total_rows == 0


def test_rows_are_drawn_at_random_and_the_same_ones_by_a_seed(log):
    log.append(random_rows(1000))

    def drawn(seed):
        window = log.read("v1", max_rows=100, rng=np.random.default_rng(seed))
        assert window.total_rows == 1000
        assert len(window.features) == 100
        return window.times

    assert drawn(1).tolist() == drawn(1).tolist() != drawn(2).tolist()
    times = np.concatenate([drawn(seed) for seed in range(10)])
    assert all(np.all(np.diff(drawn(seed)) > 0) for seed in range(3))
    # 1,000 draws, 100 expected in each tenth of the window; five standard deviations.
    counts, _ = np.histogram(times, 10, (0, 1000))
    assert np.all(np.abs(counts - 100) < 50)


def test_rows_that_are_not_drawn_are_not_looked_at(log, url):
    log.append(random_rows(300))
    execute(url, "UPDATE textclf_predictions SET features = :blob WHERE time >= 100", blob=b"")
    assert len(log.read("v1", until=100).features) == 100
    assert log.read("v1", until=100).damaged == 0
    assert log.read("v1", until=101).damaged == 1


def test_damaged_rows_are_passed_over_and_counted(log, url):
    log.append(random_rows(30))
    execute(url, "UPDATE textclf_predictions SET features = :blob WHERE time IN (0, 7)", blob=b"x" * 50)
    log.append(random_rows(1, start=40, classes=3))
    window = log.read("v1")
    whole = [*range(1, 7), *range(8, 30)]
    assert (window.damaged, window.total_rows, window.times.tolist()) == (3, 31, whole)
    assert_same(window.features, random_features(30).take(np.array(whole)))
    execute(url, "UPDATE textclf_predictions SET features = :blob WHERE time = 9", blob=b"")
    with pytest.raises(PredictionLogError, match=r"row 1 of textclf_predictions: its features are damaged.*4 .* 31;"):
        log.read("v1")


def test_what_sqlite_lets_into_a_column_is_damage_too(tmp_path):
    with contextlib.closing(PredictionLog(f"sqlite:///{tmp_path}/log.sqlite")) as log:
        log.append(random_rows(30))
        with contextlib.closing(sqlite3.connect(tmp_path / "log.sqlite")) as other, other:
            other.execute("UPDATE textclf_predictions SET features = 'a text' WHERE id = 3")
            other.execute("UPDATE textclf_predictions SET features = 99999999999 WHERE id = 4")
            other.execute("UPDATE textclf_predictions SET time = 'noon' WHERE id = 5")
        window = log.read("v1")
    assert (window.damaged, window.from_future, len(window.features), len(window.times)) == (2, 1, 27, 27)


def _only_failure(blob, name):
    features, failures = decode_features([blob], [name])
    assert features is None
    return failures[0]


def test_every_damage_is_one_clear_error():
    (blob,) = encode_features(random_features(1))
    for position in range(len(blob)):
        damaged = bytearray(blob)
        damaged[position] ^= 1 << position % 8
        assert _only_failure(bytes(damaged), "row 17").startswith("row 17: its features are damaged")
    for end in range(len(blob)):
        assert _only_failure(blob[:end], "row 17").startswith("row 17: its features are damaged")


def test_forged_sizes_are_damage_too():
    """Someone who can write into the database can also write a checksum."""
    import struct
    import zlib

    header = struct.Struct("<BBBIfffHHHIBB")
    for fields in (
        (2, 0, 255, 9, 0, 0, 0, 1, 2, 0, 2**32 - 1, 2, 1),
        (2, 0, 255, 9, 0, 0, 0, 1, 2, 0, 0, 3, 1),
        (2, 0, 255, 9, 0, 0, 0, 1, 2, 9, 0, 2, 1),
        (2, 0, 255, 9, 0, 0, 0, 1, 2, 0, 4, 2, 2),
        (2, 3, 255, 9, 0, 0, 0, 1, 2, 0, 0, 2, 1),
        (2, 1, 2, 9, 0, 0, 0, 1, 2, 0, 0, 2, 1),
    ):
        body = header.pack(*fields) + bytes(8)
        forged = body + struct.pack("<I", zlib.crc32(body))
        assert _only_failure(forged, "row 3").startswith("row 3: its features are damaged")
    body = header.pack(FORMAT + 1, *[0] * 12)
    with pytest.raises(PredictionLogError, match=r"^row 3: its features are in format 3.* update it"):
        decode_features([body + struct.pack("<I", zlib.crc32(body))], ["row 3"])


def test_only_rows_of_both_stages(log):
    """Neither those of which one stage is known, nor those of no cascade, nor those of before there were any."""
    features = random_features(6, directions=None)
    known = dataclasses.replace(
        features,
        stages=np.array([1, 1, 2, 2, 1, 2]),
        disagreements=np.array([0, np.nan, 1, np.nan, 0, 0], np.float32),
    )
    log.append(logged_predictions(range(6), "v1", ["neg"] * 6, known))
    log.append(random_rows(3, start=10))
    found = log.read("v1", both_stages=True)
    assert found.times.tolist() == [0, 2, 4, 5]
    assert found.features.disagreements.tolist() == [0, 1, 0, 0]
    assert log.read("v1", since=3, max_rows=1, both_stages=True).total_rows == 2


def test_rows_of_before_there_were_cascades_are_read():
    import struct
    import zlib

    body = struct.pack("<BIfffHHHIBB", 1, 9, 0.5, 0.25, 0.125, 1, 2, 1, 2, 2, 1)
    body += np.array([7, 9], "<u2").tobytes() + bytes([3, 1]) + np.array([-1, 1, 4], "<f4").tobytes()
    features, failures = decode_features([body + struct.pack("<I", zlib.crc32(body))], ["row 3"])
    assert failures == {}
    assert (features.lengths.tolist(), features.predicted.tolist(), features.logits.tolist()) == ([9], [1], [[-1, 1]])
    assert (features.words.ids.tolist(), features.words.counts.tolist()) == ([7, 9], [3, 1])
    assert (features.embeddings.tolist(), features.stages, features.disagreements) == ([[4]], None, None)


def test_rows_of_two_models_under_one_id_are_named(log):
    log.append(random_rows(2))
    log.append(random_rows(1, start=5, classes=3))
    with pytest.raises(PredictionLogError, match=r"row 3 of .*expected logits of 2 classes as in .*row 1 of .*, got 3"):
        log.read("v1")


def test_prune_by_age(log):
    log.append(random_rows(10, start=70 * DAY - 5))
    log.append(random_rows(3, version="v2", start=99 * DAY))
    assert log.prune() == 5
    assert log.read("").other_versions == {"v1": 5, "v2": 3}
    assert log.read("v1").times.min() == 70 * DAY
    assert log.prune() == 0


def agreeing_row(now=100 * DAY):
    """A row of an earlier day, which shows that the clock is right."""
    return [LoggedPrediction(now - 2 * DAY, "agreeing", "neg", b"")]


def test_a_clock_ahead_removes_nothing(url, caplog):
    now = [100 * DAY]
    with contextlib.closing(PredictionLog(url, clock=lambda: now[0])) as log:
        log.append(random_rows(10, start=70 * DAY - 5) + agreeing_row())
        now[0] += 40 * DAY
        assert [log.prune(), log.prune()] == [0, 0]
        assert len(caplog.records) == 1, "one line"
        assert "the clock shows 1970-05-21" in caplog.text
        log.append(random_rows(5, version="wrong", start=now[0]))
        assert log.prune() == 0, "a row of the wrong clock says nothing about the clock"
        assert log.read("v1").total_rows == 10
        now[0] = 100 * DAY
        assert log.prune() == 5
        assert len(caplog.records) == 2
        assert "agrees with the rows again" in caplog.text


def test_a_new_process_with_a_clock_ahead_removes_nothing_until_its_rows_are_a_day_old(url, caplog):
    with contextlib.closing(PredictionLog(url, clock=lambda: 100 * DAY)) as log:
        log.append(random_rows(10, start=99 * DAY))
    now = [140 * DAY]
    with contextlib.closing(PredictionLog(url, clock=lambda: now[0])) as log:
        log.append(random_rows(1, version="new", start=now[0]))
        assert log.prune() == 0
        now[0] += 1.01 * DAY
        assert log.prune() == 10


def test_a_running_process_trusts_a_clock_that_runs_evenly(url):
    """A server without requests for a month still deletes what is due."""
    now, passed = [100 * DAY], [5.0]
    with contextlib.closing(PredictionLog(url, clock=lambda: now[0], monotonic=lambda: passed[0])) as log:
        log.append(random_rows(10, start=98 * DAY))
        assert log.prune() == 0
        now[0] += 40 * DAY
        assert log.prune() == 0, "the clock was set"
        passed[0] += 40 * DAY
        assert log.prune() == 10


def test_a_clock_behind_removes_nothing(url):
    with contextlib.closing(PredictionLog(url, clock=lambda: 0.0, max_rows=3)) as log:
        log.append(random_rows(10, start=99 * DAY))
        assert log.prune() == 0


def test_rows_from_the_future_are_counted_and_left_out(log):
    log.append(random_rows(5, start=99 * DAY) + random_rows(3, start=140 * DAY))
    log.append(random_rows(2, version="v2", start=140 * DAY))
    for until in (None, 99 * DAY + 10):
        window = log.read("v1", until=until)
        assert (window.total_rows, window.from_future, window.other_versions) == (5, 3, {})
        assert window.times.max() < 100 * DAY
    assert log.read("v1", until=200 * DAY).total_rows == 8, "the caller asks for them"


def test_rows_from_the_future_do_not_displace_others(log):
    log.max_rows = 4
    log.append(random_rows(6, start=140 * DAY) + random_rows(5, start=99 * DAY))
    assert log.prune() == 1
    assert log.read("v1").times.min() == 99 * DAY + 1


def test_prune_by_rows_removes_the_oldest(log):
    log.max_rows = 7
    log.append(random_rows(10, start=99 * DAY))
    log.append(random_rows(2, version="v2", start=98 * DAY))
    assert log.prune() == 5
    assert log.read("").other_versions == {"v1": 7}
    assert log.read("v1").times.min() == 99 * DAY + 3
    log.append(logged_predictions([99 * DAY + 9] * 9, "v1", ["neg"] * 9, random_features(9)))
    log.prune()
    assert log.read("v1").total_rows == 7, "rows of one moment, too"


def test_prune_in_batches(log, monkeypatch):
    monkeypatch.setattr("textclf.data.prediction_log.log.PRUNED_AT_ONCE", 10)
    log.append(random_rows(35) + agreeing_row())
    assert log.prune(max_removed=10) == 10
    assert log.read("v1").times.min() == 10
    assert log.prune(max_removed=15) == 20
    assert log.prune() == 5
    assert log.read("").other_versions == {"agreeing": 1}


def test_two_that_prune_at_a_time_remove_no_more(url, monkeypatch):
    monkeypatch.setattr("textclf.data.prediction_log.log.PRUNED_AT_ONCE", 5)
    logs = [PredictionLog(url, max_rows=20, clock=lambda: 200.0) for _ in range(3)]
    logs[0].append(random_rows(200))
    removed = []
    threads = [threading.Thread(target=lambda log=log: removed.append(log.prune())) for log in logs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sum(removed) == 180
    assert logs[0].read("v1").times.tolist() == list(range(180, 200))
    for log in logs:
        log.close()


def _write(url, number):
    with contextlib.closing(PredictionLog(url)) as log:
        for batch in range(20):
            log.append(random_rows(5, version=f"v{number}", start=batch))


def test_several_processes_make_and_write_one_log(url):
    writers = [clean_processes().Process(target=_write, args=(url, number)) for number in range(5)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0] * 5
    with contextlib.closing(PredictionLog(url)) as log:
        assert log.read("").other_versions == {f"v{number}": 100 for number in range(5)}
    assert execute(url, "SELECT version FROM textclf_prediction_log") == [(1,)]


@pytest.mark.parametrize("versions", [[2], [], [1, 7]])
def test_another_schema_is_refused_and_left_alone(log, url, versions):
    log.append(random_rows(1))
    log.close()
    execute(url, "DELETE FROM textclf_prediction_log")
    for version in versions:
        execute(url, "INSERT INTO textclf_prediction_log VALUES (:version)", version=version)
    for call in (lambda: log.append(random_rows(1)), lambda: log.read("v1"), log.prune):
        with pytest.raises(PredictionLogError, match=r"expected a prediction log of schema 1, found schema"):
            call()
    assert execute(url, "SELECT count(*) FROM textclf_predictions") == [(1,)]


def test_who_reads_makes_no_log(log, tmp_path):
    with pytest.raises(PredictionLogError, match="expected a prediction log, found none"):
        log.read("v1")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("is_open", [False, True], ids=["nobody writes", "the server has it open"])
@pytest.mark.parametrize("folder_mode", [0o755, 0o777])
def test_another_user_reads_what_it_may_not_write(tmp_path, is_open, folder_mode):
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # Each folder above has to be open to that user.
        file = Path(folder, "a log, 100%20.sqlite")
        with contextlib.closing(PredictionLog(f"sqlite:///{file}")) as log:
            log.append(random_rows(5))
            if not is_open:
                log.close()
            os.chmod(folder, folder_mode)
            for path in Path(folder).iterdir():
                path.chmod(0o644)
            before = _states(folder)
            with clean_processes().Pool(1, _become_nobody) as other:
                assert other.apply(_read_times, [str(file)]) == [0, 1, 2, 3, 4]
                other.close()
                other.join()
            assert _states(folder) == before
            log.append(random_rows(1, start=9))
            assert len(log.read("v1").times) == 6


def _become_nobody():
    create_engine("sqlite://").dispose()  # Another user may not be able to import what it needs.
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)


def _read_times(file):
    with contextlib.closing(PredictionLog(f"sqlite:///{file}")) as log:
        assert log.read("").other_versions == {"v1": 5}
        return log.read("v1").times.tolist()


def _states(folder):
    return {
        path.name: (path.stat().st_uid, path.read_bytes()) for path in Path(folder).iterdir() if "shm" not in path.name
    } | {path.name: path.stat().st_uid for path in Path(folder).iterdir() if "shm" in path.name}


def test_a_log_that_is_written_while_it_is_read_as_still_is_not_believed(tmp_path):
    file = tmp_path / "log.sqlite"
    with contextlib.closing(PredictionLog(f"sqlite:///{file}")) as log:
        log.append(random_rows(5))
        log.close()

        class Writes(np.random.Generator):
            def choice(self, *arguments, **how):
                log.append(random_rows(5))
                log.close()
                return super().choice(*arguments, **how)

        with pytest.raises(PredictionLogError, match="was written to while it was read; read it again"):
            log.read("v1", max_rows=3, rng=Writes(np.random.PCG64(0)))
        assert log.read("v1").total_rows == 10


def test_a_locked_database_is_an_error_and_no_loss(log, url, monkeypatch):
    monkeypatch.setattr("textclf.data.prediction_log.database.LOCK_SECONDS", 0.2 if url.startswith("sqlite") else 1)
    log.append(random_rows(1))
    log.close()
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as other:
        if url.startswith("sqlite"):
            other.connection.isolation_level = None
            other.exec_driver_sql("BEGIN EXCLUSIVE")
        else:
            other.exec_driver_sql("LOCK TABLE textclf_predictions IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(PredictionLogError, match=r"can't be written: .*lock"):
            log.append(random_rows(5))
        other.rollback()
    engine.dispose()
    log.append(random_rows(5))
    assert log.read("").other_versions == {"v1": 6}


def test_what_the_database_refuses_is_not_quoted(log, url):
    """PostgreSQL puts the whole row into the details of its error."""
    log.append([])
    column = "text" if url.startswith("postgresql") else "label"
    execute(url, "DROP TABLE textclf_predictions")
    kinds = "id serial primary key, time float, version text, label text, features bytea, text text"
    execute(url, f"CREATE TABLE textclf_predictions ({kinds}, CHECK (length({column}) < 5))")
    row = LoggedPrediction(1.0, "v1", "a private label", b"", "a private text")
    with pytest.raises(PredictionLogError, match="can't be written") as caught:
        log.append([row])
    assert "private" not in "".join(traceback.format_exception(caught.value, chain=False))
    assert "private" not in str(caught.value)


# SQLite: files and their modes.


@pytest.fixture
def _open_umask():
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("_open_umask")
def test_only_the_owner_can_read_the_files(tmp_path):
    with contextlib.closing(PredictionLog(f"sqlite:///{tmp_path}/a/b/log.sqlite")) as log:
        log.append(random_rows(3))
        files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "a" / "b").iterdir()}
        assert files == dict.fromkeys(("log.sqlite", "log.sqlite-wal", "log.sqlite-shm"), 0o600)
        assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700


def test_modes_that_are_there_are_left_alone(tmp_path):
    tmp_path.chmod(0o750)
    with contextlib.closing(PredictionLog(f"sqlite:///{tmp_path}/log.sqlite")) as log:
        log.append([])
        log.close()
        (tmp_path / "log.sqlite").chmod(0o640)
        log.append(random_rows(1))
        assert stat.S_IMODE((tmp_path / "log.sqlite-wal").stat().st_mode) == 0o640
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o750


def test_what_is_removed_does_not_stay_in_the_file(tmp_path):
    with contextlib.closing(PredictionLog(f"sqlite:///{tmp_path}/log.sqlite", clock=lambda: 100 * DAY)) as log:
        row = random_rows(1)[0]
        log.append([LoggedPrediction(1.0, "v1", "neg", row.features, "a private text " * 3), *agreeing_row()])
        assert _is_in_files(tmp_path, b"a private text")
        assert log.prune() == 1
        assert not _is_in_files(tmp_path, b"a private text"), "while the log is open"
        assert not _is_in_files(tmp_path, row.features)
    assert [path.name for path in tmp_path.iterdir()] == ["log.sqlite"]
    assert not _is_in_files(tmp_path, b"a private text")


def _is_in_files(folder, content):
    return any(content in path.read_bytes() for path in folder.iterdir())


def test_a_reader_in_the_way_leaves_the_traces_to_the_next_pruning(tmp_path):
    file = tmp_path / "log.sqlite"
    with contextlib.closing(PredictionLog(f"sqlite:///{file}", clock=lambda: 100 * DAY)) as log:
        log.append([LoggedPrediction(1.0, "v1", "neg", b"", "a private text " * 3), *agreeing_row()])
        with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            assert reader.execute("SELECT count(*) FROM textclf_predictions").fetchone() == (2,)
            start = time.perf_counter()
            assert log.prune() == 1
            assert time.perf_counter() - start < 2, "who waited would keep others from writing"
            assert _is_in_files(tmp_path, b"a private text")
            reader.execute("COMMIT")
            assert log.prune() == 0
            assert not _is_in_files(tmp_path, b"a private text")
            log.append(random_rows(1))


def test_the_first_pruning_sees_to_what_others_removed(tmp_path):
    file = tmp_path / "log.sqlite"
    with contextlib.closing(PredictionLog(f"sqlite:///{file}", clock=lambda: 0.0)) as log:
        log.append([LoggedPrediction(1.0, "v1", "neg", b"", "a private text " * 3)])
        with contextlib.closing(sqlite3.connect(file)) as other:
            other.execute("PRAGMA secure_delete = ON")
            with other:
                other.execute("DELETE FROM textclf_predictions")
        assert _is_in_files(tmp_path, b"a private text")
        assert log.prune() == 0
        assert not _is_in_files(tmp_path, b"a private text")


def test_a_log_that_was_removed_or_replaced_is_made_anew(tmp_path):
    file = tmp_path / "log" / "log.sqlite"
    with contextlib.closing(PredictionLog(f"sqlite:///{file}")) as log:
        log.append(random_rows(3))
        for path in file.parent.iterdir():
            path.unlink()
        file.parent.rmdir()
        log.append(random_rows(2))
        assert log.read("").other_versions == {"v1": 2}
    with sqlite3.connect(file) as connection:
        assert connection.execute("SELECT count(*) FROM textclf_predictions").fetchone() == (2,)
    connection.close()


@pytest.mark.parametrize("kind", ["folder", "no database", "below a file"])
def test_what_can_not_be_a_log(tmp_path, kind):
    file = tmp_path / "log.sqlite"
    if kind == "folder":
        file.mkdir()
    elif kind == "no database":
        file.write_bytes(b"something else " * 100)
    else:
        file.write_bytes(b"")
        file = file / "log.sqlite"
    with contextlib.closing(PredictionLog(f"sqlite:///{file}")) as log:
        with pytest.raises(PredictionLogError, match=f"{file}, can't be written: "):
            log.append(random_rows(1))
        with pytest.raises(PredictionLogError, match=f"{file}"):
            log.read("v1")
    if kind == "no database":
        assert file.read_bytes() == b"something else " * 100


def test_an_error_does_not_stay(tmp_path):
    file = tmp_path / "log.sqlite"
    file.mkdir()
    with contextlib.closing(PredictionLog(f"sqlite:///{file}")) as log:
        with pytest.raises(PredictionLogError):
            log.append(random_rows(1))
        file.rmdir()
        log.append(random_rows(1))
        assert log.read("").other_versions == {"v1": 1}


# PostgreSQL: connections and passwords.


def test_a_server_that_was_lost_is_found_again(postgresql):
    with contextlib.closing(PredictionLog(postgresql.url)) as log:
        log.append(random_rows(1))
        postgresql.stop()
        with pytest.raises(PredictionLogError, match="can't be written") as caught:
            log.append(random_rows(1))
        assert PASSWORD not in "".join(traceback.format_exception(caught.value))
        with pytest.raises(PredictionLogError, match=r"can't be written: .*refused"):
            log.append(random_rows(1))
        postgresql.start()
        log.append(random_rows(2))
        assert log.read("").other_versions == {"v1": 3}
    execute(postgresql.url, "DROP TABLE textclf_predictions, textclf_prediction_log")


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_schemes_of_postgresql(postgresql, scheme):
    url = postgresql.url.replace("postgresql", scheme, 1) + f"?host={postgresql.folder}"
    with contextlib.closing(PredictionLog(url)) as log, pytest.raises(PredictionLogError, match="found none"):
        log.read("v1")


def test_a_wrong_password_is_not_quoted(postgresql):
    url = postgresql.url.replace(PASSWORD, "wr0ng%2Dpass")
    with contextlib.closing(PredictionLog(url)) as log:
        with pytest.raises(PredictionLogError, match="password authentication failed") as caught:
            log.append(random_rows(1))
        shown = "".join(traceback.format_exception(caught.value)) + repr(log.url)
    assert "wr0ng" not in shown
    assert f"postgresql://textclf:***@127.0.0.1:{postgresql.port}/postgres" in shown


@pytest.mark.parametrize(
    "url",
    [
        "",
        "predictions.sqlite",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///folder/",
        "sqlite:///file?mode=ro",
        "mysql://user:s3cret@host/db",
        "postgresql+psycopg2://user:s3cret@host/db",
        "postgresql://user:s3cret@more@host/db",
        "postgresql://user:s3/cret@host/db",
        "postgresql://user:s3#cret@host/db",
        "postgresql://user:s3cret@host/db?x=@",
        "postgresql://user@host/db?password=s3cret",
        "postgresql://user@host/db?p%61ssword=s3cret",
        "postgresql://user@host/db?sslpassword=s3cret",
        "postgresql://user:s3cret@host:port/db",
        "postgresql://user:s3cret@ho st/db",
    ],
)
def test_urls_that_are_refused_are_not_quoted(url):
    with pytest.raises(ConfigError, match=r"expected off, sqlite:///FILE .*, got ") as caught:
        PredictionLog(url)
    assert "s3" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgres://host/db", "postgresql://host/db"),
        ("postgresql://user:p%40ss@host:5432/db?sslmode=require", "postgresql://user:***@host:5432/db"),
        ("postgresql://user@[::1]:5432", "postgresql://user@[::1]:5432"),
        ("postgresql://user:@host/db", "postgresql://user:***@host/db"),
        ("postgresql:///db?host=/run/postgresql", "postgresql:///db"),
        ("sqlite:////a b/c.sqlite", "sqlite:////a b/c.sqlite"),
    ],
)
def test_how_urls_are_shown(url, shown):
    parsed = DatabaseUrl.parse(url)
    assert parsed.shown == shown
    assert repr(parsed) == f"DatabaseUrl({shown!r})"


def test_paths_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute_url(DEFAULT_URL) == f"sqlite:///{tmp_path}/prediction_log/predictions.sqlite"
    for url in (OFF, "sqlite:////a/b", "postgresql://user:pass@host/db"):
        assert absolute_url(url) == url
