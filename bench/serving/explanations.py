"""Predictions of one client while others request explanations: the time of /predict, alone and next to /explain.

    python -m bench.serving.explanations --model-path my-models --dataset-path datasets/aclImdb

The server has nginx and two workers of one compute thread each. Both loads alternate in each round, so that a busy
machine slows both. See bench/README.md.
"""

import itertools
import json
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

if not __package__:  # Run as a file: put the repository root on the path.
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import click

from bench.arithmetic import load_of, markdown_table, quantile, ratios, spread, statuses_of
from bench.machine import describe_machine, keep_to_cores
from bench.reports import write_json
from bench.serving.load_generator import Address, Run, closed_loop, post
from bench.serving.servers import WITH_CASCADE, WITHOUT_CASCADE, project_servers, running
from bench.serving.texts import in_even_order, sample_of_test_texts
from textclf.cli.commands import Command
from textclf.store.model_store import open_model

_SAMPLE = Path(__file__).resolve().parents[2] / "data" / "sample"
_READY_SECONDS = 180.0
_SERVERS = (WITHOUT_CASCADE, WITH_CASCADE)


def measure(
    address: Address, predicts: Sequence[bytes], explains: Sequence[bytes], clients: int, seconds: float
) -> tuple[Run, Run, Run]:
    """Return a run of /predict alone, one next to explanations, and the run of these explanations."""
    alone = closed_loop(address, predicts, 1, seconds=seconds)
    with ProcessPoolExecutor(1) as other:
        explained = other.submit(closed_loop, address, explains, clients, seconds=seconds)
        busy = closed_loop(address, predicts, 1, seconds=seconds)
        return alone, busy, explained.result()


def results_of(runs: Sequence[tuple[Run, Run, Run]]) -> dict[str, Any]:
    """Return the results of all rounds, in seconds and explanations per second."""
    alone, busy, explained = zip(*runs, strict=True)
    loads = {"alone": list(map(load_of, alone)), "busy": list(map(load_of, busy))}
    responses = list(itertools.chain.from_iterable(run.responses for run in explained))
    bodies = [json.loads(response.body) for response in responses if response.status == 200]
    found: dict[str, Any] = {
        name: {"p50": spread([load.p50 for load in each]).median, "p99": spread([load.p99 for load in each]).median}
        for name, each in loads.items()
    }
    p99 = ratios([load.p99 for load in loads["busy"]], [load.p99 for load in loads["alone"]])
    found["p99_ratio"] = {"median": p99.median, "low": p99.low, "high": p99.high}
    found["explanations"] = {
        "per_second": len(bodies) / sum(run.seconds for run in explained),
        "p50": quantile([response.seconds for response in responses if response.status == 200], 0.5),
        "complete": sum(body["complete"] for body in bodies) / max(1, len(bodies)),
        "evaluations": sum(body["evaluations"] for body in bodies) / max(1, len(bodies)),
        "statuses": statuses_of(responses),
    }
    return found


def report(results: dict[str, Any]) -> str:
    """Return the results as text with a table in Markdown."""
    rows = [
        [title, *(f"{1000 * results[name][key]:.1f}" for key in ("p50", "p99"))]
        for name, title in (("alone", "no explanations"), ("busy", "next to explanations"))
    ]
    ratio, explained = results["p99_ratio"], results["explanations"]
    return (
        f"{markdown_table(['/predict', 'p50 ms', 'p99 ms'], rows)}\n\n"
        f"p99 next to explanations / alone: {ratio['median']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})\n"
        f"explanations: {explained['per_second']:.2f} per second, p50 {explained['p50']:.2f} s, "
        f"{explained['evaluations']:.0f} evaluations, {explained['complete']:.0%} complete, "
        f"statuses {explained['statuses']}\n"
    )


@click.command(cls=Command)
@click.option("--model-path", default="model", help="Model store, or folder of a version.", show_default=True)
@click.option(
    "--dataset-path",
    default=_SAMPLE,
    type=click.Path(exists=True, path_type=Path),
    help="Data set with a test part.",
    show_default="data/sample",
)
@click.option(
    "--server", default=WITHOUT_CASCADE, type=click.Choice(_SERVERS), help="Server to measure.", show_default=True
)
@click.option("--clients", default=4, type=click.IntRange(1), help="Clients that explain.", show_default=True)
@click.option("--texts", default=40, type=click.IntRange(1), help="Number of test texts.", show_default=True)
@click.option("--rounds", default=3, type=click.IntRange(1), help="Number of rounds.", show_default=True)
@click.option("--seconds", default=10.0, type=click.FloatRange(0.1), help="Seconds of each load.", show_default=True)
@click.option("--cores", default=2, type=click.IntRange(1), help="Cores of server and clients.", show_default=True)
@click.option(
    "--work-dir",
    default="runs/bench",
    type=click.Path(path_type=Path),
    help="Working folder for logs.",
    show_default=True,
)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Also write the results to this JSON file.")
def main(
    model_path: str,
    dataset_path: Path,
    server: str,
    clients: int,
    texts: int,
    rounds: int,
    seconds: float,
    cores: int,
    work_dir: Path,
    json_path: Path | None,
) -> None:
    """Measure /predict next to explanations."""
    keep_to_cores(cores)
    version = open_model(model_path)
    work = work_dir.absolute()
    work.mkdir(parents=True, exist_ok=True)
    sample = in_even_order([item.text for item in sample_of_test_texts(dataset_path, version.manifest, texts)])
    predicts = [post("/predict", {"text": text}) for text in sample]
    explains = [post("/explain", {"text": text}) for text in sample]
    (chosen,) = [item for item in project_servers(version.path, work) if item.name == server]
    with running(chosen, work / "explanations.log", predicts[0], _READY_SECONDS) as up:
        closed_loop(up.address, predicts, 2, count=2 * texts)  # Warm both workers.
        runs = [measure(up.address, predicts, explains, clients, seconds) for _ in range(rounds)]
    results = results_of(runs)
    click.echo(f"{describe_machine()}\n{chosen.title}, {clients} clients that explain\n\n{report(results)}", nl=False)
    if json_path is not None:
        write_json(json_path, {"machine": describe_machine(), "server": server, "clients": clients, **results})


if __name__ == "__main__":
    main()
