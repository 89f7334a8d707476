"""Teachers: models whose probabilities a training learns from (knowledge distillation, Hinton et al. 2015).

n: texts, K: classes.
"""

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textclf.data.datasets import Dataset, split_fingerprint
from textclf.data.splits import Split, text_digest
from textclf.data.tables import TABLE_ENDINGS, table_format
from textclf.data.teacher_table import read_teacher_table, teacher_classes
from textclf.errors import ConfigError, DatasetError
from textclf.files import atomic_file, sha256_of_file
from textclf.npz_files import UNREADABLE, read_array
from textclf.phases import announce_scoring
from textclf.progress_bar import progress_bar
from textclf.runtime.loading import predictor_of_version
from textclf.runtime.predictor import Predictor
from textclf.stats.calibration import softmax
from textclf.store.manifest import MANIFEST_FILE
from textclf.store.model_store import ModelVersion, open_model
from textclf.tokenization.text_key import KeyFunction
from textclf.training.fitting.checkpoints import identity_of

Probabilities = NDArray[np.float32]
# Texts that are predicted between two steps of the progress bar.
_CHUNK = 512


@dataclass(frozen=True, eq=False)
class Teacher:
    """A model that was opened as a teacher.

    Attributes:
        path: as it was given.
        version: id of the version; None for a table.
        sha256: hash of the table, or of the version's manifest, which has the hashes of its files.
        predict: computes the probabilities of the training texts, [n, K]; NaN for a text that it does not know.
        note: what a person should know about it; "" if there is nothing.
    """

    path: str
    version: str | None
    sha256: str
    predict: Callable[[], Probabilities]
    note: str = ""

    def __str__(self) -> str:
        """The teacher and its note, for the log of a training."""
        version = f" ({self.version})" if self.version and self.version not in self.path else ""
        return f"{self.path}{version}{'; ' if self.note else ''}{self.note}"


def check_teachers(paths: Sequence[str]) -> None:
    """Check in no time that each path is a version, a store or a table.

    Raises:
        ConfigError: if one is something else.
        ModelStoreError: if a version is damaged.
    """
    for path in paths:
        if Path(path).is_dir():
            open_model(path)
        elif not Path(path).is_file() or table_format(path) is None:
            found = "another file" if Path(path).exists() else "nothing there"
            raise ConfigError(
                f"teachers: expected a version's folder, a store, an id of a version in the store, or a table "
                f"({TABLE_ENDINGS}), got {path!r} ({found}); check the path"
            )


def open_teachers(
    paths: Sequence[str], dataset: Dataset, text_column: str, text_keys: KeyFunction
) -> tuple[Teacher, ...]:
    """Open each teacher, and check its classes; tables are read.

    Args:
        paths: versions' folders, stores or tables.
        dataset: the data set of the training.
        text_column: column of its texts.
        text_keys: the rule by which a text of a table is that of the training.

    Raises:
        DatasetError: if a teacher has other classes, a table can't be read, or it knows none of the training texts.
        ModelStoreError: if a version is damaged.
    """
    return tuple(
        _version_teacher(path, open_model(path), dataset)
        if Path(path).is_dir()
        else _table_teacher(path, dataset, text_column, text_keys)
        for path in paths
    )


def _version_teacher(path: str, version: ModelVersion, dataset: Dataset) -> Teacher:
    manifest, names = version.manifest, dataset.class_names
    renamed = manifest.data.get("options", {}).get("rename_labels", {})
    classes = teacher_classes(manifest.class_names, names, path, renamed)
    columns = [manifest.class_names.index(name) for name in classes]

    texts = dataset.train.texts

    def predict() -> Probabilities:
        announce_scoring(texts, manifest.max_wordpieces, f"{len(texts):,} training texts with the teacher {version.id}")
        return combined_probabilities(predictor_of_version(version), texts)[:, columns]

    # The teacher may have been trained on the same texts with or without their weights.
    splits = dataset.train, replace(dataset.train, weights=None)
    same = [split_fingerprint(names, {"train": split}) for split in splits]
    is_in_sample = manifest.data.get("fingerprint", {}).get("train") in same
    note = "it was trained on these very texts, so its probabilities are close to their labels" if is_in_sample else ""
    return Teacher(path, version.id, sha256_of_file(version.path / MANIFEST_FILE), predict, note)


def combined_probabilities(predictor: Predictor, texts: Sequence[str]) -> Probabilities:
    """Probabilities of a version, [n, K]; both stages of a cascade predict every text together, also a text that exits.

    Both stages are better than either, and a training has the time for both.
    """
    parts = []
    with progress_bar(len(texts), "teacher", "texts") as bar:
        for start in range(0, len(texts), _CHUNK):
            chunk = texts[start : start + _CHUNK]
            batch = predictor.predict_batch(list(chunk), both_stages=True)
            logits = batch.outputs.logits
            if predictor.cascade is not None and batch.stages is not None:
                no_exits = replace(batch.stages, exits=np.zeros(len(chunk), np.bool_))
                logits = predictor.cascade.final_logits(no_exits, predictor.temperature)
            parts.append(softmax(logits, predictor.temperature).astype(np.float32))
            bar.update(len(chunk))
    return np.concatenate(parts)


def _table_teacher(path: str, dataset: Dataset, text_column: str, text_keys: KeyFunction) -> Teacher:
    table = read_teacher_table(Path(path), dataset.class_names, text_column)
    sums: dict[bytes, NDArray[Any]] = {}
    counts: dict[bytes, int] = {}
    for key, row in zip(text_keys(table.texts), table.probabilities, strict=True):
        sums[key] = sums.get(key, 0) + row
        counts[key] = counts.get(key, 0) + 1

    missing = np.full(len(dataset.class_names), np.nan, np.float32)
    keys = text_keys(dataset.train.texts)
    found = np.array([sums[key] / counts[key] if key in sums else missing for key in keys], np.float32)
    known = sum(key in sums for key in keys)
    if not known:
        raise DatasetError(
            f"{path}: expected probabilities of training texts, found none of the {len(keys):,} training texts in its "
            f"{len(table.texts):,} rows; score the texts that you train on"
        )
    note = "" if known == len(keys) else f"it knows {known:,} of {len(keys):,} training texts"
    return Teacher(path, None, sha256_of_file(path), lambda: found, note)


@dataclass(frozen=True)
class TeacherRecord:
    """A teacher in the manifest; `texts` is the number of training texts that it knows."""

    path: str
    version: str | None
    sha256: str
    texts: int


@dataclass(frozen=True, eq=False)
class Taught:
    """A split with the probabilities of its teachers, and a record of each teacher."""

    split: Split
    records: tuple[TeacherRecord, ...] = ()


def teach(split: Split, teachers: Sequence[Teacher], class_names: Sequence[str], cache: Path) -> Taught:
    """Attach the mean of the teachers' probabilities to the texts of a split; a text counts the teachers that know it.

    The mean is of probabilities, not of logits: a table has only these, and a single teacher that is sure and wrong
    moves their mean by its share at most, but that of logits without limit.

    Args:
        split: the training texts.
        teachers: the teachers; without any, the split stays as it is.
        class_names: the classes.
        cache: beginning of the paths of files that keep what versions predict, for the next training.
    """
    if not teachers:
        return Taught(split)
    total = np.zeros((len(split), len(class_names)), np.float64)
    count = np.zeros((len(split), 1), np.int64)
    records = []
    for teacher in teachers:
        found = teacher.predict() if teacher.version is None else _cached(teacher, split, class_names, cache)
        is_known = ~np.isnan(found).any(axis=1, keepdims=True)
        total += np.where(is_known, found, 0)
        count += is_known
        records.append(TeacherRecord(teacher.path, teacher.version, teacher.sha256, int(is_known.sum())))
    mean = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    return Taught(replace(split, taught=mean.astype(np.float32)), tuple(records))


def _cached(teacher: Teacher, split: Split, class_names: Sequence[str], cache: Path) -> Probabilities:
    """The probabilities of a version, from the file of an earlier training on the same texts if there is one."""
    texts = [text_digest(text).hex() for text in split.texts]
    key = identity_of({"sha256": teacher.sha256, "classes": list(class_names), "texts": texts})
    file = cache.with_name(f"{cache.name}-{key}.npz")
    shape = (len(split), len(class_names))
    try:
        with zipfile.ZipFile(file) as archive:
            found = read_array(archive, "probabilities", 4 * shape[0] * shape[1] + 1000)
        if found.shape == shape and found.dtype == np.float32:
            return found
    except UNREADABLE:
        pass  # A damaged file is written again.
    probabilities = teacher.predict()
    with atomic_file(file, "wb") as target:
        np.savez(target, probabilities=probabilities)
    return probabilities
