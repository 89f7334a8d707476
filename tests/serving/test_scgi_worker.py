"""What comes from nginx and what goes back, byte by byte; test_serve.py runs the worker behind nginx."""

import json
import os
import socket
import threading
import time
import tracemalloc
from types import SimpleNamespace

import pytest
from serving_models import WordCounter, inference, settings

from serving.app import create_app
from serving.server import scgi_worker
from serving.server.scgi_worker import ScgiWorker, read_request, render

_BODY = b'{"text": "a, b: c"}'


def _request(body: bytes = _BODY, **more: str) -> bytes:
    fields = {
        "CONTENT_LENGTH": str(len(body)),
        "SCGI": "1",
        "REQUEST_METHOD": "POST",
        "REQUEST_URI": "/predict",
        "HTTP_HOST": "localhost",
        **more,
    }
    return _packed([text for field in fields.items() for text in field]) + body


def _packed(texts: list[str]) -> bytes:
    head = "".join(f"{text}\0" for text in texts).encode("latin-1")
    return b"%d:%s," % (len(head), head)


def _read(*parts: bytes) -> dict:
    ours, theirs = socket.socketpair()
    with ours:

        def send() -> None:
            with theirs:
                for part in parts:
                    theirs.sendall(part)
                    time.sleep(0.005 * (len(parts) > 1))

        sender = threading.Thread(target=send)
        sender.start()
        try:
            return read_request(ours)
        finally:
            sender.join()


def test_a_request():
    environ = _read(_request(HTTP_X_REQUEST_ID="a-1", CONTENT_TYPE="application/json"))
    assert environ["wsgi.input"].read() == _BODY
    assert (environ["REQUEST_METHOD"], environ["PATH_INFO"], environ["QUERY_STRING"]) == ("POST", "/predict", "")
    assert (environ["CONTENT_LENGTH"], environ["CONTENT_TYPE"]) == (str(len(_BODY)), "application/json")
    assert environ["HTTP_X_REQUEST_ID"] == "a-1"


def test_it_may_come_in_pieces():
    request = _request()
    assert _read(*(request[at : at + 1] for at in range(len(request))))["wsgi.input"].read() == _BODY
    large = b"x" * 3_000_000
    assert _read(_request(large))["wsgi.input"].read() == large
    assert _read(_request(b""))["wsgi.input"].read() == b""


@pytest.mark.parametrize(
    ("uri", "path", "query"),
    [
        ("/a?b=c?d", "/a", "b=c?d"),
        ("/a%20b%c3%a9?%20", "/a%20b%c3%a9", "%20"),
        ("//a/../b/", "//a/../b/", ""),
        ("/a?b#c", "/a", "b"),
        ("/\xe9", "/\xe9", ""),
    ],
)
def test_a_path_is_what_it_is(uri, path, query):
    """As sent: %6d is not m, so that no route has two spellings."""
    environ = _read(_request(REQUEST_URI=uri))
    assert (environ["PATH_INFO"], environ["QUERY_STRING"]) == (path, query)


def test_headers_that_come_twice_are_one():
    twice = ["HTTP_A", "1", "HTTP_B", "3", "HTTP_A", "2"]
    environ = _read(_packed(["CONTENT_LENGTH", "0", "REQUEST_URI", "/", *twice]))
    assert (environ["HTTP_A"], environ["HTTP_B"], environ["PATH_INFO"]) == ("1,2", "3", "/")


@pytest.mark.parametrize("cut", [0, 1, 5, 40, -len(_BODY), -1])
def test_a_request_that_ends_too_soon_is_none(cut):
    with pytest.raises(ConnectionError):
        _read(_request()[:cut])


@pytest.mark.parametrize(
    "sent", [b"GET /ping HTTP/1.1\r\n\r\n", b"x" * 100, _packed(["REQUEST_URI", "/"]), _packed(["CONTENT_LENGTH"])]
)
def test_what_is_no_scgi_is_refused(sent):
    with pytest.raises((ValueError, KeyError)):
        _read(sent)


class _Parts(list):
    closed = False

    def close(self) -> None:
        self.closed = True


def test_an_answer():
    parts = _Parts([b"ab", b"c"])

    def app(environ, start_response):
        assert environ == {"A": "b"}
        start_response("201 CREATED", [("X-A", "1"), ("X-B", "\xe9")])
        return parts

    assert render(app, {"A": "b"}) == b"Status: 201 CREATED\r\nX-A: 1\r\nX-B: \xe9\r\n\r\nabc"
    assert parts.closed


def test_an_app_that_fails_is_answered_for_without_a_word_of_it(caplog):
    def app(_environ, start_response):
        start_response("200 OK", [])
        yield b"half"
        raise ValueError("SECRET".lower())  # The log has this line.

    answer = render(app, {"HTTP_X_REQUEST_ID": "a-1"})
    assert answer.startswith(b"Status: 500 ")
    assert b"half" not in answer
    assert b'{"error": {"code": "internal_error", "message": "The server failed' in answer
    assert "request a-1 failed" in caplog.text
    assert "ValueError" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize("count", [1, 2])
def test_the_bytes_of_a_body_are_free_while_its_texts_are_scored(tmp_path, count):
    held = []

    class Watch(WordCounter):
        def run(self, inputs, timings):
            if tracemalloc.is_tracing():
                traces = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, scgi_worker.__file__)])
                held.append(sum(trace.size for trace in traces.traces))
            return super().run(inputs, timings)

    app = create_app(settings(tmp_path, max_text_chars=10**6), inference(Watch()))
    body = json.dumps({"X": ["good" * 100_000] * count}).encode()
    tracemalloc.start()
    try:
        answer = render(app, _read(_request(body, CONTENT_TYPE="application/json", REMOTE_ADDR="127.0.0.1")))
    finally:
        tracemalloc.stop()
    assert answer.startswith(b"Status: 200 ")
    assert held
    assert max(held) < len(body) // 10


def test_a_worker_that_stops_first_serves_what_is_queued(monkeypatch, tmp_path):
    """Behind a long request they would wait for the next worker, or be lost."""
    monkeypatch.setattr(scgi_worker, "_NOTIFY_SECONDS", 0.05)
    monkeypatch.setattr(scgi_worker, "_ACCEPT_SECONDS", 0.05)
    ready = tmp_path / "0.ready"
    ready.touch()

    class Worker(ScgiWorker):
        def __init__(self, listener: socket.socket, pipe: tuple[int, int]) -> None:
            self.sockets, self.PIPE = [listener], pipe
            self.cfg = SimpleNamespace(threads=1, graceful_timeout=10, worker_tmp_dir=tmp_path)
            self.alive, self.ppid, self.number = True, os.getppid(), 0

        def notify(self) -> None:
            pass

        def wsgi(self, environ, start_response):
            self.alive = False
            os.write(self.PIPE[1], b"x")
            while ready.exists():  # The first request is in hand until nginx sends no more.
                time.sleep(0.01)
            start_response("200 OK", [])
            return [environ["wsgi.input"].read()]

    pipe = os.pipe()
    try:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            clients = [socket.create_connection(listener.getsockname(), timeout=10) for _ in range(4)]
            for number, client in enumerate(clients):
                client.sendall(_request(b"%d" % number))
            Worker(listener, pipe).run()
            for number, client in enumerate(clients):
                with client:
                    assert client.recv(1000) == b"Status: 200 OK\r\n\r\n%d" % number
    finally:
        for end in pipe:
            os.close(end)


def test_a_signal_that_ends_nothing_ends_one_wait(monkeypatch, tmp_path):
    """A window's new size, say: what it writes into the pipe would otherwise keep a core busy from then on."""
    monkeypatch.setattr(scgi_worker, "_NOTIFY_SECONDS", 0.05)
    monkeypatch.setattr(scgi_worker, "_ACCEPT_SECONDS", 0.05)
    notified = []

    class Worker(ScgiWorker):
        def __init__(self, listener: socket.socket, pipe: tuple[int, int]) -> None:
            self.sockets, self.PIPE = [listener], pipe
            self.cfg = SimpleNamespace(threads=1, graceful_timeout=5, worker_tmp_dir=tmp_path)
            self.alive, self.ppid, self.number = True, os.getppid(), 0

        def notify(self) -> None:
            notified.append(time.monotonic())
            self.alive = len(notified) < 5

    listener = socket.create_server(("127.0.0.1", 0))
    pipe = os.pipe()
    try:
        with listener:
            os.write(pipe[1], b"\x1c")
            Worker(listener, pipe).run()
    finally:
        for end in pipe:
            os.close(end)
    assert notified[4] - notified[1] > 0.1
