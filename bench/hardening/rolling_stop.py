"""SIGTERM to one of two servers behind a load balancer that polls /ping: how many new connections fail?"""

import contextlib
import itertools
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import click

from bench.hardening.target import PREDICT_BODY, Target, attack_options, report, running_target
from textclf.cli.commands import Command

_PER_SECOND = 50.0
_POLL_SECONDS = 0.5
# Failed polls in a row after which a server gets no more requests; load balancers use 2 or 3.
_MAX_FAILED_POLLS = 2
_BEFORE, _AFTER = 2.0, 8.0
_READY = 200


@click.command(cls=Command)
@attack_options
@click.option("--nginx/--no-nginx", default=True, help="Attack servers with nginx in front, or without.")
@click.option("--drain-seconds", default=5.0, help="DRAIN_SECONDS of the servers.", show_default=True)
def main(checkout: Path, python: str, json_path: Path | None, nginx: bool, drain_seconds: float) -> None:
    """Send 50 requests per second on new connections, and stop one of two servers meanwhile."""
    environment = {"DRAIN_SECONDS": str(drain_seconds), **({} if nginx else {"NGINX": "off"})}
    with (
        running_target(checkout, environment, python=python) as stopped,
        running_target(checkout, environment, python=python) as other,
    ):
        balancer = _Balancer([stopped, other])
        with contextlib.closing(balancer):
            counted: Counter[str] = Counter()
            threads: list[threading.Thread] = []
            began = time.monotonic()
            stop_at, is_stopped = began + _BEFORE, False
            for number in itertools.count():
                due = began + number / _PER_SECOND
                if due > stop_at + _AFTER:
                    break
                time.sleep(max(0.0, due - time.monotonic()))
                if due >= stop_at and not is_stopped:
                    os.kill(stopped.pid, signal.SIGTERM)
                    is_stopped = True
                threads.append(threading.Thread(target=_send, args=(balancer, counted, number), daemon=True))
                threads[-1].start()
            for thread in threads:
                thread.join()
        results = {
            "requests": sum(counted.values()),
            "statuses": dict(counted),
            "failed": counted.total() - counted["200"],
        }
        report({"attack": "rolling_stop", "nginx": nginx, "drain_seconds": drain_seconds, **results}, json_path)


class _Balancer:
    """Chooses among the servers that are ready, in turn; it sends each request once."""

    def __init__(self, targets: Sequence[Target]) -> None:
        self._targets = targets
        self._ready = list(targets)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)
        self._thread.start()

    def choose(self, number: int) -> Target:
        """Return the server for a request."""
        ready = self._ready or self._targets
        return ready[number % len(ready)]

    def close(self) -> None:
        """End the polls."""
        self._ended.set()
        self._thread.join()

    def _poll(self) -> None:
        failed = [0] * len(self._targets)
        while not self._ended.wait(_POLL_SECONDS):
            for index, target in enumerate(self._targets):
                failed[index] = 0 if target.request("GET", "/ping")[0] == _READY else failed[index] + 1
            self._ready = [
                target for target, count in zip(self._targets, failed, strict=True) if count < _MAX_FAILED_POLLS
            ]


def _send(balancer: _Balancer, counted: Counter[str], number: int) -> None:
    status, _ = balancer.choose(number).request("POST", "/predict", PREDICT_BODY)
    counted[str(status)] += 1


if __name__ == "__main__":
    main()
