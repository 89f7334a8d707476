"""One training recipe for every set, run by train_model.py."""

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from bench.labelled_sets import SETS, LabelledSet
from bench.retraining.runs import run
from textclf.cli.options import field_option, record_options
from textclf.config import DataOptions, EncoderOptions, ModelOptions, TrainingOptions
from textclf.encoder_handles import EMBEDDED_ENCODER
from textclf.runtime.backend import estimated_lengths
from textclf.store.model_store import ModelStore

_OPTIONS = TrainingOptions()


@dataclass(frozen=True)
class Recipe:
    """Options of a training; the fields are command-line options.

    Attributes:
        encoder, max_length, truncation, init_lr, r_drop, tokens_per_batch, val_split: options of train_model.py.
        epochs: passes over the training texts; None: the fewest that the next three fields allow.
        min_epochs: minimum number of epochs.
        min_steps: minimum number of steps.
        steps_per_class: minimum number of steps per class.
    """

    encoder: str
    max_length: int
    truncation: str
    init_lr: float
    r_drop: float
    tokens_per_batch: int
    val_split: float
    epochs: int | None
    min_epochs: int
    min_steps: int
    steps_per_class: int

    def digest(self) -> str:
        """Return 12 hex digits that change with the recipe."""
        return hashlib.sha256(json.dumps(dataclasses.asdict(self), sort_keys=True).encode()).hexdigest()[:12]

    def epochs_of(self, found: LabelledSet) -> int:
        """Return the recipe's epochs, or the fewest that make enough steps.

        Lengths of texts, and with them the size of a batch, are estimated from characters.
        """
        if self.epochs is not None:
            return self.epochs
        texts, _ = found.learnable
        tokens = int(np.minimum(estimated_lengths(texts), self.max_length).sum())
        batches = max(len(texts) / _OPTIONS.batch_size, tokens / self.tokens_per_batch)
        steps = math.ceil((1 - self.val_split) * batches)
        wanted = max(self.min_steps, self.steps_per_class * len(found.data.class_names))
        return max(self.min_epochs, math.ceil(wanted / steps))


recipe_options = record_options(
    "recipe",
    Recipe,
    {
        "encoder": field_option(EncoderOptions, "encoder", default=EMBEDDED_ENCODER),
        "max_length": field_option(ModelOptions, "max_length", is_checked=True, default=512),
        "truncation": field_option(ModelOptions, "truncation", default="head+tail"),
        "init_lr": field_option(TrainingOptions, "init_lr", is_checked=True, default=1e-4),
        "r_drop": field_option(TrainingOptions, "r_drop", is_checked=True, default=1.0),
        "tokens_per_batch": field_option(TrainingOptions, "tokens_per_batch", is_checked=True, default=8192),
        "val_split": field_option(DataOptions, "val_split", is_checked=True, default=0.1),
        "epochs": click.option(
            "--epochs",
            type=click.IntRange(1),
            help="Epochs of every training.",
            show_default="the fewest that the next three options allow",
        ),
        "min_epochs": click.option(
            "--least-epochs", "min_epochs", default=3, type=click.IntRange(1), help="Minimum number of epochs."
        ),
        "min_steps": click.option(
            "--least-steps", "min_steps", default=900, type=click.IntRange(1), help="Minimum number of steps."
        ),
        "steps_per_class": click.option(
            "--steps-per-class", default=20, type=click.IntRange(0), help="Minimum number of steps per class."
        ),
    },
)


def trained_store(recipe: Recipe, found: LabelledSet, folder: Path) -> Path:
    """Return a model store with a version of the set, trained by the recipe unless the store has one.

    Args:
        recipe: training options.
        found: the set.
        folder: folder of this set and recipe; a killed training continues in it.

    Raises:
        BenchError: if the training fails.
    """
    store = folder / "model"
    if not ModelStore(store).version_ids():
        folder.mkdir(parents=True, exist_ok=True)
        renames = [word for pair in SETS[found.name].renamed.items() for word in ("--rename-label", "=".join(pair))]
        paths = ("--dataset-path", found.path, "--model-dir", store, "--runs-dir", folder / "runs")
        reading = ("--encoder", recipe.encoder, "--max-length", recipe.max_length, "--truncation", recipe.truncation)
        fitting = ("--init-lr", recipe.init_lr, "--r-drop", recipe.r_drop, "--epochs", recipe.epochs_of(found))
        # All options are those of `recipe`, whatever the number of texts.
        batches = ("--tokens-per-batch", recipe.tokens_per_batch, "--val-split", recipe.val_split, "--recipe", "none")
        run("train_model.py", *paths, *renames, *reading, *fitting, *batches, "--name", found.name, log=folder / "log")
    return store
