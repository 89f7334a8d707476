"""Recipes: options of a training that are chosen by the number of labels per class.

A recipe never changes an option that the user gives. The rows below 128 labels were chosen by experiments
(docs/training.md). The row from 128 to 499 was not measured.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# With fewer texts, the calibration set is too small to fit a temperature and to measure a model.
MIN_TEXTS_TO_HOLD_OUT = 500
# With fewer selection texts the best epoch is chance.
_MIN_SELECTION_TEXTS = 100
# A largest class that is more than this many times as large as the smallest one calls for class weights.
_MAX_IMBALANCE = 10

_LAST_OF_ALL = {"select": "last", "train_on": "all"}
_FROM_PROBE = {"pooling": "mean", "head_init": "probe", **_LAST_OF_ALL}
_FINE_TUNING = {"init_lr": 1e-4, "batch_size": 8, "epochs": 4}
# Labels per class below which a row applies, its name, and its options.
_ROWS: tuple[tuple[float, str, dict[str, Any]], ...] = (
    (8, "probe", {**_FROM_PROBE, "epochs": 0}),
    (128, "probe, then fine-tuning", {**_FROM_PROBE, **_FINE_TUNING, "min_steps": 60}),
    (500, "fine-tuning", {**_LAST_OF_ALL, **_FINE_TUNING, "min_steps": 150}),
    (float("inf"), "defaults", {}),
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
        values = ", ".join(f"{name} {value}" for name, value in self.options.items()) or "no other options"
        return f"{self.name}, because {self.reason}: {values}"

    def to_dict(self) -> dict[str, str]:
        """The name and the reason, as a version records them."""
        return {"name": self.name, "reason": self.reason}


def choose_recipe(
    counts: NDArray[np.integer[Any]], selection_texts: int, reads_test: bool, given: Collection[str] = ()
) -> Recipe:
    """The recipe for a number of labels.

    The median class decides. A rare class among large ones is a matter of class weights, not of few labels.

    Args:
        counts: labels of each class in the training and validation texts, int [K].
        selection_texts: number of texts in the selection set.
        reads_test: whether there is a test part; without one the selection set measures the model.
        given: names of the options that the user gives.
    """
    labels, texts = float(np.median(counts)), int(counts.sum())
    reason = f"the median class has {labels:,.0f} labels, all classes {texts:,}"
    asked = set(given)
    _, name, options = next(row for row in _ROWS if labels < row[0])
    options = dict(options)
    if not reads_test:
        options.pop("train_on", None)
    elif texts >= MIN_TEXTS_TO_HOLD_OUT and "train_on" in options:
        options["train_on"] = "train+selection"
    if name == "defaults" and selection_texts < _MIN_SELECTION_TEXTS:
        options["select"] = "last"
    options = {key: value for key, value in options.items() if key not in asked}
    if asked & {"select", "patience"}:
        # The user chooses the epoch, which takes texts that nothing is fitted to.
        options = {key: value for key, value in options.items() if key not in ("select", "train_on")}
    if "epochs" in asked:
        options.pop("min_steps", None)
    if "head_init" in asked and options.get("epochs") == 0:
        del options["epochs"]
    is_imbalanced = int(counts.max()) > _MAX_IMBALANCE * int(counts.min())
    return Recipe(name, reason, options, is_imbalanced and "class_weights" not in asked)
