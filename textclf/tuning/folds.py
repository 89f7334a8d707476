"""Folds of the texts that a search may read, as data sets of their own."""

import dataclasses
from dataclasses import dataclass

import numpy as np

from textclf.data.datasets import Dataset, split_fingerprint
from textclf.data.splits import text_digest
from textclf.errors import DatasetError
from textclf.stats.folds import stratified_folds


@dataclass(frozen=True)
class Fold:
    """Fold `index`, from 0, of `count`; `seed` decides how texts are divided."""

    index: int
    count: int
    seed: int = 0


def fold_of(dataset: Dataset, fold: Fold) -> Dataset:
    """The data set whose selection set is a fold of the training and selection texts; the others are for training.

    Folds are stratified by class. They depend on the texts and the seed, not on the order of the texts.

    Raises:
        DatasetError: if a class has fewer texts than folds.
    """
    check_folds(dataset, fold.count)
    texts = dataset.train.joined(dataset.validation_select)
    texts = texts.chosen(sorted(range(len(texts)), key=lambda i: text_digest(texts.texts[i])))
    is_held_out = stratified_folds(texts.labels, fold.seed, fold.count)[fold.index]
    train, select = (texts.chosen(np.flatnonzero(rows)) for rows in (~is_held_out, is_held_out))
    changed = dataclasses.replace(dataset, train=train, validation_select=select)
    return dataclasses.replace(changed, fingerprint=split_fingerprint(changed.class_names, changed.splits))


def check_folds(dataset: Dataset, folds: int) -> None:
    """Refuse more folds than a class has training and selection texts.

    Raises:
        DatasetError: if there are more.
    """
    labels = np.concatenate([dataset.train.labels, dataset.validation_select.labels])
    counts = np.bincount(labels, minlength=len(dataset.class_names))
    smallest = int(counts.argmin())
    if counts[smallest] < folds:
        raise DatasetError(
            f"folds: expected at most {counts[smallest]}, the number of training and selection texts of class "
            f"{dataset.class_names[smallest]!r}, got {folds}; pass fewer --folds"
        )
