"""What is queued on the socket of a worker that ended, on real unix sockets."""

import contextlib
import socket
import time

import pytest

from serving.server.backlog import hand_over


@pytest.fixture
def listener(tmp_path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "0.sock"))
        listener.listen()
        # As a worker left it, which is the same open file for gunicorn's arbiter.
        listener.setblocking(True)
        yield listener


def _queue(listener: socket.socket, request: bytes) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.connect(listener.getsockname())
    client.settimeout(5)
    client.sendall(request)
    return client


def _request(body: bytes) -> bytes:
    head = b"CONTENT_LENGTH\0%d\0REQUEST_URI\0/predict\0" % len(body)
    return b"%d:%s,%s" % (len(head), head, body)


def test_each_queued_request_is_sent_on(listener):
    clients = [_queue(listener, _request(body)) for body in (b"", b"{}", b"x" * 50_000)]
    began = time.monotonic()
    assert hand_over(listener) == 3
    assert time.monotonic() - began < 0.9, "an empty queue is not waited for"
    for client in clients:
        with client:
            # The request was read to its end: closing earlier would reset the connection.
            assert client.recv(1000) == b"Status: 200 OK\r\nX-Accel-Redirect: @another_worker\r\n\r\n"
            assert client.recv(1000) == b""


def test_what_does_not_arrive_holds_up_nobody_for_long(listener):
    slow = [_queue(listener, request) for request in (b"", b"100:x", b"no netstring at all", _request(b"ab")[:-1])]
    quick = _queue(listener, _request(b""))
    began = time.monotonic()
    assert hand_over(listener) == 1
    assert time.monotonic() - began < 3
    assert quick.recv(1000).startswith(b"Status: 200 OK")
    for client in (quick, *slow):
        with client, contextlib.suppress(ConnectionResetError):
            client.recv(1000)
