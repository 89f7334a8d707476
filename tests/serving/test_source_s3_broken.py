"""Connections to S3 that break: a server on loopback that cuts bodies, changes the object, or knows no Range."""

import contextlib
import http.server
import os
import threading

import pytest

from serving.source import s3
from serving.source.errors import FetchError
from serving.source.location import S3Object

CONTENT = bytes(range(256)) * 4000
SOURCE = S3Object("models", "model.tar.gz")


class Server(http.server.ThreadingHTTPServer):
    """Serves CONTENT; `mode` is what happens at a request for the rest, `cut` the bytes of a body."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.mode = "continue"
        self.cut = 300_000
        self.asked: list[tuple[str | None, str | None]] = []


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        given, etag = self.headers["Range"], self.headers["If-Match"]
        self.server.asked.append((given, etag))
        start = int(given.removeprefix("bytes=").removesuffix("-")) if given else 0
        mode = self.server.mode if given else "first"
        if mode == "changed":
            self.send_response(412)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        is_whole = mode in ("first", "whole")
        body = CONTENT if is_whole else CONTENT[start:]
        self.send_response(200 if is_whole else 206)
        self.send_header("ETag", '"two"' if mode == "whole" else '"one"')
        self.send_header("Content-Length", str(len(body)))
        if not is_whole:
            shown = start - 1 if mode == "other" else start
            self.send_header("Content-Range", f"bytes {shown}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.end_headers()
        self.wfile.write(body[: self.server.cut] if mode in ("first", "continue") else body)
        self.close_connection = True

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_address[1]}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_REGION", "eu-west-1")
        yield server
        server.shutdown()
        thread.join()


def read(folder):
    with contextlib.closing(s3.s3_client()) as client:
        return s3.read_object(client, SOURCE, folder / "read", 10**7)


def test_a_broken_connection_continues_where_it_stopped(server, tmp_path):
    assert read(tmp_path) == "one"
    assert (tmp_path / "read").read_bytes() == CONTENT
    assert [given for given, _ in server.asked] == [None, *(f"bytes={count}-" for count in (300_000, 600_000, 900_000))]
    assert {etag for _, etag in server.asked[1:]} == {'"one"'}


def test_a_server_without_range_is_read_from_the_beginning(server, tmp_path):
    server.mode = "whole"
    assert read(tmp_path) == "two"
    assert (tmp_path / "read").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("mode", "cut", "says", "requests"),
    [
        ("changed", 300_000, "the object changed while it was read; start again", 2),
        ("other", 300_000, "expected the bytes from 300,000 on, got others; check AWS_ENDPOINT_URL", 2),
        ("continue", 100_000, "the connection broke 4 times, at last after 400,000 bytes", 4),
    ],
)
def test_a_connection_that_can_not_continue_is_one_line(server, tmp_path, mode, cut, says, requests):
    server.mode, server.cut = mode, cut
    with pytest.raises(FetchError) as refused:
        read(tmp_path)
    assert f"{SOURCE}: {says}" in str(refused.value)
    assert len(server.asked) == requests
