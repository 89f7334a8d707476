"""The app as gunicorn runs it: two workers on the loopback, a tiny engine, real sockets."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import bad_requests
import pytest
from serving_stack import wait_for
from tiny_engine import write_version

from textclf.store.model_store import ModelStore

ROOT = Path(__file__).parents[2]
WORKERS = 2
THREADS = 8


class Server:
    """gunicorn in a process of its own; its log goes to files in `folder`."""

    def __init__(self, folder: Path, workers: int = WORKERS, app: str = "serving.wsgi", **variables: str) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.environ = {
            **os.environ,
            "MODEL_PATH": str(folder / "model"),
            "NEW_DATA_DIR": str(folder / "new"),
            "PROMETHEUS_MULTIPROC_DIR": str(folder / "metrics"),
            "MODEL_POLL_SECONDS": "0.1",
            "MAX_CONCURRENT": str(THREADS - 4),
            "PYTHONPATH": f"{ROOT}:{ROOT}/tests/helpers",
            **variables,
        }
        arguments = (
            f"-k gthread --threads {THREADS} --workers {workers} --bind 127.0.0.1:{self.port} --log-level warning"
        )
        with open(folder / "out.log", "ab") as out, open(folder / "err.log", "ab") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", *arguments.split(), f"{app}:make_application()"],
                cwd=folder, env=self.environ, stdout=out, stderr=err,
            )  # fmt: skip

    def wait_until_ready(self) -> None:
        end = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError):
                if self.get("/ping")[0] == 200:
                    return
            assert self.process.poll() is None, self.errors
            assert time.monotonic() < end, self.errors
            time.sleep(0.05)

    def get(self, path: str) -> tuple[int, bytes]:
        return self._request("GET", path, None)

    def post(self, path: str, body: object) -> tuple[int, bytes]:
        return self._request("POST", path, json.dumps(body).encode())

    def _request(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
            response = connection.getresponse()
            return response.status, response.read()

    @property
    def errors(self) -> str:
        return (self.folder / "err.log").read_text(encoding="utf-8")

    @property
    def lines(self) -> list[dict]:
        return [json.loads(line) for line in (self.folder / "out.log").read_text(encoding="utf-8").splitlines()]

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(40)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(20)
            self.process.kill()
        self.process.wait(60)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gunicorn")
    write_version(folder / "model", seed=0)
    server = Server(folder, app="impatient_app")
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.kill()


@pytest.mark.parametrize("case", bad_requests.CASES, ids=str)
def test_refused_over_the_wire(server, case):
    start = time.perf_counter()
    case.check(*bad_requests.send(case, "127.0.0.1", server.port))
    assert time.perf_counter() - start < 5


def test_good_chunks(server):
    case = bad_requests.Case("chunks", "/predict", bad_requests.GOOD, 200, "", chunk=3)
    status, _, body = bad_requests.send(case, "127.0.0.1", server.port)
    assert status == 200
    assert json.loads(body)["text"] == "good"


@pytest.mark.parametrize("path", ["/predict", "/nothing", "/ping"])
def test_clients_that_send_half_a_body_stop_nobody(server, path):
    """Half of a length, or of a chunk."""
    halves = [
        f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{length}\r\n\r\n{body}"
        for length, body in (("Content-Length: 100", '{"text"'), ("Transfer-Encoding: chunked", '64\r\n{"text"'))
    ]
    with contextlib.ExitStack() as until_the_end:
        stalled = []
        for half in halves * (5 * WORKERS * THREADS // 2):
            stalled.append(until_the_end.enter_context(socket.create_connection(("127.0.0.1", server.port), 20)))
            stalled[-1].sendall(half.encode())
        start = time.monotonic()
        for _ in range(10):
            assert server.get("/ping")[0] == 200
        assert time.monotonic() - start < 5
        while (status := server.post("/predict", {"text": "great film"})[0]) != 200:
            assert status == 429
            assert time.monotonic() - start < 10
            time.sleep(0.1)
        answers = [bad_requests.rest_of(connection) for connection in stalled]
        assert time.monotonic() - start < 20
        statuses = {int(answer.split()[1]) for answer in answers}
        assert statuses <= {"/predict": {408, 429}, "/nothing": {404}, "/ping": {405}}[path]
    assert "Traceback" not in server.errors


def test_metrics_are_those_of_all_workers(server):
    def scored():
        return float(re.search(r"^textclf_texts_total (.*)$", server.get("/metrics")[1].decode(), re.M)[1])

    def logged():
        return [line for line in server.lines if line["path"] != "/feedback" and line["status"] == 200]

    sent = 0
    while len({line["pid"] for line in logged() if line["path"] == "/predict"}) < WORKERS:
        assert server.post("/predict", {"text": "great film"})[0] == 200
        sent += 1
        assert sent < 500
    # Whichever worker responds; its numbers may be a second old.
    wait_for(lambda: {scored() for _ in range(6)} == {sum(line["texts"] for line in logged())})
    assert f'textclf_model_workers{{model="tiny",version="{_current(server)}"}} {float(WORKERS)}' in (
        server.get("/metrics")[1].decode()
    )


def test_every_line_of_the_log_is_whole_while_all_write(server):
    before = len(server.lines)

    def ask():
        for _ in range(25):
            server.post("/predict", {"text": "Jane likes this great film"})

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    lines = server.lines
    assert len(lines) == before + 100
    assert "Jane" not in (server.folder / "out.log").read_text(encoding="utf-8") + server.errors


def test_both_workers_take_a_new_version_and_nothing_is_dropped(server):
    statuses, models, stop = [], set(), threading.Event()

    def ask():
        while not stop.is_set():
            status, body = server.post("/predict", {"text": "great film"})
            statuses.append(status)
            models.add(json.loads(body).get("model"))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    before = _current(server)
    for thread in threads:
        thread.start()
    try:
        after = write_version(server.folder / "model", seed=1).name
        wanted = f'textclf_model_workers{{model="tiny",version="{after}"}} {float(WORKERS)}'
        end = time.monotonic() + 30
        while wanted not in server.get("/metrics")[1].decode():
            assert time.monotonic() < end, server.errors
            time.sleep(0.05)
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    assert set(statuses) == {200}
    assert models <= {f"tiny {before}", f"tiny {after}"}
    assert json.loads(server.post("/predict", {"text": "x"})[1])["model"] == f"tiny {after}"


def test_reviews_of_both_workers_have_one_index(server):
    ids = set()
    for index in range(12):
        status, body = server.post("/feedback", {"text": f"review {index}", "label": "pos"})
        assert status == 201
        ids.add(json.loads(body)["id"])
    index_file = server.folder / "new" / "feedback.log"
    entries = [json.loads(line)["id"] for line in index_file.read_text(encoding="utf-8").splitlines()]
    assert set(entries) == ids
    assert {path.stem for path in (server.folder / "new" / "train" / "pos").iterdir()} == ids


def test_lines_of_the_log_tell_the_workers_apart(server):
    """As many like lines are of as many workers."""
    pids = re.findall(
        r"^[-0-9]+ [:,0-9]+ \[(\d+)\] INFO serving\.model\.model_holder: serving tiny ", server.errors, re.MULTILINE
    )
    assert len(set(pids)) >= WORKERS
    assert str(server.process.pid) not in pids


def test_sigterm_finishes_what_is_in_hand(tmp_path):
    write_version(tmp_path / "model", seed=0)
    server = Server(tmp_path)
    try:
        server.wait_until_ready()
        statuses = []
        body = {"X": ["a great film " * 150] * 1000}
        thread = threading.Thread(target=lambda: statuses.append(server.post("/predict", body)[0]))
        thread.start()
        time.sleep(0.1)
        assert thread.is_alive()
        assert server.end() == 0
        thread.join(30)
        assert statuses == [200]
    finally:
        server.kill()


@pytest.mark.parametrize(
    ("variables", "says"),
    [({"MODEL_PATH": "nowhere"}, "nowhere: expected a model store"), ({"MAX_BATCH": "many"}, "MAX_BATCH: expected")],
)
def test_what_the_user_can_mend_ends_the_server_with_one_line(tmp_path, variables, says):
    server = Server(tmp_path, workers=1, **variables)  # gunicorn alone trips over a second one that ends so.
    try:
        assert server.process.wait(60) == 3
        assert says in server.errors
        assert "Traceback" not in server.errors
    finally:
        server.kill()


def _current(server):
    return ModelStore(server.folder / "model").current_id()
