"""Checks before a retraining: problems that would otherwise appear after an hour of work."""

import importlib.util
import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from textclf.data.source_path import searched, source_path
from textclf.errors import DatasetError, NothingNewError, TooFewTextsError, TrainingError
from textclf.retraining_options import CombineOptions, GateOptions


class RetrainNeeds(NamedTuple):
    """Labels that a retraining needs and can use.

    Attributes:
        min_labels: about how many labelled texts it needs.
        add_classes: whether it also uses labels that the champion does not know.
        renames: its new names for labels.
    """

    min_labels: int
    add_classes: bool = False
    renames: Mapping[str, str] = MappingProxyType({})


# Packages of training that a serving environment lacks.
_TRAINING_PACKAGES = ("tensorflow", "tf_keras", "datasketch")


def check_packages() -> None:
    """Check that the packages for training are installed.

    Raises:
        TrainingError: if one is missing.
    """
    missing = [name for name in _TRAINING_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise TrainingError(
            f"expected the packages of the extra `train`, found no {', '.join(missing)}; run it where models are "
            f"trained (promote, rollback, history and lift-hold work here)"
        )


def check_old_data(old_dataset_path: str, data_dir: str) -> None:
    """Check that the champion's data is at its path or in the folder for downloads.

    Raises:
        DatasetError: if it is in neither.
    """
    if not source_path(old_dataset_path, data_dir).exists():
        raise DatasetError(
            f"{old_dataset_path}: expected the data that the model was trained on, found nothing "
            f"({searched(old_dataset_path, data_dir)}); check --old-dataset-path"
        )


def check_new_texts(added: int, found: int, source: Path, removed_file: Path) -> None:
    """Check that some of the new texts that were found are left to train on.

    Raises:
        NothingNewError: if none is.
    """
    if not added:
        raise NothingNewError(
            f"{source}: expected new labelled texts to train on, found none among {found}; {removed_file} has the "
            f"reasons"
        )


def labels_for_holdout(held_out_texts: int, options: CombineOptions) -> int:
    """About how many new labelled texts give this many held-out texts."""
    return math.ceil(held_out_texts / options.holdout_share)


def check_holdout(
    held_out_texts: int, gate: GateOptions, combine: CombineOptions, undecided: Mapping[str, Any] | None = None
) -> None:
    """Check that the holdout can decide about a new model, before an hour of training.

    Args:
        held_out_texts: size of the holdout today.
        gate, combine: options of the gate and of the holdout.
        undecided: the last comparison with this champion in the decision log, if it was inconclusive. Each comparison
            has a chance of a wrong promotion, so the next one needs more held-out texts: as many as the last one asked
            for, or min_holdout more than it had, whichever is fewer.

    Raises:
        TooFewTextsError: if the holdout has too few texts.
    """
    needed, why = gate.min_holdout, "the gate needs them to promote a model"
    if undecided is not None:
        before = undecided["gate"]["figures"].get("holdout") or {"texts": 0}
        more = before["texts"] + gate.min_holdout
        asked_for = undecided["gate"].get("texts_needed", {}).get("holdout", more)
        if min(more, asked_for) > needed:
            needed = min(more, asked_for)
            # The first comparison needs min_holdout texts, too.
            again = "; --again trains anyway" if held_out_texts >= gate.min_holdout else ""
            why = (
                f"{undecided['challenger']} could not be judged on {before['texts']:,} of them "
                f"({undecided['time'][:10]}){again}"
            )
    if held_out_texts < needed:
        labels = labels_for_holdout(needed - held_out_texts, combine)
        raise TooFewTextsError(
            f"expected at least {needed:,} held-out texts, found {held_out_texts:,}: {why}; about {labels:,} more "
            f"labelled texts are needed"
        )
