"""Requests that nginx reports, because no worker answered them: counted, logged, and limited in a flood."""

import contextlib
import json
import os
import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from serving_stack import wait_for

from serving.observability.unanswered import PIPE, LineLimit, UnansweredRequests, parse_line
from serving.openapi import openapi_document
from serving.server.programs import nginx_conf
from serving.settings import Settings


def a_line(**fields: str) -> bytes:
    usual = {"method": "POST", "route": "/predict", "status": "503", "code": "not_ready", "worker_status": ""}
    return json.dumps({**usual, "seconds": "0.020", "request_id": "an-id", **fields}).encode() + b"\n"


def counted(folder: Path) -> dict[str, float]:
    """Return the metrics in the files of a folder."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(folder))
    lines = (line.rpartition(" ") for line in generate_latest(registry).decode().splitlines() if line[0] != "#")
    return {name: float(value) for name, _, value in lines}


@pytest.fixture
def log(tmp_path):
    with open(tmp_path / "log", "w+", encoding="utf-8") as file:
        yield file


def test_a_line_is_counted_and_logged_as_a_worker_does(tmp_path, log):
    requests = UnansweredRequests(tmp_path, tmp_path, log, log)
    for _ in range(2):
        requests.take(a_line())
    requests.take(a_line(method="BREW", route="unknown", status="405", code="method_not_allowed"))
    assert counted(tmp_path) == {
        'textclf_requests_total{method="POST",route="/predict",status="503"}': 2,
        'textclf_requests_total{method="other",route="unknown",status="405"}': 1,
        'textclf_errors_total{code="not_ready"}': 2,
        'textclf_errors_total{code="method_not_allowed"}': 1,
    }
    log.seek(0)
    first, _, last = map(json.loads, log)
    assert {**first, "time": ""} == {
        "time": "", "method": "POST", "path": "/predict", "status": 503, "latency_ms": 20.0, "texts": 0, "tokens": 0,
        "truncated": 0, "model": "", "request_id": "an-id", "pid": os.getpid(), "error": "not_ready",
    }  # fmt: skip
    assert (last["method"], last["path"], last["status"]) == ("other", "", 405)


@pytest.mark.parametrize(
    ("fields", "by_worker"),
    [
        ({"status": "503", "code": "timed_out", "worker_status": "504"}, False),
        ({"status": "503", "code": "worker_lost", "worker_status": "502"}, False),
        ({"status": "499", "code": "client_gone", "worker_status": ""}, False),
        ({"status": "499", "code": "client_gone", "worker_status": "499"}, False),
        ({"status": "400", "code": "client_gone", "worker_status": ""}, False),
        ({"status": "408", "code": "request_timeout", "worker_status": ""}, False),
        ({"status": "200", "code": "client_gone", "worker_status": "200"}, True),
        ({"status": "200", "code": "client_gone", "worker_status": "502, 200"}, True),
    ],
)
def test_a_request_that_a_worker_has_counted(fields, by_worker):
    assert parse_line(a_line(**fields))[1] == by_worker


def test_a_flood_is_counted_and_not_logged_line_by_line(tmp_path, log):
    many = 5000

    def left_out() -> list[int]:
        return [int(line.split()[1]) for line in (tmp_path / "log").read_text().splitlines() if line[:6] == "serve:"]

    with UnansweredRequests(tmp_path, tmp_path, log, log).reading() as start:
        start()
        with open(tmp_path / PIPE, "wb", buffering=0) as pipe:
            for number in range(many):
                pipe.write(a_line(request_id=str(number)))
        wait_for(left_out)
    assert counted(tmp_path)['textclf_errors_total{code="not_ready"}'] == many
    lines = (tmp_path / "log").read_text().count('"request_id"')
    assert 50 <= lines < many / 2
    assert lines + sum(left_out()) == many


def test_a_stream_that_is_not_read_does_not_stop_the_counting(tmp_path):
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while os.write(writer, bytes(4096)):
            pass
    os.set_blocking(writer, True)
    with open(reader, "rb"), open(writer, "w") as stream:
        with UnansweredRequests(tmp_path, tmp_path, stream, stream).reading() as start:
            start()
            (tmp_path / PIPE).write_bytes(a_line() * 2000)
        assert counted(tmp_path)['textclf_errors_total{code="not_ready"}'] == 2000


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_nginx_never_waits_for_a_thread_that_failed(tmp_path, log):
    with UnansweredRequests(tmp_path, tmp_path, log, log).reading() as start:
        start()
        with open(tmp_path / PIPE, "wb", buffering=0) as pipe:
            pipe.write(b"no line of nginx\n")

            def is_broken() -> bool:
                try:
                    pipe.write(b"\n")
                except BrokenPipeError:
                    return True
                return False

            wait_for(is_broken)


def test_lines_per_second():
    now = [0.0]
    limit = LineLimit(3, lambda: now[0])
    assert [limit.allows() for _ in range(5)] == [True, True, True, False, False]
    assert limit.seconds_left() is None
    limit.left_out = 2
    now[0] += 0.25
    assert limit.seconds_left() == 0.75
    now[0] += 1
    assert limit.seconds_left() == 0
    assert limit.allows()


def test_nginx_knows_the_paths_of_the_app():
    patterns = re.findall(r'"~(\^\(\?<known>.*)" \$known;', nginx_conf(Settings(), connections=1))
    known = re.compile("|".join(pattern.replace("?<known>", "") for pattern in patterns))
    for path in openapi_document(Settings())["paths"]:
        assert known.match(path), path
        assert known.match(f"{path}?a=b")
        assert not known.match(f"{path}/x")
