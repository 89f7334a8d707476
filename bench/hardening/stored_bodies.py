"""Bodies that stop before their end, from many addresses: how much memory and disk do they take?"""

import contextlib
import socket
import stat
import time
from collections.abc import Sequence
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
from bench.serving.servers import process_tree
from textclf.cli.commands import Command

_KEY = "the-key-of-this-attack"
_BODY_BYTES = 2 * 1024**2
_ADDRESSES = 200
_BLOCK = bytes(64 * 1024)


@click.command(cls=Command)
@attack_options
@click.option("--seconds", default=8.0, help="Duration of the attack.", show_default=True)
@click.option("--connections", default=300, help="Connections with a body.", show_default=True)
@click.option("--key/--no-key", default=True, help="Let the server need a key, which the attacker lacks.")
@click.option("--chunks/--no-chunks", default=False, help="Send bodies in chunks, without their length.")
@click.option("--nginx/--no-nginx", default=True, help="Attack the server with nginx in front, or without.")
def main(
    checkout: Path,
    python: str,
    json_path: Path | None,
    seconds: float,
    connections: int,
    key: bool,
    chunks: bool,
    nginx: bool,
) -> None:
    """Send all but the last byte of many bodies, hold the connections, and measure /ping and /predict meanwhile."""
    environment = {"API_KEY": _KEY if key else "", **({} if nginx else {"NGINX": "off"})}
    with running_target(checkout, environment, python=python) as target:
        pids = process_tree(target.pid)
        keyed = {**JSON_HEADERS, "X-API-Key": _KEY}
        memory, disk = sum(resident_bytes([pid]) for pid in pids), _stored(pids)
        with (
            contextlib.ExitStack() as held,
            Probe(target, "GET", "/ping") as ping,
            Probe(target, "POST", "/predict", PREDICT_BODY, keyed) as predict,
        ):
            numbers = iter(range(connections))
            in_threads(20, seconds, lambda: _hold(held, target, next(numbers, None), chunks=chunks))
            grown = sum(resident_bytes([pid]) for pid in pids) - memory
            stored = _stored(pids) - disk
        report(
            {
                "attack": "stored_bodies",
                "key": key,
                "chunks": chunks,
                "connections": connections,
                "nginx": nginx,
                "memory_bytes": grown,
                "disk_bytes": stored,
                "ping": ping.summary(),
                "predict": predict.summary(),
            },
            json_path,
        )


def _hold(held: contextlib.ExitStack, target: Target, number: int | None, *, chunks: bool) -> None:
    """Send a body without its last byte; wait if there is no number, because all connections are made."""
    if number is None:
        time.sleep(0.1)
        return
    source = (f"127.0.0.{2 + number % _ADDRESSES}", 0)
    length = "Transfer-Encoding: chunked" if chunks else f"Content-Length: {_BODY_BYTES}"
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{length}\r\n\r\n"
    with contextlib.suppress(OSError):
        connection = socket.create_connection((target.host, target.port), timeout=5, source_address=source)
        held.enter_context(connection)
        connection.sendall(head.encode())
        for _ in range(_BODY_BYTES // len(_BLOCK) - 1):
            connection.sendall(b"%x\r\n%s\r\n" % (len(_BLOCK), _BLOCK) if chunks else _BLOCK)


def _stored(pids: Sequence[int]) -> int:
    """Return the disk space of the processes' open files that have no name, such as nginx's temporary files."""
    files: dict[int, int] = {}
    for file in [file for pid in pids for file in Path(f"/proc/{pid}/fd").iterdir()]:
        with contextlib.suppress(OSError):  # It has just been closed.
            found = file.stat()
            if stat.S_ISREG(found.st_mode) and not found.st_nlink:
                files[found.st_ino] = found.st_blocks * 512
    return sum(files.values())


if __name__ == "__main__":
    main()
