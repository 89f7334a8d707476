"""The recipe of a version: the options that decide what a model becomes, without the data and the machine."""

from typing import Any

from textclf.config import ModelOptions, TrainingOptions
from textclf.store.manifest import Manifest
from textclf.store.recorded_options import model_options_of

# These options change how fast a model is trained, not the result.
_NOT_IN_RECIPE = ("precision", "checkpoint_steps")


def recipe_of_training(model_options: ModelOptions, training_options: TrainingOptions) -> dict[str, Any]:
    """The recipe of a training that has these options, as a dict to compare."""
    return _recipe({**model_options.to_dict(), **training_options.to_dict()})


def recipe_of_version(manifest: Manifest) -> dict[str, Any]:
    """The recipe that a version was trained with; an option newer than the version has its default."""
    options = {**TrainingOptions().to_dict(), **manifest.training.get("options", {})}
    return _recipe({**model_options_of(manifest), **options})


def options_of_version(manifest: Manifest) -> dict[str, Any]:
    """Fields of ModelOptions and TrainingOptions to train a version again; precision depends on the machine."""
    options = manifest.training.get("options", {})
    return {name: value for name, value in options.items() if name != "precision"} | model_options_of(manifest)


def _recipe(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in _NOT_IN_RECIPE}
