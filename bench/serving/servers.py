"""Servers to measure: start, readiness, memory, stop."""

import compileall
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
OURS = ("project", "project-nginx", "project-encoder", "project-cache")
# The same server with the cascade, if the version has one, and without.
WITH_CASCADE, WITHOUT_CASCADE = "project-nginx", "project-encoder"
# The same server with the cache of encoder outputs.
WITH_CACHE = "project-cache"
# Each peer, and its format of bench.serving.peer_models.
FORM_OF = {"saved-model": "saved_model", "hugging-face": "hugging_face", "onnx": "onnx"}
PEERS = tuple(FORM_OF)
WORKERS = 2
# One request at a time per worker, because its model has one thread, and keep-alive connections.
PEERS_GUNICORN = ("--worker-class", "gthread", "--threads", "1")
HOST = "127.0.0.1"
_POLL_SECONDS = 0.01
_STOP_SECONDS = 30
_KILL_SECONDS = 2


@dataclass(frozen=True)
class Server:
    """Server to start.

    Attributes:
        name: name on the command line.
        title: title in tables.
        command: command line; {port} is replaced by the port.
        environment: additional environment variables; {port} is replaced too.
    """

    name: str
    title: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Running:
    """Running server.

    Attributes:
        address: host and port.
        ready_seconds: seconds from the start of its process to its first good response.
        pid: id of its process; the workers are children.
    """

    address: Address
    ready_seconds: float
    pid: int


@dataclass(frozen=True)
class Memory:
    """Memory of a server in bytes; pss divides a shared page among its processes, rss counts it for each.

    Attributes:
        worker_pss: mean pss of the workers: the WORKERS largest processes.
        pss, rss: sums over all processes of the server.
    """

    worker_pss: float
    pss: int
    rss: int


def project_servers(model_path: Path, work: Path, python: str = sys.executable) -> list[Server]:
    """Return this project's servers: without nginx, with nginx, without the cascade, and with the cache.

    The others have no cache, because the benchmarks send the same texts again and again.
    """
    environment = {
        "MODEL_PATH": str(model_path.absolute()),
        "HOST": HOST,
        "PORT": "{port}",
        "MODEL_SERVER_WORKERS": str(WORKERS),
        "DRAIN_SECONDS": "0",
        "INFERENCE_THREADS": "1",
        "NEW_DATA_DIR": str(work / "new_data"),
        "CASCADE": "on",  # If the version has one.
        "CACHE_BYTES": "0",
    }
    command = (python, str(ROOT / "serving" / "serve"))
    # Without nginx, connections are spread unevenly; a worker with most of them should not refuse any.
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
        Server(
            WITH_CACHE,
            "this project, nginx and gunicorn, with the cache",
            command,
            {name: value for name, value in environment.items() if name != "CACHE_BYTES"},
        ),
    ]


def peer_servers(work: Path, python: str, max_length: int, gunicorn: Sequence[str] = PEERS_GUNICORN) -> list[Server]:
    """Return the servers of the peers, with the models that bench.serving.peer_models made in `work`.

    Args:
        work: folder of the models.
        python: interpreter with bench/requirements.txt.
        max_length: maximum wordpieces of a text.
        gunicorn: options of gunicorn, in addition to the number of workers.
    """

    def server(name: str, title: str, app: str) -> Server:
        command = (python, "-m", "gunicorn", "--workers", str(WORKERS), *gunicorn, "--timeout", "120")
        listening = ("--chdir", str(ROOT), "--bind", HOST + ":{port}")
        # Every worker computes with one thread.
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


def compile_sources() -> None:
    """Compile this project to bytecode, as its image does: the time until a server is ready leaves it out."""
    for folder in ("serving", "textclf"):
        compileall.compile_dir(ROOT / folder, quiet=2)


@contextlib.contextmanager
def running(server: Server, log: Path, request: bytes, ready_timeout: float) -> Iterator[Running]:
    """Start the server, wait until it responds to `request`, and stop it at the end of the block.

    Args:
        server: server to start.
        log: file for its output.
        request: request that must get status 200.
        ready_timeout: maximum seconds until it is ready.

    Raises:
        BenchError: if the server ends, or is not ready in time.
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
    """Read the memory of a process and all its descendants from /proc (Linux)."""
    sizes = [_sizes(process) for process in process_tree(pid)]
    largest = sorted((pss for pss, _ in sizes), reverse=True)[:WORKERS]
    return Memory(sum(largest) / len(largest), sum(pss for pss, _ in sizes), sum(rss for _, rss in sizes))


def _wait_until_ready(
    server: Server, process: subprocess.Popen[bytes], address: Address, request: bytes, deadline: float, log: Path
) -> None:
    while True:
        if process.poll() is not None:
            raise BenchError(
                f"{server.name}: ended with status {process.returncode} before it responded; {_last_line(log)}"
            )
        if time.perf_counter() > deadline:
            raise BenchError(f"{server.name}: no response with status 200 in time; {_last_line(log)}")
        with contextlib.suppress(BenchError):  # Nothing listens yet.
            left = max(0.1, deadline - time.perf_counter())
            if closed_loop(address, [request], 1, count=1, seconds=left, timeout=left).responses[0].status == 200:
                return
        time.sleep(_POLL_SECONDS)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
    process.wait()
    # Kill the rest of its session too; a killed process releases its port a moment later.
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
    last = next((line for line in reversed(lines) if line.strip()), "the log is empty")
    return f"{log}: {last.strip()[:300]}"


def process_tree(pid: int) -> list[int]:
    """Return the ids of a process and all its descendants, parents first (Linux)."""
    pids = [pid]
    for parent in pids:
        for thread in Path(f"/proc/{parent}/task").glob("*/children"):
            pids += [int(child) for child in thread.read_text().split()]
    return pids


def _sizes(pid: int) -> tuple[int, int]:
    """Read pss and rss of a process in bytes."""
    found = {"Pss": 0, "Rss": 0}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name in found:
            found[name] = int(rest.split()[0]) * 1024
    return found["Pss"], found["Rss"]
