"""serving/serve with real nginx and gunicorn in front of a tiny engine: start, answers, faults, end."""

import http.client
import http.server
import itertools
import json
import os
import pwd
import re
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from statistics import median

import bad_requests
import pytest
from serving_stack import ROOT, Stack, children, free_port, is_in_state, need_nginx, running_stack, wait_for
from tiny_engine import write_version

from serving.api.errors import ErrorCode
from serving.server import healthcheck, launcher
from serving.server.fresh_folders import fresh_folder
from serving.server.healthcheck import reachable
from serving.server.launcher import serve
from serving.server.preflight import check_model, find_nginx, model_path, why_not_writable
from serving.server.programs import User, gunicorn_program, nginx_conf
from serving.server.supervisor import Program
from serving.settings import Settings
from textclf.errors import ConfigError
from textclf.store.model_store import ModelStore

_TEXT = {"text": "a great film"}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    store = tmp_path_factory.mktemp("served") / "model"
    write_version(store)
    return store


@pytest.fixture(scope="module")
def stack(model, tmp_path_factory):
    need_nginx()
    # mkdtemp's folder is one that only its owner may enter, as root's own is.
    with (
        tempfile.TemporaryDirectory(prefix="textclf-test-") as short,
        running_stack(tmp_path_factory.mktemp("stack"), model, API_KEY="", TMPDIR=short) as stack,
    ):
        yield stack
        assert stack.stop() == 0, stack.log
        assert "Traceback" not in stack.log


def raw(stack: Stack, request: bytes) -> tuple[int, bytes]:
    """Send bytes as they are: status and body."""
    return raw_with_id(stack, request)[:2]


def raw_with_id(stack: Stack, request: bytes) -> tuple[int, bytes, str]:
    """Send bytes as they are: status, body, and the request id, which every answer has."""
    with socket.create_connection(("127.0.0.1", stack.port), timeout=20) as connection:
        connection.sendall(request)
        response = http.client.HTTPResponse(connection)
        response.begin()  # Passes over 100 Continue.
        request_id = response.getheader("X-Request-Id")
        assert request_id
        return response.status, response.read(), request_id


def logged(stack: Stack, request_id: str) -> dict:
    """Return the last line of the access log with this id."""
    wait_for(lambda: f'"request_id":"{request_id}"' in stack.log)
    return json.loads([line for line in stack.log.splitlines() if f'"request_id":"{request_id}"' in line][-1])


def test_answers(stack):
    answer = stack.request("POST", "/predict", _TEXT)
    assert answer.status == 200
    assert answer.json["label"] in ("neg", "pos")
    assert stack.request("POST", "/invocations", {"data": ["a", "b"]}).status == 200
    assert stack.request("GET", "/ping").status == 200


def test_both_workers_answer_and_metrics_are_of_both(stack):
    def texts() -> float:
        lines = stack.request("GET", "/metrics").body.decode().splitlines()
        return sum(float(line.split()[1]) for line in lines if line.startswith("textclf_texts_total"))

    def logged() -> list[dict]:
        lines = [json.loads(line) for line in stack.log.splitlines() if line.startswith("{")]
        return [line for line in lines if line["status"] == 200 and line["path"] != "/feedback"]

    def answered() -> set[int]:
        return {line["pid"] for line in logged()}

    deadline = time.monotonic() + 30  # Which worker gets a connection is nginx's choice.
    while answered() != stack.workers():
        assert time.monotonic() < deadline, answered()
        assert stack.request("POST", "/predict", _TEXT).status == 200
    # They may be a second old.
    wait_for(lambda: texts() == sum(line["texts"] for line in logged()))


def test_the_request_id_is_passed_on(stack):
    stack.request("POST", "/predict", _TEXT, X_Request_Id="from-the-client-1")
    wait_for(lambda: '"request_id":"from-the-client-1"' in stack.log)


def test_what_nginx_refuses_has_the_request_id_too(stack):
    answer = stack.request("TRACE", "/ping", X_Request_Id="from-the-client-2")
    assert (answer.status, answer.headers["x-request-id"]) == (405, "from-the-client-2")
    answer = stack.request("TRACE", "/ping", X_Request_Id="not one that <is> logged")
    assert len(answer.headers["x-request-id"]) == 32


def test_a_refused_method_is_told_which_the_path_takes(stack):
    paths = stack.request("GET", "/openapi.json").json["paths"]
    assert len(paths) > 8
    for path in paths:
        by_the_app = stack.request("PUT", path)
        assert by_the_app.status == 405
        for method in ("TRACE", "BREW"):
            answer = stack.request(method, f"{path}?a=b")
            assert (answer.status, answer.headers["allow"]) == (405, by_the_app.headers["allow"])


def test_no_request_line_is_logged(stack):
    assert (
        raw(stack, _POST.replace(b"/predict", b"/predict?text=my-secret") + b"Content-Length: 99999999999\r\n\r\n")[0]
        == 413
    )
    assert stack.request("TRACE", "/predict?text=my-secret").status == 405
    assert stack.request("GET", "/../../my-secret").status == 400
    assert stack.request("POST", "/predict", _TEXT, X_Request_Id="after-the-secrets").status == 200
    wait_for(lambda: '"request_id":"after-the-secrets"' in stack.log)
    assert "my-secret" not in stack.log


@pytest.mark.parametrize("case", [case for case in bad_requests.CASES if case.through_proxy], ids=str)
def test_bad_requests_are_refused(stack, case):
    case.check(*bad_requests.send(case, "127.0.0.1", stack.port))


_GET = b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
_POST = b"POST /predict HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
_REFUSED_BY_NGINX = {
    "no HTTP": (b"hello\r\n\r\n", 400, "bad_request"),
    "no Host": (b"GET /ping HTTP/1.1\r\nConnection: close\r\n\r\n", 400, "bad_request"),
    "two Hosts": (_GET + b"Host: y\r\n\r\n", 400, "bad_request"),
    "HTTP 3 in text": (b"GET /ping HTTP/3.0\r\nHost: x\r\nConnection: close\r\n\r\n", 400, "bad_request"),
    "NUL in a header": (_GET + b"X: a\0b\r\n\r\n", 400, "bad_request"),
    "NUL in the path": (b"GET /pi%00ng HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 400, "bad_request"),
    "out of the root": (b"GET /../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 400, "bad_request"),
    "length that is no number": (_POST + b"Content-Length: ten\r\n\r\n", 400, "bad_request"),
    "negative length": (_POST + b"Content-Length: -1\r\n\r\n", 400, "bad_request"),
    "two lengths": (_POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400, "bad_request"),
    "length and chunks": (
        _POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 400, "bad_request"),
    "unknown transfer encoding": (_POST + b"Transfer-Encoding: rot13\r\n\r\n{}", 400, "bad_request"),
    "chunks that are none, after a refusal": (
        _POST.replace(b"POST", b"TRACE") + b"Transfer-Encoding: chunked\r\n\r\nnone\r\n", 400, "bad_request"),
    "later chunks that are none": (
        _POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nnone\r\n", 400, "bad_request"),
    "chunks that are none": (_POST + b"Transfer-Encoding: chunked\r\n\r\nnone\r\n", 400, "bad_request"),
    "TRACE": (b"TRACE /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 405, "method_not_allowed"),
    "CONNECT": (b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 400, "bad_request"),
    "made-up method": (b"BREW /predict HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 405, "method_not_allowed"),
    "long path": (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 414, "uri_too_long"),
    "long header": (_GET + b"X: " + b"x" * 9000 + b"\r\n\r\n", 431, "headers_too_large"),
    "many headers": (_GET + b"".join(b"X-%d: %s\r\n" % (i, b"x" * 500) for i in range(80)) + b"\r\n", 431,
                     "headers_too_large"),
    "announced body too large": (_POST + b"Content-Length: 99999999999\r\n\r\n", 413, "body_too_large"),
}  # fmt: skip


@pytest.mark.parametrize("name", _REFUSED_BY_NGINX)
def test_what_nginx_refuses_is_json_too(stack, name):
    request, status, code = _REFUSED_BY_NGINX[name]
    got, body = raw(stack, request)
    assert (got, json.loads(body)["error"]["code"]) == (status, code)


def test_what_nginx_refuses_is_logged_and_counted(stack):
    def counts() -> dict[str, float]:
        text = stack.request("GET", "/metrics").body.decode()
        found = re.findall(r'^textclf_errors_total{code="(\w+)"} (.*)$', text, re.MULTILINE)
        return {code: float(value) for code, value in found}

    before = wait_for(counts)
    refused = [
        (b"BREW /predict?text=my-secret HTTP/1.1\r\nHost: x\r\n", "other", "/predict", 405, "method_not_allowed"),
        (_POST + b"Content-Length: 99999999999\r\n", "POST", "/predict", 413, "body_too_large"),
        (b"GET /my-secret/" + b"x" * 9000 + b" HTTP/1.1\r\nHost: x\r\n", "GET", "", 414, "uri_too_long"),
        (b"GET /ping HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 9000 + b"\r\n", "GET", "/ping", 431, "headers_too_large"),
        (b"my-secret text\r\n", "other", "", 400, "bad_request"),
    ]
    time.sleep(1.1)  # Lines are limited per second, and the tests before this one caused many.
    ids = [raw_with_id(stack, request + b"Connection: close\r\n\r\n")[2] for request, *_ in refused]
    # By id, because nginx may log a request of an earlier test only now: it waits for bodies that were announced.
    lines = [logged(stack, request_id) for request_id in ids]
    assert [[line[name] for name in ("method", "path", "status", "error")] for line in lines] == [
        [method, path, status, code] for _, method, path, status, code in refused
    ]
    of_worker = next(json.loads(line) for line in stack.log.splitlines() if '"status":200' in line)
    assert set(lines[0]) == {*of_worker, "error"}
    codes = [code for *_, code in refused]
    wait_for(lambda: (now := counts()) and all(now.get(code, 0) > before.get(code, 0) for code in codes))
    assert "my-secret" not in stack.log


@pytest.mark.parametrize(
    "extra",
    [
        b"".join(b"X-%d: y\r\n" % i for i in range(300)),
        b"X-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off\r\n",
        b"Expect: 100-continue\r\n",
        b"bad_name: x\r\n",
        b"X: " + b"x" * 8000 + b"\r\n",
        b"X: \xff\xfe\r\n",
    ],
    ids=["many", "contradicting", "expect", "underscore", "long", "bytes"],
)
def test_odd_headers_do_no_harm(stack, extra):
    assert raw(stack, _GET + extra + b"\r\n")[0] == 200


def test_nginx_speaks_of_the_same_codes_as_the_app():
    for code in (
        ErrorCode.BAD_REQUEST,
        ErrorCode.METHOD_NOT_ALLOWED,
        ErrorCode.BODY_TOO_LARGE,
        ErrorCode.INTERNAL_ERROR,
        ErrorCode.NOT_READY,
    ):
        assert f'return {code.status} \'{{"error": {{"code": "{code.public_name}"' in nginx_conf(Settings(), 100)


def test_not_ready_at_first_then_ready_then_drained(model, tmp_path):
    need_nginx()
    with running_stack(tmp_path, model, wait=False, MODEL_SERVER_WORKERS="1") as stack:
        wait_for(lambda: _listens(stack.port))
        first = stack.request("GET", "/ping")
        assert (first.status, first.json["error"]["code"]) == (503, "not_ready")
        assert int(first.headers["retry-after"]) >= 1
        wait_for(stack.is_ready, 30)
        # A request whose body is still on its way when the server is told to stop.
        body = json.dumps(_TEXT).encode()
        with socket.create_connection(("127.0.0.1", stack.port), timeout=20) as connection:
            connection.sendall(_POST + b"Content-Length: %d\r\n\r\n" % len(body) + body[:5])
            time.sleep(0.3)
            stack.process.send_signal(signal.SIGTERM)
            wait_for(lambda: not _listens(stack.port))
            assert stack.process.poll() is None
            connection.sendall(body[5:])
            answer = connection.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 200 "), answer
        assert stack.process.wait(timeout=20) == 0, stack.log


@pytest.fixture(scope="module")
def busy_stack(model, tmp_path_factory):
    """One worker that takes two requests at a time."""
    need_nginx()
    folder = tmp_path_factory.mktemp("busy")
    with running_stack(folder, model, MODEL_SERVER_WORKERS="1", MAX_CONCURRENT="2") as stack:
        yield stack


def test_busy_workers_refuse_and_still_answer_ping(busy_stack):
    for _ in range(3):  # Another program may have had the cores.
        statuses, slowest = _pings_beside_work(busy_stack)
        assert set(statuses) == {200, 429}
        if slowest < 0.5:
            return
    pytest.fail(f"/ping took {slowest:.2f} s, in each of three attempts")


def _pings_beside_work(stack: Stack) -> tuple[list[int], float]:
    """Four clients ask for too much: their statuses, and the seconds of the slowest /ping meanwhile."""
    work = {"X": ["a great film with a dull ending and " * 5] * 1000}
    with ThreadPoolExecutor(4) as clients:
        asked = [clients.submit(stack.request, "POST", "/predict", work) for _ in range(8)]
        slowest = 0.0
        while not all(future.done() for future in asked):
            start = time.monotonic()
            assert stack.request("GET", "/ping").status == 200
            slowest = max(slowest, time.monotonic() - start)
            time.sleep(0.01)
        return [future.result().status for future in asked], slowest


def test_overload_is_refused_and_then_it_is_as_before(busy_stack):
    """Open loop: for 3 s requests come at four times the rate that one after another can be answered at."""
    work = {"X": ["a great film with a dull ending and " * 5] * 200}

    def seconds() -> float:
        start = time.monotonic()
        assert busy_stack.request("POST", "/predict", work).status == 200
        return time.monotonic() - start

    shares = []
    for _ in range(3):  # Another program may have had the cores.
        usual = median(seconds() for _ in range(5))
        interval = max(usual / 4, 0.004)
        begin = time.monotonic()

        def ask(number: int, begin: float = begin, interval: float = interval) -> int:
            time.sleep(max(0.0, begin + number * interval - time.monotonic()))
            return busy_stack.request("POST", "/predict", work).status

        with ThreadPoolExecutor(32) as clients:
            statuses = list(clients.map(ask, range(int(3 / interval))))
        assert set(statuses) == {200, 429}
        wait_for(lambda usual=usual: median(seconds() for _ in range(5)) < 3 * usual, 20)
        shares.append(statuses.count(200) / (3 / usual))
        if shares[-1] >= 0.3:
            return
    pytest.fail(f"of what one after another would have been answered, {shares} were")


def test_an_answer_that_takes_too_long_is_given_up(model, tmp_path):
    need_nginx()
    with running_stack(tmp_path, model, MODEL_SERVER_WORKERS="1", MODEL_SERVER_TIMEOUT="1") as stack:
        (worker,) = stack.workers()
        os.kill(worker, signal.SIGSTOP)
        try:
            wait_for(lambda: is_in_state(worker, "T"))
            answer = stack.request("POST", "/predict", _TEXT, X_Request_Id="late")
        finally:
            os.kill(worker, signal.SIGCONT)
        assert (answer.status, answer.json["error"]["code"]) == (503, "timed_out")
        assert "MODEL_SERVER_TIMEOUT" in answer.json["error"]["message"]
        assert answer.headers["x-request-id"] == "late"
        line = logged(stack, "late")
        assert (line["method"], line["path"], line["status"], line["error"]) == ("POST", "/predict", 503, "timed_out")
        assert line["latency_ms"] >= 1000
        wait_for(stack.is_ready)
        # The worker then meets the request in its backlog: it neither computes nor logs it again.
        assert stack.request("POST", "/predict", _TEXT).status == 200
        assert stack.log.count('"request_id":"late"') == 1
        wait_for(lambda: "textclf_texts_total 1.0" in stack.request("GET", "/metrics").body.decode())


def test_a_client_that_goes_is_logged_and_counted(model, tmp_path):
    need_nginx()
    with running_stack(tmp_path, model, MODEL_SERVER_WORKERS="1") as stack:
        (worker,) = stack.workers()
        os.kill(worker, signal.SIGSTOP)
        try:
            wait_for(lambda: is_in_state(worker, "T"))
            body = json.dumps(_TEXT).encode()
            with socket.create_connection(("127.0.0.1", stack.port), timeout=20) as connection:
                connection.sendall(_POST + b"X-Request-Id: gone\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                time.sleep(0.2)
            line = logged(stack, "gone")
        finally:
            os.kill(worker, signal.SIGCONT)
        assert (line["method"], line["path"], line["status"], line["error"]) == ("POST", "/predict", 499, "client_gone")

        def metrics() -> str:
            return stack.request("GET", "/metrics").body.decode()

        wait_for(lambda: 'textclf_errors_total{code="client_gone"} 1.0' in metrics())
        of_predict = re.findall(r'^textclf_requests_total{method="POST",route="/predict".*', metrics(), re.MULTILINE)
        assert of_predict == ['textclf_requests_total{method="POST",route="/predict",status="499"} 1.0'], "once"
        assert stack.request("POST", "/predict", _TEXT).status == 200
        assert stack.log.count('"request_id":"gone"') == 1
        wait_for(lambda: "textclf_texts_total 1.0" in metrics())


def test_a_worker_that_dies_is_replaced_and_nobody_is_sent_to_it_meanwhile(model, tmp_path):
    need_nginx()
    with running_stack(tmp_path, model) as stack:
        wait_for(lambda: len(_ready_names(stack)) == 2)
        before = stack.workers()
        os.kill(min(before), signal.SIGKILL)
        wait_for(lambda: len(_ready_names(stack)) == 1)
        for _ in range(10):
            start = time.monotonic()
            assert stack.request("POST", "/predict", _TEXT).status == 200
            assert time.monotonic() - start < 5
        wait_for(lambda: len(_ready_names(stack)) == 2, 30)
        assert len(stack.workers() - before) == 1
        wait_for(lambda: re.search(r"textclf_model_workers{.*} 2.0", stack.request("GET", "/metrics").body.decode()))
        assert "textclf_texts_total 10.0" in stack.request("GET", "/metrics").body.decode()
        files = Path(f"/proc/{stack.programs()['nginx']}/cwd").glob("textclf-*/*_[01].db")
        assert len(list(files)) == 2 * 3, "the successor continues the files of the killed worker"
        assert stack.stop() == 0


@pytest.mark.parametrize("nginx", ["", "off"])
def test_a_worker_that_loads_ends_when_it_is_told_to(tmp_path, nginx):
    if not nginx:
        need_nginx()
    version = write_version(tmp_path / "model")
    weights = version / "engine" / "model.bin"
    weights.unlink()
    os.mkfifo(weights)  # Whoever reads it waits for ever.

    def is_read() -> int | None:
        try:
            return os.open(weights, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            return None

    with running_stack(tmp_path, version, wait=False, NGINX=nginx, MODEL_SERVER_WORKERS="1") as stack:
        with open(wait_for(is_read, 30), "wb"):
            assert stack.stop() == 0, stack.log
        assert "did not finish" not in stack.log


@pytest.mark.slow
def test_workers_that_are_told_to_end_lose_nothing(tmp_path):
    """After a change of the model, too."""
    need_nginx()
    store = ModelStore(tmp_path / "model")
    first = write_version(store.path, seed=0).name
    with running_stack(tmp_path, store.path, MODEL_POLL_SECONDS="0.1") as stack, ThreadPoolExecutor(4) as clients:
        wait_for(lambda: len(_ready_names(stack)) == 2)
        is_over = threading.Event()

        def ask() -> set[int]:
            statuses = set()
            while not is_over.is_set():
                statuses.add(stack.request("POST", "/predict", _TEXT).status)
            return statuses

        asked = [clients.submit(ask) for _ in range(4)]
        try:
            second = write_version(store.path, seed=1, promote=False).name
            store.promote(second, expected_current=first)
            wait_for(lambda: stack.log.count(f"serving tiny {second}") == 2, 30)
            for worker in stack.workers():
                wait_for(lambda: len(_ready_names(stack)) == 2, 30)
                os.kill(worker, signal.SIGTERM)
                wait_for(lambda worker=worker: worker not in stack.workers(), 30)
            wait_for(lambda: len(_ready_names(stack)) == 2, 30)
        finally:
            is_over.set()
        assert set().union(*(future.result() for future in asked)) == {200}
        assert "was sent" not in stack.log  # gunicorn's word for a worker that a signal ended.


@pytest.mark.slow
def test_who_waits_for_a_worker_that_ends_is_told_so(model, tmp_path):
    need_nginx()
    with running_stack(tmp_path, model, MODEL_SERVER_WORKERS="1") as stack, ThreadPoolExecutor(1) as client:
        texts = {"X": ["bad " * 470] * 1000}
        # Killed too early, the next worker answers it; too late, this one has. What is between depends on the machine.
        for pause in (0.1, 0.2, 0.3, 0.5, 0.8):
            (worker,) = stack.workers()
            asked = client.submit(stack.request, "POST", "/predict?text=my-secret", texts, X_Request_Id="lost")
            time.sleep(pause)
            os.kill(worker, signal.SIGKILL)
            answer = asked.result()
            if answer.status != 200:
                break
            wait_for(lambda: stack.workers() and stack.is_ready(), 30)
        assert (answer.status, answer.json["error"]["code"]) == (503, "worker_lost")
        assert "send it again" in answer.json["error"]["message"]
        assert answer.headers["x-request-id"] == "lost"
        assert int(answer.headers["retry-after"]) >= 1
        line = logged(stack, "lost")
        assert (line["path"], line["status"], line["error"]) == ("/predict", 503, "worker_lost")
        wait_for(stack.is_ready, 30)
        assert "my-secret" not in stack.log


@pytest.mark.slow
def test_a_worker_that_is_not_there_is_passed_over_without_a_word(model, tmp_path):
    need_nginx()
    with running_stack(tmp_path, model, wait=False) as stack:
        wait_for(lambda: len(stack.programs()) == 2)
        # Without a request, so that nginx has no open connection to a worker.
        wait_for(lambda: len(_ready_names(stack)) == 2, 30)
        runtime = Path(f"/proc/{stack.programs()['nginx']}/cwd")
        for number in range(2):
            (runtime / f"{number}.ready").unlink()
        answer = stack.request("POST", "/predict", _TEXT)
        assert (answer.status, answer.json["error"]["code"]) == (503, "not_ready")
        (runtime / "1.ready").symlink_to("1.sock")
        assert {stack.request("POST", "/predict", _TEXT).status for _ in range(10)} == {200}
        assert "connect()" not in stack.log
        (runtime / "0.ready").symlink_to("0.sock")
        assert stack.stop() == 0, stack.log


@pytest.mark.slow
def test_a_damaged_new_version_does_not_end_what_serves(tmp_path):
    """A worker that is replaced falls back to what the others serve, and then takes a good version as they do."""
    need_nginx()
    store = ModelStore(tmp_path / "model")
    first = write_version(store.path, seed=0).name
    with running_stack(tmp_path, store.path, MODEL_POLL_SECONDS="0.1") as stack:
        wait_for(lambda: len(_ready_names(stack)) == 2)
        damaged = write_version(store.path, seed=1, promote=False)
        _damage(damaged)
        (store.path / "current").write_text(damaged.name)
        wait_for(lambda: stack.log.count(f"version {damaged.name} can't be loaded") == 2)
        before = stack.workers()
        os.kill(min(before), signal.SIGKILL)
        assert _models_until(stack, lambda: len(stack.workers() - before) == 1 == len(_ready_names(stack)) - 1) == {
            f"tiny {first}"
        }
        assert f"the current version can't be loaded, {first} keeps serving" in stack.log
        third = write_version(store.path, seed=2, promote=False).name
        store.promote(third, expected_current=damaged.name)
        wait_for(lambda: f'model="tiny",version="{third}"}} 2.0' in stack.request("GET", "/metrics").body.decode())
        assert stack.stop() == 0, stack.log


@pytest.mark.slow
def test_a_worker_that_can_not_be_replaced_does_not_end_the_others(tmp_path):
    """The version that is served is damaged on disk, so there is nothing to fall back to until it is mended."""
    need_nginx()
    version = write_version(tmp_path / "model")
    with running_stack(tmp_path, tmp_path / "model") as stack:
        wait_for(lambda: len(_ready_names(stack)) == 2)
        whole = _damage(version)
        before = stack.workers()
        os.kill(min(before), signal.SIGKILL)
        failed = "model.bin: damaged"
        # As many times as would end a server without a warm worker.
        assert _models_until(stack, lambda: stack.log.count(failed) == 3) == {f"tiny {version.name}"}
        assert len(_ready_names(stack)) == 1
        times = [line[:23] for line in stack.log.splitlines() if failed in line]
        pauses = [_seconds_between(*pair) for pair in itertools.pairwise(times)]
        assert pauses[0] >= 1
        assert pauses[1] >= 2
        os.replace(whole, version / "engine" / "model.bin")
        assert _models_until(stack, lambda: len(_ready_names(stack)) == 2) == {f"tiny {version.name}"}
        assert stack.stop() == 0, stack.log


@pytest.fixture
def short_folder() -> Iterator[str]:
    """A TMPDIR: a socket's path has no room for the names that pytest gives its folders."""
    with tempfile.TemporaryDirectory(prefix="textclf-test-") as folder:
        yield folder


@pytest.mark.parametrize("name", ["nginx", "gunicorn"])
def test_if_one_program_dies_all_end(model, tmp_path, name, short_folder):
    need_nginx()
    with running_stack(tmp_path, model, MODEL_SERVER_WORKERS="1", TMPDIR=short_folder) as stack:
        programs = stack.programs()
        left = [*programs.values(), *(child for pid in programs.values() for child in children(pid))]
        os.kill(programs[name], signal.SIGKILL)
        assert stack.process.wait(timeout=20) == 1
        assert f"serve: {name} ended with status -9; stopping" in stack.log
        wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in left))
        assert not list(Path(short_folder).glob("textclf-serve-*"))


def test_nginx_is_found_where_an_ordinary_user_has_it_not_on_the_path(tmp_path, monkeypatch):
    empty, system, own = (tmp_path / name for name in ("empty", "system", "own"))
    for folder in (empty, system, own):
        folder.mkdir()
    for folder in (system, own):
        (folder / "nginx").touch(mode=0o755)
    monkeypatch.setattr("serving.server.preflight._SYSTEM_PROGRAMS", str(system))
    assert find_nginx({"PATH": str(empty)}) == str(system / "nginx")
    assert find_nginx({"PATH": str(own)}) == str(own / "nginx")
    assert find_nginx({"PATH": str(empty), "NGINX": str(own / "nginx")}) == str(own / "nginx")
    assert find_nginx({"PATH": str(own), "NGINX": "off"}) is None
    (system / "nginx").unlink()
    assert find_nginx({"PATH": str(empty)}) is None


def test_it_is_said_that_there_is_no_nginx(model, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("serving.server.preflight._SYSTEM_PROGRAMS", str(tmp_path))
    monkeypatch.setattr("serving.server.launcher.supervise", lambda *_: 0)
    for nginx, warnings in (("", 1), ("off", 0)):
        environ = {"PATH": str(tmp_path), "MODEL_PATH": str(model), "PORT": str(free_port()), "NGINX": nginx}
        assert serve(environ) == 0
        assert capsys.readouterr().err.count("found no nginx on PATH") == warnings


def test_without_nginx_gunicorn_listens_and_gathers_metrics_in_a_folder_of_this_run(model, tmp_path):
    folder = tmp_path / "metrics"
    folder.mkdir()
    (folder / "customers.db").write_bytes(b"of somebody else")
    (folder / "counter_1.db").write_bytes(b"of another server")
    with running_stack(
        tmp_path, model, NGINX="off", PROMETHEUS_MULTIPROC_DIR="metrics", MODEL_SERVER_WORKERS="1"
    ) as stack:
        assert "nginx" not in stack.log
        assert "with 1 gunicorn worker\n" in stack.log
        answer = stack.request("POST", "/predict", _TEXT)
        assert answer.status == 200
        assert "gunicorn" in answer.headers["server"]
        wait_for(lambda: "textclf_texts_total 1.0" in stack.request("GET", "/metrics").body.decode())
        assert list(folder.glob("textclf-*/counter_*.db"))
        assert stack.stop(signal.SIGINT) == 0, stack.log
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "customers.db": b"of somebody else",
        "counter_1.db": b"of another server",
    }


def test_a_damaged_model_ends_the_server_with_the_reason(model, tmp_path):
    need_nginx()
    write_version(tmp_path / "model")
    (weights,) = (tmp_path / "model").rglob("model.bin")
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    with running_stack(tmp_path, tmp_path / "model", wait=False) as stack:
        assert stack.process.wait(timeout=30) == 1
        assert "model.bin: damaged" in stack.log
        assert "Traceback" not in stack.log


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"MODEL_PATH": "nowhere"}, "MODEL_PATH: expected a model, found none in nowhere; train one"),
        ({"MODEL_PATH": "empty"}, "after `make demo` there is a model in demo/model"),
        ({"MODEL_PATH": "/etc/passwd"}, "expected a model store"),
        ({"PORT": "http"}, "PORT: expected a whole number"),
        ({"MODEL_SERVER_WORKERS": "0"}, "MODEL_SERVER_WORKERS"),
        ({"HOST": "256.1.1.1"}, "HOST, PORT"),
        ({"HOST": "127.0.0.1; evil"}, "HOST"),
        ({"PORT": "TAKEN"}, "in use"),
        ({"TMPDIR": "LONG"}, "TMPDIR"),
        ({"TMPDIR": "file"}, "TMPDIR: expected a folder that user"),
        ({"TMPDIR": "nowhere"}, "TMPDIR: expected a folder that user"),
        ({"PROMETHEUS_MULTIPROC_DIR": "file"}, "PROMETHEUS_MULTIPROC_DIR: expected a folder that user"),
        ({"PROMETHEUS_MULTIPROC_DIR": "file/a"}, "PROMETHEUS_MULTIPROC_DIR: expected a folder that user"),
        ({"NGINX": "nowhere/nginx"}, "NGINX: expected off, or the path of an nginx"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_nonsense_is_one_line(model, tmp_path, monkeypatch, capsys, environ, says):
    (tmp_path / "empty" / "versions").mkdir(parents=True)
    (tmp_path / "file").touch()
    if environ.get("TMPDIR") == "LONG":
        need_nginx()
        environ = {"TMPDIR": str(tmp_path / ("x" * 100))}
        Path(environ["TMPDIR"]).mkdir()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        if environ.get("PORT") == "TAKEN":
            environ = {"PORT": str(taken.getsockname()[1])}
        environ = {"PATH": os.environ["PATH"], "PORT": str(free_port()), "MODEL_PATH": str(model), **environ}
        monkeypatch.chdir(tmp_path)
        # A damaged model store is no wrong setting.
        assert launcher.run(environ) == (1 if says == "expected a model store" else 2)
    message = capsys.readouterr().err
    assert says in message
    assert message.startswith("error: ")
    assert message.count("\n") == 1


def exit_message(monkeypatch, main: Callable[[], None], environ: dict[str, str], *arguments: str) -> str:
    """Run a program in this process; return its last line, which sys.exit prints before status 1, or "" for 0."""
    with monkeypatch.context() as patch:
        patch.setattr(sys, "argv", ["it", *arguments])
        for name in os.environ:
            patch.delenv(name)
        for name, value in environ.items():
            patch.setenv(name, value)
        try:
            main()
        except SystemExit as ended:
            return "" if not ended.code else str(ended.code)
    return ""


def test_a_refused_start_ends_with_status_2_and_one_line(tmp_path):
    command = [sys.executable, str(ROOT / "serving" / "serve")]
    environ = {"PATH": os.environ["PATH"], "PORT": "http"}
    result = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60)
    assert result.returncode == 2
    assert result.stderr.startswith("error: PORT: expected a whole number")
    assert result.stderr.count("\n") == 1


def test_the_model_lies_in_prefix():
    assert model_path({}) == "/opt/ml/model"
    assert model_path({"PREFIX": "job"}) == "job/model"
    assert model_path({"PREFIX": "job", "MODEL_PATH": "other"}) == "other"


def test_a_worker_multiplies_in_one_thread_and_reads_what_nginx_sends():
    settings, folder = Settings(), Path("/tmp")

    def program(behind_nginx: bool, **environ: str) -> Program:
        return gunicorn_program(settings, folder, folder, environ, behind_nginx=behind_nginx)

    assert program(True).environment["OPENBLAS_NUM_THREADS"] == "1"
    assert program(True).environment["MALLOC_ARENA_MAX"] == "2"
    assert program(True, OPENBLAS_NUM_THREADS="2").environment["OPENBLAS_NUM_THREADS"] == "2"
    for behind_nginx, worker_class in ((True, "scgi_worker.ScgiWorker"), (False, "http_worker.HttpWorker")):
        command = program(behind_nginx).command
        assert command[command.index("--worker-class") + 1] == f"serving.server.{worker_class}"


def test_the_configuration_holds_numbers_and_an_address_only():
    settings = Settings(host="::1", api_key="secret", model_path=Path("/some where/$model"), model_server_workers=3)
    text = nginx_conf(settings, 100)
    assert "listen [::1]:8080 backlog=1024 default_server;" in text
    assert text.count("max_fails=0;") == 3
    assert not any(word in text for word in ("secret", "some where", "user ", "%{"))
    assert "user nobody nogroup;" in nginx_conf(settings, 100, User("nobody", "nogroup", 65534))


@pytest.mark.parametrize(("workers", "processes"), [(1, 1), (8, 1), (9, 2), (64, 8)])
def test_nginx_grows_with_the_workers(tmp_path, workers, processes):
    text = nginx_conf(Settings(port=free_port(), model_server_workers=workers, max_concurrent=100), 4096)
    assert f"worker_processes {processes};" in text
    check_with_nginx(tmp_path, text)


def check_with_nginx(folder, text):
    need_nginx()
    (folder / "nginx.conf").write_text(text)
    command = [str(find_nginx(os.environ)), "-t", "-q", "-p", ".", "-c", "nginx.conf", "-e", "stderr"]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=20)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize(
    "origins",
    [
        "https://a.example,https://A.example, https://a.example",
        "https://feature-1234-some-long-name.preview.internal-tools.company.example.com:8443",
        *(f"https://{'a' * length}" for length in (29, 30, 38, 39, 40, 41, 100, 253)),
        ",".join(f"https://{'a' * (1 + index % 240)}-{index}:65535" for index in range(50)),
    ],
    ids=lambda origins: f"{len(origins)} characters",
)
def test_nginx_takes_all_origins_and_prefixes(tmp_path, origins):
    settings = Settings(port=free_port(), cors_origins=origins, root_path="/" + "." * 199)
    check_with_nginx(tmp_path, nginx_conf(settings, 4096))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's nginx can become another user")
def test_the_proxy_of_root_is_another_user(stack):
    process = min(children(stack.programs()["nginx"]))
    (user,) = re.findall(r"^Uid:\s+(\d+)", Path(f"/proc/{process}/status").read_text(), re.MULTILINE)
    assert pwd.getpwuid(int(user)).pw_name == "www-data"
    # More than nginx keeps in memory: it goes through a file of nginx's.
    assert stack.request("POST", "/predict", {"X": ["x" * 90_000] * 12}).status == 200
    assert "started as root: nginx becomes www-data" in stack.log


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_another_user_may_not_read_or_write_is_named(model, tmp_path):
    private, data = tmp_path / "private", tmp_path / "data"
    shutil.copytree(model, private)
    private.chmod(0o700)
    data.mkdir()
    os.seteuid(65534)
    try:
        with pytest.raises(ConfigError) as refused:
            check_model(private)
        reason = why_not_writable(data / "new_data")
        with pytest.raises(ConfigError, match=r"^TMPDIR: .*Permission denied"), fresh_folder("TMPDIR", str(data), "a-"):
            pass
    finally:
        os.seteuid(0)
    assert str(refused.value).startswith("MODEL_PATH: expected a model that user 65534 may read, got /")
    assert f"chmod -R a+rX {private}" in str(refused.value)
    assert reason.startswith("can't be written: user 65534 has no permission")


def test_where_reviews_can_be_stored(tmp_path):
    (tmp_path / "file").touch()
    assert why_not_writable(tmp_path / "a" / "b") == ""
    assert "not a folder" in why_not_writable(tmp_path / "file" / "a")


def test_the_health_check(stack, monkeypatch):
    def health(port: int, **environ: str) -> str:
        return exit_message(monkeypatch, healthcheck.main, {"PORT": str(port), **environ})

    assert health(stack.port) == health(stack.port, HOST="0.0.0.0") == ""  # noqa: S104
    free = free_port()
    message = health(free, HOST="")
    assert message.startswith(f"healthcheck: 127.0.0.1, port {free}: ")
    assert "\n" not in message
    assert health(stack.port, PORT="http").startswith("healthcheck: PORT: ")


def test_the_health_check_as_a_program(stack):
    command = [sys.executable, str(ROOT / "serving" / "healthcheck")]
    for port, status in ((stack.port, 0), (free_port(), 1)):
        environ = {"PATH": os.environ["PATH"], "PORT": str(port)}
        result = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)
        assert (result.returncode, result.stderr.count("\n")) == (status, status)


def test_the_health_check_of_a_server_on_version_6(monkeypatch):
    class Ping(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503 if busy else 200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    class Server(socketserver.TCPServer):
        address_family = socket.AF_INET6

    busy = False
    try:
        server = Server(("::1", 0), Ping)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            environ = {"PORT": str(server.server_address[1])}
            for host in ("::", "::1", "0::0"):
                assert exit_message(monkeypatch, healthcheck.main, {**environ, "HOST": host}) == ""
            busy = True
            message = exit_message(monkeypatch, healthcheck.main, {**environ, "HOST": "::"})
            assert message == f"healthcheck: ::1, port {environ['PORT']}: /ping returned 503"
        finally:
            server.shutdown()
            thread.join()


def test_where_a_server_is_reached():
    hosts = {"0.0.0.0": "127.0.0.1", "::": "::1", "10.1.2.3": "10.1.2.3", "localhost": "localhost"}  # noqa: S104
    assert {host: reachable(host) for host in hosts} == hosts


def test_an_argument_is_refused(monkeypatch):
    with pytest.raises(ConfigError):
        Settings.from_environment({"PORT": "0"})
    assert exit_message(monkeypatch, launcher.main, {}, "--port").startswith("usage: serve")


@pytest.mark.parametrize("option", ["-h", "--help"])
@pytest.mark.parametrize("program", ["serve", "train"])
def test_help_of_a_program_succeeds(program, option):
    command = [sys.executable, str(ROOT / "serving" / program), option]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(f"usage: {program}\n")


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except ConnectionRefusedError:
        return False
    return True


def _ready_names(stack: Stack) -> list[Path]:
    """What nginx knows the workers by."""
    return list(Path(f"/proc/{stack.programs()['nginx']}/cwd").glob("*.warm"))


def _damage(version: Path) -> Path:
    """Change a byte of the weights, in a new file: the old one is in use. Returns where that now is."""
    weights = version / "engine" / "model.bin"
    whole = version.parent.parent / "whole.bin"
    content = weights.read_bytes()
    weights.rename(whole)
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    return whole


def _models_until(stack: Stack, holds: Callable[[], bool], seconds: float = 40) -> set[str]:
    """The models that answer, all the time, until something holds."""
    deadline = time.monotonic() + seconds
    models: set[str] = set()
    while not holds():
        assert time.monotonic() < deadline, stack.log
        answer = stack.request("POST", "/predict", _TEXT)
        assert answer.status == 200, answer
        models.add(answer.json["model"])
        time.sleep(0.02)
    return models


def _seconds_between(first: str, second: str) -> float:
    """Between two times as the log has them."""
    form = "%Y-%m-%d %H:%M:%S,%f"
    return (datetime.strptime(second, form) - datetime.strptime(first, form)).total_seconds()
