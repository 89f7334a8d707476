"""Requests that nginx refuses: are they counted and logged, and do they flood the log?"""

import re
import socket
import time
from collections import Counter
from pathlib import Path

import click

from bench.hardening.target import (
    PREDICT_BODY,
    Probe,
    Target,
    attack_options,
    in_threads,
    report,
    running_target,
)
from textclf.cli.commands import Command

_CLIENTS = 16
# /metrics may be a second old.
_METRICS_SECONDS = 1.5
_REQUESTS = {
    "method": b"TRACE /predict HTTP/1.1\r\nHost: x\r\n\r\n",
    "length": b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n",
    "header": b"GET /ping HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 9000 + b"\r\n\r\n",
    "path": b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "chunks": b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nnone\r\n",
    "refused chunks": b"TRACE /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nnone\r\n",
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
}


@click.command(cls=Command)
@attack_options
@click.option("--seconds", default=10.0, help="Duration of the attack.", show_default=True)
def main(checkout: Path, python: str, json_path: Path | None, seconds: float) -> None:
    """Send requests that nginx refuses, with 16 clients, and measure /predict meanwhile."""
    with running_target(checkout, python=python) as target:
        sent: Counter[str] = Counter()
        html: Counter[str] = Counter()

        def refuse() -> None:
            for name, request in _REQUESTS.items():
                response = _send(target, request)
                sent[name] += bool(response)
                html[name] += b"<html" in response

        log_bytes = target.log.stat().st_size
        with Probe(target, "POST", "/predict", PREDICT_BODY) as probe:
            in_threads(_CLIENTS, seconds, refuse)
        log_bytes = target.log.stat().st_size - log_bytes
        time.sleep(_METRICS_SECONDS)
        metrics = target.request("GET", "/metrics")[1].decode()
        requests = re.findall(r'^textclf_requests_total{.*status="4\d\d"} (.*)$', metrics, re.MULTILINE)
        results = {
            "attack": "refused_flood",
            "refused": sent.total(),
            "with_html": dict(html),
            "counted": sum(map(float, requests)),
            "log_bytes": log_bytes,
            "predict": probe.summary(),
        }
        report(results, json_path)


def _send(target: Target, request: bytes) -> bytes:
    """Return the response; b"" if there is none."""
    try:
        with socket.create_connection((target.host, target.port), timeout=10) as connection:
            connection.sendall(request)
            return connection.recv(65536)
    except OSError:
        return b""


if __name__ == "__main__":
    main()
