"""The prediction log of a server: nothing is lost on SIGTERM, at most a second on SIGKILL; it may be lost itself."""

import contextlib
import http.client
import os
import re
import signal
import sqlite3
import threading
import time

import pytest
from postgresql_server import PASSWORD, running_postgresql
from serving_models import inference, settings
from serving_stack import running_stack, wait_for
from tiny_engine import write_version

from inference import Inference
from serving.app import create_app
from serving.observability.metrics import Metrics
from serving.server.preflight import why_not_logged
from textclf.data.prediction_log.log import PredictionLog
from textclf.drift.state import DRIFT, NOT_ENOUGH_DATA, STATE_FILE, CheckSummary, DriftState, update_state
from textclf.errors import PredictionLogError

CHECK = CheckSummary(
    1_700_000_000.5, "20260101T000000000Z-0a1b2c", DRIFT, "Texts drift.", 1234,
    {"length": 0.31, "content": 0.62}, {"length": 0.1, "content": 0.55}, {"length": 0.0004, "content": 0.02},
    ("length",),
)  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    store = tmp_path_factory.mktemp("logged") / "model"
    write_version(store)
    return store


@pytest.fixture(scope="module")
def postgresql():
    with running_postgresql() as server:
        yield server


@contextlib.contextmanager
def server(folder, model, **environ):
    """Without nginx, which does nothing here."""
    with running_stack(folder, model, NGINX="off", MODEL_POLL_SECONDS="0.1", **environ) as stack:
        yield stack


def rows(url):
    with contextlib.closing(PredictionLog(url)) as log:
        return sum(log.read("").other_versions.values())


def default_log(stack):
    return f"sqlite:///{stack.folder}/prediction_log/predictions.sqlite"


def numbers(text):
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


def metrics(stack):
    """The metrics of up to a second ago."""
    return numbers(stack.request("GET", "/metrics").body.decode())


class Clients:
    """Threads that ask until they are told to stop; `answers` are the times of the good ones, and how many texts."""

    def __init__(self, stack, count=3):
        self.answers, self.statuses, self._stop = [], [], threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(stack,)) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def _ask(self, stack):
        while not self._stop.is_set():
            with contextlib.suppress(OSError, http.client.HTTPException):
                answer = stack.request("POST", "/predict", {"X": ["a great film", "dull"]})
                self.statuses.append(answer.status)
                if answer.status == 200:
                    self.answers.append((time.time(), 2))

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def texts(self, until=float("inf")):
        return sum(texts for when, texts in self.answers if when <= until)


def test_sigterm_loses_nothing(model, tmp_path):
    with server(tmp_path, model) as stack:
        for body, path in (
            ({"text": "a great film"}, "/predict"),
            ({"data": ["a", "b", "c"]}, "/invocations"),
            ({"text": "a great film"}, "/invocations/predict"),
        ):
            assert stack.request("POST", path, body).status == 200
        assert stack.request("POST", "/predict", {"text": 3}).status == 422
        assert stack.request("POST", "/feedback", {"text": "a great film", "label": "pos"}).status == 201
        clients = Clients(stack)
        wait_for(lambda: clients.texts() > 40)
        # The last of them are younger than a batch.
        assert stack.stop() == 0
        clients.stop()
        assert rows(default_log(stack)) == 5 + clients.texts()
        folder = tmp_path / "prediction_log"
        assert [path.name for path in folder.iterdir()] == ["predictions.sqlite"]
        assert (folder / "predictions.sqlite").stat().st_mode & 0o777 == 0o600
        assert folder.stat().st_mode & 0o777 == 0o700
        assert b"great" not in (folder / "predictions.sqlite").read_bytes()
        assert "rediction" not in stack.log.replace("/prediction_log/", ""), stack.log


def test_sigkill_loses_less_than_a_second(model, tmp_path):
    with server(tmp_path, model) as stack:
        clients = Clients(stack)
        wait_for(lambda: clients.texts(until=time.time() - 1) > 0)
        victims = [stack.programs()["gunicorn"], *stack.workers()]
        killed = time.time()
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        clients.stop()
        assert rows(default_log(stack)) >= clients.texts(until=killed - 1) > 0


def test_metrics_over_all_workers(model, tmp_path):
    (tmp_path / "model").symlink_to(model)
    with server(tmp_path, tmp_path / "model") as stack:
        for _ in range(20):
            stack.request("POST", "/predict", {"X": ["a", "b"]})
        wait_for(lambda: metrics(stack).get("textclf_prediction_log_rows_total") == 40)
        found = metrics(stack)
        assert found["textclf_prediction_log_dropped_total"] == 0
        assert found["textclf_prediction_log_failures_total"] == 0
        assert found["textclf_prediction_log_waiting"] == 0
        assert not any("drift" in name and "failed_runs" not in name for name in found)
        try:
            update_state(model, lambda _state: DriftState(last_check=CHECK, failed_runs=2))
            found = wait_for(lambda: (now := metrics(stack)).get("textclf_drift_failed_runs_total") == 2 and now)
        finally:
            (model / STATE_FILE).unlink()
        drift = {name.removeprefix("textclf_drift_"): value for name, value in found.items() if "_drift_" in name}
        assert drift == {
            'verdict{verdict="no drift"}': 0,
            'verdict{verdict="drift"}': 1,
            'verdict{verdict="not enough data"}': 0,
            'last_check_timestamp_seconds{version="20260101T000000000Z-0a1b2c"}': 1_700_000_000.5,
            'texts{version="20260101T000000000Z-0a1b2c"}': 1234,
            'effect{family="length"}': 0.31,
            'effect{family="content"}': 0.62,
            'effect_floor{family="length"}': 0.1,
            'effect_floor{family="content"}': 0.55,
            'adjusted_p{family="length"}': 0.0004,
            'adjusted_p{family="content"}': 0.02,
            'alarm{family="length"}': 1,
            'alarm{family="content"}': 0,
            "failed_runs_total": 2,
        }, "with two workers, as they are"


@pytest.mark.slow
def test_a_database_that_is_lost_and_comes_back(model, tmp_path, postgresql):
    with server(tmp_path, model, PREDICTION_LOG_URL=postgresql.url, LOG_TEXT="1") as stack:
        for _ in range(10):
            stack.request("POST", "/predict", {"text": "a great film"})
        wait_for(lambda: metrics(stack)["textclf_prediction_log_rows_total"] == 10)
        postgresql.stop()
        times = []
        for _ in range(10):
            start = time.monotonic()
            assert stack.request("POST", "/predict", {"text": "a great film"}).status == 200
            times.append(time.monotonic() - start)
        assert sorted(times)[5] < 0.2
        wait_for(lambda: metrics(stack)["textclf_prediction_log_waiting"] == 10)
        wait_for(lambda: metrics(stack)["textclf_prediction_log_failures_total"] >= 1)
        postgresql.start()
        wait_for(lambda: metrics(stack)["textclf_prediction_log_rows_total"] == 20)
        wait_for(lambda: metrics(stack)["textclf_prediction_log_waiting"] == 0)
        stack.request("POST", "/predict", {"text": "a great film"})
        assert stack.stop() == 0
        assert rows(postgresql.url) == 21
        assert len(re.findall("predictions wait in memory", stack.log)) in (1, 2), "one of each worker"
        assert len(re.findall("predictions are logged again; 0 were dropped", stack.log)) in (1, 2)
        assert PASSWORD not in stack.log
        assert "postgresql://textclf:***@127.0.0.1" in stack.log


def test_a_log_that_can_not_be_made_stops_nothing(model, tmp_path, caplog):
    (tmp_path / "log").write_text("a file")
    url = f"sqlite:///{tmp_path}/log/log.sqlite"
    assert (
        why_not_logged(url) == f"{tmp_path}/log/log.sqlite: its folder is below {tmp_path}/log, which is not a folder"
    )
    app = create_app(settings(tmp_path, prediction_log_url=url), Inference(model, threads=1))
    assert app.test_client().post("/predict", json={"text": "a great film"}).status_code == 200
    wait_for(lambda: numbers(app.test_client().get("/metrics").text)["textclf_prediction_log_failures_total"] >= 1)
    app.extensions["textclf"].stop(0.3)
    assert caplog.text.count("predictions wait in memory") == 1
    assert "the server ends, and 1 predictions could not be logged" in caplog.text


def test_off_makes_no_log(model, tmp_path):
    app = create_app(settings(tmp_path), Inference(model, threads=1))
    assert app.test_client().post("/predict", json={"text": "great"}).status_code == 200
    app.extensions["textclf"].stop(5)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def logging_app(model, tmp_path):
    """An app in this process, with its texts in the log."""
    url = f"sqlite:///{tmp_path}/log.sqlite"
    values = {"model_path": model, "prediction_log_url": url, "prediction_log_text": True, "model_poll_seconds": 0.05}
    app = create_app(settings(tmp_path, **values), Inference(model, threads=1))
    yield app
    app.extensions["textclf"].stop(10)


def test_every_answer_is_logged_with_the_version_that_gave_it(logging_app, model, tmp_path):
    client, service = logging_app.test_client(), logging_app.extensions["textclf"]
    first = service.holder.predictor.version_id
    assert client.post("/predict", json={"X": ["great", "dull"]}).status_code == 200
    second = write_version(model, seed=1).name
    wait_for(lambda: service.holder.predictor.version_id == second)
    assert client.post("/invocations", data="a\nb\n", content_type="text/csv").status_code == 200
    service.stop(10)
    with contextlib.closing(PredictionLog(f"sqlite:///{tmp_path}/log.sqlite")) as log:
        windows = {version: log.read(version) for version in (first, second)}
        assert log.read("").other_versions == {first: 2, second: 2}
    with contextlib.closing(sqlite3.connect(tmp_path / "log.sqlite")) as connection:
        logged = connection.execute("SELECT version, text FROM textclf_predictions ORDER BY id").fetchall()
    assert logged == [(first, "great"), (first, "dull"), (second, "a"), (second, "b")]
    assert all(window.features.embeddings is not None for window in windows.values())
    assert all(abs(window.times - time.time()).max() < 60 for window in windows.values())


@pytest.mark.parametrize("content", ["", "{", '{"format": 99}', '{"format": 1, "last_check": 3}'])
def test_a_damaged_state_of_the_monitoring_is_said_once(content, tmp_path, caplog):
    (tmp_path / STATE_FILE).write_text(content)
    numbers_of = Metrics(store_path=tmp_path)
    for _ in range(3):
        assert b"textclf_texts_total" in numbers_of.render()
        assert b"drift" not in numbers_of.render()
    assert len(caplog.records) == 1
    assert f"/metrics has no drift metrics: {tmp_path / STATE_FILE}" in caplog.text


def test_without_a_store_nothing_is_said_of_drift(tmp_path, monkeypatch):
    """Least of all what lies in the folder where the process was started."""
    check = CheckSummary(1.0, "v", NOT_ENOUGH_DATA, "Too few texts.", 12)
    update_state(tmp_path, lambda _state: DriftState(last_check=check))
    monkeypatch.chdir(tmp_path)
    assert b"drift" not in Metrics().render()
    assert b"drift" in Metrics(store_path=tmp_path).render()


def test_a_verdict_without_figures(tmp_path):
    check = CheckSummary(1.0, "v", NOT_ENOUGH_DATA, "Too few texts.", 12)
    update_state(tmp_path, lambda _state: DriftState(last_check=check))
    found = numbers(Metrics(store_path=tmp_path).render().decode())
    assert found['textclf_drift_verdict{verdict="not enough data"}'] == 1
    assert not any(name.startswith("textclf_drift_effect{") for name in found)


def test_a_model_without_an_engine_is_served_and_not_logged(tmp_path, caplog):
    caplog.set_level("WARNING", logger="serving")
    url = f"sqlite:///{tmp_path}/log.sqlite"
    app = create_app(settings(tmp_path, prediction_log_url=url), inference())
    for _ in range(3):
        assert app.test_client().post("/predict", json={"text": "good"}).status_code == 200
    app.extensions["textclf"].stop(10)
    with contextlib.suppress(PredictionLogError):  # Nothing has been written, or no row.
        assert rows(url) == 0
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(said) == 1
    assert said[0].startswith("predictions are not logged: words 20260101T000000000Z-0a1b2c: drift needs a version")


def test_a_request_keeps_its_texts_out_of_the_log(logging_app, tmp_path):
    client, service = logging_app.test_client(), logging_app.extensions["textclf"]
    off = {"X-Prediction-Log": "off"}
    assert client.post("/predict", json={"text": "left out"}, headers=off).status_code == 200
    assert client.post("/explain", json={"text": "left out"}, headers=off).status_code == 200
    for path in ("/predict", "/invocations"):
        body = {"data" if path == "/invocations" else "text": path}
        assert client.post(path, json=body, headers={"X-Prediction-Log": "on"}).status_code == 200
    assert client.post("/explain", json={"text": "explained"}).status_code == 200
    attributes = {**off, "X-Amzn-SageMaker-Custom-Attributes": "explain=true"}
    kept_out = client.post("/invocations", data="left out\n", content_type="text/csv", headers=attributes)
    assert kept_out.status_code == 200
    service.stop(10)
    with contextlib.closing(sqlite3.connect(tmp_path / "log.sqlite")) as connection:
        logged = connection.execute("SELECT text FROM textclf_predictions ORDER BY id").fetchall()
    assert logged == [("/predict",), ("/invocations",), ("explained",)]
