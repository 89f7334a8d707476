"""The load generator against real servers on the loopback interface."""

import contextlib
import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from bench.arithmetic import has_server_error, load_of
from bench.errors import BenchError
from bench.serving.load_generator import NO_RESPONSE, closed_loop, open_loop, post


class _Handler(BaseHTTPRequestHandler):
    """Returns what came; the body sets the delay, the status and what happens to the connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self):
        super().setup()
        with self.server.guard:
            self.server.connections += 1

    def do_POST(self):
        wish = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.guard:
            self.server.open += 1
            self.server.max_open = max(self.server.max_open, self.server.open)
            self.server.seen.append(wish["n"])
        time.sleep(wish.get("seconds", 0))
        with self.server.guard:
            self.server.open -= 1
        if wish.get("drop"):
            self.close_connection = True
            return
        body = json.dumps({"path": self.path, "n": wish["n"]}).encode()
        self.send_response(wish.get("status", 200))
        self.send_header("Content-Length", str(len(body)))
        if wish.get("close"):
            self.send_header("Connection", "close")
        self.end_headers()
        # In two parts: a response need not arrive at once.
        self.wfile.write(body[:5])
        self.wfile.flush()
        self.wfile.write(body[5:])
        if wish.get("leave"):
            self.close_connection = True

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    class Server(ThreadingHTTPServer):
        request_queue_size = 64
        guard = threading.Lock()
        connections = open = max_open = 0

    with Server(("127.0.0.1", 0), _Handler) as server:
        server.seen = []
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def wishes(count, **wish):
    return [post("/predict", {"n": number, **wish}) for number in range(count)]


def test_a_count_of_requests_is_sent_once_each_in_order(server):
    run = closed_loop(server.server_address, wishes(25), 1, count=25)
    assert server.seen == list(range(25))
    assert [response.number for response in run.responses] == list(range(25))
    assert [json.loads(response.body) for response in run.responses] == [
        {"path": "/predict", "n": n} for n in range(25)
    ]
    assert {response.status for response in run.responses} == {200}
    assert server.connections == 1


@pytest.mark.parametrize("clients", [3, 16])
def test_as_many_requests_are_open_as_there_are_clients(server, clients):
    run = closed_loop(server.server_address, wishes(40, seconds=0.03), clients, count=40)
    assert sorted(response.number for response in run.responses) == list(range(40))
    assert server.max_open == clients
    assert server.connections == clients


def test_requests_come_again_until_the_time_is_up(server):
    run = closed_loop(server.server_address, wishes(4), 2, seconds=0.3)
    assert len(run.responses) > 8
    assert set(server.seen) == {0, 1, 2, 3}
    assert all(json.loads(response.body)["n"] == response.number % 4 for response in run.responses)
    assert run.seconds == pytest.approx(0.3, abs=0.1)
    assert 0 < run.cpu_seconds < 0.6


def test_latency_is_what_the_server_took(server):
    run = closed_loop(server.server_address, wishes(1, seconds=0.05), 1, count=4)
    assert all(0.05 <= response.seconds < 0.15 for response in run.responses)
    load = load_of(run)
    assert 0.05 <= load.p50 <= load.p99 < 0.15
    assert 6 < load.per_second < 20


def test_statuses_are_counted(server):
    requests = [post("/", {"n": n, "status": status}) for n, status in enumerate([200, 429, 200, 503])]
    load = load_of(closed_loop(server.server_address, requests, 1, count=8))
    assert load.statuses == {200: 4, 429: 2, 503: 2}
    assert has_server_error(load.statuses)
    assert not has_server_error({200: 4, 429: 2})
    assert has_server_error({NO_RESPONSE: 1, 200: 4})


def test_clients_leave_and_come_again(server):
    closed_loop(server.server_address, wishes(1), 1, count=30, requests_per_connection=10)
    assert server.connections == 3


def test_a_connection_that_the_server_ends_after_an_answer_is_opened_again(server):
    for manner in ({"close": True}, {"leave": True}):
        run = closed_loop(server.server_address, wishes(6, **manner), 2, count=6)
        assert [response.status for response in run.responses] == [200] * 6, manner


def test_a_connection_that_breaks_without_an_answer_is_reported(server):
    run = closed_loop(server.server_address, wishes(1, drop=True), 1, count=3)
    assert [response.status for response in run.responses] == [NO_RESPONSE] * 3


def test_a_request_that_is_never_answered_ends_with_the_timeout(server):
    start = time.perf_counter()
    run = closed_loop(server.server_address, wishes(1, seconds=1), 2, seconds=0.1, timeout=0.2)
    assert time.perf_counter() - start < 0.6
    assert [response.status for response in run.responses] == [NO_RESPONSE] * 2


def test_a_body_of_megabytes_arrives(server):
    big = post("/", {"n": 0, "text": "x" * 3_000_000})
    assert closed_loop(server.server_address, [big], 1, count=1).responses[0].status == 200


def test_nobody_listening_is_one_clear_error():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = free.getsockname()
    with pytest.raises(BenchError, match="can't be reached"):
        closed_loop(address, wishes(1), 1, count=1)


def test_something_else_than_http_is_one_clear_error():
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def response():
            peer, _ = listener.accept()
            with peer:
                peer.recv(1000)
                peer.sendall(b"220 mail.example.org\r\n\r\n")

        thread = threading.Thread(target=response)
        thread.start()
        with pytest.raises(BenchError, match=r"HTTP/1\.1"):
            closed_loop(listener.getsockname(), wishes(1), 1, count=1)
        thread.join()


def test_open_loop_keeps_to_the_arrivals(server):
    arrivals = [0.02 * number for number in range(20)]
    run = open_loop(server.server_address, wishes(20, seconds=0.1), arrivals, connections=20)
    assert server.seen == list(range(20))
    by_number = sorted(run.responses)
    assert [response.start for response in by_number] == arrivals
    # Five and more are open at a time, and none waits for another.
    assert server.max_open >= 4
    assert all(0.1 <= response.seconds < 0.2 for response in by_number)


def test_open_loop_counts_the_wait_for_a_connection(server):
    run = open_loop(server.server_address, wishes(4, seconds=0.05), [0.0, 0.0, 0.0, 0.0], connections=1)
    assert server.max_open == 1
    seconds = [response.seconds for response in sorted(run.responses)]
    assert all(0.05 * (number + 1) <= taken < 0.05 * (number + 1) + 0.1 for number, taken in enumerate(seconds))


def test_open_loop_gives_up_on_a_server_that_hangs(server):
    with pytest.raises(BenchError, match="no longer responds"):
        open_loop(server.server_address, wishes(2, seconds=1), [0.0, 0.01], connections=1, timeout=0.2)


def test_a_request_on_a_connection_closed_while_idle_is_sent_again():
    """The server closes between two requests without saying so, as servers do after their keep-alive time."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            for _ in range(2):
                peer, _ = listener.accept()
                with peer, contextlib.suppress(ConnectionError):
                    peer.recv(1000)
                    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

        thread = threading.Thread(target=serve)
        thread.start()
        run = open_loop(listener.getsockname(), wishes(2), [0.0, 0.2], connections=1)
        thread.join()
    assert [response.status for response in run.responses] == [200, 200]
