"""The recipe of a version: the options that decide what a model becomes, without the data and the machine."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from textclf.config import RECIPE_OPTIONS, TARGET_OPTIONS, ModelOptions, TrainingOptions
from textclf.store.manifest import Manifest
from textclf.store.model_store import path_or_version
from textclf.store.recorded_options import model_options_of, target_options_of

# These options change how fast a model is trained, not the result.
_NOT_IN_RECIPE = ("precision", "checkpoint_steps")
_OF_ITS_MACHINE = ("precision", "teachers")
# Options that depend on the number of labels; patience needs the best epoch.
_CHOSEN_AGAIN = (*RECIPE_OPTIONS, "patience")


def recipe_of_training(model_options: ModelOptions, training_options: TrainingOptions) -> dict[str, Any]:
    """The recipe of a training that has these options, as a dict to compare."""
    return _recipe({**model_options.to_dict(), **training_options.to_dict()})


def recipe_of_version(manifest: Manifest) -> dict[str, Any]:
    """The recipe that a version was trained with; an option newer than the version has its default."""
    options = {**TrainingOptions().to_dict(), **manifest.training.get("options", {})}
    return _recipe({**model_options_of(manifest), **options})


def options_of_version(manifest: Manifest) -> dict[str, Any]:
    """Fields of ModelOptions and TrainingOptions to train a version again, without those of its machine.

    Precision depends on the machine. A teacher is a path there, and may not know the texts of another training. The
    thresholds of unsure predictions are chosen again for the same target, also if they were chosen after the training.
    """
    options = manifest.training.get("options", {})
    kept = {name: value for name, value in options.items() if name not in _OF_ITS_MACHINE}
    return kept | target_options_of(manifest) | model_options_of(manifest)


def options_of_challenger(
    manifest: Manifest, changes: Mapping[str, Any], store: Path, recipe: str = "none"
) -> dict[str, Any]:
    """The options of a version, changed; ids of teachers become their folders in the store.

    With recipe "auto", the options that depend on the number of labels are left out, because they are chosen again.
    Prints the teachers of the version if the changes name none.
    """
    changes = {**changes}
    if "teachers" in changes:
        changes["teachers"] = [path_or_version(path, store) for path in changes["teachers"]]
    elif paths := [teacher["path"] for teacher in manifest.training.get("teachers", [])]:
        click.echo(
            f"teachers:      the champion had {', '.join(paths)}; the challenger has none unless you name them again"
        )
    kept = options_of_version(manifest)
    if any(changes.get(name) for name in TARGET_OPTIONS):  # Only one of them may be set.
        kept = {name: value for name, value in kept.items() if name not in TARGET_OPTIONS}
    if recipe == "auto":
        kept = {name: value for name, value in kept.items() if name not in _CHOSEN_AGAIN}
    return kept | changes


def _recipe(options: dict[str, Any]) -> dict[str, Any]:
    # JSON has lists for tuples.
    kept = {name: value for name, value in options.items() if name not in _NOT_IN_RECIPE}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in kept.items()}
