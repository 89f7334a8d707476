"""A full TMPDIR: does the server go on, and do requests for bodies that nobody may send fill it?"""

import contextlib
import itertools
import os
import socket
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click

from bench.errors import BenchError
from bench.hardening.target import (
    JSON_HEADERS,
    PREDICT_BODY,
    Probe,
    Target,
    attack_options,
    in_threads,
    report,
    running_target,
)
from textclf.cli.commands import Command

_KEY = "the-key-of-this-attack"
_SIZE = "24m"
_BODY_BYTES = 200_000
_BODIES, _SLOW = 300, 14
_PAUSE = 0.05
_PATHS = (
    *("/predict", "/invocations", "/invocations/predict", "/feedback", "/ping", "/health/live", "/health/ready"),
    *("/health_check", "/info", "/metrics", "/openapi.json", "/nowhere"),
)
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


@click.command(cls=Command)
@attack_options
@click.option("--seconds", default=60.0, help="Duration of the attack.", show_default=True)
@click.option("--bodies/--no-bodies", default=False, help="Send large bodies without the key, too.", show_default=True)
def main(checkout: Path, python: str, json_path: Path | None, seconds: float, bodies: bool) -> None:
    """Fill a TMPDIR of 24 MB, use every route and method for the first time, and measure /predict meanwhile."""
    with _small_disk() as disk:
        environment = {"TMPDIR": str(disk), "API_KEY": _KEY}
        with running_target(checkout, environment, python=python) as target:
            before = set(target.workers())
            used_at_start = _used(disk)
            _fill(disk)
            counted: Counter[int] = Counter()
            series = itertools.cycle(itertools.product(_METHODS, _PATHS))
            keyed = {**JSON_HEADERS, "X-API-Key": _KEY}

            def use_a_route() -> None:
                method, path = next(series)
                counted[target.request(method, path, headers=keyed)[0]] += 1
                time.sleep(_PAUSE)

            with contextlib.ExitStack() as stack:
                if bodies:
                    threading.Thread(target=lambda: stack.enter_context(_unread_bodies(target)), daemon=True).start()
                probe = stack.enter_context(Probe(target, "POST", "/predict", PREDICT_BODY, keyed))
                in_threads(1, seconds, use_a_route)
            status, metrics = target.request("GET", "/metrics", headers=keyed)
            results = {
                "attack": "full_tmpdir",
                "bodies": bodies,
                "bytes_used_at_start": used_at_start,
                "predict": probe.summary(),
                "first_uses": {str(status): count for status, count in sorted(counted.items())},
                "workers_lost": len(before - set(_workers(target))),
                "metrics": {"status": status, "bytes": len(metrics)},
            }
        report(results, json_path)


@contextlib.contextmanager
def _small_disk() -> Iterator[Path]:
    """Mount a tmpfs for the duration of the block.

    Raises:
        BenchError: if this user may not mount.
    """
    with tempfile.TemporaryDirectory(prefix="textclf-disk-") as folder:
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", folder], check=False)  # noqa: S603, S607
        if mounted.returncode:
            raise BenchError("expected a user who may mount a tmpfs, found another one; run the attack as root")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)  # noqa: S603, S607


def _fill(disk: Path) -> None:
    """Write zeros until nothing fits."""
    with open(disk / "filling", "wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass


def _used(disk: Path) -> int:
    found = os.statvfs(disk)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def _workers(target: Target) -> list[int]:
    """Return the ids of the workers; none if the server has ended."""
    try:
        return target.workers()
    except (OSError, StopIteration):
        return []


@contextlib.contextmanager
def _unread_bodies(target: Target) -> Iterator[None]:
    """Hold connections that announce a large body without the key: most send it at once, some stop half-way."""
    head = (
        f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {_BODY_BYTES}\r\n\r\n"
    ).encode()
    with contextlib.ExitStack() as connections:
        for number in range(_BODIES + _SLOW):
            with contextlib.suppress(OSError):
                connection = connections.enter_context(socket.create_connection((target.host, target.port), timeout=5))
                connection.sendall(head + bytes(_BODY_BYTES - (1 if number < _BODIES else _BODY_BYTES // 20)))
        yield


if __name__ == "__main__":
    main()
