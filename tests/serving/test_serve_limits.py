"""nginx refuses before it reads a body: without the key, and above the limits of unread bodies."""

import contextlib
import http.client
import json
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving_stack import Response, Stack, any_address, need_nginx, running_stack, wait_for
from tiny_engine import write_version

from serving.server.programs import nginx_conf
from serving.settings import Settings

# Characters that mean something to nginx or to a regular expression.
_KEY = """k,e"y'$1;{}\\.*[(^"""
_ORIGIN = "https://a.example"
_MAX_BODY_BYTES = 200_000
# Of bodies of 100 kB and more, or in chunks; half of them from one address.
_LARGE = 4
_SMALL_BODY = json.dumps({"text": "a great film"}).encode()
_MEDIUM_BODY = json.dumps({"text": "a great film " * 2000}).encode()
_LARGE_BODY = json.dumps({"X": ["a great film " * 6000] * 2}).encode()


@pytest.fixture(scope="module")
def stack(tmp_path_factory) -> Iterator[Stack]:
    need_nginx()
    store = tmp_path_factory.mktemp("served") / "model"
    write_version(store)
    with (
        tempfile.TemporaryDirectory(prefix="textclf-test-") as short,
        running_stack(
            tmp_path_factory.mktemp("stack"),
            store,
            API_KEY=_KEY,
            CORS_ORIGINS=_ORIGIN,
            ROOT_PATH="/texts",
            HOST=any_address(),
            MAX_BODY_BYTES=str(_MAX_BODY_BYTES),
            MAX_PENDING_BODY_BYTES=str(2 * _LARGE * _MAX_BODY_BYTES * 9 // 8),
            MODEL_SERVER_WORKERS="1",
            KEEP_ALIVE_SECONDS="1",
            TMPDIR=short,
        ) as stack,
    ):
        yield stack
        assert stack.stop() == 0, stack.log


def post(
    stack: Stack, body: bytes, *headers: tuple[str, str], method: str = "POST", path: str = "/predict"
) -> Response:
    """Send headers that may have the same name twice."""
    connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=20)
    with contextlib.closing(connection):
        connection.putrequest(method, path)
        for name, value in (("Content-Type", "application/json"), ("Content-Length", str(len(body))), *headers):
            connection.putheader(name, value)
        connection.endheaders(body)
        response = connection.getresponse()
        sent = {name.lower(): value for name, value in response.getheaders()}
        return Response(response.status, sent, response.read())


def begin(stack: Stack, length: str, *, source: str = "127.0.0.1", key: str = _KEY) -> socket.socket:
    """Send the headers of a POST, and no body."""
    connection = socket.create_connection(("127.0.0.1", stack.port), timeout=10, source_address=(source, 0))
    head = (
        f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nX-API-Key: {key}\r\n{length}\r\n\r\n"
    )
    connection.sendall(head.encode())
    return connection


def status_of(connection: socket.socket) -> tuple[int, str]:
    response = http.client.HTTPResponse(connection)
    response.begin()
    return response.status, json.loads(response.read()).get("error", {}).get("code", "")


_BEARER = ("Authorization", f"Bearer {_KEY}")


@pytest.mark.parametrize("body", [_SMALL_BODY, _MEDIUM_BODY, _LARGE_BODY], ids=["small", "medium", "large"])
def test_one_right_key_is_enough(stack, body):
    for headers in (
        [("X-API-Key", _KEY)],
        [_BEARER],
        [("Authorization", f"bearer  {_KEY}")],
        [("X-API-Key", "other"), _BEARER],
        [("X-API-Key", _KEY), ("Authorization", "Bearer other")],
        [("X-API-Key", _KEY), ("X-API-Key", "other")],
        [("X-API-Key", _KEY), ("X-API-Key", _KEY)],
        [("X-API-Key", f"other, {_KEY}")],
    ):
        assert post(stack, body, *headers).status == 200, headers
    for headers in (
        [],
        [("X-API-Key", "other")],
        [("X-API-Key", _KEY.upper())],
        [("X-API-Key", f"{_KEY}x")],
        [("X-API-Key", _KEY[:-1])],
        [("Authorization", f"Basic {_KEY}")],
        [("Authorization", _KEY)],
    ):
        refused = post(stack, body, *headers)
        assert (refused.status, refused.json["error"]["code"]) == (401, "unauthorized"), headers
        assert refused.headers["www-authenticate"] == "Bearer"
        assert refused.headers["x-request-id"]


def test_a_second_key_counts_in_every_version_of_nginx(stack):
    """Before 1.23 nginx sees only the first of two headers; the app sees both."""
    assert post(stack, _SMALL_BODY, ("X-API-Key", "other"), ("X-API-Key", _KEY)).status == 200


@pytest.mark.parametrize("length", ["Content-Length: 150000", "Content-Length: 10000", "Transfer-Encoding: chunked"])
def test_without_the_key_no_body_is_waited_for(stack, length):
    with begin(stack, length, key="other") as connection:
        assert status_of(connection) == (401, "unauthorized")
    get = f"GET /ping HTTP/1.1\r\nHost: x\r\n{length}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", stack.port), timeout=10) as connection:
        connection.sendall(get)
        assert status_of(connection) == (401, "unauthorized")


def test_metrics_have_one_spelling_and_need_the_key(stack):
    for path, status in (("/metrics", 200), ("/metrics?a", 200), ("//metrics", 404), ("/%6detrics", 404)):
        given = post(stack, b"", ("X-API-Key", _KEY), method="GET", path=path)
        missing = post(stack, b"", method="GET", path=path)
        assert (given.status, missing.status) == (status, 401 if status == 200 else 404), path
    assert post(stack, b"", method="GET", path="/ping").status == 200


def test_a_path_like_those_of_nginx_is_counted_once(stack):
    """A client's path must give no label of its own, with or without the key."""

    def counts() -> tuple[dict[str, float], float]:
        lines = post(stack, b"", ("X-API-Key", _KEY), method="GET", path="/metrics").body.decode().splitlines()
        values = {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}
        requests = sum(value for name, value in values.items() if 'requests_total{method="GET",route="unknown"' in name)
        return {name: value for name, value in values.items() if "textclf_errors_total" in name}, requests

    time.sleep(1.1)  # A worker computes /metrics once per second.
    (before, asked), sent = counts(), 0
    for path in (
        "/.nginx/foo", "/a%20/.nginx/foo", "/%2e%6eginx/foo", "/.nginx/not_ready", "/%2e%6eginx/not_ready",
        "/a%20/.nginx/not_ready", "/.nginx/not_ready%0a", "//.nginx//not_ready", "/.nginx/", "/.nginx/not_found",
    ):  # fmt: skip
        for headers in ([], [("X-API-Key", _KEY)]):
            response = post(stack, b"", *headers, method="GET", path=path)
            assert (response.status, response.json["error"]["code"]) == (404, "not_found"), path
            sent += 1
    not_found = 'textclf_errors_total{code="not_found"}'
    wait_for(lambda: counts()[1] >= asked + sent)
    after, requests = counts()
    assert requests == asked + sent
    assert after == before | {not_found: before.get(not_found, 0) + sent}


def test_unread_bodies_are_limited_by_address_and_in_total(stack):
    large, chunks = f"Content-Length: {len(_LARGE_BODY)}", "Transfer-Encoding: chunked"
    with contextlib.ExitStack() as until_the_end:

        def hold(length: str, source: str) -> socket.socket:
            return until_the_end.enter_context(begin(stack, length, source=source))

        slow = [hold(large, "127.0.0.1"), hold(chunks, "127.0.0.1")]
        time.sleep(0.1)
        with begin(stack, large) as connection:
            assert status_of(connection) == (429, "too_many_requests")
        refused = post(stack, _LARGE_BODY, ("X-API-Key", _KEY))
        assert (refused.status, int(refused.headers["retry-after"])) == (429, 1)
        # Others, and smaller bodies, are not affected.
        assert post(stack, _SMALL_BODY, ("X-API-Key", _KEY)).status == 200
        assert post(stack, _MEDIUM_BODY, ("X-API-Key", _KEY)).status == 200
        slow += [hold(large, "127.0.0.2"), hold(large, "127.0.0.2")]
        time.sleep(0.1)
        for source in ("127.0.0.2", "127.0.0.3"):
            with begin(stack, large, source=source) as connection:
                assert status_of(connection) == (429, "too_many_requests")
        # The slow ones are served in the end.
        for connection in (slow[0], slow[2]):
            connection.sendall(_LARGE_BODY)
            assert status_of(connection) == (200, "")
        slow[1].sendall(b"%x\r\n%s\r\n0\r\n\r\n" % (len(_LARGE_BODY), _LARGE_BODY))
        assert status_of(slow[1]) == (200, "")
    wait_for(lambda: post(stack, _LARGE_BODY, ("X-API-Key", _KEY)).status == 200)


def test_no_body_is_stored_on_disk(stack):
    """Not even one whose chunks are too small for the buffer: nginx would write what does not fit to a file."""
    runtime = Path(f"/proc/{stack.programs()['nginx']}/cwd")
    with begin(stack, "Transfer-Encoding: chunked") as connection:
        with contextlib.suppress(ConnectionError):
            for _ in range(_MAX_BODY_BYTES // 1000):
                connection.sendall(b"1\r\nx\r\n" * 1000)
        assert status_of(connection) == (413, "body_too_large")
    assert not [path for path in runtime.rglob("*") if path.is_dir() and not path.name.startswith("textclf-")]
    assert (runtime / "no_folder").read_bytes() == b""


def test_the_configuration_is_for_its_owner_only(stack):
    configuration = Path(f"/proc/{stack.programs()['nginx']}/cwd") / "nginx.conf"
    assert configuration.stat().st_mode & 0o777 == 0o600
    assert _KEY not in configuration.read_text()


def test_an_idle_connection_is_closed_after_its_time(stack):
    with socket.create_connection(("127.0.0.1", stack.port), timeout=10) as connection:
        connection.sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
        response = http.client.HTTPResponse(connection)
        response.begin()
        response.read()
        began = time.monotonic()
        assert connection.recv(1) == b""
        assert 0.5 < time.monotonic() - began < 5


def test_at_least_one_body_is_accepted():
    text = nginx_conf(Settings(max_body_bytes=2**31, max_pending_body_bytes=1), 1)
    limits = [line.split() for line in text.splitlines() if line.strip().startswith("limit_conn ")]
    assert {name: int(count.rstrip(";")) for _, name, count in limits} == {
        "senders": 1,
        "medium_bodies": 1,
        "medium_body_senders": 1,
        "large_bodies": 1,
        "large_body_senders": 1,
    }


def test_all_addresses_of_version_6_are_those_of_version_4_too():
    """The servers of this file and of test_http_worker.py listen on :: and are asked at 127.0.0.1."""
    for host, option in (("::", True), ("0::0", True), ("::1", False), ("0.0.0.0", False)):  # noqa: S104
        assert ("ipv6only=off;" in nginx_conf(Settings(host=host), 100)) == option


@pytest.mark.parametrize("path", ["/predict", "/texts/predict"])
def test_a_preflight_needs_no_key_and_passes_nginx(stack, path):
    response = stack.request("OPTIONS", path, Origin=_ORIGIN, Access_Control_Request_Method="POST")
    assert response.status == 200
    assert "X-API-Key" in response.headers["access-control-allow-headers"]
    assert response.headers["access-control-allow-origin"] == _ORIGIN
    # The app refuses the small body, and nginx the medium one.
    for body in (_SMALL_BODY, _MEDIUM_BODY):
        refused = stack.request("POST", path, body, Origin=_ORIGIN)
        assert refused.status == 401
        assert refused.headers["access-control-allow-origin"] == _ORIGIN
