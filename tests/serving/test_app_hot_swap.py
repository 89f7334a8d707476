"""A new current version is served without a dropped request; a broken one is not, and is said once."""

import gc
import logging
import shutil
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import pytest
from serving_models import Gate, WordCounter, inference, settings
from tiny_engine import write_version

from inference import Inference
from serving.api.errors import ApiError
from serving.app import create_app
from serving.model.model_holder import ModelHolder
from textclf.errors import ModelStoreError
from textclf.files import atomic_file
from textclf.runtime.loading import load_predictor
from textclf.store.model_store import ModelStore

ROOT = Path(__file__).parents[2]


@pytest.fixture
def store(tmp_path):
    """A store with one tiny version."""
    write_version(tmp_path / "model", seed=0)
    return ModelStore(tmp_path / "model")


def wait_for(holds, seconds=30):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def app_of(store, tmp_path, **values):
    return create_app(settings(tmp_path, **{"model_poll_seconds": 0.05, **values}), Inference(store.path, threads=1))


def number(client, name):
    lines = client.get("/metrics").get_data(as_text=True).splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.split("{")[0].split()[0] == name)


def test_no_request_is_dropped_while_the_model_changes(store, tmp_path):
    app = app_of(store, tmp_path)
    holder = app.extensions["textclf"].holder
    answers, stop = [], threading.Event()

    def ask():
        client = app.test_client()
        while not stop.is_set():
            response = client.post("/predict", json={"X": ["great film", "dull " * 20]})
            answers.append((response.status_code, response.get_json().get("model")))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    try:
        first = store.current_id()
        for thread in threads:
            thread.start()
        wait_for(lambda: len(answers) > 5)
        second = write_version(store.path, seed=1).name
        wait_for(lambda: holder.predictor.version_id == second)
        count = len(answers)
        wait_for(lambda: len(answers) > count + 5)
        store.promote(first, expected_current=second)
        wait_for(lambda: holder.predictor.version_id == first)
        count = len(answers)
        wait_for(lambda: len(answers) > count + 5)
    finally:
        stop.set()
        holder.stop()
        for thread in threads:
            thread.join(30)
    assert {status for status, _ in answers} == {200}
    models = [model for _, model in answers]
    assert set(models) == {f"tiny {first}", f"tiny {second}"}
    assert models[0] == f"tiny {first}"
    assert f"tiny {first}" in models[count:]
    client = app.test_client()
    assert number(client, "textclf_model_swaps_total") == 2
    assert number(client, "textclf_model_swap_failures_total") == 0
    text = client.get("/metrics").get_data(as_text=True)
    assert f'textclf_model_workers{{model="tiny",version="{first}"}} 1.0' in text
    assert f'textclf_model_workers{{model="tiny",version="{second}"}} 0.0' in text


def test_answers_are_those_of_the_version_that_is_named(store, tmp_path):
    app = app_of(store, tmp_path)
    holder = app.extensions["textclf"].holder
    client = app.test_client()
    first = client.post("/predict", json={"text": "great film"}).get_json()
    version = write_version(store.path, seed=5)
    wait_for(lambda: holder.predictor.version_id == version.name)
    holder.stop()
    second = client.post("/predict", json={"text": "great film"}).get_json()
    assert second["model"] == f"tiny {version.name}"
    assert second["score"] != first["score"]
    assert second["score"] == pytest.approx(Inference(version).predict("great film").score, abs=1e-5)


def point_to(store, content):
    """Write `current` as a person would who knows how: by renaming. A server may look at any moment."""
    with atomic_file(store.path / "current") as file:
        file.write(content)


def test_a_broken_version_is_said_once_and_the_old_one_serves(store, tmp_path, caplog):
    app = app_of(store, tmp_path, model_poll_seconds=0)
    holder = app.extensions["textclf"].holder
    client = app.test_client()
    first = store.current_id()
    broken = write_version(store.path, seed=1, promote=False)
    (broken / "engine" / "model.bin").write_bytes(b"damaged")
    point_to(store, f"{broken.name}\n")
    for _ in range(4):
        holder.poll()
    assert client.post("/predict", json={"text": "great"}).get_json()["model"] == f"tiny {first}"
    assert number(client, "textclf_model_swap_failures_total") == 1
    errors = [record.message for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert broken.name in errors[0]
    assert "damaged" in errors[0]
    good = write_version(store.path, seed=2, promote=False).name
    point_to(store, f"{good}\n")
    holder.poll()
    assert holder.predictor.version_id == good


def test_a_store_that_cannot_be_read_is_said_once(store, tmp_path, caplog):
    app = app_of(store, tmp_path)
    client = app.test_client()
    point_to(store, "../../etc\n")
    wait_for(lambda: number(client, "textclf_model_swap_failures_total") > 3)
    app.extensions["textclf"].holder.stop()
    assert len(caplog.records) == 1
    assert client.get("/ping").status_code == 200


@pytest.mark.parametrize("versions", [0, 2])
def test_a_current_that_is_missing_counts_and_is_said_once(store, versions, caplog):
    loads = Loads(store)
    first = store.current_id()
    if versions:
        write_version(store.path, seed=1, promote=False)
    else:
        shutil.rmtree(store.path / "versions")
    (store.path / "current").unlink()
    assert [loads.tries_at(at) for at in range(3)] == [0, 0, 0]
    assert loads.failures == 3
    assert len(caplog.records) == 1
    assert f"{first} keeps serving" in caplog.text
    assert f"{store.path}: expected a model store with a current version" in caplog.text
    assert loads.holder.predictor.version_id == first


def test_a_single_version_needs_no_current(store, caplog):
    loads = Loads(store)
    (store.path / "current").unlink()
    assert loads.tries_at(0) == loads.failures == len(caplog.records) == 0


def test_without_tensorflow_the_error_names_the_new_engine_first(store, monkeypatch):
    with store.new_version() as draft:
        (draft.path / "saved_model").mkdir()
        (draft.path / "saved_model" / "saved_model.pb").write_bytes(b"")
        draft.manifest = store.open().manifest
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(ModelStoreError) as caught:
        load_predictor(store.open(draft.id).path)
    message = str(caught.value)
    again, install = message.find(f"textclf train --export-again {draft.id}"), message.find("pip install tensorflow")
    assert 0 < again < install


class Loads:
    """A holder on a clock that is set by hand, and what became of its tries to load."""

    def __init__(self, store):
        self.now = 0.0
        self.error = None
        self.tries = 0
        self.failures = 0
        self.holder = ModelHolder(store.path, self.load, lambda *_: None, self.count_failure, 0, lambda: self.now)
        self.holder.set_model(Inference(store.path, threads=1).predictor)

    def load(self, path):
        self.tries += 1
        if self.error is not None:
            raise self.error
        return Inference(path, threads=1).predictor

    def count_failure(self):
        self.failures += 1

    def tries_at(self, seconds):
        """How many tries a look at this time makes."""
        before, self.now = self.tries, seconds
        self.holder.poll()
        return self.tries - before


def test_a_failure_that_passes_is_tried_again_after_growing_pauses(store, caplog):
    loads = Loads(store)
    first = store.current_id()
    second = write_version(store.path, seed=1).name
    loads.error = MemoryError()
    minute = 60
    assert [loads.tries_at(at) for at in (0, 1, 59)] == [1, 0, 0]
    assert [loads.tries_at(at) for at in (1 * minute, 2 * minute, 5 * minute)] == [1, 0, 0]
    assert [loads.tries_at(at) for at in (6 * minute, 7 * minute, 35 * minute)] == [1, 0, 0]
    assert len(caplog.records) == 1, "the same reason is said once"
    loads.error = OSError(5, "Input/output error")
    assert [loads.tries_at(at) for at in (36 * minute, 65 * minute)] == [1, 0]
    assert len(caplog.records) == 2
    assert loads.failures == loads.tries == 4
    assert loads.holder.predictor.version_id == first
    loads.error = None
    assert [loads.tries_at(at) for at in (66 * minute, 67 * minute)] == [1, 0]
    assert loads.holder.predictor.version_id == second


def test_the_pauses_begin_anew_with_another_version(store):
    loads = Loads(store)
    loads.error = MemoryError()
    write_version(store.path, seed=1)
    assert [loads.tries_at(at) for at in (0, 60)] == [1, 1]
    write_version(store.path, seed=2)
    assert [loads.tries_at(at) for at in (61, 120, 121)] == [1, 0, 1]


def test_another_chance_at_once_after_a_way_back(store, tmp_path):
    app = app_of(store, tmp_path, model_poll_seconds=0)
    holder = app.extensions["textclf"].holder
    first = store.current_id()
    second = write_version(store.path, seed=1)
    model = second / "engine" / "model.bin"
    good = model.read_bytes()
    model.write_bytes(b"damaged")
    holder.poll()
    assert holder.predictor.version_id == first
    model.write_bytes(good)
    holder.poll()
    assert holder.predictor.version_id == first, "it has just failed"
    store.promote(first, expected_current=second.name)
    holder.poll()
    store.promote(second.name, expected_current=first)
    holder.poll()
    assert holder.predictor.version_id == second.name


def test_classes_may_change_with_the_model(store, tmp_path):
    app = app_of(store, tmp_path, model_poll_seconds=0)
    client = app.test_client()
    write_version(store.path, ("bad", "fair", "good"), seed=3)
    app.extensions["textclf"].holder.poll()
    assert client.get("/info").get_json()["class_names"] == ["bad", "fair", "good"]
    assert client.post("/feedback", json={"text": "x", "label": "fair"}).status_code == 201
    assert client.post("/feedback", json={"text": "x", "label": "pos"}).status_code == 422


def test_loading_in_the_background_and_a_model_that_comes_late(tmp_path, monkeypatch):
    monkeypatch.setattr("serving.model.model_holder._RETRY_SECONDS", 0.05)
    app = create_app(settings(tmp_path, model_poll_seconds=0.05))
    holder = app.extensions["textclf"].holder
    client = app.test_client()
    assert client.get("/ping").status_code == 503
    version = write_version(tmp_path / "model", seed=0)
    wait_for(lambda: holder.is_ready)
    assert client.get("/ping").status_code == 200
    second = write_version(tmp_path / "model", seed=1)
    assert second != version
    wait_for(lambda: holder.predictor.version_id == second.name)
    holder.stop()


def test_one_version_is_not_watched(store, tmp_path):
    version = store.open().path
    before = set(threading.enumerate())
    create_app(settings(tmp_path, model_path=version, model_poll_seconds=0.02), Inference(version, threads=1))
    assert "model holder" not in {thread.name for thread in set(threading.enumerate()) - before}
    watched = app_of(store, tmp_path)
    assert "model holder" in {thread.name for thread in set(threading.enumerate()) - before}
    watched.extensions["textclf"].holder.stop(10)


def test_a_store_that_vanishes_keeps_its_model(store, tmp_path):
    app = app_of(store, tmp_path, model_poll_seconds=0)
    shutil.rmtree(store.path)
    app.extensions["textclf"].holder.poll()
    assert app.test_client().post("/predict", json={"text": "great"}).status_code == 200


def test_the_old_model_goes_when_nobody_uses_it(store, tmp_path):
    app = app_of(store, tmp_path, model_poll_seconds=0)
    holder = app.extensions["textclf"].holder
    engine = holder.predictor.backend.backend
    old = [weakref.ref(part) for part in (holder.predictor, holder.predictor.backend, engine, engine.tokenizer)]
    del engine
    write_version(store.path, seed=1)
    gc.collect()
    gc.disable()  # Collections are rare in a worker: a cycle would keep the memory of several models.
    try:
        holder.poll()
        assert [part() for part in old] == [None] * 4
    finally:
        gc.enable()


def test_what_is_in_flight_ends_on_the_model_it_began_with(tmp_path):
    gate = Gate()
    swaps = []
    first = inference(gate, version_id="20260101T000000000Z-000001")
    app = create_app(settings(tmp_path), first, on_swap=lambda: swaps.append("swap"))
    holder = app.extensions["textclf"].holder
    assert not swaps
    assert gate.waiting.acquire(timeout=5)
    gate.open.clear()
    answers = []

    def post():
        answers.append(app.test_client().post("/predict", json={"text": "good"}).get_json()["model"])

    thread = threading.Thread(target=post)
    thread.start()
    assert gate.waiting.acquire(timeout=5)
    holder.set_model(inference(WordCounter(), version_id="20260101T000000000Z-000002").predictor)
    assert swaps == ["swap"]
    assert app.test_client().post("/predict", json={"text": "good"}).get_json()["model"].endswith("2")
    gate.open.set()
    thread.join(10)
    assert answers == ["words 20260101T000000000Z-000001"]


def test_the_holder_stores_only(tmp_path):
    def load(_path):
        raise AssertionError("loaded in the constructor")

    holder = ModelHolder(tmp_path, load, lambda new, before: None, lambda: None, 1.0)
    assert not holder.is_ready
    with pytest.raises(ApiError):
        _ = holder.predictor


def test_a_model_that_is_not_there_is_an_error_where_it_is_asked_for(tmp_path):
    with pytest.raises(ModelStoreError):
        create_app(settings(tmp_path), Inference(tmp_path / "nothing"))


def test_a_process_that_ends_while_a_version_loads_ends_well(store):
    """Python stops the thread of the load within the engine's C++ code, which then calls abort()."""
    code = f"""
import atexit, sys, threading
from types import SimpleNamespace
from inference import Inference
from serving import wsgi

has_begun = threading.Event()

def load():
    while True:
        Inference({str(store.path)!r}).predictor.warm_up()
        has_begun.set()

threading.Thread(target=load, daemon=True).start()
has_begun.wait()
atexit.register(wsgi._end, SimpleNamespace(stop=lambda seconds: None), None)
print("buffered")
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout, result.stderr) == (0, "buffered\n", "")
