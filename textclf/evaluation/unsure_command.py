"""The command `textclf versions unsure`: a child version that marks predictions below a threshold as unsure."""

from pathlib import Path

import click

from textclf.cli.commands import Command
from textclf.errors import ModelStoreError
from textclf.evaluation.unsure_thresholds import calibration_split, measured_thresholds, save_child
from textclf.report.unsure import unsure_lines
from textclf.store.model_store import ModelStore, find_version


@click.command("unsure", cls=Command)
@click.argument("version", metavar="[ID]", required=False)
@click.option("--model-dir", type=click.Path(path_type=Path), default=Path("model"), help="The model store.")
@click.option(
    "--dataset-path",
    type=click.Path(path_type=Path),
    required=True,
    help="Data set of the training; its test part is not used.",
)
@click.option(
    "--target-precision",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    required=True,
    help="Share of the sure predictions of each class that must be right.",
)
def main(version: str | None, model_dir: Path, dataset_path: Path, target_precision: float) -> None:
    """Save a child version that marks the predictions it is unsure of.

    The thresholds are chosen on the calibration set. The child does not become current until it is promoted.

    \b
    Example:
      textclf versions unsure --model-dir my-models --dataset-path reviews.csv --target-precision 0.95
    """
    store = ModelStore(model_dir)
    store.check_exists()
    parent = find_version(model_dir, version)
    if parent.id not in store.version_ids():
        raise ModelStoreError(f"{parent.path}: expected a version of {model_dir}; name the store that contains it")
    unsure = measured_thresholds(parent, calibration_split(parent, dataset_path, _warn), target_precision)
    for line in unsure_lines(unsure):
        click.echo(line)
    child = save_child(store, parent, unsure)
    click.echo(f"saved {child}; make it current: textclf versions promote {child} {store.option}")


def _warn(sentence: str) -> None:
    click.echo(f"warning: {sentence}", err=True)
