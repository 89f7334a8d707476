"""What /metrics says, of one worker and of several."""

import itertools
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.registry import Collector
from serving_models import Fault, inference, settings

from serving.api.deadline import CONNECTION
from serving.app import create_app
from serving.observability.metrics import BUCKETS, Metrics
from textclf.errors import ConfigError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def client(tmp_path):
    return create_app(settings(tmp_path, max_batch=5), inference(Fault())).test_client()


def numbers(client):
    """Name and labels -> value."""
    response = client.get("/metrics")
    assert response.content_type == "text/plain; version=0.0.4; charset=utf-8"
    lines = response.get_data(as_text=True).splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def test_requests_texts_and_tokens(client):
    client.post("/predict", json={"X": ["good film", "word " * 30]})
    client.post("/predict", json={"text": "good"})
    client.post("/invocations", json={"data": "good"})
    client.get("/ping")
    found = numbers(client)
    assert found['textclf_requests_total{method="POST",route="/predict",status="200"}'] == 2
    assert found['textclf_requests_total{method="POST",route="/invocations",status="200"}'] == 1
    assert found['textclf_requests_total{method="GET",route="/ping",status="200"}'] == 1
    assert found["textclf_texts_total"] == 4
    assert found["textclf_tokens_total"] == 4 + 32 + 3 + 3
    assert found["textclf_truncated_texts_total"] == 1
    assert found['textclf_request_seconds_count{route="/predict"}'] == 2
    for stage in ("tokenise", "queue", "infer"):
        assert found[f'textclf_stage_seconds_count{{stage="{stage}"}}'] == 3
    assert found['textclf_stage_seconds_sum{stage="infer"}'] > 0
    assert found["textclf_requests_in_flight"] == 1, "that of /metrics itself"
    assert found['textclf_model_workers{model="words",version="20260101T000000000Z-0a1b2c"}'] == 1


def test_errors_by_code(client):
    client.post("/predict", json={"text": 3})
    client.post("/predict", json={"X": ["x"] * 6})
    client.post("/predict", json={"X": ["x"] * 6})
    client.post("/predict", json={"text": "crash"})
    client.post("/predict", data=b"x", content_type="text/plain")
    found = numbers(client)
    assert {key: value for key, value in found.items() if key.startswith("textclf_errors_total")} == {
        'textclf_errors_total{code="wrong_shape"}': 1,
        'textclf_errors_total{code="too_many_texts"}': 2,
        'textclf_errors_total{code="internal_error"}': 1,
        'textclf_errors_total{code="unsupported_media_type"}': 1,
    }
    assert found['textclf_requests_total{method="POST",route="/predict",status="500"}'] == 1
    assert found["textclf_texts_total"] == 0


def test_strangers_make_no_labels(client):
    for index in range(50):
        client.get(f"/nothing/{index}?x={index}")
        client.open(f"/predict/{index}", method=f"METHOD{index}")
        client.open("/predict", method=f"METHOD{index}")
    keys = [key for key in numbers(client) if key.startswith("textclf_requests_total")]
    assert sorted(keys) == [
        'textclf_requests_total{method="GET",route="unknown",status="404"}',
        'textclf_requests_total{method="other",route="unknown",status="404"}',
        'textclf_requests_total{method="other",route="unknown",status="405"}',
    ]


def test_a_request_that_nginx_gave_up_is_left_to_its_log(tmp_path, capsys):
    """nginx counts it with the status that the client got; the worker counts the texts that it scored."""
    client = create_app(settings(tmp_path), inference()).test_client()
    for body in ({"text": "good"}, {"text": 3}):
        here, there = socket.socketpair()
        with here:
            there.close()
            client.post("/predict", json=body, environ_overrides={CONNECTION: here})
    here, there = socket.socketpair()
    with here, there:
        client.post("/predict", json={"text": "good"}, environ_overrides={CONNECTION: here})
    found = numbers(client)
    assert {key: value for key, value in found.items() if key.startswith(("textclf_requests_total", "textclf_er"))} == {
        'textclf_requests_total{method="POST",route="/predict",status="200"}': 1
    }
    assert found["textclf_texts_total"] == 2
    assert capsys.readouterr().out.count('"path":"/predict"') == 1


def test_metrics_are_computed_once_per_second():
    now = [0.0]
    metrics = Metrics(clock=lambda: now[0])
    metrics.review_stored()
    first = metrics.render()
    metrics.review_stored()
    now[0] += 0.9
    assert metrics.render() == first
    now[0] += 0.2
    assert b"textclf_reviews_stored_total 2.0" in metrics.render()


def test_metrics_are_no_older_than_a_second():
    now = [0.0]
    metrics = Metrics(clock=lambda: now[0])

    class Slow(Collector):
        def collect(self) -> Iterator[Metric]:
            now[0] += 0.8
            yield from ()

    metrics._registry.register(Slow())
    metrics.review_stored()
    metrics.render()
    metrics.review_stored()
    now[0] += 0.3
    assert b"textclf_reviews_stored_total 2.0" in metrics.render()


def test_reviews(client):
    client.post("/feedback", json={"text": "good", "label": "pos"})
    client.post("/feedback", json={"text": "good", "label": "other"})
    found = numbers(client)
    assert found["textclf_reviews_stored_total"] == 1
    assert found["textclf_texts_total"] == 0


def test_two_apps_in_a_process_count_apart(client, tmp_path):
    other = create_app(settings(tmp_path), inference()).test_client()
    client.post("/predict", json={"text": "good"})
    assert numbers(client)["textclf_texts_total"] == 1
    assert numbers(other)["textclf_texts_total"] == 0


def test_buckets():
    assert list(BUCKETS) == sorted(set(BUCKETS))
    assert (BUCKETS[0], BUCKETS[-1]) == (0.0005, 10)
    # At 100 ms and 50 ms a quantile read off them is right within a half.
    assert all(high / low <= 2.5 for low, high in itertools.pairwise(BUCKETS))


def test_a_folder_that_came_too_late_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="PROMETHEUS_MULTIPROC_DIR"):
        Metrics(str(tmp_path))


_WORKER = """
import sys
from pathlib import Path
sys.path.insert(0, "tests/helpers")
from serving_models import inference, settings
from serving.app import create_app
folder, texts = Path(sys.argv[1]), int(sys.argv[2])
app = create_app(settings(folder, prometheus_multiproc_dir=str(folder / "metrics")), inference())
client = app.test_client()
for _ in range(texts):
    assert client.post("/predict", json={"text": "good"}).status_code == 200
sys.stderr.write(client.get("/metrics").get_data(as_text=True))
"""


@pytest.mark.parametrize(("workers", "processes"), [(("", ""), 2), (("0", "1"), 2), (("0", "0"), 1)])
def test_all_workers_in_one_answer(tmp_path, workers, processes):
    """A worker with the number of an ended one continues its counts, in the same files."""
    (tmp_path / "metrics").mkdir()
    environ = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "metrics"), "PYTHONPATH": str(ROOT)}
    texts = ""
    for worker, count in zip(workers, (2, 3), strict=True):
        result = subprocess.run(
            [sys.executable, "-c", _WORKER, str(tmp_path), str(count)],
            cwd=ROOT, env={**environ, "TEXTCLF_WORKER": worker}, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        texts = result.stderr
    assert re.search(r"^textclf_texts_total 5\.0$", texts, re.M)
    assert 'textclf_requests_total{method="POST",route="/predict",status="200"} 5.0' in texts
    assert 'textclf_stage_seconds_count{stage="infer"} 5.0' in texts
    assert f'textclf_model_workers{{model="words",version="20260101T000000000Z-0a1b2c"}} {processes}.0' in texts
    assert "pid=" not in texts
    assert len(list((tmp_path / "metrics").iterdir())) == 3 * processes, "counters, histograms and gauges"
