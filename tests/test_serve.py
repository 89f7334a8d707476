"""serving/serve with real nginx and gunicorn in front of a tiny engine: start, answers, faults, end."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import bad_requests
import pytest
from serving_stack import ROOT, Stack, children, free_port, need_nginx, running_stack, wait_for
from tiny_engine import write_version

from serving.errors import Kind
from serving.launcher import TEMPLATE, model_path, nginx_conf
from serving.settings import Settings
from textclf.errors import ConfigError

_TEXT = {"text": "a great film"}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    store = tmp_path_factory.mktemp("served") / "model"
    write_version(store)
    return store


@pytest.fixture(scope="module")
def stack(model, tmp_path_factory):
    need_nginx()
    with running_stack(tmp_path_factory.mktemp("stack"), model, API_KEY="") as stack:
        yield stack
        assert stack.stop() == 0, stack.log
        assert "Traceback" not in stack.log


def raw(stack: Stack, request: bytes) -> tuple[int, bytes]:
    """Send bytes as they are: status and body."""
    with socket.create_connection(("127.0.0.1", stack.port), timeout=20) as connection:
        connection.sendall(request)
        response = http.client.HTTPResponse(connection)
        response.begin()  # Passes over 100 Continue.
        return response.status, response.read()


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

    before = texts()
    for _ in range(20):
        assert stack.request("POST", "/predict", _TEXT).status == 200
    assert texts() == before + 20
    answered = {
        json.loads(line)["pid"] for line in stack.log.splitlines() if line.startswith("{") and '"/predict"' in line
    }
    assert answered == stack.workers()


def test_the_request_id_is_passed_on(stack):
    stack.request("POST", "/predict", _TEXT, X_Request_Id="from-the-client-1")
    wait_for(lambda: '"request_id":"from-the-client-1"' in stack.log)


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
    for kind in (Kind.BAD_REQUEST, Kind.METHOD_NOT_ALLOWED, Kind.BODY_TOO_LARGE, Kind.INTERNAL_ERROR, Kind.NOT_READY):
        assert f'return {kind.status} \'{{"error": {{"code": "{kind.code}"' in TEMPLATE.read_text(encoding="utf-8")


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


def test_busy_workers_refuse_and_still_answer_ping(model, tmp_path):
    need_nginx()
    statuses: list[int] = []
    with running_stack(tmp_path, model, MODEL_SERVER_WORKERS="1", MAX_CONCURRENT="1") as stack:
        work = {"X": ["a great film with a dull ending and " * 5] * 1000}

        def send() -> None:
            for _ in range(2):
                statuses.append(stack.request("POST", "/predict", work).status)

        threads = [threading.Thread(target=send) for _ in range(4)]
        for thread in threads:
            thread.start()
        slowest = 0.0
        while any(thread.is_alive() for thread in threads):
            start = time.monotonic()
            assert stack.request("GET", "/ping").status == 200
            slowest = max(slowest, time.monotonic() - start)
            time.sleep(0.01)
        assert set(statuses) == {200, 429}
        assert slowest < 5


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
        assert stack.stop() == 0


@pytest.mark.parametrize("name", ["nginx", "gunicorn"])
def test_if_one_program_dies_all_end(model, tmp_path, name):
    need_nginx()
    with running_stack(tmp_path, model, MODEL_SERVER_WORKERS="1", TMPDIR=str(tmp_path)) as stack:
        programs = stack.programs()
        left = [*programs.values(), *(child for pid in programs.values() for child in children(pid))]
        os.kill(programs[name], signal.SIGKILL)
        assert stack.process.wait(timeout=20) == 1
        assert f"serve: {name} ended with status -9; stopping" in stack.log
        wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in left))
        assert not list(tmp_path.glob("textclf-serve-*"))


def test_without_nginx_gunicorn_listens_itself(model, tmp_path):
    with running_stack(tmp_path, model, path=str(Path(sys.executable).parent)) as stack:
        assert "nginx" not in stack.log
        answer = stack.request("POST", "/predict", _TEXT)
        assert answer.status == 200
        assert "gunicorn" in answer.headers["server"]
        assert stack.stop(signal.SIGINT) == 0, stack.log


def test_metrics_begin_anew(model, tmp_path):
    folder = tmp_path / "metrics"
    folder.mkdir()
    (folder / "counter_1.db").write_bytes(b"of an earlier server")
    with running_stack(
        tmp_path,
        model,
        path=str(Path(sys.executable).parent),
        PROMETHEUS_MULTIPROC_DIR="metrics",
        MODEL_SERVER_WORKERS="1",
    ) as stack:
        assert stack.request("GET", "/metrics").status == 200
        assert list(folder.glob("counter_*.db"))
        assert not (folder / "counter_1.db").exists()


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
        ({"PORT": "http"}, "PORT: expected a whole number"),
        ({"MODEL_SERVER_WORKERS": "0"}, "MODEL_SERVER_WORKERS"),
        ({"HOST": "256.1.1.1"}, "HOST, PORT"),
        ({"HOST": "127.0.0.1; evil"}, "HOST"),
        ({"PORT": "TAKEN"}, "in use"),
        ({"TMPDIR": "LONG"}, "TMPDIR"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_nonsense_is_one_line(tmp_path, environ, says):
    if environ.get("TMPDIR"):
        need_nginx()
        environ = {"TMPDIR": str(tmp_path / ("x" * 100))}
        Path(environ["TMPDIR"]).mkdir()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        if environ.get("PORT") == "TAKEN":
            environ = {"PORT": str(taken.getsockname()[1])}
        environ = {"PATH": os.environ["PATH"], "PORT": str(free_port()), **environ}
        result = subprocess.run(
            [sys.executable, str(ROOT / "serving" / "serve")], env=environ, capture_output=True, text=True, timeout=20
        )
    assert result.returncode == 1
    assert says in result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1


def test_the_model_lies_in_prefix():
    assert model_path({}) == "/opt/ml/model"
    assert model_path({"PREFIX": "job"}) == "job/model"
    assert model_path({"PREFIX": "job", "MODEL_PATH": "other"}) == "other"


def test_the_configuration_holds_numbers_and_an_address_only():
    settings = Settings(host="::1", api_key="secret", model_path=Path("/some where/$model"), model_server_workers=3)
    text = nginx_conf(settings, 100, is_root=False)
    assert "listen [::1]:8080 " in text
    assert text.count("max_fails=0;") == 3
    assert not any(word in text for word in ("secret", "some where", "user ", "%{"))
    assert "user root root;" in nginx_conf(settings, 100, is_root=True)


def test_an_argument_is_refused():
    with pytest.raises(ConfigError):
        Settings.from_environment({"PORT": "0"})
    result = subprocess.run(
        [sys.executable, str(ROOT / "serving" / "serve"), "--port"], capture_output=True, text=True, timeout=20
    )
    assert result.returncode == 1
    assert result.stderr.startswith("usage: serve")


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except ConnectionRefusedError:
        return False
    return True


def _ready_names(stack: Stack) -> list[Path]:
    """What nginx knows the workers by."""
    return list(Path(f"/proc/{stack.programs()['nginx']}/cwd").glob("*.warm"))
