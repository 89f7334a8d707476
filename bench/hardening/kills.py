"""A thousand SIGKILLs at random moments: nothing that was acknowledged is lost, no file is torn, work goes on.

Scenario and moment of round i depend on the seed and i only. An interrupted run continues (--work-dir).
"""

import contextlib
import json
import random
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from bench.errors import BenchError
from bench.hardening.killed.scenarios import (
    Drift,
    Feedback,
    Material,
    PredictionLogWriter,
    Promotions,
    RealTraining,
    Retraining,
    Scenario,
)
from bench.hardening.killed.serving import Serving
from bench.hardening.killed.stem import Stem
from bench.hardening.killed.tiny_data import reviews, write_checkpoint, write_table
from bench.hardening.target import attack_options, report
from bench.reports import chosen_names, write_json
from textclf.cli.commands import Command

# Shares in thousandths.
SHARES = {
    "feedback": 200, "prediction_log": 180, "promotions": 220, "drift": 80, "retraining": 80, "training": 40,
    "serving": 200,
}  # fmt: skip
_WINDOWS = 200
_SHOWN_FAILURES = 30
_JOBS = (Feedback, PredictionLogWriter, Promotions, Drift, Retraining, RealTraining)


@dataclass
class Progress:
    """The results so far, saved after each round.

    Attributes:
        seed: seed of the rounds.
        next: number of the next round.
        kills: rounds by scenario.
        failed: failed rounds by scenario.
        seconds: time by scenario.
        clients: what the clients of the servers got.
        slowest: longest time for a response, in seconds.
    """

    seed: int
    next: int = 0
    kills: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    clients: dict[str, int] = field(default_factory=dict)
    slowest: float = 0.0

    @classmethod
    def read(cls, path: Path, seed: int) -> "Progress":
        """Read the progress of an earlier run, or begin.

        Raises:
            BenchError: if the folder has a run with another seed.
        """
        if not path.exists():
            return cls(seed)
        found = cls(**json.loads(path.read_text(encoding="utf-8")))
        if found.seed != seed:
            raise BenchError(
                f"{path}: expected a run with --seed {seed}, found --seed {found.seed}; name another --work-dir"
            )
        return found

    def add(self, name: str, seconds: float, *, has_failed: bool) -> None:
        """Count a round."""
        self.kills[name] = self.kills.get(name, 0) + 1
        self.failed[name] = self.failed.get(name, 0) + has_failed
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds


def scenario_of(seed: int, number: int, names: list[str]) -> tuple[str, random.Random]:
    """Return the scenario of a round, and the chance that decides the rest of it."""
    chance = random.Random((seed << 40) + number)  # noqa: S311
    return chance.choices(names, [SHARES[name] for name in names])[0], chance


def material_in(folder: Path, stem: Stem) -> Material:
    """Train the tiny version and write its prediction log, once per folder."""
    material = Material(folder)
    if not (folder / "features.bin").exists():
        shutil.rmtree(folder, ignore_errors=True)
        data = folder / "data"
        write_table(data / "train.jsonl", reviews(1200, 1))
        write_table(data / "test.jsonl", reviews(60, 2))
        write_table(folder / "texts.jsonl", reviews(120, 4))
        stem.run("make_model", material.store, write_checkpoint(folder / "tiny-bert"), data, folder)
        material.log.parent.mkdir()
        arguments = (f"sqlite:///{material.log}", material.features, folder / "texts.jsonl", _WINDOWS)
        stem.run("make_log", material.store, *arguments)
    return material


@contextlib.contextmanager
def scenarios(work: Path, checkout: Path, python: str) -> Iterator[Callable[[str], Scenario]]:
    """Yield a function that returns a scenario by name, made when it is first asked for."""
    made: dict[str, Scenario] = {}
    stems: dict[bool, Stem] = {}
    log = work / "jobs.log"
    with contextlib.ExitStack() as stack:

        def stem(*, tensorflow: bool) -> Stem:
            if tensorflow not in stems:
                stems[tensorflow] = stack.enter_context(Stem(checkout, log, tensorflow=tensorflow))
            return stems[tensorflow]

        def get(name: str) -> Scenario:
            if name not in made:
                has_material = (work / "material" / "features.bin").exists()
                material = material_in(work / "material", stem(tensorflow=not has_material))
                if name == Serving.name:
                    made[name] = stack.enter_context(Serving(checkout, python, work / name, material))
                else:
                    job = next(job for job in _JOBS if job.name == name)
                    made[name] = job(lambda: stem(tensorflow=job.tensorflow), work / name, material)
            return made[name]

        yield get


@click.command(cls=Command)
@attack_options
@click.option("--count", default=1_000, help="Number of kills.", show_default=True)
@click.option("--seed", default=0, help="Seed of the rounds.", show_default=True)
@click.option("--only", type=int, help="Run only the round of this number.")
@click.option("--scenarios", "names", default=",".join(SHARES), help="Some of the scenarios.", show_default=True)
@click.option(
    "--work-dir",
    type=click.Path(path_type=Path),
    default=Path("runs/bench/kills"),
    help="Folder of progress and files.",
    show_default=True,
)
def main(
    checkout: Path,
    python: str,
    json_path: Path | None,
    count: int,
    seed: int,
    only: int | None,
    names: str,
    work_dir: Path,
) -> None:
    """Kill servers, writers, promotions, checks and trainings, and check their files after each kill.

    Exits with 1 if a check failed.
    """
    chosen = chosen_names(names, list(SHARES), "--scenarios")
    work = work_dir.absolute()
    work.mkdir(parents=True, exist_ok=True)
    path = work / "progress.json"
    progress = Progress(seed, next=only) if only is not None else Progress.read(path, seed)
    numbers = [only] if only is not None else range(progress.next, count)
    replay = (
        f"python -m bench.hardening.kills --seed {seed} --scenarios {names} --checkout {checkout} --python {python}"
    )
    with scenarios(work, checkout.absolute(), python) as get:
        for number in numbers:
            name, chance = scenario_of(seed, number, chosen)
            scenario = get(name)
            began = time.monotonic()
            problems = scenario.round(chance)
            progress.add(name, time.monotonic() - began, has_failed=bool(problems))
            for problem in problems:
                _fail(work, progress, number, name, problem, f"{replay} --only {number}")
            if isinstance(scenario, Serving):
                progress.clients, progress.slowest = _clients(progress, scenario)
            progress.next = number + 1
            if only is None:
                write_json(path, vars(progress))
            if number % 20 == 19:
                click.echo(f"{number + 1:5d} of {count}: {sum(progress.failed.values())} failed", err=True)
    click.echo(table(progress))
    report(summary(progress), json_path)
    sys.exit(1 if sum(progress.failed.values()) else 0)


def summary(progress: Progress) -> dict[str, Any]:
    """Return the results as numbers."""
    return {
        "attack": "kills",
        "seed": progress.seed,
        "kills": sum(progress.kills.values()),
        "failed": sum(progress.failed.values()),
        "seconds": round(sum(progress.seconds.values()), 1),
        "by_scenario": {
            name: {"kills": kills, "failed": progress.failed[name], "seconds": round(progress.seconds[name], 1)}
            for name, kills in sorted(progress.kills.items())
        },
        "clients": dict(sorted(progress.clients.items())),
        "slowest_response": round(progress.slowest, 2),
    }


def table(progress: Progress) -> str:
    """Return a line per scenario: kills, failed rounds, seconds per kill."""
    lines = [f"{'scenario':16} {'kills':>6} {'failed':>6} {'s per kill':>10}"]
    for name, kills in sorted(progress.kills.items()):
        lines.append(f"{name:16} {kills:6d} {progress.failed[name]:6d} {progress.seconds[name] / kills:10.2f}")
    return "\n".join(lines)


def _clients(progress: Progress, scenario: Serving) -> tuple[dict[str, int], float]:
    counts = dict(progress.clients)
    for outcome, number in scenario.outcomes.items():
        counts[outcome] = counts.get(outcome, 0) + number
    scenario.outcomes.clear()
    return counts, max(progress.slowest, scenario.slowest)


def _fail(work: Path, progress: Progress, number: int, name: str, problem: str, replay: str) -> None:
    line = {"round": number, "scenario": name, "problem": problem, "replay": replay}
    with open(work / "failures.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    if sum(progress.failed.values()) <= _SHOWN_FAILURES:
        click.echo(f"FAILED {name} {number}: {problem}\n  {replay}", err=True)


if __name__ == "__main__":
    main()
