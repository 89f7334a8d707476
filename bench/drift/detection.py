"""Power and false alarms of drift detection on resamples of real reviews, as tables and a plot.

    python bench/drift/detection.py --model-path model --data-dir DATA --peers-python /path/to/drift-peers/bin/python

DATA contains aclImdb_v1.tar.gz (or aclImdb/) and amazon_multidomain/. Texts are scored
once and cached. The results of each resample are written at once: a killed run continues. See bench/README.md.
"""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

if not __package__:  # Run as a file: put the repository root on the path.
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import click

from bench.drift.cost import MMD_ENGINES, check_costs, check_table, mmd_costs, mmd_table
from bench.drift.features import scored
from bench.drift.plot import write_plot
from bench.drift.resamples import Resample, fingerprint, run_missing
from bench.drift.scenarios import COST, PARTS, SCENARIOS, Scenario, comparer
from bench.drift.tables import (
    STRICT_ALPHA,
    Results,
    class_mix_table,
    false_alarm_table,
    family_alarms,
    family_table,
    power_table,
)
from bench.drift.texts import SOURCES, texts_of
from bench.errors import BenchError
from bench.machine import describe_machine
from bench.reports import chosen_names, write_json
from textclf.cli.commands import Command
from textclf.config import DriftOptions
from textclf.drift.reference import MAX_TEXTS
from textclf.environment import usable_cores
from textclf.runtime.loading import predictor_of_version
from textclf.store.model_store import open_model


def wanted_resamples(scenarios: Sequence[Scenario], sizes: Sequence[int], resamples: int | None) -> list[Resample]:
    """Return the resamples to make. Their numbers start at 0: a short run is the beginning of a long one.

    Raises:
        BenchError: if no scenario has one of the sizes.
    """
    known = {size for scenario in scenarios for size in scenario.resamples}
    if not set(sizes) <= known:
        raise BenchError(f"--sizes: expected some of {', '.join(map(str, sorted(known)))}, got {sorted(sizes)}")
    return [
        Resample(scenario.name, size, number)
        for scenario in scenarios
        for size, count in scenario.resamples.items()
        if not sizes or size in sizes
        for number in range(count if resamples is None else resamples)
    ]


def report(results: Results, scenarios: Sequence[Scenario]) -> str:
    """Return the tables of the scenarios that have resamples."""
    chosen = [each for each in scenarios if any(key.scenario == each.name for key in results)]
    parts = {each.part for each in chosen}
    made = {
        "false-alarms": ("No drift:", false_alarm_table),
        "power": (f"Alarms at alpha {STRICT_ALPHA:g}, after Holm and with floors:", power_table),
        "class-mix": ("A negligible change of the class mix:", class_mix_table),
    }
    found = [f"{title}\n\n{table(results, chosen)}" for part, (title, table) in made.items() if part in parts]
    alarms = family_table(results, chosen, partial(family_alarms, alpha=STRICT_ALPHA))
    own = family_table(results, chosen, lambda family: bool(family["p"] < STRICT_ALPHA))
    found.append(f"Share of alarms of each family:\n\n{alarms}")
    found.append(f"Share of windows where a family's p is below {STRICT_ALPHA:g}, before Holm and floors:\n\n{own}")
    return "\n\n".join(found)


def _sizes(_context: click.Context, _parameter: click.Parameter, text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise click.BadParameter(f"expected whole numbers, separated by commas, got {text!r}") from None


@click.command(cls=Command)
@click.option("--model-path", default="model", help="Model store, or folder of a version with its engine/.")
@click.option(
    "--data-dir",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with aclImdb_v1.tar.gz or aclImdb/, and amazon_multidomain/.",
)
@click.option(
    "--work-dir",
    default="runs/bench",
    type=click.Path(path_type=Path),
    help="Working folder for the features of the texts, the results of the resamples, and the plot.",
)
@click.option("--only", default=",".join(PARTS), help="Parts to measure, separated by commas.")
@click.option(
    "--resamples", type=click.IntRange(1), help="Resamples of each scenario and size.", show_default="as published"
)
@click.option(
    "--sizes", default="", callback=_sizes, help="Sizes of windows in texts, separated by commas.", show_default="all"
)
@click.option("--reference", default=MAX_TEXTS, type=click.IntRange(100), help="Number of texts in the reference.")
@click.option("--seed", default=0, help="Random seed.")
@click.option("--jobs", default=2, type=click.IntRange(1), help="Number of processes, each with one thread.")
@click.option("--rounds", default=3, type=click.IntRange(1), help="Rounds of the cost of a check and of each MMD.")
@click.option(
    "--mmd-sizes", default="500,1000", callback=_sizes, help="Sizes of MMD samples in texts, separated by commas."
)
@click.option("--cores", default=2, type=click.IntRange(1), help="Number of cores for the cost.")
@click.option(
    "--peers-python", help="Interpreter with bench/requirements-drift.txt; without this option no peer is measured."
)
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    help="PNG file for the plot.",
    show_default="drift.png in the working folder",
)
@click.option(
    "--json", "json_path", type=click.Path(path_type=Path), help="Also write the results of the cost to this JSON file."
)
def main(
    model_path: str,
    data_dir: Path,
    work_dir: Path,
    only: str,
    resamples: int | None,
    sizes: list[int],
    reference: int,
    seed: int,
    jobs: int,
    rounds: int,
    mmd_sizes: list[int],
    cores: int,
    peers_python: str | None,
    plot: Path | None,
    json_path: Path | None,
) -> None:
    """Measure false alarms, power and cost of drift detection."""
    parts = chosen_names(only, PARTS, "--only")
    options = DriftOptions()
    version = open_model(model_path)
    work = (work_dir / version.id).absolute()
    machine = describe_machine()
    click.echo(f"{machine}\nmodel {version.id}, reference of {reference:,} film reviews, seed {seed}")
    say = partial(click.echo, err=True)

    caches = {source: work / "features" / f"{source}.npz" for source in SOURCES}
    predictor = predictor_of_version(version, threads=usable_cores())
    scored_texts = {
        source: scored(texts_of(source, data_dir), predictor, cache, say) for source, cache in caches.items()
    }
    del predictor

    scenarios = [scenario for scenario in SCENARIOS if scenario.part in parts]
    if scenarios:
        wanted = wanted_resamples(scenarios, sizes, resamples)
        made_of = [each.made_of for each in scored_texts.values()]
        file = work / f"drift-{fingerprint(made_of, options.to_dict(), seed, reference)}.jsonl"
        click.echo(f"every resample: {file}", err=True)
        prepare = partial(comparer, caches, options, seed, reference)
        results = run_missing(wanted, file, prepare, jobs, say)
        click.echo(f"\n{report(results, scenarios)}")
        write_plot(results, scenarios, plot or work / "drift.png")
        click.echo(f"\nplot: {plot or work / 'drift.png'}")
    if COST in parts:
        checks = check_costs(scored_texts, work / "cost", options, reference, rounds, cores, seed)
        click.echo(f"\n{check_table(checks, reference)}")
        engines = [name for name in MMD_ENGINES if peers_python is not None or name == MMD_ENGINES[0]]
        found = mmd_costs(
            scored_texts,
            work / "cost",
            engines,
            mmd_sizes,
            options.permutations,
            rounds,
            cores,
            peers_python,
            seed,
            say,
        )
        click.echo(f"\n{mmd_table(found, options.permutations)}")
        if json_path is not None:
            content = {"machine": machine, "model": version.id, "options": click.get_current_context().params}
            write_json(json_path, {**content, "checks": checks, "mmd": found})


if __name__ == "__main__":
    main()
