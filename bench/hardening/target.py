"""The server under attack, from this checkout or another one, and a client that measures what other users notice."""

import contextlib
import http.client
import json
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np

from bench.reports import write_json
from bench.serving.servers import HOST, ROOT, WORKERS, Server, process_tree, running

PREDICT_BODY = json.dumps({"text": "A good film, and the cast is good too."}).encode()
JSON_HEADERS = {"Content-Type": "application/json"}
NO_RESPONSE = 0
_PING = b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n"
_READY_SECONDS = 60.0


@dataclass(frozen=True)
class Target:
    """A running server.

    Attributes:
        host, port: its address.
        pid: id of the process `serve`.
        folder: folder of its data (NEW_DATA_DIR, prediction log), removed at the end.
        log: file with its output: messages and the access log.
    """

    host: str
    port: int
    pid: int
    folder: Path
    log: Path

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] = JSON_HEADERS,
        timeout: float = 30.0,
    ) -> tuple[int, bytes]:
        """Send a request on a new connection; return status and body, NO_RESPONSE and b"" if there is none."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        try:
            connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException):
            return NO_RESPONSE, b""
        finally:
            connection.close()

    def workers(self) -> list[int]:
        """Return the ids of the gunicorn workers: children of gunicorn's arbiter."""
        tree = process_tree(self.pid)
        commands = {pid: _command(pid) for pid in tree}
        arbiter = next(pid for pid in tree if "gunicorn" in commands[pid])
        return [pid for pid in tree if pid != arbiter and "gunicorn" in commands[pid]]


@contextlib.contextmanager
def running_target(
    checkout: Path = ROOT,
    environment: Mapping[str, str] | None = None,
    *,
    python: str = sys.executable,
    model: Path = ROOT / "model",
) -> Iterator[Target]:
    """Start `serving/serve` of a checkout with the shipped model and two workers; stop it at the end of the block."""
    with tempfile.TemporaryDirectory(prefix="textclf-hardening-") as name:
        folder = Path(name)
        settings = {
            "MODEL_PATH": str(model.absolute()),
            "HOST": HOST,
            "PORT": "{port}",
            "MODEL_SERVER_WORKERS": str(WORKERS),
            "NEW_DATA_DIR": str(folder / "new_data"),
            "PREDICTION_LOG_URL": f"sqlite:///{folder / 'predictions.db'}",
            "DRAIN_SECONDS": "0",  # So that it stops sooner.
            **(environment or {}),
        }
        log = folder / "serve.log"
        server = Server("serve", "serving/serve", (python, str(checkout / "serving" / "serve")), settings)
        with running(server, log, _PING, _READY_SECONDS) as process:
            yield Target(*process.address, process.pid, folder, log)


@dataclass
class Probe:
    """Sends one request at a fixed rate while an attack runs; use it as a context manager.

    A request that is late does not delay the next one, so a hanging server shows as many slow responses.
    """

    target: Target
    method: str = "GET"
    path: str = "/ping"
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=lambda: JSON_HEADERS)
    per_second: float = 20.0
    timeout: float = 30.0
    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    def __enter__(self) -> "Probe":
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for thread in self._threads:
            thread.join()

    def summary(self) -> dict[str, Any]:
        """Return the number of responses by status, and the median, 99th percentile and maximum of their seconds."""
        found = np.array(self.seconds or [0.0])
        median, p99 = np.quantile(found, [0.5, 0.99])
        return {
            "requests": len(self.seconds),
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "seconds": {"median": round(float(median), 4), "p99": round(float(p99), 4), "max": round(found.max(), 4)},
        }

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            due += 1 / self.per_second
            thread = threading.Thread(target=self._send, daemon=True)
            thread.start()
            self._threads = [other for other in self._threads if other.is_alive()] + [thread]

    def _send(self) -> None:
        began = time.monotonic()
        status, _ = self.target.request(self.method, self.path, self.body, self.headers, self.timeout)
        self.seconds.append(time.monotonic() - began)
        self.statuses[status] += 1


def in_threads(count: int, seconds: float, act: Callable[[], None]) -> None:
    """Call `act` again and again in `count` threads for `seconds`."""
    end = time.monotonic() + seconds

    def repeat() -> None:
        while time.monotonic() < end:
            act()

    threads = [threading.Thread(target=repeat, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def resident_bytes(pids: Sequence[int]) -> int:
    """Return the largest resident memory of the processes in bytes, from /proc (Linux)."""
    found = [0]
    for pid in pids:
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{pid}/status").read_text().splitlines()
            found += [int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS")]
    return max(found)


def attack_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that all attacks have: --checkout, --python and --json."""
    for option in (
        click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the results to this file."),
        click.option("--python", default=sys.executable, help="Interpreter that runs the server.", show_default="this"),
        click.option(
            "--checkout",
            type=click.Path(path_type=Path, exists=True, file_okay=False),
            default=ROOT,
            help="Checkout whose server is attacked.",
            show_default="this one",
        ),
    ):
        command = option(command)
    return command


def report(results: Mapping[str, Any], json_path: Path | None) -> None:
    """Print the results as JSON, and write them to a file if one is given."""
    click.echo(json.dumps(results, indent=1, default=str))
    if json_path is not None:
        write_json(json_path, dict(results))


def _command(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""
