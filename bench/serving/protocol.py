"""The time that the Open Inference Protocol adds to a request, next to /predict with the same text.

    python -m bench.serving.protocol --model-path model

One client sends both requests in turn to one server, so that a busy machine slows both. A binary request has a binary
tensor, and asks for binary ones, as Triton's client does.
"""

import json
import struct
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

if not __package__:  # Run as a file: put the repository root on the path.
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import click

from bench.arithmetic import spread
from bench.errors import BenchError
from bench.machine import describe_machine
from bench.reports import write_json
from bench.serving.load_generator import Address, closed_loop, post
from bench.serving.servers import WITH_CASCADE, WITHOUT_CASCADE, project_servers, running
from textclf.cli.commands import Command

PREDICT = "predict"
_INFER = "/v2/models/textclf/infer"
# About 16 wordpieces.
_TEXT = "A clever and very funny film, with a lovely ending for all."
_READY_SECONDS = 60.0


def requests_of(text: str) -> dict[str, bytes]:
    """Return the requests by name: of /predict, and of the protocol with JSON and with binary tensors."""
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1]}
    element = text.encode()
    data = struct.pack("<I", len(element)) + element
    sized = {**tensor, "parameters": {"binary_data_size": len(data)}}
    header = json.dumps({"inputs": [sized], "parameters": {"binary_data_output": True}}).encode()
    head = (
        f"POST {_INFER} HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(header) + len(data)}\r\n"
        f"Inference-Header-Content-Length: {len(header)}\r\n\r\n"
    )
    return {
        PREDICT: post("/predict", {"text": text}),
        "protocol, JSON": post(_INFER, {"inputs": [{**tensor, "data": [text]}]}),
        "protocol, binary": head.encode() + header + data,
    }


def measured(address: Address, requests: Mapping[str, bytes], rounds: int, count: int) -> dict[str, Any]:
    """Return the milliseconds of /predict, and for each other request its time as a share of that.

    Each round gives the medians of `count` requests of each kind; the values are the median, lowest and highest of the
    rounds.

    Raises:
        BenchError: if a response has another status than 200.
    """
    names = list(requests)
    values: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        run = closed_loop(address, list(requests.values()), 1, count=count * len(names), seconds=600)
        times: dict[str, list[float]] = {name: [] for name in names}
        for response in run.responses:
            if response.status != 200:
                raise BenchError(f"expected status 200, got {response.status}: {response.body[:200]!r}")
            times[names[response.number % len(names)]].append(response.seconds)
        base = spread(times[PREDICT]).median
        for name in names:
            values[name].append(1000 * base if name == PREDICT else spread(times[name]).median / base)
    return {name: vars(spread(each)) for name, each in values.items()}


@click.command(cls=Command)
@click.option("--model-path", type=click.Path(path_type=Path), default=Path("model"), help="A model store.")
@click.option("--cascade/--no-cascade", default=False, help="Whether the linear stage may predict.")
@click.option("--rounds", default=9, help="Number of rounds.")
@click.option("--count", default=300, help="Requests of each kind in a round.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="File for the numbers.")
def main(model_path: Path, cascade: bool, rounds: int, count: int, json_path: Path | None) -> None:
    """Measure what the protocol costs a request with a short text.

    \b
    Example:
      python bench/serving/protocol.py --model-path model
    """
    click.echo(describe_machine())
    requests = requests_of(_TEXT)
    with tempfile.TemporaryDirectory() as folder:
        work, wanted = Path(folder), WITH_CASCADE if cascade else WITHOUT_CASCADE
        (server,) = (each for each in project_servers(model_path, work) if each.name == wanted)
        with running(server, work / "serve.log", requests[PREDICT], _READY_SECONDS) as started:
            measured(started.address, requests, 1, 50)
            found = measured(started.address, requests, rounds, count)
    for name, values in found.items():
        unit = "milliseconds" if name == PREDICT else "of /predict"
        click.echo(f"{name}: {values['median']:.3f} {unit} ({values['low']:.3f} to {values['high']:.3f})")
    if json_path is not None:
        write_json(json_path, found)


if __name__ == "__main__":
    main()
