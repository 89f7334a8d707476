"""Compare scoring in shards by one process, by two processes, and by Ray on three raylets of one CPU.

    python bench/sharding/throughput.py --texts 300000 --rounds 3

The ways alternate in each round, and the same command continues after a kill. Every run writes the same bytes, or the
benchmark ends with an error.
"""

import hashlib
import itertools
import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

if not __package__:  # Run as a file: put the repository root on the path.
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import click

from bench.errors import BenchError
from bench.machine import describe_machine
from bench.steps import Result, Steps
from textclf.data.tables import read_rows
from textclf.data.tables.formats import table_format
from textclf.files import atomic_file

ROOT = Path(__file__).parents[2]
WAYS = ("one process", "two processes", "ray")
_SHORT = re.compile(r"[^.!?\n]{20,200}[.!?]")
_BILLION = 10**9


def short_texts(folder: Path) -> Iterator[str]:
    """Yield the sentences of all files of texts below a folder, in the order of the paths."""
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".txt":
            yield from _SHORT.findall(path.read_text(encoding="utf-8", errors="replace"))
        elif path.is_file() and table_format(path) is not None:
            for _, row in read_rows(path, on_bad=lambda *_: None):
                yield from _SHORT.findall(str(next(iter(row.values()), "")))


def write_input(target: Path, data: Path, count: int) -> None:
    """Write `count` numbered texts as JSONL; too few are repeated with another number in each."""
    texts = list(itertools.islice(short_texts(data), count))
    if not texts:
        raise BenchError(f"{data}: expected .txt files or tables with sentences, found none; choose another folder")
    with atomic_file(target) as file:
        for number in range(count):
            turn = f" {number // len(texts)}" if number >= len(texts) else ""
            file.write(json.dumps({"id": number, "text": texts[number % len(texts)] + turn}) + "\n")


def measure(way: str, source: Path, target: Path, model: Path, shards: int) -> Result:
    """Score into an empty folder; return seconds of CPU, the driver's peak memory in MB, and a hash of the shards."""
    shutil.rmtree(target, ignore_errors=True)
    command = [sys.executable, "-m", "bench.sharding.driver", way, str(source), str(target), str(model), str(shards)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0"}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if run.returncode:
        raise BenchError(f"{way}: {(run.stderr.strip().splitlines() or ['no message'])[-1]}")
    found: Result = json.loads(run.stdout.splitlines()[-1])
    total = hashlib.sha256()
    for path in [*sorted(target.glob("part-*")), target / "_SUCCESS"]:
        total.update(path.read_bytes())
    shutil.rmtree(target)
    return {**found, "sha256": total.hexdigest()}


def report(results: dict[str, Result], texts: int, price: float) -> Iterator[str]:
    """Yield the lines of the report: medians, ratios, and the cost of 10^9 texts by arithmetic."""
    seconds: dict[str, float] = {}
    for way in WAYS:
        runs = [result for name, result in results.items() if name.startswith(f"{way} ")]
        seconds[way] = statistics.median(run["scoring"] for run in runs)
        memory = max(run["driver_mb"] for run in runs)
        yield f"{way}: {texts / seconds[way]:,.0f} texts/s (median of {len(runs)}), driver at most {memory:.0f} MB"
    yield f"two processes / one: {seconds['one process'] / seconds['two processes']:.2f} (at least 1.8 is wanted)"
    yield f"ray / two processes: {seconds['two processes'] / seconds['ray']:.2f} (at least 0.9 is wanted)"
    hours = seconds["two processes"] * 2 / texts * _BILLION / 3600
    yield f"10^9 such texts: {hours:,.0f} core hours, {hours * price:,.0f} at {price:g} per core hour"


@click.command(context_settings={"show_default": True})
@click.option("--texts", default=300_000, help="Number of texts.")
@click.option("--shards", default=64, help="Number of shards.")
@click.option("--rounds", default=3, help="Runs of each way, alternating.")
@click.option("--price", default=0.05, help="Price of a core hour.")
@click.option("--data", type=click.Path(path_type=Path, exists=True), default="data/sample", help="Folder of texts.")
@click.option("--model", type=click.Path(path_type=Path, exists=True), default="model", help="Model store.")
@click.option("--out", type=click.Path(path_type=Path), default="runs/sharding", help="Folder of input and results.")
def main(texts: int, shards: int, rounds: int, price: float, data: Path, model: Path, out: Path) -> None:
    """Measure the ways that are left, and print the report."""
    out.mkdir(parents=True, exist_ok=True)
    source = out / f"texts-{texts}.jsonl"
    if not source.exists():
        write_input(source, data, texts)
    steps = Steps(out / f"results-{texts}-{shards}.json", click.echo)
    click.echo(describe_machine())
    results: dict[str, Any] = {}
    for turn in range(rounds):
        for way in WAYS if turn % 2 == 0 else reversed(WAYS):
            name = f"{way} {turn}"
            results[name] = steps.run(name, lambda way=way: measure(way, source, out / "scored", model, shards))  # type: ignore[misc]
    if len({result["sha256"] for result in results.values()}) > 1:
        raise BenchError("expected equal bytes of all ways, found different ones; see the results")
    for line in report(results, texts, price):
        click.echo(line)


def peak_mb() -> float:
    """Return the largest memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
