"""Short texts that take long to read: how long do other clients wait, how much memory goes?

U+FDFA is one character that becomes 15 wordpieces. A run of combining marks out of order must be sorted.
"""

import gzip
import itertools
import json
import threading
import time
from collections import Counter
from pathlib import Path

import click

from bench.hardening.target import (
    JSON_HEADERS,
    PREDICT_BODY,
    Probe,
    Target,
    attack_options,
    in_threads,
    report,
    resident_bytes,
    running_target,
)
from textclf.cli.commands import Command

_BOMB = "\ufdfa"
_CLIENTS = 24
_GZIP = {**JSON_HEADERS, "Content-Encoding": "gzip"}
# In order: a text at the limit; one that is at the limit after normalisation; lists of such texts, with 2 MB unpacked;
# a run of marks.
_TEXTS = (
    [_BOMB * 100_000],
    [_BOMB * 6000],
    [_BOMB * 100_000] * 6,
    [_BOMB * 6000] * 100,
    [_BOMB * 1000] * 600,
    ["a" + "\u0300" * 50_000 + "\u0327" * 50_000],
)


@click.command(cls=Command)
@attack_options
@click.option("--seconds", default=20.0, help="Duration of the attack.", show_default=True)
def main(checkout: Path, python: str, json_path: Path | None, seconds: float) -> None:
    """Send compressed texts that take long to read from 24 clients; measure /ping, /predict of others and memory."""
    bodies = [
        gzip.compress(json.dumps({"text": texts[0]} if len(texts) == 1 else {"X": texts}, ensure_ascii=False).encode())
        for texts in _TEXTS
    ]
    with running_target(checkout, python=python) as target:
        workers = target.workers()
        for _ in range(20):
            target.request("POST", "/predict", PREDICT_BODY)
        before = resident_bytes(workers)
        peak = _Peak(workers)
        sent: Counter[str] = Counter()
        turn = itertools.count()
        began = time.monotonic()
        with peak, Probe(target) as ping, Probe(target, "POST", "/predict", PREDICT_BODY, per_second=5.0) as predict:
            in_threads(_CLIENTS, seconds, lambda: _send(target, bodies, next(turn), sent))
        report(
            {
                "attack": "wordpiece_bomb",
                "bytes_of_each": [len(body) for body in bodies],
                "sent": dict(sent),
                "seconds": round(time.monotonic() - began, 1),
                "ping": ping.summary(),
                "predict": predict.summary(),
                "more_megabytes_per_worker": round((peak.bytes - before) / 1e6),
            },
            json_path,
        )


class _Peak:
    """Largest resident memory of the processes while the block runs."""

    def __init__(self, pids: list[int]) -> None:
        self.bytes = 0
        self._pids = pids
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "_Peak":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.1):
            self.bytes = max(self.bytes, resident_bytes(self._pids))


def _send(target: Target, bodies: list[bytes], turn: int, sent: Counter[str]) -> None:
    kind = turn % len(bodies)
    status, body = target.request("POST", "/predict", bodies[kind], _GZIP, timeout=120.0)
    code = json.loads(body)["error"]["code"] if status >= 400 else ""
    sent[f"{kind} {status} {code}".strip()] += 1
    if status == 429:
        time.sleep(0.2)


if __name__ == "__main__":
    main()
