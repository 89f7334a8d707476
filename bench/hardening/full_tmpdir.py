"""A full TMPDIR: does the server go on, and do requests for bodies that nobody may send fill it?"""

import contextlib
import itertools
import os
import re
import signal
import socket
import subprocess
import tempfile
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
_OPTIONS = "size=24m,nr_inodes=1000"
_BODY_BYTES = 200_000
_BODIES, _SLOW = 300, 14
_PAUSE = 0.05
_SUCCESSOR_SECONDS = 60.0
# /metrics may be a second old.
_METRICS_SECONDS = 1.5
_PATHS = (
    *("/predict", "/explain", "/invocations", "/invocations/predict", "/feedback", "/ping", "/health/live"),
    *("/health/ready", "/health_check", "/info", "/metrics", "/openapi.json", "/nowhere"),
)
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


@click.command(cls=Command)
@attack_options
@click.option("--seconds", default=60.0, help="Duration of the attack.", show_default=True)
@click.option("--bodies/--no-bodies", default=False, help="Send large bodies without the key, too.", show_default=True)
def main(checkout: Path, python: str, json_path: Path | None, seconds: float, bodies: bool) -> None:
    """Fill a TMPDIR of 24 MB, use every route and method for the first time, and measure /predict meanwhile.

    The prediction log is on the same disk. At the end a worker is killed: can its successor start?
    """
    with _small_disk() as disk:
        environment = {"TMPDIR": str(disk), "API_KEY": _KEY, "PREDICTION_LOG_URL": f"sqlite:///{disk}/log.sqlite"}
        with running_target(checkout, environment, python=python) as target:
            _wait_for_both(target, _SUCCESSOR_SECONDS)
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

            with Probe(target, "POST", "/predict", PREDICT_BODY, keyed) as probe, _unread_bodies(target, bodies):
                in_threads(1, seconds, use_a_route)
            status, metrics = target.request("GET", "/metrics", headers=keyed)
            lost = len(before - set(_workers(target)))
            seconds_of_successor = _replaced(target)
            results = {
                "attack": "full_tmpdir",
                "bodies": bodies,
                "bytes_used_at_start": used_at_start,
                "predict": probe.summary(),
                "first_uses": {str(status): count for status, count in sorted(counted.items())},
                "workers_lost": lost,
                "seconds_until_successor": seconds_of_successor,
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
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", _OPTIONS, "tmpfs", folder], check=False)  # noqa: S603, S607
        if mounted.returncode:
            raise BenchError("expected a user who may mount a tmpfs, found another one; run the attack as root")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)  # noqa: S603, S607


def _fill(disk: Path) -> None:
    """Write zeros until nothing fits, and create files until there can't be another one."""
    with open(disk / "filling", "wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass
    with contextlib.suppress(OSError):
        for number in itertools.count():
            (disk / f"empty-{number}").touch()


def _used(disk: Path) -> int:
    found = os.statvfs(disk)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def _workers(target: Target) -> list[int]:
    """Return the ids of the workers; none if the server has ended."""
    try:
        return target.workers()
    except (OSError, StopIteration):
        return []


def _replaced(target: Target) -> float | None:
    """Kill a worker; return the seconds until there is another one that serves, None if there is none in time."""
    start = time.monotonic()
    for victim in _workers(target)[:1]:
        os.kill(victim, signal.SIGKILL)
    time.sleep(_METRICS_SECONDS)
    is_replaced = _wait_for_both(target, _SUCCESSOR_SECONDS)
    return round(time.monotonic() - start, 2) if is_replaced else None


def _wait_for_both(target: Target, seconds: float) -> bool:
    """Wait until two workers serve; False if they don't in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        _, metrics = target.request("GET", "/metrics", headers={"X-API-Key": _KEY})
        if re.search(rb"^textclf_model_workers{.*} 2.0$", metrics, re.MULTILINE):
            return True
        time.sleep(_PAUSE)
    return False


@contextlib.contextmanager
def _unread_bodies(target: Target, is_wanted: bool) -> Iterator[None]:
    """Hold connections that announce a large body without the key: most send it at once, some stop half-way."""
    head = (
        f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {_BODY_BYTES}\r\n\r\n"
    ).encode()
    with contextlib.ExitStack() as connections:
        for number in range(_BODIES + _SLOW if is_wanted else 0):
            with contextlib.suppress(OSError):
                connection = connections.enter_context(socket.create_connection((target.host, target.port), timeout=5))
                connection.sendall(head + bytes(_BODY_BYTES - (1 if number < _BODIES else _BODY_BYTES // 20)))
        yield


if __name__ == "__main__":
    main()
