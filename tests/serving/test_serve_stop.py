"""Workers that die, and a server that stops, lose no request that was not read."""

import http.client
import json
import os
import signal
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from serving_stack import Response, Stack, is_in_state, need_nginx, running_stack, wait_for
from tiny_engine import write_version

_TEXT = {"text": "a great film"}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    store = tmp_path_factory.mktemp("served") / "model"
    write_version(store)
    return store


def _queue(stack: Stack, clients: ThreadPoolExecutor, workers: list[int], count: int) -> list[Future[Response]]:
    """Stop workers, and send requests that wait on their sockets."""
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)
        wait_for(lambda worker=worker: is_in_state(worker, "T"))
    asked = [clients.submit(stack.request, "POST", "/predict", _TEXT) for _ in range(count)]
    time.sleep(0.5)  # They are with nginx by then.
    return asked


@pytest.mark.slow
def test_the_queue_of_a_killed_worker_goes_to_another_one(model, tmp_path):
    need_nginx()
    with running_stack(tmp_path, model) as stack, ThreadPoolExecutor(20) as clients:
        wait_for(lambda: len(_warm(stack)) == 2)
        killed = min(stack.workers())
        asked = _queue(stack, clients, [killed], 20)
        assert not all(future.done() for future in asked), "some requests wait for the stopped worker"
        os.kill(killed, signal.SIGKILL)
        began = time.monotonic()
        assert {future.result().status for future in asked} == {200}
        assert time.monotonic() - began < 3  # The successor needs longer on a busy machine.
        # It is not left to wait for all workers, either.
        wait_for(lambda: len(_warm(stack)) == 2, 30)
        asked = _queue(stack, clients, list(stack.workers()), 10)
        for worker in stack.workers():
            os.kill(worker, signal.SIGKILL)
        began = time.monotonic()
        refused = [future.result() for future in asked]
        assert time.monotonic() - began < 3
        assert {response.json["error"]["code"] for response in refused} == {"not_ready"}
        assert {response.headers["retry-after"] for response in refused} == {"1"}
        wait_for(stack.is_ready, 30)


@pytest.mark.parametrize("nginx", ["", pytest.param("off", marks=pytest.mark.slow)])
def test_a_server_that_drains_is_not_ready_but_responds(model, tmp_path, nginx):
    if not nginx:
        need_nginx()
    with running_stack(tmp_path, model, NGINX=nginx, MODEL_SERVER_WORKERS="1", DRAIN_SECONDS="2") as stack:
        kept = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=20)
        kept.request("GET", "/ping")
        assert kept.getresponse().read() == b'{"status":"ok"}'
        began = time.monotonic()
        stack.process.send_signal(signal.SIGTERM)
        wait_for(lambda: stack.request("GET", "/ping").status == 503, 1)
        for path in ("/ping", "/health/ready", "/health_check"):
            assert stack.request("GET", path).json["error"]["code"] == "draining"
        assert stack.request("GET", "/health/live").status == 200
        kept.request("POST", "/predict", json.dumps(_TEXT), {"Content-Type": "application/json"})
        last = kept.getresponse()
        assert (last.status, last.getheader("Connection")) == (200, "close")
        new = stack.request("POST", "/predict", _TEXT)
        assert (new.status, new.headers["connection"]) == (200, "close")
        assert stack.process.wait(timeout=20) == 0, stack.log
        assert time.monotonic() - began >= 2


def _warm(stack: Stack) -> list[Path]:
    return list(Path(f"/proc/{stack.programs()['nginx']}/cwd").glob("*.warm"))
