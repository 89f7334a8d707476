"""Clients that only read /metrics, /info or /openapi.json: how long do others wait for /ping and /predict?"""

from collections import Counter
from pathlib import Path
from typing import Any

import click

from bench.hardening.target import (
    NO_RESPONSE,
    PREDICT_BODY,
    Probe,
    Target,
    attack_options,
    in_threads,
    report,
    running_target,
)
from textclf.cli.commands import Command

_CLIENTS = 64
_PATHS = ("/metrics", "/info", "/openapi.json")


@click.command(cls=Command)
@attack_options
@click.option("--seconds", default=10.0, help="Duration of the attack on each path.", show_default=True)
def main(checkout: Path, python: str, json_path: Path | None, seconds: float) -> None:
    """Read a path with 64 clients and measure /ping and /predict meanwhile."""
    with running_target(checkout, python=python) as target:
        report({"attack": "metrics_flood", **{path: _flood(target, path, seconds) for path in _PATHS}}, json_path)


def _flood(target: Target, path: str, seconds: float) -> dict[str, Any]:
    statuses: Counter[int] = Counter()
    with Probe(target) as ping, Probe(target, "POST", "/predict", PREDICT_BODY) as predict:
        in_threads(_CLIENTS, seconds, lambda: statuses.update([target.request("GET", path)[0]]))
    return {
        "sent": statuses.total(),
        "unanswered": statuses[NO_RESPONSE],
        "statuses": {str(status): count for status, count in sorted(statuses.items())},
        "ping": ping.summary(),
        "predict": predict.summary(),
    }


if __name__ == "__main__":
    main()
