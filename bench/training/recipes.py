"""Comparison of training recipes: variations of a base, trained on the same few texts.

Recipes are measured on the selection set and on training texts that no recipe learns from. The calibration set and the
test part are not used. A repeated run skips finished trainings.

    python -m bench.training.recipes --data-dir DATA --json recipes.json \\
        --vary "--init-lr 5e-5" --vary "--epochs 3" --vary "--epochs 3 --max-length 512"

See bench/README.md.
"""

import dataclasses
import hashlib
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

if not __package__:  # Run as a file: put the repository root on the path.
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import click
import numpy as np

from bench.accuracy.cascade_variants import IntArray, difference
from bench.arithmetic import markdown_table
from bench.errors import BenchError
from bench.labelled_sets import SETS, read_set
from bench.machine import describe_machine, keep_to_cores
from bench.reports import write_json
from bench.retraining.runs import points
from bench.steps import Result, Steps
from bench.training.runs import Drawn, both, code_digest, draw, train_here
from textclf.cli.commands import Command
from textclf.cli.options import changed_options
from textclf.config import DataOptions, TrainingOptions
from textclf.data.datasets import Dataset
from textclf.data.splits import Split
from textclf.encoder_handles import EMBEDDED_ENCODER
from textclf.errors import ConfigError, TextClfError
from textclf.stats.calibration import softmax
from textclf.stats.metrics import classification_metrics
from train_model import Training

BASE = f"--encoder {EMBEDDED_ENCODER} --max-length 256 --truncation head+tail --epochs 1 --init-lr 1e-4"
# Share of the training texts for the validation that chooses the best epoch.
_OWN_VALIDATION = 0.1
# Options of the data, of checkpoints and of early stopping are the same for all recipes.
_NOT_OF_A_RECIPE = {*DataOptions().to_dict(), "checkpoint_steps", "patience"}


@click.command(add_help_option=False)
@changed_options
def _options_in(changes: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a train_model.py command line, for Training."""
    return changes


@dataclass(frozen=True)
class Variation:
    """Recipe of the comparison.

    Attributes:
        title: its options on the command line.
        options: options of Training.
    """

    title: str
    options: Mapping[str, Any]

    @property
    def epochs(self) -> int:
        """Return the number of epochs."""
        return int(self.options.get("epochs", TrainingOptions().epochs))

    def digest(self, *others: object) -> str:
        """Return 12 hex digits that change with the options and the other values."""
        return hashlib.sha256(json.dumps([dict(self.options), *others], sort_keys=True).encode()).hexdigest()[:12]


def variations_of(base: str, variations: Sequence[str]) -> list[Variation]:
    """Return the base recipe, and the base with the options of each variation.

    Args:
        base: options of train_model.py.
        variations: more options, which override those of the base.

    Raises:
        BenchError: if train_model.py rejects an option or value, or the option is not part of a recipe.
    """
    found = []
    for words in ("", *variations):
        try:
            options = _options_in.main([*shlex.split(base), *shlex.split(words)], standalone_mode=False)
            if refused := sorted(set(options) & _NOT_OF_A_RECIPE):
                raise ConfigError(f"{', '.join(refused)} is the same for all recipes")
            Training(dataset_path="", **options)  # Reject bad values before hours of training.
        except (ValueError, click.ClickException, TextClfError) as error:
            said = error.format_message() if isinstance(error, click.ClickException) else str(error)
            raise BenchError(
                f"--base, --vary: expected options of train_model.py, got {base} {words}: {said}"
            ) from None
        found.append(Variation(words or base, options))
    return found


def measured_texts(data: Dataset, learnt: int, count: int) -> Split:
    """Return the selection set and the last `count` training texts, which exclude the first `learnt`.

    Raises:
        BenchError: if there are fewer training texts.
    """
    train = data.train
    if learnt + count > len(train):
        raise BenchError(
            f"--texts, --more-texts: expected at most {len(train):,} training texts together, got {learnt + count:,}"
        )
    start = len(train) - count
    return both(data.validation_select, Split(train.texts[start:], train.labels[start:]))


def trained(variation: Variation, drawn: Drawn, work: Path) -> Result:
    """Train a recipe; return the seconds of all steps and the logits of the validation texts.

    Raises:
        BenchError: if the training fails.
    """
    found = train_here(variation.options, drawn, variation.epochs, True, work)
    return {
        "fit_seconds": found["reading_seconds"] + sum(epoch["seconds"] for epoch in found["epochs"]),
        "others": found["others"],
        "logits": found["logits"],
    }


def compared(results: Sequence[Result], labels: IntArray, class_names: Sequence[str]) -> list[Result]:
    """Return accuracy and log loss of each recipe, and the difference in accuracy from the first.

    Args:
        results: results of trained(), with logits of n texts each.
        labels: class ids, [n].
        class_names: names of the classes.
    """
    logits = [np.array(each["logits"]) for each in results]
    rows = []
    for each, of_each in zip(results, logits, strict=True):
        metrics = classification_metrics(softmax(of_each), labels, class_names)
        rows.append(
            {
                **{name: each[name] for name in ("fit_seconds", "others")},
                **{"accuracy": metrics.accuracy, "log_loss": metrics.log_loss},
                **difference(labels, logits[0].argmax(axis=1), of_each.argmax(axis=1)),
            }
        )
    return rows


def table(variations: Sequence[Variation], rows: Sequence[Result]) -> str:
    """Return a table with a row per recipe."""
    header = ("recipe", "seconds", "others took", "log loss", "accuracy", "difference", "95% interval")
    cells = []
    for number, (variation, row) in enumerate(zip(variations, rows, strict=True)):
        gain = (points(row["difference"]), f"{points(row['low'])} to {points(row['high'])}") if number else ("", "")
        results = (
            f"{row['fit_seconds']:.0f}",
            f"{row['others']:.0%}",
            f"{row['log_loss']:.4f}",
            f"{row['accuracy']:.2%}",
        )
        cells.append((f"`{variation.title}`", *results, *gain))
    return markdown_table(header, cells)


@click.command(cls=Command)
@click.option(
    "--data-dir",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder that contains the data set: aclImdb_v1.tar.gz, aclImdb/ or a folder named after the set.",
)
@click.option("--set", "set_name", default="imdb", type=click.Choice(list(SETS)), help="Data set.")
@click.option(
    "--work-dir",
    default="runs/bench",
    type=click.Path(path_type=Path),
    help="Working folder for everything that is made.",
)
@click.option("--base", default=BASE, help="Options of train_model.py for every recipe.")
@click.option(
    "--vary", "variations", multiple=True, metavar="OPTIONS", help="Options of one more recipe; may be repeated."
)
@click.option("--texts", default=8000, type=click.IntRange(100), help="Number of texts to train on.")
@click.option(
    "--more-texts",
    default=4000,
    type=click.IntRange(0),
    help="Number of training texts to measure with, next to the selection set.",
)
@click.option("--cores", default=2, type=click.IntRange(1), help="Number of cores.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write all results to this JSON file.")
def main(
    data_dir: Path,
    set_name: str,
    work_dir: Path,
    base: str,
    variations: tuple[str, ...],
    texts: int,
    more_texts: int,
    cores: int,
    json_path: Path | None,
) -> None:
    """Compare training recipes on validation texts."""
    recipes = variations_of(base, variations)
    keep_to_cores(cores)
    machine = describe_machine()
    click.echo(machine)
    work = work_dir.absolute() / "recipes"
    found = read_set(set_name, data_dir, work / "datasets")
    folder = work / f"{set_name}-{found.data.fingerprint[:12]}-{texts}-{more_texts}"
    drawn = draw(found, texts, measured_texts(found.data, texts, more_texts), _OWN_VALIDATION, folder / "texts")
    say, code = partial(click.echo, err=True), code_digest()
    steps = Steps(folder / "steps.json", say)
    results = []
    for recipe in recipes:
        say(recipe.title)
        results.append(steps.run(recipe.digest(code, cores), partial(trained, recipe, drawn, folder / "training")))
    labels = drawn.validation.labels.astype(np.int64)
    rows = compared(results, labels, drawn.class_names)
    click.echo(
        f"\n{len(drawn.train):,} texts, {len(labels):,} to measure with; differences in points from the first:\n\n"
        f"{table(recipes, rows)}"
    )
    if json_path is not None:
        named = [{**dataclasses.asdict(recipe), **row} for recipe, row in zip(recipes, rows, strict=True)]
        write_json(json_path, {"machine": machine, "options": click.get_current_context().params, "recipes": named})


if __name__ == "__main__":
    main()
