"""Recipes: options of a training that are chosen by the number of labels per class.

A recipe never changes an option that the user gives, and leaves each of them its effect. The rows below 128 labels were
chosen by experiments (docs/training.md). The row from 128 to 499 was not measured.
"""

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from textclf.config import ModelOptions, TrainingOptions
from textclf.data.datasets import Dataset
from textclf.evaluation.cost_table import CostTable

# With fewer texts, the calibration set is too small to fit a temperature and to measure a model.
MIN_TEXTS_TO_HOLD_OUT = 500
# With fewer selection texts the best epoch is chance.
_MIN_SELECTION_TEXTS = 100
# A largest class that is more than this many times as large as the smallest one calls for class weights.
_MAX_IMBALANCE = 10
# The value of train_on with which the calibration set is held out.
_HOLD_OUT = "train+selection"

_DEFAULTS = "defaults"
_LAST_OF_ALL = {"select": "last", "train_on": "all"}
_FROM_PROBE = {"pooling": "mean", "head_init": "probe", **_LAST_OF_ALL}
_FINE_TUNING = {"init_lr": 1e-4, "batch_size": 8, "epochs": 4}
# Options that act on fine-tuning only. A probe alone would ignore them.
_OF_FINE_TUNING = (
    "epochs", "min_steps", "init_lr", "layer_decay", "r_drop", "teachers", "teacher_weight", "optimiser", "warmup",
    "tokens_per_batch", "batch_size", "patience", "metric", "dropout",
)  # fmt: skip
# Labels per class below which a row applies, its name, and its options. With 8 labels per class and no test part, 6 are
# left to train on: enough for fine-tuning, which a cross-validation compares with the probe.
_ROWS: tuple[tuple[float, str, dict[str, Any]], ...] = (
    (6, "probe", {**_FROM_PROBE, "epochs": 0}),
    (128, "probe, then fine-tuning", {**_FROM_PROBE, **_FINE_TUNING, "min_steps": 60}),
    (500, "fine-tuning", {**_LAST_OF_ALL, **_FINE_TUNING, "min_steps": 150}),
    (float("inf"), _DEFAULTS, {}),
)


@dataclass(frozen=True)
class Recipe:
    """Options of a training, and why they were chosen.

    Attributes:
        name: name of the row.
        reason: the facts that decided, for people.
        options: fields of ModelOptions and TrainingOptions, all of them in textclf.config.RECIPE_OPTIONS.
        asks_for_class_weights: whether class weights should be tried, because class sizes differ very much.
    """

    name: str
    reason: str
    options: dict[str, Any]
    asks_for_class_weights: bool = False

    def __str__(self) -> str:
        values = ", ".join(f"{name} {value}" for name, value in self.options.items())
        if not values and self.name != _DEFAULTS:
            values = "all its options are given"
        return f"{self.name}, because {self.reason}{values and ': '}{values}"

    def to_dict(self) -> dict[str, str]:
        """The name and the reason, as a version records them."""
        return {"name": self.name, "reason": self.reason}


def choose_recipe(
    counts: NDArray[np.integer[Any]], selection_texts: int, reads_test: bool, given: Mapping[str, Any] | None = None
) -> Recipe:
    """The recipe for a number of labels.

    The median class decides. A rare class among large ones is a matter of class weights, not of few labels. An option
    that only fine-tuning reads asks for fine-tuning; epochs 0 asks for the probe.

    Args:
        counts: labels of each class in the training and validation texts, int [K].
        selection_texts: number of texts in the selection set.
        reads_test: whether there is a test part; without one the selection set measures the model.
        given: options that the user gives, by name.
    """
    given = {} if given is None else given
    labels, texts = float(np.median(counts)), int(counts.sum())
    reason = f"the median class has {labels:,.1f}".removesuffix(".0") + f" labels, all classes {texts:,}"
    row = next(index for index, (below, _, _) in enumerate(_ROWS) if labels < below)
    if given.get("epochs") == 0 and row > 0:
        row, reason = 0, f"epochs is 0; {reason}"
    elif row == 0 and (asking := _asking_for_fine_tuning(given)):
        row, reason = 1, f"{', '.join(asking)} asks for fine-tuning; {reason}"
    _, name, options = _ROWS[row]
    options = dict(options)
    if not reads_test:
        options.pop("train_on", None)
    elif texts >= MIN_TEXTS_TO_HOLD_OUT and "train_on" in options:
        options["train_on"] = _HOLD_OUT
    is_fitted_to_selection = given.get("train_on", "train") != "train"
    if name == _DEFAULTS and (selection_texts < _MIN_SELECTION_TEXTS or is_fitted_to_selection):
        options["select"] = "last"
    if _needs_best_epoch(given):
        # The best epoch takes texts that nothing is fitted to.
        options.pop("train_on", None)
        if given.get("patience") or not is_fitted_to_selection:
            options.pop("select", None)
    if "epochs" in given:
        options.pop("min_steps", None)
    options = {key: value for key, value in options.items() if key not in given}
    is_imbalanced = int(counts.max()) > _MAX_IMBALANCE * int(counts.min())
    return Recipe(name, reason, options, is_imbalanced and "class_weights" not in given)


def _asking_for_fine_tuning(given: Mapping[str, Any]) -> list[str]:
    """Names of the given options that a probe alone would ignore or contradict."""
    asking = [name for name in _OF_FINE_TUNING if given.get(name)]
    others = {"select": "best", "head_init": "random"}
    return asking + [name for name, value in others.items() if given.get(name) == value]


def _needs_best_epoch(given: Mapping[str, Any]) -> bool:
    """Whether the given options choose the epoch by its results."""
    asked = "best" if given.get("patience") or given.get("metric") else "last"
    return bool(given.get("select", asked) == "best")


def complete_options(
    model: ModelOptions, training: TrainingOptions, dataset: Dataset, given: Collection[str], chooses: bool
) -> tuple[tuple[ModelOptions, TrainingOptions], Recipe | None]:
    """The options for a data set, and the recipe that chose them, if one `chooses`.

    Without a recipe, options are as they are; but train_on "all" of an earlier version, which is not given, becomes
    "train+selection" where the texts are enough to hold out some. The option `costs` becomes the values of its file.

    Args:
        model, training: options that are given, and the defaults or an earlier version's of the others.
        dataset: the data set of the training.
        given: names of the options that stay.
        chooses: whether a recipe chooses the options that are not given.

    Raises:
        ConfigError: if two options contradict each other, or the cost table is wrong.
    """
    labelled = dataset.train.joined(dataset.validation_select, dataset.validation_calibrate)
    recipe, options = None, {}
    if chooses:
        counts = np.bincount(labelled.labels, minlength=len(dataset.class_names))
        values = {**model.to_dict(), **training.to_dict()}
        asked = {name: values[name] for name in given if name in values}
        recipe = choose_recipe(counts, len(dataset.validation_select), dataset.test is not None, asked)
        options = dict(recipe.options)
    elif training.train_on == "all" and "train_on" not in given and len(labelled) >= MIN_TEXTS_TO_HOLD_OUT:
        options = {"train_on": _HOLD_OUT}
        click.echo(
            f"train on:      {_HOLD_OUT} instead of all, because {len(labelled):,} texts are enough to hold out some"
        )
    model = dataclasses.replace(model, **ModelOptions.pop_from(options))
    training = dataclasses.replace(training, **TrainingOptions.pop_from(options))
    training.check_together()
    if training.costs:  # Now, because the training takes long; and as values, because the file may change.
        costs = CostTable.read(training.costs)
        costs.matrix(dataset.class_names)
        training = dataclasses.replace(training, costs=costs.to_json())
    return (model, training), recipe
