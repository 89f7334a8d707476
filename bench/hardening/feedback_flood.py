"""Clients that only post feedback: how many predictions of other clients fail, and how many reviews are stored?"""

import json
import time
from collections import Counter
from pathlib import Path

import click

from bench.hardening.target import PREDICT_BODY, Probe, attack_options, in_threads, report, running_target
from textclf.cli.commands import Command

_CLIENTS = 32
_REVIEW = json.dumps(
    {"text": "A good film, and the cast is good too. " * 10, "label": "pos", "source": "flood"}
).encode()


@click.command(cls=Command)
@attack_options
@click.option("--seconds", default=15.0, help="Duration of the attack.", show_default=True)
@click.option("--no-nginx", is_flag=True, help="Let gunicorn listen itself.")
def main(checkout: Path, python: str, json_path: Path | None, seconds: float, no_nginx: bool) -> None:
    """Post reviews with 32 clients, and measure predictions of a text and /ping meanwhile."""
    environment = {"NGINX": "off"} if no_nginx else {}
    with running_target(checkout, environment, python=python) as target:
        statuses: Counter[int] = Counter()

        def post() -> None:
            statuses[target.request("POST", "/feedback", _REVIEW)[0]] += 1

        predict = Probe(target, "POST", "/predict", PREDICT_BODY, per_second=40.0)
        start = time.monotonic()
        with predict, Probe(target, per_second=5.0) as ping:
            in_threads(_CLIENTS, seconds, post)
        elapsed = time.monotonic() - start
        stored = sum(1 for _ in target.folder.glob("new_data/train/*/*.txt"))
        report(
            {
                "attack": "feedback_flood",
                "nginx": not no_nginx,
                "statuses": {str(status): count for status, count in sorted(statuses.items())},
                "reviews_per_second": round(statuses[201] / elapsed, 1),
                "stored": stored,
                "predictions_ok": round(predict.statuses[200] / max(1, sum(predict.statuses.values())), 4),
                "predict": predict.summary(),
                "ping": ping.summary(),
            },
            json_path,
        )


if __name__ == "__main__":
    main()
