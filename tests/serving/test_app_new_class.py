"""A version with one class more replaces another in a running server: answers, feedback and logged rows follow it."""

import time

import pytest
from serving_models import settings
from tiny_engine import write_version

from inference import Inference
from serving.app import create_app
from textclf.data.prediction_log.log import PredictionLog
from textclf.store.model_store import ModelStore


def wait_for(holds, seconds=30):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/predictions.sqlite"


def test_a_server_knows_a_class_from_the_swap_on(tmp_path, url):
    first = write_version(tmp_path / "model").name
    values = {"prediction_log_url": url, "model_poll_seconds": 0.05}
    app = create_app(settings(tmp_path, **values), Inference(tmp_path / "model", threads=1))
    part = app.extensions["textclf"]
    client = app.test_client()

    def stored(label):
        return client.post("/feedback", json={"text": f"money back {label}", "label": label}).status_code

    try:
        before = client.post("/predict", json={"text": "great film"}).get_json()
        assert set(before["probabilities"]) == {"neg", "pos"}
        assert stored("refund") == 422
        second = write_version(tmp_path / "model", ("neg", "pos", "refund"), seed=1).name
        wait_for(lambda: part.holder.predictor.version_id == second)
        after = client.post("/predict", json={"X": ["great film", "dull " * 20]}).get_json()
        assert all(set(row) == {"neg", "pos", "refund"} for row in after["probabilities"])
        assert client.get("/info").get_json()["class_names"] == ["neg", "pos", "refund"]
        assert stored("refund") == 201
        # A rollback takes the class back; what was stored stays.
        ModelStore(tmp_path / "model").promote(first, expected_current=second)
        wait_for(lambda: part.holder.predictor.version_id == first)
        assert stored("refund") == 422
        assert [path.name for path in (tmp_path / "new" / "train").iterdir()] == ["refund"]
        log = PredictionLog(url)
        wait_for(lambda: sum(log.read("").other_versions.values()) == 3)
        # Each version reads its own rows, whose logits have its own number of classes.
        for version, texts, classes in ((first, 1, 2), (second, 2, 3)):
            window = log.read(version)
            assert window.total_rows == texts
            assert window.features.logits.shape == (texts, classes)
        log.close()
    finally:
        part.stop(5)
