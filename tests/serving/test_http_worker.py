"""gunicorn's worker without nginx: before a model is loaded, after errors, and while the server stops."""

import contextlib
import http.client
import json
import os
import re
import resource
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from gunicorn.config import Config
from gunicorn.http import errors
from serving_stack import Stack, any_address, is_in_state, running_stack, wait_for
from tiny_engine import write_version

from serving.server.http_worker import HttpWorker, error_response, refuse_while

_TEXT = {"text": "a great film"}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    store = tmp_path_factory.mktemp("served") / "model"
    write_version(store)
    return store


@pytest.fixture(scope="module")
def stack(model, tmp_path_factory) -> Iterator[Stack]:
    folder, settings = tmp_path_factory.mktemp("stack"), {"HOST": any_address(), "MODEL_SERVER_WORKERS": "1"}
    with running_stack(folder, model, NGINX="off", **settings) as stack:
        yield stack
        assert "Traceback" not in stack.log


def raw(port: int, request: bytes) -> tuple[int, str, bytes]:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(request)
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert response.getheader("X-Request-Id")
        assert response.getheader("Content-Type") == "application/json"
        return response.status, response.getheader("Connection"), response.read()


_GET = b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
_REFUSED = {
    "no HTTP": (b"hello\r\n\r\n", 400, "bad_request"),
    "an expectation": (_GET + b"Expect: the unexpected\r\n\r\n", 400, "bad_request"),
    "length and chunks": (_GET + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "bad_request"),
    "no colon": (_GET + b"no colon\r\n\r\n", 400, "bad_request"),
    "long path": (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, "uri_too_long"),
    "long header": (_GET + b"X: " + b"x" * 9000 + b"\r\n\r\n", 431, "headers_too_large"),
    "another spelling": (b"GET /%6detrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404, "not_found"),
    "two slashes": (b"GET //metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404, "not_found"),
}


@pytest.mark.parametrize("name", _REFUSED)
def test_what_gunicorn_refuses_is_json_too(stack, name):
    request, status, code = _REFUSED[name]
    got, _, body = raw(stack.port, request)
    assert (got, json.loads(body)["error"]["code"]) == (status, code)


@pytest.mark.parametrize(
    "header",
    [
        b"SCRIPT_NAME: /x\r\n",
        b"PATH_INFO: /metrics\r\n",
        b"X-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off\r\n",
        b"Expect: 100-continue\r\n",
    ],
)
def test_no_header_changes_what_is_asked_for(stack, header):
    assert raw(stack.port, _GET + header + b"\r\n")[0] == 200


def test_a_failure_is_logged_without_its_message(caplog):
    assert b'"code": "internal_error"' in error_response(ValueError("secret"))
    assert "ValueError" in caplog.text
    assert "secret" not in caplog.text
    assert b" 400 " in error_response(errors.InvalidHeader("secret"))
    assert "InvalidHeader" not in caplog.text


def test_unfinished_headers_hold_no_thread(stack):
    with contextlib.ExitStack() as stay:
        clients = [stay.enter_context(socket.create_connection(("127.0.0.1", stack.port), 20)) for _ in range(60)]
        for client in clients:
            client.sendall(b"GET /health/live HT")
        began = time.monotonic()
        assert stack.request("GET", "/ping").status == 200
        assert time.monotonic() - began < 2
        # Byte by byte, then the rest, and a second request in pieces on the same connection.
        slow = clients[0]
        for end in (b"T", b"P", b"/1.1\r\nHost: x\r\n", b"\r", b"\nGET /ping HTTP/1.1\r\nHo", b"st: x\r\n\r\n"):
            slow.sendall(end)
            time.sleep(0.02)
        responses = b""
        while responses.count(b"HTTP/1.1 200 OK") < 2:
            responses += slow.recv(10_000)
            assert responses
        clients[1].shutdown(socket.SHUT_WR)
        assert clients[1].recv(100) == b""


def test_endless_headers_are_refused(stack):
    with socket.create_connection(("127.0.0.1", stack.port), 20) as client:
        client.sendall(_GET)
        with contextlib.suppress(OSError):
            for number in range(50):
                client.sendall(b"X-%d: " % number + b"x" * 4000 + b"\r\n")
        assert client.recv(12).endswith(b"431")


@pytest.mark.slow
def test_headers_that_are_not_finished_in_time_end_the_connection(stack):
    with socket.create_connection(("127.0.0.1", stack.port), 30) as client:
        client.sendall(b"GET /ping HTT")
        began = time.monotonic()
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(100) == b""
        assert 13 < time.monotonic() - began < 20


@pytest.fixture
def refusing() -> Iterator[tuple[int, threading.Event]]:
    """The port of a thread that refuses until the event."""
    is_ready = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        thread = threading.Thread(target=refuse_while, args=([listener], lambda: not is_ready.is_set()))
        thread.start()
        yield listener.getsockname()[1], is_ready
        is_ready.set()
        thread.join(10)
        assert not thread.is_alive()


def test_before_a_model_is_loaded_a_request_is_refused(refusing):
    port, is_ready = refusing
    status, connection, body = raw(port, b"POST /predict HTTP/1.1\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000)
    assert (status, connection, json.loads(body)["error"]["code"]) == (503, "close", "not_ready")
    assert raw(port, b"GET /health/live HTTP/1.1\r\n\r\n")[::2] == (200, b'{"status":"ok"}')
    assert raw(port, b"GET /health/ready HTTP/1.1\r\n\r\n")[0] == 503
    is_ready.set()
    time.sleep(0.2)
    with socket.create_connection(("127.0.0.1", port)) as late:  # Stays in the queue, for the worker.
        late.settimeout(0.3)
        late.sendall(b"GET /ping HTTP/1.1\r\n\r\n")
        with pytest.raises(TimeoutError):
            late.recv(1)


def test_silent_clients_hold_up_nobody(refusing):
    port, _ = refusing
    with contextlib.ExitStack() as until_the_end:
        for number in range(300):  # More than are kept.
            silent = until_the_end.enter_context(socket.create_connection(("127.0.0.1", port)))
            silent.sendall(b"GET" if number % 2 else b"")
        began = time.monotonic()
        assert raw(port, b"GET /ping HTTP/1.1\r\n\r\n")[0] == 503
        assert time.monotonic() - began < 2


def test_if_all_workers_die_it_is_said_at_once(stack):
    (worker,) = stack.workers()
    os.kill(worker, signal.SIGKILL)
    began = time.monotonic()
    statuses = []
    while 200 not in statuses:
        with contextlib.suppress(ConnectionResetError):  # The worker accepted it before it died.
            statuses.append(stack.request("POST", "/predict", _TEXT).status)
            assert statuses[-1] == 200 or time.monotonic() - began < 30
            if len(statuses) == 1:
                first = time.monotonic() - began
    assert set(statuses) == {503, 200}
    assert first < 2  # 0.5 s on an idle machine.


def test_connections_that_are_queued_when_it_stops_are_responded_to(stack):
    """gunicorn closes its listener, and the kernel resets what nobody accepted."""
    (worker,) = stack.workers()
    os.kill(worker, signal.SIGSTOP)
    wait_for(lambda: is_in_state(worker, "T"))
    with ThreadPoolExecutor(5) as clients:
        asked = [clients.submit(stack.request, "POST", "/predict", _TEXT) for _ in range(5)]
        wait_for(lambda: _queued(stack.port) == 5)
        os.kill(worker, signal.SIGTERM)
        os.kill(worker, signal.SIGCONT)
        responses = [future.result() for future in asked]
    assert [response.status for response in responses] == [200] * 5
    assert {response.headers["connection"] for response in responses} == {"close"}
    wait_for(stack.is_ready, 30)


def test_a_queued_connection_may_send_its_headers_after_the_stop(stack):
    (worker,) = stack.workers()
    os.kill(worker, signal.SIGSTOP)
    wait_for(lambda: is_in_state(worker, "T"))
    with socket.create_connection(("127.0.0.1", stack.port), timeout=20) as client:
        wait_for(lambda: _queued(stack.port) == 1)
        os.kill(worker, signal.SIGTERM)
        os.kill(worker, signal.SIGCONT)
        wait_for(lambda: _queued(stack.port) == 0)
        time.sleep(0.2)
        client.sendall(_GET + b"\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 200")
    wait_for(stack.is_ready, 30)


def _queued(port: int) -> int:
    """Return the length of the queue of a listening socket, from /proc/net/tcp (proc(5))."""
    tables = "".join(path.read_text() for path in Path("/proc/net").glob("tcp*"))
    (length,) = re.findall(rf":{port:04X} 0+:0000 0A \w+:(\w+)", tables)
    return int(length, 16)


def test_without_free_files_a_stopping_worker_goes_on(caplog):
    """Its requests in progress would be lost."""
    config = Config()
    config.set("control_socket_disable", True)
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()):
        worker = HttpWorker(0, os.getppid(), [], None, 30, config, None)
        worker.alive = False
        free = os.dup(0)
        os.close(free)
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, before[1]))
        try:
            worker._accept_all(listener)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
            worker.tmp.close()
        assert worker.nr_conns == 0
    assert "Too many open files" in caplog.text
