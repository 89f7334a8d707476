"""serving/serve with nginx and gunicorn, on a free port of 127.0.0.1."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from serving.server.preflight import find_nginx

ROOT = Path(__file__).resolve().parents[2]
_READY_SECONDS = 60


class Response(NamedTuple):
    """Response of a server; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def any_address() -> str:
    """Return the address that means all interfaces, of version 6 if this machine has it."""
    return "::" if os.path.exists("/proc/net/if_inet6") else "0.0.0.0"  # noqa: S104


def need_nginx() -> None:
    """Skip or fail if nginx is not installed (skip_or_fail)."""
    if find_nginx(os.environ) is None:
        skip_or_fail("nginx is not installed (Debian: apt-get install nginx-light)")


def serving_python() -> str:
    """Return the interpreter of an environment from requirements-serving.txt alone; skip or fail without one."""
    python = os.environ.get("TEXTCLF_SERVING_PYTHON", "")
    if not python:
        skip_or_fail("TEXTCLF_SERVING_PYTHON names no interpreter with requirements-serving.txt (make test has one)")
    return python


def skip_or_fail(message: str) -> None:
    if os.environ.get("TEXTCLF_REQUIRE_SERVERS"):
        pytest.fail(message)
    pytest.skip(message)


def wait_for(holds: Callable[[], Any], seconds: float = 10) -> Any:
    """Wait until `holds()` is true; return its result."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := holds():
            return value
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s")


class Process(NamedTuple):
    pid: int
    parent: int
    state: str
    command: str


def processes() -> list[Process]:
    """Return all processes; state "Z" means ended and not waited for."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            found.append(Process(int(folder.name), int(parent), state, command))
    return found


def is_in_state(pid: int, state: str) -> bool:
    """Return whether a process has a state: "T" is stopped, "Z" is ended and not waited for."""
    return any((process.pid, process.state) == (pid, state) for process in processes())


def children(pid: int) -> dict[int, str]:
    """Return the command lines of the child processes, by id."""
    return {process.pid: process.command for process in processes() if process.parent == pid and process.state != "Z"}


class Stack:
    """Running `serve`; its log is `folder`/serve.log."""

    def __init__(self, folder: Path, port: int, process: subprocess.Popen[bytes]) -> None:
        self.folder = folder
        self.port = port
        self.process = process

    @property
    def log(self) -> str:
        return (self.folder / "serve.log").read_text(encoding="utf-8")

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> Response:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        with contextlib.closing(connection):
            content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
            sent = {"Content-Type": "application/json"} if content is not None else {}
            sent.update((name.replace("_", "-"), value) for name, value in headers.items())
            connection.request(method, path, content, sent)
            response = connection.getresponse()
            return Response(
                response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
            )

    def is_ready(self) -> bool:
        assert self.process.poll() is None, self.log
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.request("GET", "/ping").status == 200
        return False

    def programs(self) -> dict[str, int]:
        """Return the ids of nginx and gunicorn."""
        running = children(self.process.pid)
        return {name: pid for name in ("nginx", "gunicorn") for pid, command in running.items() if name in command}

    def workers(self) -> set[int]:
        return set(children(self.programs()["gunicorn"]))

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal; return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(timeout=30)


@contextlib.contextmanager
def running_stack(
    folder: Path,
    model: Path,
    *,
    wait: bool = True,
    python: str = sys.executable,
    command: Sequence[str] = (),
    **environ: str,
) -> Iterator[Stack]:
    """Run `serve` with two workers; `environ` overrides the settings.

    `python` is the interpreter that runs serving/serve; `command` replaces it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    settings = {
        "MODEL_PATH": str(model),
        "PORT": str(port),
        "MODEL_SERVER_WORKERS": "2",
        "NEW_DATA_DIR": str(folder / "new_data"),
        "DRAIN_SECONDS": "0",
        "PYTHONWARNINGS": "default",
    }
    with open(folder / "serve.log", "wb") as log:
        process = subprocess.Popen(
            command or [python, str(ROOT / "serving" / "serve")],
            cwd=folder,
            env={**kept, **settings, **environ},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    with process:
        stack = Stack(folder, port, process)
        try:
            if wait:
                wait_for(stack.is_ready, _READY_SECONDS)
            yield stack
        finally:
            if process.poll() is None:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=10)
            process.kill()
