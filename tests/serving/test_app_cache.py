"""Repeated texts are answered from memory: the same answers, all of them logged, and nothing of an earlier model."""

import contextlib
import time

import pytest
from serving_models import settings
from tiny_engine import write_version

from inference import Inference
from serving.app import create_app
from textclf.data.prediction_log.log import PredictionLog
from textclf.store.model_store import ModelStore


@pytest.fixture
def store(tmp_path):
    write_version(tmp_path / "model", seed=0)
    return ModelStore(tmp_path / "model")


def app_of(store, tmp_path, **values):
    return create_app(settings(tmp_path, **{"model_poll_seconds": 0.05, **values}), Inference(store.path, threads=1))


def numbers(client):
    """Call it once for each app: /metrics may be a second old."""
    lines = client.get("/metrics").get_data(as_text=True).splitlines()
    found = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(found[f"textclf_cache_{name}"]) for name in ("hits_total", "misses_total", "bytes")}


def ask(client, text):
    response = client.post("/predict", json={"text": text})
    assert response.status_code == 200
    return response.get_json()


def wait_for(holds, seconds=30):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def test_a_repeated_text_gets_the_same_answer_and_is_logged_again(store, tmp_path):
    url = f"sqlite:///{tmp_path}/log.sqlite"
    app = app_of(store, tmp_path, prediction_log_url=url)
    client = app.test_client()
    first, *others = [ask(client, text) for text in ("a fine film", "a fine film", "A  fine FILM", "a dull film")]
    assert others[0] == first
    # The same wordpieces; the text in the response is the one of the request.
    assert {**others[1], "text": first["text"]} == first
    assert others[1]["text"] == "A  fine FILM"
    found = numbers(client)
    assert (found["hits_total"], found["misses_total"]) == (2, 2)
    assert 0 < found["bytes"] <= 16 * 1024**2
    app.extensions["textclf"].stop(5)
    with contextlib.closing(PredictionLog(url)) as log:
        assert sum(log.read("").other_versions.values()) == 4


def test_nothing_survives_a_change_of_the_model(store, tmp_path):
    app = app_of(store, tmp_path)
    client, holder = app.test_client(), app.extensions["textclf"].holder
    before = [ask(client, "a fine film") for _ in range(2)]
    second = write_version(store.path, seed=1).name
    wait_for(lambda: holder.predictor.version_id == second)
    after = [ask(client, "a fine film") for _ in range(2)]
    holder.stop()
    assert before[0] == before[1]
    assert after[0] == after[1]
    assert before[0]["score"] != after[0]["score"]
    alone = Inference(store.open(second).path, threads=1).predict(["a fine film"])[0]
    assert after[0]["score"] == pytest.approx(alone.score, abs=1e-6)
    found = numbers(client)
    assert (found["hits_total"], found["misses_total"]) == (2, 2)
    assert len(holder.predictor.backend.cache) == 1


def test_zero_bytes_keep_nothing(store, tmp_path):
    client = app_of(store, tmp_path, cache_bytes=0).test_client()
    assert ask(client, "a fine film") == ask(client, "a fine film")
    assert numbers(client) == {"hits_total": 0, "misses_total": 0, "bytes": 0}


def test_the_cache_stays_below_its_limit(store, tmp_path):
    client = app_of(store, tmp_path, cache_bytes=4000).test_client()
    for number in range(50):
        ask(client, f"film {number}")
    assert 0 < numbers(client)["bytes"] <= 4000


def test_a_list_is_computed_as_a_batch(store, tmp_path):
    client = app_of(store, tmp_path).test_client()
    alone = ask(client, "a fine film")
    both = client.post("/predict", json={"X": ["a fine film", "a fine film"]}).get_json()
    assert both["predictions"] == [alone["label"]] * 2
    assert numbers(client)["hits_total"] == 0
