"""A million hostile requests: does the server answer each as documented, keep its workers, and stay as large as it was?

Request i depends on the seed and i only. An interrupted run continues (--work-dir), and --only i sends one again.
"""

import contextlib
import itertools
import json
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from bench.errors import BenchError
from bench.hardening.hostile.bodies import CONTROLS, MAX_BATCH, MAX_BODY_BYTES, MAX_TEXT_CHARS
from bench.hardening.hostile.checks import Checker, check_log, check_metrics, codes_of, growth_per_100k
from bench.hardening.hostile.client import DEPTH, Client, Outcome
from bench.hardening.hostile.kinds import KINDS, request_of
from bench.hardening.hostile.request import Hostile, World
from bench.hardening.target import Target, attack_options, report, running_target
from bench.reports import write_json
from bench.serving.servers import ROOT
from textclf.cli.commands import Command

# Requests between two checks of log, workers and memory; then the progress is saved.
CHUNK = 5_000
# A span has one server. Every fourth server has an API key.
SPAN = 125_000
KEY = "k" * 40
LANES = 16
_LATE_SECONDS = 10.0
_MAX_GROWTH_MB = 8.0
_QUOTA_BYTES = 16 * 1024**2
_LOG_BYTES = 16 * 1024**2
_SHOWN_FAILURES = 30
_SETTINGS = {
    "MAX_TEXT_CHARS": str(MAX_TEXT_CHARS),
    "MAX_BATCH": str(MAX_BATCH),
    "MAX_BODY_BYTES": str(MAX_BODY_BYTES),
    "NEW_DATA_MAX_BYTES": str(_QUOTA_BYTES),
    "PREDICTION_LOG_ROWS": "20000",
}


@dataclass
class Progress:
    """The results so far, saved after each chunk.

    Attributes:
        seed, count, nginx: what is run.
        next: index of the next request.
        seconds: time that the chunks took.
        codes: number of requests by kind and code.
        slowest: longest time for a response by kind, with the request's index.
        failures: number of failed checks.
        memory: by server, the requests sent and the bytes of a worker then (anonymous_bytes).
        controls: label and score of the control texts.
        notes: other lines of the log, with their number.
    """

    seed: int
    count: int
    nginx: bool
    next: int = 0
    seconds: float = 0.0
    codes: dict[str, dict[str, int]] = field(default_factory=dict)
    slowest: dict[str, tuple[float, int]] = field(default_factory=dict)
    failures: int = 0
    memory: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    controls: list[tuple[str, float]] = field(default_factory=list)
    notes: dict[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, seed: int, count: int, *, nginx: bool) -> "Progress":
        """Read the progress of an earlier run, or begin.

        Raises:
            BenchError: if the folder has a run with other settings.
        """
        if not path.exists():
            return cls(seed, count, nginx)
        found = cls(**json.loads(path.read_text(encoding="utf-8")))
        if (found.seed, found.nginx) != (seed, nginx):
            raise BenchError(
                f"{path}: expected a run with --seed {seed} and nginx {'on' if nginx else 'off'}, found --seed "
                f"{found.seed} and nginx {'on' if found.nginx else 'off'}; name another --work-dir"
            )
        found.count = count
        return found

    def add(self, request: Hostile, code: str, seconds: float) -> None:
        """Count a request."""
        codes = self.codes.setdefault(request.kind, {})
        codes[code] = codes.get(code, 0) + 1
        if seconds > self.slowest.get(request.kind, (0.0, 0))[0]:
            self.slowest[request.kind] = (round(seconds, 4), request.index)


class Run:
    """A run in a folder: progress.json, and failures.jsonl with one line per failed check."""

    def __init__(self, folder: Path, progress: Progress, replay: str) -> None:
        self.folder = folder
        self.progress = progress
        self._replay = replay

    def save(self) -> None:
        """Save the progress."""
        write_json(self.folder / "progress.json", vars(self.progress))

    def fail(self, index: int, kind: str, problem: str) -> None:
        """Keep a failed check, and show the first ones; an index below 0 stands for no request."""
        self.progress.failures += 1
        replay = "" if index < 0 else f"{self._replay} --only {index}"
        line = {"index": index, "kind": kind, "problem": problem, "replay": replay}
        with open(self.folder / "failures.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if self.progress.failures <= _SHOWN_FAILURES:
            click.echo(f"FAILED {kind} {index}: {problem}\n  {replay}", err=True)

    def span(self, start: int, end: int, target: Target, world: World, checker: Checker, lanes: int) -> None:
        """Send the requests from `start` to before `end` to one server."""
        progress = self.progress
        workers = sorted(target.workers())
        samples = progress.memory.setdefault(f"{start // SPAN}", [])
        for first in range(start, end, CHUNK):
            began = time.monotonic()
            last = min(first + CHUNK, end)
            client = Client((target.host, target.port), _LATE_SECONDS, self._reporter(checker), DEPTH)
            client.run((request_of(progress.seed, index, world) for index in range(first, last)), lanes)
            self.check_server(first, target, workers)
            samples.append((last, anonymous_bytes(workers)))
            progress.next = last
            progress.seconds += time.monotonic() - began
            self.save()
            rate = (last - first) / (time.monotonic() - began)
            click.echo(
                f"{last:9,d} of {progress.count:,d}: {rate:6.0f} requests/s, {samples[-1][1] / 1e6:.0f} MB per worker, "
                f"{progress.failures} failed",
                err=True,
            )

    def _reporter(self, checker: Checker) -> Any:
        def reported(request: Hostile, outcome: Outcome) -> None:
            code, problems = checker.check(request, outcome)
            self.progress.add(request, code, outcome.seconds)
            for problem in problems:
                self.fail(request.index, request.kind, problem)

        return reported

    def check_server(self, first: int, target: Target, workers: list[int]) -> None:
        """Check workers and log after the chunk that began at `first`; `workers` becomes the workers found.

        Raises:
            BenchError: if the server has ended.
        """
        where = f"requests {first} to {first + CHUNK - 1}"
        content = target.log.read_bytes()
        try:
            found = sorted(target.workers())
        except (StopIteration, OSError):
            found = []
        if found != workers:
            self.fail(-1, "workers", f"{where}: expected the workers {workers}, found {found}")
            (self.folder / "server.log").write_bytes(content)
            workers[:] = found
        if not found:
            raise BenchError(f"{where}: the server ended; {self.folder / 'server.log'} is its log")
        if len(content) > _LOG_BYTES or first:
            with open(target.log, "r+b") as file:  # The server appends.
                file.truncate(0)
        problems, others = check_log(content)
        for problem in problems:
            self.fail(-1, "log", f"{where}: {problem}")
        notes = Counter(self.progress.notes)
        notes.update("".join("0" if sign.isdigit() else sign for sign in line)[:120] for line in others)
        self.progress.notes = dict(notes.most_common(50))
        # Make room for more reviews.
        for folder in (target.folder / "new_data" / "train").glob("*"):
            shutil.rmtree(folder, ignore_errors=True)


def anonymous_bytes(pids: Sequence[int]) -> float:
    """Return the mean memory of the processes in bytes that belongs to no file, from /proc (Linux).

    Other servers on the machine share the libraries, so resident and proportional sizes change with them.
    """
    lines = [line for pid in pids for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()]
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Anonymous:")) / len(pids)


def controls_of(target: Target) -> list[tuple[str, float]]:
    """Ask a server without load for label and score of each control text.

    Raises:
        BenchError: if it does not answer.
    """
    key = {"X-API-Key": KEY}
    answers = []
    for text in CONTROLS:
        status, body = target.request(
            "POST", "/predict", json.dumps({"text": text}).encode(), {"Content-Type": "application/json", **key}
        )
        if status != 200:
            raise BenchError(f"/predict: expected status 200 for a control text, got {status}: {body[:200]!r}")
        answer = json.loads(body)
        answers.append((answer["label"], answer["score"]))
    return answers


def world_of(target: Target, has_key: bool, nginx: bool) -> World:
    """Return what the requests depend on, read from the server."""
    names = json.loads(target.request("GET", "/info")[1])["class_names"]
    return World(tuple(names), KEY if has_key else "", nginx)


def spans(start: int, count: int) -> Iterator[tuple[int, int, bool]]:
    """Return begin and end of each span from `start` on, and whether its server has a key."""
    edges = [start, *range((start // SPAN + 1) * SPAN, count, SPAN), count]
    for begin, end in itertools.pairwise(edges):
        if begin < end:
            yield begin, end, begin // SPAN % 4 == 3


@contextlib.contextmanager
def server_for(checkout: Path, python: str, model: Path, *, has_key: bool, nginx: bool) -> Iterator[Target]:
    """Run a server with the settings of the attack."""
    settings = {**_SETTINGS, **({"API_KEY": KEY} if has_key else {})}
    if not nginx:
        # Connections are spread unevenly without nginx.
        settings |= {"NGINX": "off", "MAX_CONCURRENT": "32"}
    with running_target(checkout, settings, python=python, model=model) as target:
        yield target


@click.command(cls=Command)
@attack_options
@click.option("--count", default=1_000_000, help="Number of requests.", show_default=True)
@click.option("--seed", default=0, help="Seed of the requests.", show_default=True)
@click.option("--only", type=int, help="Send only the request of this number, and show the exchange.")
@click.option("--no-nginx", is_flag=True, help="Attack gunicorn without nginx.")
@click.option("--lanes", default=LANES, help="Connections that are kept open.", show_default=True)
@click.option(
    "--model",
    type=click.Path(path_type=Path, exists=True),
    default=ROOT / "model",
    help="Model to serve.",
    show_default="shipped",
)
@click.option(
    "--work-dir",
    type=click.Path(path_type=Path),
    default=Path("runs/bench/hostile"),
    help="Folder of the progress.",
    show_default=True,
)
def main(
    checkout: Path, python: str, json_path: Path | None, count: int, seed: int, only: int | None, no_nginx: bool,
    lanes: int, model: Path, work_dir: Path,
) -> None:  # fmt: skip
    """Send hostile requests to a server, and check every response, the log, the workers and their memory.

    Exits with 1 if a check failed.
    """
    codes = codes_of(checkout / "docs" / "architecture.md")
    if only is not None:
        sys.exit(_replay(checkout, python, model, codes, seed, only, nginx=not no_nginx))
    work_dir.mkdir(parents=True, exist_ok=True)
    progress = Progress.read(work_dir / "progress.json", seed, count, nginx=not no_nginx)
    options = (
        f" --seed {seed}{' --no-nginx' if no_nginx else ''} --checkout {checkout} --python {python} --model {model}"
    )
    run = Run(work_dir, progress, f"python -m bench.hardening.hostile_requests{options}")
    for begin, end, has_key in spans(progress.next, count):
        with server_for(checkout, python, model, has_key=has_key, nginx=not no_nginx) as target:
            found = controls_of(target)
            progress.controls = progress.controls or found
            world = world_of(target, has_key, not no_nginx)
            run.span(begin, end, target, world, Checker(codes, progress.controls, nginx=not no_nginx), lanes)
            _, metrics = target.request("GET", "/metrics", headers={"X-API-Key": KEY})
            for problem in check_metrics(metrics.decode(), codes):
                run.fail(-1, "metrics", f"requests {begin} to {end - 1}: {problem}")
            run.save()
    results = summary(progress)
    if results["memory"]["growth_mb_per_100k"] > _MAX_GROWTH_MB:
        run.fail(-1, "memory", f"a worker grows by {results['memory']['growth_mb_per_100k']} MB per 100,000 requests")
        run.save()
        results = summary(progress)
    click.echo(table(progress))
    report(results, json_path)
    sys.exit(1 if progress.failures else 0)


def summary(progress: Progress) -> dict[str, Any]:
    """Return the results as numbers."""
    growth = [growth_per_100k([(int(at), float(size)) for at, size in samples]) for samples in progress.memory.values()]
    sizes = [size for samples in progress.memory.values() for _, size in samples]
    totals: Counter[str] = Counter()
    for codes in progress.codes.values():
        totals.update(codes)
    return {
        "attack": "hostile_requests",
        "seed": progress.seed,
        "nginx": progress.nginx,
        "requests": progress.next,
        "requests_per_second": round(progress.next / progress.seconds, 1) if progress.seconds else 0.0,
        "failed_checks": progress.failures,
        "codes": dict(totals.most_common()),
        "slowest_seconds": max((seconds for seconds, _ in progress.slowest.values()), default=0.0),
        "memory": {
            "first_mb_per_worker": round(sizes[0] / 1e6, 1) if sizes else 0.0,
            "last_mb_per_worker": round(sizes[-1] / 1e6, 1) if sizes else 0.0,
            "growth_mb_per_100k": round(max(growth, default=0.0) / 1e6, 2),
        },
        "other_log_lines": progress.notes,
    }


def table(progress: Progress) -> str:
    """Return a line per kind: requests, slowest response, codes."""
    lines = [f"{'kind':18} {'sent':>8} {'slowest':>8} {'request':>8}  codes"]
    for kind in sorted(function.__name__ for function in KINDS):
        codes = progress.codes.get(kind, {})
        seconds, index = progress.slowest.get(kind, (0.0, 0))
        shown = ", ".join(f"{code} {count}" for code, count in sorted(codes.items(), key=lambda item: -item[1]))
        lines.append(f"{kind:18} {sum(codes.values()):8d} {seconds:8.3f} {index:8d}  {shown}")
    return "\n".join(lines)


def _replay(
    checkout: Path, python: str, model: Path, codes: dict[str, int], seed: int, index: int, *, nginx: bool
) -> int:
    has_key = index // SPAN % 4 == 3
    with server_for(checkout, python, model, has_key=has_key, nginx=nginx) as target:
        checker = Checker(codes, controls_of(target), nginx=nginx)
        request = request_of(seed, index, world_of(target, has_key, nginx))
        problems: list[str] = []

        def show(request: Hostile, outcome: Outcome) -> None:
            code, found = checker.check(request, outcome)
            problems.extend(found)
            for part in request.parts:
                click.echo(f"> {part[:3000]!r}")
            for response in outcome.responses:
                click.echo(f"< {response.status} {response.headers} {response.body[:1000]!r}")
            click.echo(f"{request.kind}: {code} after {outcome.seconds:.3f} s; {'; '.join(found) or 'as expected'}")

        Client((target.host, target.port), _LATE_SECONDS, show).run([request], 1)
        log_problems, _ = check_log(target.log.read_bytes())
        for problem in log_problems:
            click.echo(problem)
        return 1 if problems or log_problems else 0


if __name__ == "__main__":
    main()
