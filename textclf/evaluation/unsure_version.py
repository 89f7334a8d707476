"""Thresholds of unsure predictions for a new version, and as a child of a saved version.

A child has the files of its parent and another field `unsure` in its manifest.
"""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np

from textclf.config import DataOptions
from textclf.data.datasets import load_dataset
from textclf.drift.reference import REFERENCE_FILE, Reference, load_reference
from textclf.errors import DatasetError, ModelStoreError
from textclf.evaluation.unsure_thresholds import LabelledScores, UnsureTarget, chosen_thresholds
from textclf.report.unsure import unsure_lines
from textclf.runtime.loading import predictor_of_version
from textclf.store.evaluation import EVALUATION_FILE, Evaluation
from textclf.store.manifest import MANIFEST_FILE, Manifest
from textclf.store.model_store import ModelStore, ModelVersion
from textclf.tokenization.text_key import TextKeys


def thresholds_of_new_version(manifest: Manifest, reference: Reference, evaluation: Evaluation) -> dict[str, Any]:
    """Manifest.unsure of a version that is being saved; {} if its training has no target, or it can't be reached.

    A target that can't be reached is a warning, because the training is not lost for it.
    """
    target = UnsureTarget.of_version(manifest)
    if target is None:
        return {}
    scores = LabelledScores.of_reference(reference, manifest.temperature)
    try:
        unsure = chosen_thresholds(manifest.class_names, scores, target, evaluation)
    except DatasetError as error:
        click.echo(f"warning: the version has no thresholds of unsure predictions: {error}", err=True)
        return {}
    for line in unsure_lines(unsure):
        click.echo(f"unsure:        {line}")
    return unsure


def held_out_scores(version: ModelVersion) -> LabelledScores:
    """The predictions in the drift reference: texts that the version was not fitted to.

    Raises:
        ModelStoreError: if the version has no reference, or a damaged one.
    """
    if not version.has(REFERENCE_FILE):
        raise ModelStoreError(
            f"{version.path}: expected a version with a drift reference, found none; give labelled texts that the "
            f"model was not fitted to (--dataset-path)"
        )
    version.verify([REFERENCE_FILE])
    return LabelledScores.of_reference(load_reference(version.part(REFERENCE_FILE)), version.manifest.temperature)


def scores_on(version: ModelVersion, dataset_path: Path, warn: Callable[[str], None]) -> LabelledScores:
    """The predictions of a version on the calibration half of a data set's validation set; no test text is used.

    Args:
        version: the version; its recorded options are used to read the data.
        dataset_path: the data set.
        warn: gets a sentence if these are not the texts of the training.

    Raises:
        DatasetError: if the data can't be read, has other classes than the version, or the model was fitted to it.
        ModelStoreError: if the version can't be loaded.
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
    elif manifest.training.get("options", {}).get("train_on") == "all":
        raise DatasetError(
            f"{dataset_path}: expected texts that version {version.id} was not fitted to, found those of its training; "
            f"leave --dataset-path out, which uses the predictions of its cross-validation"
        )
    split = dataset.splits["validation_calibrate"]
    batch = predictor_of_version(version).predict_batch(list(split.texts))
    probabilities = np.array([list(item.probabilities.values()) for item in batch.predictions], np.float64)
    return LabelledScores(np.asarray(split.labels, np.int64), batch.predicted, probabilities)


def save_child(store: ModelStore, parent: ModelVersion, scores: LabelledScores, target: UnsureTarget) -> ModelVersion:
    """Save a version with the files of `parent` and thresholds that are chosen on these scores.

    Raises:
        DatasetError: if no threshold reaches the target precision.
        ConfigError: if the cost table names a class that the version lacks.
        ModelStoreError: if the parent is damaged, or no version can be written.
    """
    parent.verify()
    names, evaluation = parent.manifest.class_names, None
    if parent.has(EVALUATION_FILE):
        evaluation = Evaluation.load(parent.part(EVALUATION_FILE), len(names))
    unsure = chosen_thresholds(names, scores, target, evaluation)
    with store.new_version() as draft:
        shutil.copytree(parent.path, draft.path, ignore=shutil.ignore_patterns(MANIFEST_FILE), dirs_exist_ok=True)
        draft.manifest = dataclasses.replace(parent.manifest, unsure=unsure, parent=parent.id)
    return store.open(draft.id)
