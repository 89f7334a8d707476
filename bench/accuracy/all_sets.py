"""How often each is right on six labelled sets: this project by one recipe, and linear models on words.

The recipe was found on the validation texts of IMDB; nothing is tuned to the other sets, nor are the linear models.
They learn from all texts that this project gets to see, training and validation; all are measured on the same test
part, this project by the engine that serves, with the cascade and without it. A training or measurement that was done
is not done again.

    python -m bench.accuracy.all_sets --data-dir DATA --json accuracy.json

DATA holds the sets (bench.labelled_sets). See bench/README.md.
"""

import dataclasses
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

if not __package__:  # Run as a file: the packages lie beside its folder, not in it.
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
from bench.steps import Figures, Steps
from textclf.cli.commands import Command
from textclf.data.datasets import split_fingerprint
from textclf.environment import usable_cores
from textclf.runtime.loading import load_predictor
from textclf.store.model_store import ModelVersion, open_model

ROWS = ("baselines", "project")
ENCODER, CASCADE = "encoder", "cascade"
# The columns, by the names of their figures.
TITLES: Mapping[str, str] = {
    **{baseline.name: baseline.title for baseline in BASELINES},
    ENCODER: "this project, encoder alone",
    CASCADE: "this project, cascade",
}


def right(predicted: npt.NDArray[np.int64], labels: npt.NDArray[np.int64]) -> Figures:
    """Accuracy, and F1 as the mean over the classes that occur among labels or predictions; both [n]."""
    return {
        "accuracy": float(np.mean(predicted == labels)),
        "macro_f1": float(f1_score(labels, predicted, average="macro")),
    }


def measured_baseline(baseline: Baseline, found: LabelledSet) -> Figures:
    """Fitted and measured: features are part of the fitting."""
    texts, labels = found.learnable
    tested, truth = found.tested
    began = time.perf_counter()
    predict = baseline.fit(texts, labels, len(found.data.class_names))
    seconds = time.perf_counter() - began
    return {"fit_seconds": seconds, **right(predict(tested), truth)}


def measured_version(version: ModelVersion, found: LabelledSet, with_cascade: bool) -> Figures:
    """A version's answers to the test part, as its server gives them.

    Raises:
        ModelStoreError: its engine is not here, or damaged.
    """
    texts, truth = found.tested
    answer = load_predictor(version.path, threads=usable_cores(), cascade=with_cascade).predict_batch(texts)
    exits = None if answer.stages is None else float(np.mean(answer.stages.exits))
    return {
        "fit_seconds": version.manifest.training["seconds"],
        "epochs": len(version.manifest.training["history"]["loss"]),
        "exit_share": exits,
        **right(answer.predicted, truth),
    }


def check_version(version: ModelVersion, found: LabelledSet) -> None:
    """Raise unless the version has never seen the test texts.

    Raises:
        BenchError: it has other classes, or was made with another test part.
    """
    names, tested = found.data.class_names, found.data.test
    if tested is None:
        return
    expected = split_fingerprint(names, {"test": tested})
    got = version.manifest.data.get("fingerprint", {}).get("test")
    if version.manifest.class_names != names or got != expected:
        raise BenchError(
            f"{version.path}: expected a version that was trained beside the test part of {found.name} (fingerprint "
            f"{expected}), got one beside {got}, which may have learnt test texts; train it on {found.path}"
        )


def measure(
    found: LabelledSet,
    rows: Sequence[str],
    recipe: Recipe,
    versions_dir: Path | None,
    work: Path,
    say: Callable[[str], None],
) -> dict[str, Figures]:
    """Everything about one set, by the names of TITLES.

    Args:
        found: the set.
        rows: some of ROWS.
        recipe: of this project's training.
        versions_dir: where a trained version may be, in a folder with the set's name.
        work: gets what is trained, and the figures.
        say: gets a line for each step.

    Raises:
        BenchError: a training fails, or a version is of another set.
    """
    folder = work / f"{found.name}-{found.data.fingerprint[:12]}"
    steps = Steps(folder / "steps.json", lambda line: say(f"{found.name}, {line}"))
    figures: dict[str, Figures] = {}
    if "baselines" in rows:
        for baseline in BASELINES:
            figures[baseline.name] = steps.run(baseline.name, partial(measured_baseline, baseline, found))
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
            figures[name] = steps.run(f"{name} {version.id}", work_of)
    return figures


def tables(sets: Mapping[str, Figures], figures: Mapping[str, Mapping[str, Figures]]) -> str:
    """Accuracy, macro F1 and seconds, a row a set and a column a model; `sets` holds the sizes."""
    columns = [name for name in TITLES if any(name in found for found in figures.values())]

    def table(figure: str, cell: Callable[[float], str], sizes: Sequence[str] = ()) -> str:
        header = ["set", *sizes, *(TITLES[name] for name in columns)]
        rows = [
            [
                name,
                *(f"{sets[name][size]:,}" for size in sizes),
                *(cell(found[column][figure]) if column in found else "" for column in columns),
            ]
            for name, found in figures.items()
        ]
        return markdown_table(header, rows)

    parts = {
        "Accuracy": table("accuracy", "{:.2%}".format, ("classes", "learnt from", "tested on")),
        "Macro F1": table("macro_f1", "{:.3f}".format),
        "Seconds to fit": table("fit_seconds", "{:.1f}".format),
    }
    exits = [exit_sentence(name, found[CASCADE]) for name, found in figures.items() if CASCADE in found]
    return "\n\n".join(
        [*(f"{title}:\n\n{text}" for title, text in parts.items()), *(["\n".join(exits)] if exits else [])]
    )


def exit_sentence(name: str, figures: Figures) -> str:
    """How long a set's encoder was trained, and what the linear stage answers, in words."""
    stage = "no linear stage"
    if figures["exit_share"] is not None:
        stage = f"the linear stage answers {figures['exit_share']:.1%} of the test texts"
    return f"{name}: {figures['epochs']} epochs; {stage}"


@click.command(cls=Command)
@click.option(
    "--data-dir",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Holds the sets: aclImdb_v1.tar.gz or aclImdb/, and folders with the other names.",
)
@click.option("--work-dir", default="runs/bench", type=click.Path(path_type=Path), help="For all that is made.")
@click.option("--sets", "set_names", default=",".join(SETS), help="Names, with commas between them.")
@click.option("--rows", default=",".join(ROWS), help="What is measured, with a comma between.")
@click.option(
    "--versions",
    "versions_dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Holds model stores with the names of sets: these are measured, and not trained.",
)
@recipe_options
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write every figure here.")
def main(
    data_dir: Path,
    work_dir: Path,
    set_names: str,
    rows: str,
    versions_dir: Path | None,
    recipe: Recipe,
    json_path: Path | None,
) -> None:
    """Measure accuracy on labelled sets, beside linear models on words."""
    names, wanted = chosen_names(set_names, list(SETS), "--sets"), chosen_names(rows, ROWS, "--rows")
    say = partial(click.echo, err=True)
    machine = describe_machine()
    click.echo(machine)
    work = work_dir.absolute() / "accuracy"
    sets: dict[str, Figures] = {}
    figures: dict[str, dict[str, Figures]] = {}
    for name in names:
        found = read_set(name, data_dir, work / "datasets")
        sets[name] = {
            "classes": len(found.data.class_names),
            "learnt from": len(found.learnable[0]),
            "tested on": len(found.tested[0]),
            "fingerprint": found.data.fingerprint,
            "counts": dataclasses.asdict(found.data.counts),
        }
        figures[name] = measure(found, wanted, recipe, versions_dir, work, say)
    click.echo(f"\n{tables(sets, figures)}")
    if json_path is not None:
        content = {"machine": machine, "recipe": dataclasses.asdict(recipe), "sets": sets, "figures": figures}
        write_json(json_path, content)


if __name__ == "__main__":
    main()
