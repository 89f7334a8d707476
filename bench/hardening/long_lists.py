"""Lists that need more than the time-out: what do clients get, what is logged, how long are others refused?"""

import json
import os
import socket
import time
from http import HTTPStatus
from pathlib import Path
from typing import Any

import click

from bench.hardening.target import Target, attack_options, report, running_target
from textclf.cli.commands import Command

_WORDS = "a film that is neither good nor bad but long and told by people who talk about the weather and the sea "
_MAX_SECONDS = 120.0
_TICKS = os.sysconf("SC_CLK_TCK")
_SMALL_LIST = json.dumps({"X": ["A good film.", "A bad film."]}).encode()


@click.command(cls=Command)
@attack_options
@click.option("--texts", default=1000, help="Texts of a list.", show_default=True)
@click.option("--chars", default=2000, help="Characters of a text.", show_default=True)
@click.option("--clients", default=8, help="Clients that disconnect.", show_default=True)
def main(checkout: Path, python: str, json_path: Path | None, texts: int, chars: int, clients: int) -> None:
    """Send a list, then lists from clients that leave at once; measure how long lists are refused afterwards."""
    items = [(f"{number} " + _WORDS * 40)[:chars] for number in range(texts)]
    body = json.dumps({"X": items}).encode()
    with running_target(checkout, {"CASCADE": "off"}, python=python) as target:
        began = time.monotonic()
        status, answer = target.request("POST", "/predict", body, timeout=120.0)
        one: dict[str, Any] = {"status": status, "seconds": round(time.monotonic() - began, 2)}
        if status >= HTTPStatus.BAD_REQUEST:
            one["error"] = json.loads(answer)["error"]
        one["busy_afterwards"] = _seconds_until_quiet(target)
        third = json.dumps({"X": items[: texts // 3]}).encode()
        for _ in range(clients):
            _send_and_leave(target, third)
        refused = _refused_seconds(target)
        report(
            {
                "attack": "long_lists",
                "one_list": one,
                "clients_left": {"lists_refused_for": refused, "busy_afterwards": _seconds_until_quiet(target)},
                "log": _logged(target),
            },
            json_path,
        )


def _send_and_leave(target: Target, body: bytes) -> None:
    with socket.create_connection((target.host, target.port)) as connection:
        head = f"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        connection.sendall(f"{head}\r\n\r\n".encode() + body)
        time.sleep(0.1)  # nginx passes the request on.


def _refused_seconds(target: Target) -> float:
    """Seconds until two lists in a row are accepted: each worker may still be busy."""
    began = time.monotonic()
    accepted = 0
    while accepted < 4 and time.monotonic() - began < _MAX_SECONDS:
        status, _ = target.request("POST", "/predict", _SMALL_LIST, timeout=_MAX_SECONDS)
        accepted = accepted + 1 if status == HTTPStatus.OK else 0
        if not accepted:
            time.sleep(0.1)
    return round(time.monotonic() - began, 2)


def _cpu_seconds(target: Target) -> float:
    fields = [Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split() for pid in target.workers()]
    return sum(int(user) + int(system) for user, system in (field[11:13] for field in fields)) / _TICKS


def _seconds_until_quiet(target: Target) -> float:
    """Seconds until the workers stop computing."""
    began = time.monotonic()
    while time.monotonic() - began < _MAX_SECONDS:
        before = _cpu_seconds(target)
        time.sleep(0.5)
        if _cpu_seconds(target) - before < 0.1:
            break
    return round(time.monotonic() - began, 1)


def _logged(target: Target) -> list[dict[str, Any]]:
    """The lines of the access log about large requests."""
    lines = [json.loads(line) for line in target.log.read_text().splitlines() if line.startswith("{")]
    return [
        {name: line[name] for name in ("status", "error", "latency_ms", "texts") if name in line}
        for line in lines
        if line["path"] == "/predict" and (line["texts"] > 2 or line["status"] != HTTPStatus.OK)
    ][:40]


if __name__ == "__main__":
    main()
