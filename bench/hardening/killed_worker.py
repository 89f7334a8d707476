"""SIGKILL to one of two workers, then to both, at 50 requests per second: which requests are lost, which are late?"""

import os
import signal
import time
from pathlib import Path

import click

from bench.hardening.target import NO_RESPONSE, PREDICT_BODY, Probe, Target, attack_options, report, running_target
from textclf.cli.commands import Command

_PER_SECOND = 50.0
_LATE = 1.0
_BEFORE = 1.0
_AFTER = 6.0
_UNREADY = 503


@click.command(cls=Command)
@attack_options
@click.option("--nginx/--no-nginx", default=True, help="Attack the server with nginx in front, or without.")
@click.option("--rounds", default=3, help="How often one worker is killed, and then both.", show_default=True)
def main(checkout: Path, python: str, json_path: Path | None, nginx: bool, rounds: int) -> None:
    """Kill one of two workers and then both, and time every response."""
    with running_target(checkout, {} if nginx else {"NGINX": "off"}, python=python) as target:
        results: dict[str, object] = {"attack": "killed_worker", "nginx": nginx}
        for name, count in (("one", 1), ("all", 2)):
            results[name] = [_kill(target, count) for _ in range(rounds)]
        report(results, json_path)


def _kill(target: Target, count: int) -> dict[str, object]:
    """Kill `count` workers under load; return the figures of the requests."""
    _wait_until_ready(target)
    with Probe(target, "POST", "/predict", PREDICT_BODY, per_second=_PER_SECOND) as probe:
        time.sleep(_BEFORE)
        for worker in target.workers()[:count]:
            os.kill(worker, signal.SIGKILL)
        refused = _seconds_until_refused(target) if count > 1 else None
        time.sleep(_AFTER)
    return {
        **probe.summary(),
        "late": sum(seconds > _LATE for seconds in probe.seconds),
        "unanswered": probe.statuses[NO_RESPONSE],
        "seconds_until_503": refused,
    }


def _seconds_until_refused(target: Target) -> float | None:
    """Return the seconds until a request gets 503; None if it gets another response."""
    began = time.monotonic()
    while time.monotonic() - began < _AFTER:
        status, _ = target.request("POST", "/predict", PREDICT_BODY)
        if status != NO_RESPONSE:
            return round(time.monotonic() - began, 3) if status == _UNREADY else None
    return None


def _wait_until_ready(target: Target) -> None:
    """Wait until both workers respond, which nginx shows only to the one who asks often."""
    good, end = 0, time.monotonic() + 60
    while good < 20 and time.monotonic() < end:
        good = good + 1 if target.request("GET", "/ping")[0] == 200 else 0
        time.sleep(0.1)
    time.sleep(3.0)


if __name__ == "__main__":
    main()
