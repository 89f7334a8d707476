"""The command `textclf versions unsure`: a child version that marks predictions below a threshold as unsure."""

from pathlib import Path

import click

from textclf.cli.commands import Command
from textclf.errors import ModelStoreError
from textclf.evaluation.cost_table import CostTable
from textclf.evaluation.unsure_thresholds import UnsureTarget
from textclf.evaluation.unsure_version import held_out_scores, save_child, scores_on
from textclf.report.unsure import unsure_lines
from textclf.store.model_store import ModelStore, find_version


@click.command("unsure", cls=Command)
@click.argument("version", metavar="[ID]", required=False)
@click.option("--model-dir", type=click.Path(path_type=Path), default=Path("model"), help="The model store.")
@click.option(
    "--dataset-path",
    type=click.Path(path_type=Path),
    help="Data set whose calibration set is scored; its test part is not used. Without it the held-out texts of the "
    "version's drift reference are used.",
)
@click.option(
    "--target-precision",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Share of the sure predictions that must be right.",
)
@click.option("--costs", metavar="FILE", help="TOML file with the cost of an unsure prediction and of errors.")
def main(
    version: str | None, model_dir: Path, dataset_path: Path | None, target_precision: float | None, costs: str | None
) -> None:
    """Save a child version that marks the predictions it is unsure of.

    Give --target-precision or --costs. The thresholds are chosen on texts that the model was not fitted to. The child
    does not become current until it is promoted.

    \b
    Examples:
      textclf versions unsure --model-dir my-models --target-precision 0.95
      textclf versions unsure --model-dir my-models --costs costs.toml
    """
    target = UnsureTarget(target_precision, CostTable.read(costs) if costs else None)
    store = ModelStore(model_dir)
    store.check_exists()
    parent = find_version(model_dir, version)
    if parent.id not in store.version_ids():
        raise ModelStoreError(f"{parent.path}: expected a version of {model_dir}; name the store that contains it")
    scores = held_out_scores(parent) if dataset_path is None else scores_on(parent, dataset_path, _warn)
    child = save_child(store, parent, scores, target)
    for line in unsure_lines(child.manifest.unsure):
        click.echo(line)
    click.echo(f"saved {child.id}; make it current: textclf versions promote {child.id} {store.option}")


def _warn(sentence: str) -> None:
    click.echo(f"warning: {sentence}", err=True)
