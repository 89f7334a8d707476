"""Which recipe trains best: variations of one, on the same few texts, each a training of its own.

Measured on validation texts alone, so that the test part stays unread while a recipe is chosen. What was trained is not
trained again.

    python -m bench.recipes --data-dir DATA --json recipes.json \\
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

if not __package__:  # Run as a file: the packages lie beside its folder, not in it.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import click
import numpy as np

from bench.cascade_variants import IntArray, difference
from bench.errors import BenchError
from bench.figures import markdown_table
from bench.labelled_sets import SETS, read_set
from bench.machine import describe_machine, keep_to_cores
from bench.reports import write_json
from bench.retrainings import points
from bench.steps import Figures, Steps
from bench.training_runs import Drawn, code_digest, draw, train_here
from textclf import cli
from textclf.cli_options import changed_options
from textclf.config import TrainingOptions
from textclf.encoder_handles import EMBEDDED_ENCODER
from textclf.stats.calibration import softmax
from textclf.stats.metrics import classification_metrics

BASE = f"--encoder {EMBEDDED_ENCODER} --max-length 256 --truncation head+tail --epochs 1 --init-lr 1e-4"


@click.command()
@changed_options
def _options_in(changes: dict[str, Any]) -> dict[str, Any]:
    """What a command line of train_model.py says, as Training takes it."""
    return changes


@dataclass(frozen=True)
class Variation:
    """One recipe.

    Attributes:
        title: what the command line says of it.
        options: that Training is made with.
    """

    title: str
    options: Mapping[str, Any]

    def digest(self, code: str) -> str:
        """12 hex digits that change with the options and with the code that trains."""
        return hashlib.sha256(json.dumps([dict(self.options), code], sort_keys=True).encode()).hexdigest()[:12]


def variations_of(base: str, variations: Sequence[str]) -> list[Variation]:
    """The base, and it with each variation's options.

    Args:
        base: options of train_model.py.
        variations: more of them, each; these win over the base's.

    Raises:
        BenchError: train_model.py has no such option, or not with such a value.
    """
    found = []
    for words in ("", *variations):
        try:
            given = [*shlex.split(base), *shlex.split(words)]
            options = _options_in.main(given, standalone_mode=False)
        except (ValueError, click.ClickException) as error:
            said = error.format_message() if isinstance(error, click.ClickException) else str(error)
            raise BenchError(
                f"--base, --vary: expected options of train_model.py, got {base} {words}: {said}"
            ) from None
        found.append(Variation(words or base, options))
    return found


def trained(variation: Variation, drawn: Drawn, work: Path) -> Figures:
    """Seconds of the steps, their epochs, and what the trained model makes of the validation texts.

    Raises:
        BenchError: it fails.
    """
    epochs = int(variation.options.get("epochs", TrainingOptions().epochs))
    found = train_here(variation.options, drawn, epochs, True, work)
    return {
        "fit_seconds": sum(epoch["seconds"] for epoch in found["epochs"]),
        "others": found["others"],
        "logits": found["logits"],
    }


def compared(figures: Sequence[Figures], labels: IntArray, class_names: Sequence[str]) -> list[Figures]:
    """Accuracy and log loss of each recipe, and what is gained over the first.

    Args:
        figures: of trained(), with logits of n texts each.
        labels: class ids, [n].
        class_names: of the ids.
    """
    logits = [np.array(each["logits"]) for each in figures]
    rows = []
    for each, of_each in zip(figures, logits, strict=True):
        metrics = classification_metrics(softmax(of_each), labels, class_names)
        rows.append(
            {
                **{name: each[name] for name in ("fit_seconds", "others")},
                **{"accuracy": metrics.accuracy, "log_loss": metrics.log_loss},
                **difference(labels, logits[0].argmax(axis=1), of_each.argmax(axis=1)),
            }
        )
    return rows


def table(variations: Sequence[Variation], rows: Sequence[Figures]) -> str:
    """A row a recipe."""
    header = ("recipe", "seconds", "log loss", "accuracy", "difference", "95 % interval")
    cells = []
    for number, (variation, row) in enumerate(zip(variations, rows, strict=True)):
        gain = (points(row["difference"]), f"{points(row['low'])} to {points(row['high'])}") if number else ("", "")
        figures = (f"{row['fit_seconds']:.0f}", f"{row['log_loss']:.4f}", f"{row['accuracy']:.2%}")
        cells.append((f"`{variation.title}`", *figures, *gain))
    return markdown_table(header, cells)


@click.command(cls=cli.Command)
@click.option(
    "--data-dir",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Holds the set: aclImdb_v1.tar.gz or aclImdb/, or a folder with another name.",
)
@click.option("--set", "set_name", default="imdb", type=click.Choice(list(SETS)), help="Of texts.")
@click.option("--work-dir", default="runs/bench", type=click.Path(path_type=Path), help="For all that is made.")
@click.option("--base", default=BASE, help="Options of train_model.py that every training has.")
@click.option(
    "--vary", "variations", multiple=True, metavar="OPTIONS", help="More options, of one training; repeat it."
)
@click.option("--texts", default=8000, type=click.IntRange(0), help="To train on; 0: all there are.")
@click.option("--validation-texts", default=0, type=click.IntRange(0), help="That are measured with; 0: all there are.")
@click.option("--cores", default=2, type=click.IntRange(1), help="To train with.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write every figure here.")
def main(
    data_dir: Path,
    set_name: str,
    work_dir: Path,
    base: str,
    variations: tuple[str, ...],
    texts: int,
    validation_texts: int,
    cores: int,
    json_path: Path | None,
) -> None:
    """Compare recipes of training on validation texts."""
    recipes = variations_of(base, variations)
    keep_to_cores(cores)
    machine = describe_machine()
    click.echo(machine)
    work = work_dir.absolute() / "recipes"
    found = read_set(set_name, data_dir, work / "datasets")
    folder = work / f"{set_name}-{found.data.fingerprint[:12]}-{texts}-{validation_texts}"
    drawn = draw(found, texts, validation_texts, folder / "texts")
    code, steps = code_digest(), Steps(folder / "steps.json", partial(click.echo, err=True))
    figures = [
        steps.run(f"{recipe.title} ({recipe.digest(code)})", partial(trained, recipe, drawn, folder / "training"))
        for recipe in recipes
    ]
    labels = drawn.validation.labels.astype(np.int64)
    rows = compared(figures, labels, drawn.class_names)
    click.echo(
        f"\n{len(drawn.train):,} texts, {len(labels):,} validation texts; differences in points from the first:\n\n"
        f"{table(recipes, rows)}"
    )
    if json_path is not None:
        named = [{**dataclasses.asdict(recipe), **row} for recipe, row in zip(recipes, rows, strict=True)]
        write_json(json_path, {"machine": machine, "options": click.get_current_context().params, "recipes": named})


if __name__ == "__main__":
    main()
