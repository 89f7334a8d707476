"""Three servers behind nginx, with one PostgreSQL log, one model store and one folder of reviews, work as one."""

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from postgresql_server import running_postgresql
from serving_stack import ROOT, Stack, free_port, need_nginx, running_stack, wait_for
from tiny_engine import tiny_reviews, write_version

from serving.server.preflight import find_nginx
from textclf.data.labelled_reviews import read_labelled_reviews
from textclf.drift.state import read_state
from textclf.store.model_store import ModelStore

pytestmark = pytest.mark.slow
TEXTS = [text for text, _ in tiny_reviews(180)]
_NGINX = """\
daemon off;
pid nginx.pid;
error_log stderr error;
worker_processes 1;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path other;
    uwsgi_temp_path other;
    scgi_temp_path other;
    upstream servers {{
{servers}
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://servers;
            proxy_next_upstream off;
        }}
    }}
}}
"""


class Fleet(NamedTuple):
    """The servers, and the balancer in front of them.

    Attributes:
        front: the balancer, which takes the servers in turn.
    """

    folder: Path
    servers: list[Stack]
    front: Stack
    log_url: str

    @property
    def store(self) -> ModelStore:
        return ModelStore(self.folder / "model")

    @property
    def reviews(self) -> Path:
        return self.folder / "new_data"


@contextlib.contextmanager
def running_balancer(folder: Path, ports: list[int]) -> Iterator[Stack]:
    """Run nginx in front of servers; it passes each request on to the next one, and repeats none."""
    folder.mkdir()
    port = free_port()
    servers = "\n".join(f"        server 127.0.0.1:{server};" for server in ports)
    (folder / "nginx.conf").write_text(_NGINX.format(servers=servers, port=port))
    command = [str(find_nginx({})), "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"]
    with open(folder / "serve.log", "wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
    with process:
        front = Stack(folder, port, process)
        try:
            wait_for(front.is_ready)
            yield front
        finally:
            process.send_signal(signal.SIGTERM)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory) -> Iterator[Fleet]:
    need_nginx()
    folder = tmp_path_factory.mktemp("fleet")
    write_version(folder / "model", seed=0)
    with running_postgresql() as database, contextlib.ExitStack() as running:
        settings = {
            "MODEL_SERVER_WORKERS": "1",
            "MODEL_POLL_SECONDS": "0.2",
            "NEW_DATA_DIR": str(folder / "new_data"),
            "PREDICTION_LOG_URL": database.url,
            "PREDICTION_LOG_TEXT": "1",
        }
        servers = [
            running.enter_context(running_stack(folder / f"server-{at}", folder / "model", wait=False, **settings))
            for at in range(3)
        ]
        for server in servers:
            wait_for(server.is_ready, 60)
        front = running.enter_context(running_balancer(folder / "balancer", [server.port for server in servers]))
        yield Fleet(folder, servers, front, database.url)


def counted(server: Stack, sample: str) -> float:
    """The value of a sample in /metrics of one server."""
    lines = server.request("GET", "/metrics").body.decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{sample} "))


def test_a_promotion_reaches_every_server(fleet):
    def versions() -> set[str]:
        return {server.request("GET", "/info").json["version"] for server in fleet.servers}

    first = fleet.store.current_id()
    assert versions() == {first}
    second = write_version(fleet.store.path, seed=1).name
    wait_for(lambda: versions() == {second}, 30)
    answers = [fleet.front.request("POST", "/predict", {"text": "a film"}).json["model"] for _ in range(6)]
    assert set(answers) == {f"tiny {second}"}


def test_drift_checks_see_the_predictions_of_all(fleet):
    for text in TEXTS:
        assert fleet.front.request("POST", "/predict", {"text": text}).status == 200
    # The balancer takes them in turn.
    for server in fleet.servers:
        wait_for(lambda server=server: counted(server, "textclf_prediction_log_rows_total") >= len(TEXTS) // 3)
    command = [sys.executable, str(ROOT / "monitoring.py"), "check", "--model-path", str(fleet.store.path)]
    result = subprocess.run([*command, "--log-url", fleet.log_url], capture_output=True, text=True, timeout=120)
    assert result.returncode in (0, 3), result.stdout + result.stderr
    check = read_state(fleet.store.path).last_check
    assert check.texts >= len(TEXTS)
    verdict = f'textclf_drift_verdict{{verdict="{check.verdict}"}}'
    wait_for(lambda: all(counted(server, verdict) == 1 for server in fleet.servers))


def test_reviews_of_all_servers_are_in_one_folder(fleet):
    texts = [f"review number {at}" for at in range(30)]
    for text in texts:
        assert fleet.front.request("POST", "/feedback", {"text": text, "label": "pos"}).status == 201
    wait_for(lambda: [counted(server, "textclf_reviews_stored_total") for server in fleet.servers] == [10, 10, 10])
    found = read_labelled_reviews(fleet.reviews)
    assert sorted(review.text for review in found.reviews) == sorted(texts)
    assert (found.without_entry, found.bad_lines) == (0, 0)


def test_a_draw_of_one_server_is_labelled_at_another(fleet):
    one, other, third = fleet.servers
    assert one.request("POST", "/predict", {"text": "a film to be drawn"}).status == 200

    def drawn() -> list[dict[str, str]]:
        response = one.request("POST", "/review/texts", {"mode": "audit"})
        return response.json["texts"] if response.status == 200 else []

    item = wait_for(drawn)[0]
    body = {"text": item["text"], "label": "pos", "draw": item["draw"]}
    stored = other.request("POST", "/review/labels", body)
    assert (stored.status, stored.json["audit"]) == (201, True)
    again = third.request("POST", "/review/labels", body)
    assert (again.status, again.json["error"]["code"]) == (409, "already_labelled")
