"""Accuracy on six labelled sets: this project with one recipe, and linear models on words.

The recipe was found on the validation texts of IMDB; nothing is tuned to the other sets. The linear models learn from
the training and validation texts. All models are measured on the same test part: this project with the engine that
serves, with the cascade and without it. A repeated run skips finished trainings and measurements.

    python -m bench.accuracy.all_sets --data-dir DATA --json accuracy.json

DATA contains the sets (bench.labelled_sets). See bench/README.md.
"""

import dataclasses
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

if not __package__:  # Run as a file: put the repository root on the path.
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import click
import numpy as np
import numpy.typing as npt
from sklearn.metrics import f1_score

from bench.accuracy.recipe import Recipe, recipe_options, trained_store
from bench.accuracy.word_baselines import BASELINES, Baseline
from bench.arithmetic import markdown_table
from bench.errors import BenchError
from bench.labelled_sets import SETS, LabelledSet, read_set
from bench.machine import describe_machine
from bench.reports import chosen_names, write_json
from bench.steps import Result, Steps
from textclf.cli.commands import Command
from textclf.data.datasets import split_fingerprint
from textclf.environment import usable_cores
from textclf.runtime.loading import load_predictor
from textclf.store.model_store import ModelVersion, open_model

ROWS = ("baselines", "project")
ENCODER, CASCADE = "encoder", "cascade"
# Column titles, by the names of the models.
TITLES: Mapping[str, str] = {
    **{baseline.name: baseline.title for baseline in BASELINES},
    ENCODER: "this project, encoder alone",
    CASCADE: "this project, cascade",
}


def right(predicted: npt.NDArray[np.int64], labels: npt.NDArray[np.int64]) -> Result:
    """Return accuracy and macro F1 of class ids, both [n]; F1 averages the classes that occur in either."""
    return {
        "accuracy": float(np.mean(predicted == labels)),
        "macro_f1": float(f1_score(labels, predicted, average="macro")),
    }


def measured_baseline(baseline: Baseline, found: LabelledSet) -> Result:
    """Fit and measure a linear model; the seconds include the extraction of features."""
    texts, labels = found.learnable
    tested, truth = found.tested
    began = time.perf_counter()
    predict = baseline.fit(texts, labels, len(found.data.class_names))
    seconds = time.perf_counter() - began
    return {"fit_seconds": seconds, **right(predict(tested), truth)}


def measured_version(version: ModelVersion, found: LabelledSet, with_cascade: bool) -> Result:
    """Measure a version on the test part, with the engine that serves.

    Raises:
        ModelStoreError: if the engine is missing or damaged.
    """
    texts, truth = found.tested
    batch = load_predictor(version.path, threads=usable_cores(), cascade=with_cascade).predict_batch(texts)
    exits = None if batch.stages is None else float(np.mean(batch.stages.exits))
    return {
        "fit_seconds": version.manifest.training["seconds"],
        "epochs": len(version.manifest.training["history"]["loss"]),
        "exit_share": exits,
        **right(batch.predicted, truth),
    }


def check_version(version: ModelVersion, found: LabelledSet) -> None:
    """Check that the version has never seen the test texts.

    Raises:
        BenchError: if it has other classes, or was trained next to another test part.
    """
    names, tested = found.data.class_names, found.data.test
    if tested is None:
        return
    expected = split_fingerprint(names, {"test": tested})
    got = version.manifest.data.get("fingerprint", {}).get("test")
    if version.manifest.class_names != names or got != expected:
        raise BenchError(
            f"{version.path}: expected a version that was trained next to the test part of {found.name} (fingerprint "
            f"{expected}), got one next to {got}, which may have learnt test texts; train it on {found.path}"
        )


def measure(
    found: LabelledSet,
    rows: Sequence[str],
    recipe: Recipe,
    versions_dir: Path | None,
    work: Path,
    say: Callable[[str], None],
) -> dict[str, Result]:
    """Measure all models on one set; return the results by the names of TITLES.

    Args:
        found: the set.
        rows: some of ROWS.
        recipe: recipe of this project's training.
        versions_dir: folder that may contain a store with the set's name.
        work: folder for the trained versions and the results.
        say: receives a line for each step.

    Raises:
        BenchError: if a training fails, or a version was trained on another set.
    """
    folder = work / f"{found.name}-{found.data.fingerprint[:12]}"
    steps = Steps(folder / "steps.json", lambda line: say(f"{found.name}, {line}"))
    results: dict[str, Result] = {}
    if "baselines" in rows:
        for baseline in BASELINES:
            results[baseline.name] = steps.run(baseline.name, partial(measured_baseline, baseline, found))
    if "project" in rows:
        if versions_dir is not None and (versions_dir / found.name).exists():
            store = versions_dir / found.name
        else:
            say(f"{found.name}, training {recipe.epochs_of(found)} epochs …")
            store = trained_store(recipe, found, folder / recipe.digest())
        version = open_model(store)
        check_version(version, found)
        for name in (ENCODER, CASCADE):
            work_of = partial(measured_version, version, found, name == CASCADE)
            results[name] = steps.run(f"{name} {version.id}", work_of)
    return results


def tables(sets: Mapping[str, Result], results: Mapping[str, Mapping[str, Result]]) -> str:
    """Return tables of accuracy, macro F1 and seconds, a row per set and a column per model; `sets` gives the sizes."""
    columns = [name for name in TITLES if any(name in found for found in results.values())]

    def table(metric: str, cell: Callable[[float], str], sizes: Sequence[str] = ()) -> str:
        header = ["set", *sizes, *(TITLES[name] for name in columns)]
        rows = [
            [
                name,
                *(f"{sets[name][size]:,}" for size in sizes),
                *(cell(found[column][metric]) if column in found else "" for column in columns),
            ]
            for name, found in results.items()
        ]
        return markdown_table(header, rows)

    parts = {
        "Accuracy": table("accuracy", "{:.2%}".format, ("classes", "learnt from", "tested on")),
        "Macro F1": table("macro_f1", "{:.3f}".format),
        "Seconds to fit": table("fit_seconds", "{:.1f}".format),
    }
    exits = [exit_sentence(name, found[CASCADE]) for name, found in results.items() if CASCADE in found]
    return "\n\n".join(
        [*(f"{title}:\n\n{text}" for title, text in parts.items()), *(["\n".join(exits)] if exits else [])]
    )


def exit_sentence(name: str, results: Result) -> str:
    """Return a sentence with the epochs of the encoder and the share of texts that the linear stage predicts."""
    stage = "no linear stage"
    if results["exit_share"] is not None:
        stage = f"the linear stage predicts {results['exit_share']:.1%} of the test texts"
    return f"{name}: {results['epochs']} epochs; {stage}"


@click.command(cls=Command)
@click.option(
    "--data-dir",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with the sets: aclImdb_v1.tar.gz or aclImdb/, and folders named after the others.",
)
@click.option(
    "--work-dir",
    default="runs/bench",
    type=click.Path(path_type=Path),
    help="Working folder for everything that is made.",
)
@click.option("--sets", "set_names", default=",".join(SETS), help="Names, separated by commas.")
@click.option("--rows", default=",".join(ROWS), help="Parts to measure, separated by commas.")
@click.option(
    "--versions",
    "versions_dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with model stores named after sets: they are measured instead of trained.",
)
@recipe_options
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write all results to this JSON file.")
def main(
    data_dir: Path,
    work_dir: Path,
    set_names: str,
    rows: str,
    versions_dir: Path | None,
    recipe: Recipe,
    json_path: Path | None,
) -> None:
    """Measure accuracy on labelled sets, next to linear models on words."""
    names, wanted = chosen_names(set_names, list(SETS), "--sets"), chosen_names(rows, ROWS, "--rows")
    say = partial(click.echo, err=True)
    machine = describe_machine()
    click.echo(machine)
    work = work_dir.absolute() / "accuracy"
    sets: dict[str, Result] = {}
    results: dict[str, dict[str, Result]] = {}
    for name in names:
        found = read_set(name, data_dir, work / "datasets")
        sets[name] = {
            "classes": len(found.data.class_names),
            "learnt from": len(found.learnable[0]),
            "tested on": len(found.tested[0]),
            "fingerprint": found.data.fingerprint,
            "counts": dataclasses.asdict(found.data.counts),
        }
        results[name] = measure(found, wanted, recipe, versions_dir, work, say)
    click.echo(f"\n{tables(sets, results)}")
    if json_path is not None:
        content = {"machine": machine, "recipe": dataclasses.asdict(recipe), "sets": sets, "figures": results}
        write_json(json_path, content)


if __name__ == "__main__":
    main()
