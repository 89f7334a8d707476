"""Requests that nginx reports, because no worker answered them: counted, logged, and limited in a flood."""

import contextlib
import json
import os
import re
import select
from pathlib import Path
from typing import IO

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from serving_stack import wait_for

from serving.observability.unanswered import PIPE, LineLimit, UnansweredRequests, parse_line
from serving.openapi import openapi_document
from serving.pages import static_files
from serving.server.programs import error_codes, nginx_conf
from serving.settings import Settings

_CODES = error_codes(Settings())


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
    requests = UnansweredRequests(tmp_path, tmp_path, _CODES, log, log)
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
    ],
)
def test_a_request_that_a_worker_has_counted(fields, by_worker):
    record, found = parse_line(a_line(**fields), {"client_gone"})
    assert found == by_worker
    if record.error == "client_gone":
        assert record.status == (200 if by_worker else 499)


def test_a_flood_is_counted_and_not_logged_line_by_line(tmp_path, log):
    many = 5000

    def left_out() -> list[int]:
        return [int(line.split()[1]) for line in (tmp_path / "log").read_text().splitlines() if line[:6] == "serve:"]

    with UnansweredRequests(tmp_path, tmp_path, _CODES, log, log).reading() as start:
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
        with UnansweredRequests(tmp_path, tmp_path, _CODES, stream, stream).reading() as start:
            start()
            (tmp_path / PIPE).write_bytes(a_line() * 2000)
        assert counted(tmp_path)['textclf_errors_total{code="not_ready"}'] == 2000


def test_a_request_that_a_worker_has_logged_is_not_logged_again(tmp_path, log):
    requests = UnansweredRequests(tmp_path, tmp_path, _CODES, log, log)
    requests.take(a_line(status="200", code="client_gone", worker_status="200"))
    assert counted(tmp_path) == {'textclf_errors_total{code="client_gone"}': 1}
    log.seek(0)
    assert log.read() == ""


def test_a_code_that_is_not_documented_adds_no_label(tmp_path, log):
    requests = UnansweredRequests(tmp_path, tmp_path, _CODES, log, log)
    for code in ("foo", "bar", "", "request_timeout"):
        requests.take(a_line(code=code))
    assert {name for name in counted(tmp_path) if "errors" in name} == {
        'textclf_errors_total{code="internal_error"}',
        'textclf_errors_total{code="request_timeout"}',
    }


def test_damaged_lines_are_left_out(tmp_path, log):
    damaged = [b"no line of nginx", b"\xff", b"{}", b"[]", b"3", b"", a_line(status="x")[:-1], a_line(seconds="")[:-1]]
    with UnansweredRequests(tmp_path, tmp_path, _CODES, log, log).reading() as start:
        start()
        (tmp_path / PIPE).write_bytes(b"".join(line + b"\n" for line in damaged) + a_line())
    assert counted(tmp_path)['textclf_errors_total{code="not_ready"}'] == 1
    log.seek(0)
    assert f"serve: {len(damaged)} more requests" in log.read()


class _Broken:
    """A stream whose writes fail in a way that nobody expects."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def fileno(self) -> int:
        return self._file.fileno()

    def write(self, _text: str) -> int:
        raise RuntimeError("broken")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_nginx_never_waits_for_a_thread_that_failed(tmp_path, log):
    with UnansweredRequests(tmp_path, tmp_path, _CODES, _Broken(log), log).reading() as start:
        start()
        with open(tmp_path / PIPE, "wb", buffering=0) as pipe:
            pipe.write(a_line())

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
    patterns = re.findall(r'"~(\^.*\(\?<known>.*)" [^;]*\$known;', nginx_conf(Settings(), connections=1))
    known = re.compile("|".join(pattern.replace("?<known>", "") for pattern in patterns))
    documented = [re.sub(r"\{\w+\}", "a", path) for path in openapi_document(Settings())["paths"]]
    for path in (*documented, *static_files()):
        assert known.match(path), path
        assert known.match(f"{path}?a=b")
        assert not known.match(f"{path}/x")


def test_the_code_is_one_of_nginx_at_the_path_of_its_response():
    (pattern,) = re.findall(r'"~(.*)" \$code;', nginx_conf(Settings(), connections=1))
    # The flags and names of Python's regular expressions.
    own = re.compile(pattern.replace("(?<", "(?P<").replace(r"\z", r"\Z"))
    for code in _CODES:
        for completion in ("OK", ""):
            assert own.search(f"503 {completion} /.nginx/{code}")["code"] == code
    for path in (
        "/.nginx/foo",
        "/a /.nginx/not_ready",
        "/.nginx/not_ready\n",
        "/.nginx/not_ready/x",
        "/x/.nginx/not_ready",
    ):
        assert not own.search(f"404 OK {path}"), path
        assert not own.search(f"404  {path}"), path


def test_a_line_is_written_whole():
    """nginx's processes share the pipe: a longer line could mix with others."""
    (log_format,) = re.findall(r"log_format unanswered escape=json ([^;]*);", nginx_conf(Settings(), connections=1))
    # Numbers, and values that a map with a bounded expression gives.
    longest = {
        "sent_method": 20, "route": 30, "status": 3, "unanswered": 20, "worker_status": 3, "request_time": 20,
        "passed_request_id": 128,
    }  # fmt: skip
    assert set(re.findall(r"\$([a-z_]+)", log_format)) == longest.keys()
    assert len(log_format) + sum(longest.values()) < select.PIPE_BUF
