"""Thresholds of unsure predictions, chosen on the calibration set of a data set and saved as a child version.

A child has the files of its parent and the field `unsure` in its manifest. The scores are those that the version
serves, with its cascade, so that the thresholds fit them.
"""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textclf.config import DataOptions
from textclf.data.datasets import load_dataset
from textclf.data.splits import Split
from textclf.errors import DatasetError
from textclf.runtime.loading import predictor_of_version
from textclf.stats.intervals import wilson_interval
from textclf.stats.selective import coverage_curve
from textclf.stats.unsure import CONFIDENCE, class_thresholds, needed_texts
from textclf.store.manifest import MANIFEST_FILE
from textclf.store.model_store import ModelStore, ModelVersion
from textclf.tokenization.text_key import TextKeys

# Shares of the most confident texts that the curve in the manifest has a point for.
_SHARES = tuple(step / 20 for step in range(1, 21))


def calibration_split(version: ModelVersion, dataset_path: Path, warn: Callable[[str], None]) -> Split:
    """The calibration half of the validation set, read as at the training of the version; no test text.

    Args:
        version: the version; its recorded options are used.
        dataset_path: the data set.
        warn: gets a sentence if these are not the texts of the training.

    Raises:
        DatasetError: if the data can't be read, or has other classes than the version.
    """
    manifest = version.manifest
    options = DataOptions.from_record(manifest.data.get("options", {}))
    # Counting near-duplicates takes long, and changes no split. Weights are for the training only.
    options = dataclasses.replace(options, near_duplicates="ignore", weight_column="")
    dataset = load_dataset(dataset_path, options=options, spellings=manifest.class_names, text_keys=TextKeys())
    if dataset.class_names != manifest.class_names:
        raise DatasetError(
            f"{dataset_path}: expected the classes of version {version.id} ({', '.join(manifest.class_names[:20])}), "
            f"found {', '.join(dataset.class_names[:20])}; name the data set of the training"
        )
    if dataset.fingerprints.get("all") != manifest.data.get("fingerprint", {}).get("all"):
        warn(
            f"{dataset_path} is not the data set of the training as it was: the thresholds hold only if the model was "
            f"not fitted to these texts"
        )
    return dataset.splits["validation_calibrate"]


def chosen_thresholds(
    class_names: tuple[str, ...],
    labels: NDArray[np.integer[Any]],
    predicted: NDArray[np.integer[Any]],
    confidences: NDArray[np.floating[Any]],
    target: float,
) -> dict[str, Any]:
    """Manifest.unsure: thresholds for a target precision, and the curve that they were chosen from.

    Args:
        class_names: position is the class id.
        labels, predicted: class ids, [n].
        confidences: probability of the predicted class, [n].
        target: precision to reach, between 0 and 1.

    Raises:
        DatasetError: if no class reaches the target.
    """
    found = class_thresholds(labels, predicted, confidences, len(class_names), target)
    if not any(item.sure for item in found):
        raise DatasetError(
            f"no class reaches a precision of {target:g} on {len(labels):,} calibration texts; at least "
            f"{needed_texts(target):,} right predictions are needed to show it: lower the target, or use more texts"
        )
    curve = coverage_curve(confidences, labels == predicted)
    points = []
    for share in _SHARES:
        point = next(item for item in curve if item.texts >= share * len(labels))
        low, high = wilson_interval(point.errors, point.texts)
        row = {**point._asdict(), "error_low": low, "error_high": high}
        if row not in points:
            points.append(row)
    return {
        "target_precision": target,
        "test_confidence": CONFIDENCE,
        "texts": len(labels),
        "sure": sum(item.sure for item in found),
        "errors": sum(item.errors for item in found),
        "thresholds": {name: item.threshold for name, item in zip(class_names, found, strict=True)},
        "classes": [
            {"class": name, "basis": item.basis, "texts": item.texts, "sure": item.sure, "errors": item.errors}
            for name, item in zip(class_names, found, strict=True)
        ],
        "curve": points,
    }


def measured_thresholds(
    version: ModelVersion, split: Split, target: float, threads: int | None = None
) -> dict[str, Any]:
    """chosen_thresholds() for the predictions of a version on labelled texts.

    Raises:
        DatasetError: if no class reaches the target.
        ModelStoreError: if the version can't be loaded.
    """
    batch = predictor_of_version(version, threads=threads).predict_batch(list(split.texts))
    confidences = np.array([item.probability for item in batch.predictions], np.float64)
    return chosen_thresholds(
        version.manifest.class_names, np.asarray(split.labels), batch.predicted, confidences, target
    )


def save_child(store: ModelStore, parent: ModelVersion, unsure: dict[str, Any]) -> str:
    """Save a version with the files of `parent` and these thresholds; returns its id.

    Raises:
        ModelStoreError: if the parent is damaged, or no version can be written.
    """
    parent.verify()
    with store.new_version() as draft:
        shutil.copytree(parent.path, draft.path, ignore=shutil.ignore_patterns(MANIFEST_FILE), dirs_exist_ok=True)
        draft.manifest = dataclasses.replace(parent.manifest, unsure=unsure, parent=parent.id)
    return draft.id
