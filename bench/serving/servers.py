"""Servers to measure: how each is started, when it is ready, what it holds in memory, how it ends."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.errors import BenchError
from bench.serving.load_generator import Address, closed_loop

ROOT = Path(__file__).resolve().parents[2]
OURS = ("project", "project-nginx", "project-encoder")
# The same server with the cascade, if the version has one, and without.
WITH_CASCADE, WITHOUT_CASCADE = "project-nginx", "project-encoder"
PEERS = ("saved-model", "hugging-face", "onnx")
WORKERS = 2
# One request at a time in a worker, as its model has one thread, and connections that stay open.
PEERS_GUNICORN = ("--worker-class", "gthread", "--threads", "1")
HOST = "127.0.0.1"
_POLL_SECONDS = 0.01
_STOP_SECONDS = 30
_KILL_SECONDS = 2


@dataclass(frozen=True)
class Server:
    """One row of the table.

    Attributes:
        name: on the command line.
        title: in the table.
        command: where {port} stands for the port to listen on.
        environment: to be added to that of the benchmark; {port} as above.
    """

    name: str
    title: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Running:
    """A server that answers.

    Attributes:
        address: of it.
        ready_seconds: from the start of its process to its first good answer.
        pid: of the process that was started; its workers are its children.
    """

    address: Address
    ready_seconds: float
    pid: int


@dataclass(frozen=True)
class Memory:
    """In bytes. A page that several processes share counts in equal parts for each in pss, and whole in rss.

    Attributes:
        worker_pss: mean of the workers, taken to be the WORKERS largest processes.
        pss, rss: of all processes of the server.
    """

    worker_pss: float
    pss: int
    rss: int


def project_servers(model_path: Path, work: Path, python: str = sys.executable) -> list[Server]:
    """This project: as it runs where there is no nginx, as it is deployed, behind nginx, and so without the cascade."""
    environment = {
        "MODEL_PATH": str(model_path.absolute()),
        "HOST": HOST,
        "PORT": "{port}",
        "MODEL_SERVER_WORKERS": str(WORKERS),
        "INFERENCE_THREADS": "1",
        "NEW_DATA_DIR": str(work / "new_data"),
        "CASCADE": "on",  # If the version has one.
    }
    command = (python, str(ROOT / "serving" / "serve"))
    # Without nginx nobody spreads the connections: a worker that got most of them is to answer them, not to refuse
    # some.
    alone = {**environment, "NGINX": "off", "MAX_CONCURRENT": "32"}
    return [
        Server("project", "this project, gunicorn", command, alone),
        Server(WITH_CASCADE, "this project, nginx and gunicorn", command, environment),
        Server(
            WITHOUT_CASCADE,
            "this project, nginx and gunicorn, without the cascade",
            command,
            {**environment, "CASCADE": "off"},
        ),
    ]


def peer_servers(work: Path, python: str, max_length: int, gunicorn: Sequence[str] = PEERS_GUNICORN) -> list[Server]:
    """The others, on the models that bench.serving.peer_models made in `work`.

    Args:
        work: folder of the models.
        python: an interpreter that has bench/requirements.txt.
        max_length: wordpieces of a text.
        gunicorn: options of gunicorn, beside the number of workers.
    """

    def server(name: str, title: str, app: str) -> Server:
        command = (python, "-m", "gunicorn", "--workers", str(WORKERS), *gunicorn, "--timeout", "120")
        listening = ("--chdir", str(ROOT), "--bind", HOST + ":{port}")
        # Whatever library computes, a worker has one thread for it.
        environment = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
        return Server(name, title, (*command, *listening, f"bench.serving.peers.{app}"), environment)

    return [
        server("saved-model", "SavedModel in Flask", f"saved_model_app:create_app({str(work / 'saved_model')!r})"),
        server(
            "hugging-face",
            "Hugging Face pipeline in Flask",
            f"hugging_face_app:create_app({str(work / 'hugging_face')!r})",
        ),
        server("onnx", "ONNX Runtime int8 in Flask", f"onnx_app:create_app({str(work / 'onnx')!r}, {max_length})"),
    ]


@contextlib.contextmanager
def running(server: Server, log: Path, request: bytes, ready_timeout: float) -> Iterator[Running]:
    """Start the server, wait until it answers `request`, and stop it at the end of the block.

    Args:
        server: what to start.
        log: gets its output.
        request: has to be answered with 200.
        ready_timeout: seconds that it may take.

    Raises:
        BenchError: it ends, or gives no good answer in time.
    """
    address = (HOST, _free_port())
    command = [part.replace("{port}", str(address[1])) for part in server.command]
    added = {name: value.replace("{port}", str(address[1])) for name, value in server.environment.items()}
    with open(log, "ab") as output:
        began = time.perf_counter()
        process = subprocess.Popen(  # noqa: S603 (a server of ours, by its full path)
            command,
            cwd=ROOT,
            env={**os.environ, **added},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        _wait_until_ready(server, process, address, request, began + ready_timeout, log)
        yield Running(address, time.perf_counter() - began, process.pid)
    finally:
        _stop(process)


def memory_of(pid: int) -> Memory:
    """Of the process and all its descendants, from /proc (Linux)."""
    sizes = [_sizes(process) for process in _tree(pid)]
    largest = sorted((pss for pss, _ in sizes), reverse=True)[:WORKERS]
    return Memory(sum(largest) / len(largest), sum(pss for pss, _ in sizes), sum(rss for _, rss in sizes))


def _wait_until_ready(
    server: Server, process: subprocess.Popen[bytes], address: Address, request: bytes, deadline: float, log: Path
) -> None:
    while True:
        if process.poll() is not None:
            raise BenchError(
                f"{server.name}: ended with status {process.returncode} before it answered; {_last_line(log)}"
            )
        if time.perf_counter() > deadline:
            raise BenchError(f"{server.name}: gives no good answer in time; {_last_line(log)}")
        with contextlib.suppress(BenchError):  # Nothing listens yet.
            left = max(0.1, deadline - time.perf_counter())
            if closed_loop(address, [request], 1, count=1, seconds=left, timeout=left).answers[0].status == 200:
                return
        time.sleep(_POLL_SECONDS)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
    process.wait()
    # What is left of its session goes, too; a killed process lets go of its port a moment later.
    end = time.perf_counter() + _KILL_SECONDS
    with contextlib.suppress(ProcessLookupError):
        while time.perf_counter() < end:
            os.killpg(process.pid, signal.SIGKILL)
            time.sleep(_POLL_SECONDS)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
        return port


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    last = next((line for line in reversed(lines) if line.strip()), "it wrote nothing")
    return f"{log}: {last.strip()[:300]}"


def _tree(pid: int) -> list[int]:
    pids = [pid]
    for parent in pids:
        for thread in Path(f"/proc/{parent}/task").glob("*/children"):
            pids += [int(child) for child in thread.read_text().split()]
    return pids


def _sizes(pid: int) -> tuple[int, int]:
    """Pss and Rss of a process in bytes."""
    found = {"Pss": 0, "Rss": 0}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name in found:
            found[name] = int(rest.split()[0]) * 1024
    return found["Pss"], found["Rss"]
