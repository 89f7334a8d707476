"""Sentences about faults of a model, or of its measurement, that a person must not overlook."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textclf.errors import ModelStoreError
from textclf.report.drift_terms import percent
from textclf.report.training_lines import floor_sentences
from textclf.stats.confusions import confusion_matrix
from textclf.stats.floor import Floor
from textclf.stats.shortcomings import MAX_HALF_WIDTH, find_shortcomings
from textclf.store.evaluation import EVALUATION_FILE, Evaluation
from textclf.store.manifest import Manifest
from textclf.store.model_store import ModelVersion

_SHOWN = 5
# Name of a split -> its name in a sentence.
_SPLIT_NAMES = {"test": "test", "validation_select": "selection", "validation": "calibration"}


def shortcoming_sentences(matrix: NDArray[np.integer[Any]], manifest: Manifest, split: str) -> list[str]:
    """A sentence for each fault that counts [K, K] of true (rows) and predicted classes show; [] if there is none."""
    class_names = manifest.class_names
    found, n = find_shortcomings(matrix), int(matrix.sum())
    name = _SPLIT_NAMES.get(split, split)
    floor = manifest.training.get("floor")  # Earlier versions have none.
    sentences = [] if floor is None else floor_sentences(Floor(**floor))
    if found.never_predicted:
        sentences.append(
            f"{_classes(found.never_predicted, class_names)} never predicted for the {n:,} {name} texts; train longer, "
            f"add texts, or use --class-weights"
        )
    if found.is_no_better:
        sentences.append(
            f"the accuracy of {percent(found.accuracy)} is not significantly better than that of always answering "
            f"{class_names[found.majority]!r}, which is {percent(found.majority_share)}"
        )
    if split != "test" and manifest.source:
        sentences.append("no test part was read; these figures are of the texts that the import was given")
    elif split != "test":
        also = ", which also chose the best epoch" if keeps_best_epoch(manifest) else ""
        sentences.append(f"the test part was not read; these figures are of the selection set{also}")
    if found.is_uncertain:
        sentences.append(
            f"{n:,} {name} texts are few: the accuracy is known to ±{100 * found.half_width:.1f} points only (95% "
            f"interval); ±{100 * MAX_HALF_WIDTH:.0f} points need up to 400 texts"
        )
    if found.without_texts:
        sentences.append(
            f"{_classes(found.without_texts, class_names)} without {name} texts, so that nothing is known about "
            f"{'it' if len(found.without_texts) == 1 else 'them'}"
        )
    return sentences


def keeps_best_epoch(manifest: Manifest) -> bool:
    """Whether the training kept the epoch that was best on the selection set, and not the last one."""
    return bool(manifest.training.get("options", {}).get("select", "best") == "best")


def evaluation_shortcomings(evaluation: Evaluation, manifest: Manifest) -> list[str]:
    """shortcoming_sentences of the engine that serves."""
    matrix = confusion_matrix(evaluation.labels, evaluation.predicted, len(manifest.class_names))
    return shortcoming_sentences(matrix, manifest, evaluation.split)


def version_shortcomings(version: ModelVersion) -> list[str]:
    """shortcoming_sentences of a version: of its engine, or of the trained encoder if it contains no evaluation."""
    manifest = version.manifest
    names = manifest.class_names
    if version.has(EVALUATION_FILE):
        try:
            return evaluation_shortcomings(Evaluation.load(version.part(EVALUATION_FILE), len(names)), manifest)
        except ModelStoreError as error:
            return [str(error)]
    split = measured_split(manifest.metrics)
    matrix = None if split is None else matrix_of(manifest.metrics[split], len(names))
    return [] if split is None or matrix is None else shortcoming_sentences(matrix, manifest, split)


def measured_split(metrics: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The split with the final results of a manifest: test, or if it was not read the selection set, or None."""
    return next((split for split in _SPLIT_NAMES if split in metrics), None)


def matrix_of(metrics: Mapping[str, Any], classes: int) -> NDArray[np.int64] | None:
    """The confusion matrix [K, K] of metrics in a manifest; None if there is none with a text."""
    try:
        matrix = np.asarray(metrics.get("confusion_matrix"), np.int64)
    except (TypeError, ValueError, OverflowError):
        return None
    return matrix if matrix.shape == (classes, classes) and matrix.min() >= 0 and matrix.sum() > 0 else None


def _classes(ids: Sequence[int], class_names: Sequence[str]) -> str:
    """The subject of a sentence, with its verb."""
    shown = ", ".join(repr(class_names[class_id]) for class_id in ids[:_SHOWN])
    if len(ids) == 1:
        return f"the class {shown} is"
    return f"{len(ids)} of {len(class_names)} classes ({shown}{', …' if len(ids) > _SHOWN else ''}) are"
