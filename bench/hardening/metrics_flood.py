"""Clients that only read /metrics: how long do other clients wait for /ping?"""

from pathlib import Path

import click

from bench.hardening.target import NO_RESPONSE, Probe, attack_options, in_threads, report, running_target
from textclf.cli.commands import Command

_CLIENTS = 64


@click.command(cls=Command)
@attack_options
@click.option("--seconds", default=10.0, help="Duration of the attack.", show_default=True)
def main(checkout: Path, python: str, json_path: Path | None, seconds: float) -> None:
    """Read /metrics with 64 clients and measure /ping meanwhile."""
    with running_target(checkout, python=python) as target:
        statuses: list[int] = []
        with Probe(target) as probe:
            in_threads(_CLIENTS, seconds, lambda: statuses.append(target.request("GET", "/metrics")[0]))
        report(
            {
                "attack": "metrics_flood",
                "sent": len(statuses),
                "unanswered": statuses.count(NO_RESPONSE),
                "ping": probe.summary(),
            },
            json_path,
        )


if __name__ == "__main__":
    main()
