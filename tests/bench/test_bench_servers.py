"""Servers of the benchmarks: start, readiness, memory, stop."""

import sys
import time

import pytest

from bench.errors import BenchError
from bench.serving.load_generator import closed_loop, post
from bench.serving.report import compared_pairs
from bench.serving.servers import (
    OURS,
    PEERS,
    WITH_CACHE,
    WITH_CASCADE,
    WITHOUT_CASCADE,
    Server,
    memory_of,
    project_servers,
    running,
)

GOOD = post("/predict", {"text": "a film"})
# A master with two workers, one of which keeps 60 MB; ready after 0.3 s.
SERVER = """
import os, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(503 if time.time() < ready else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *_): pass

ready = time.time() + .3
server = HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
if os.fork():
    if os.fork():
        os.wait()
    else:
        time.sleep(60)
else:
    kept = bytes(60_000_000).replace(b"\\0", b"x")
    server.serve_forever()
"""


def server_of(tmp_path, code):
    script = tmp_path / "server.py"
    script.write_text(code)
    return Server("toy", "a toy", (sys.executable, str(script), "{port}"))


def test_a_server_runs_in_the_block_and_no_longer(tmp_path):
    log = tmp_path / "log"
    with running(server_of(tmp_path, SERVER), log, GOOD, 20) as up:
        assert 0.3 <= up.ready_seconds < 10
        assert closed_loop(up.address, [GOOD], 1, count=1).responses[0].status == 200
        memory = memory_of(up.pid)
        assert 60e6 < memory.pss <= memory.rss
        # The two largest: the one that keeps 60 MB, and another.
        assert 30e6 < memory.worker_pss < 60e6
    with pytest.raises(BenchError, match="can't be reached"):
        closed_loop(up.address, [GOOD], 1, count=1)


def test_a_server_that_ends_is_an_error_with_the_last_line_of_its_log(tmp_path):
    code = "import sys; sys.exit('the disk is full')"
    with (
        pytest.raises(BenchError, match=r"toy: ended with status 1 before it responded; .*the disk is full"),
        running(server_of(tmp_path, code), tmp_path / "log", GOOD, 20),
    ):
        pytest.fail("it never ran")


def test_a_server_that_never_answers_is_given_up(tmp_path):
    start = time.perf_counter()
    with (
        pytest.raises(BenchError, match="no response with status 200 in time"),
        running(server_of(tmp_path, "import time; time.sleep(60)"), tmp_path / "log", GOOD, 0.5),
    ):
        pytest.fail("it never ran")
    assert time.perf_counter() - start < 5


def test_this_project_is_measured_with_the_cascade_and_without(tmp_path):
    servers = {server.name: server for server in project_servers(tmp_path / "model", tmp_path)}
    assert tuple(servers) == OURS
    with_it, without = servers[WITH_CASCADE], servers[WITHOUT_CASCADE]
    assert with_it.command == without.command
    assert with_it.environment["CASCADE"] == "on"
    assert without.environment == {**with_it.environment, "CASCADE": "off"}
    assert servers["project"].environment["CASCADE"] == "on"
    # The benchmarks repeat their texts, so only this server has a cache.
    assert [name for name, server in servers.items() if server.environment.get("CACHE_BYTES") != "0"] == [WITH_CACHE]
    assert compared_pairs(OURS) == [(WITH_CASCADE, WITHOUT_CASCADE), (WITH_CACHE, WITH_CASCADE)]
    assert compared_pairs(["project", "onnx"]) == [("project", "onnx")]
    assert compared_pairs(PEERS) == []
