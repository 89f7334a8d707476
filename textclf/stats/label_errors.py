"""Finds likely label errors from the probabilities of models that were fitted without the text in question.

Confident learning: C. Northcutt, L. Jiang and I. Chuang, "Confident Learning: Estimating Uncertainty in Dataset
Labels", JAIR 70, 2021. A text counts as a likely error if another class is confident about it: its probability reaches
the mean probability that the class has on its own texts (the threshold). Ranking by self-confidence is from the same
paper. The formulas are short, so they are here instead of the package cleanlab; bench/accuracy/label_errors.py compares
both.

n: texts, K: classes. Out-of-fold: the model did not see the text, nor a copy of it.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from textclf.stats.folds import FOLDS, stratified_folds

FloatArray = NDArray[np.floating]
# A threshold is a mean of probabilities, with a rounding error.
_ROUNDING = 1e-6


def grouped_folds(
    labels: NDArray[np.integer], groups: NDArray[np.integer], folds: int = FOLDS, seed: int = 0
) -> list[NDArray[np.bool_]]:
    """Texts of each fold, bool [n], stratified by class; the texts of a group share a fold.

    Args:
        labels: class ids, [n].
        groups: numbers of groups of equal or similar texts, [n].
        folds: number of folds.
        seed: random seed.
    """
    _, first, group_of = np.unique(groups, return_index=True, return_inverse=True)
    return [fold[group_of] for fold in stratified_folds(labels[first], seed, folds)]


def out_of_fold(
    folds: Sequence[NDArray[np.bool_]],
    classes: int,
    predict: Callable[[NDArray[np.intp], NDArray[np.intp]], FloatArray],
) -> NDArray[np.float64]:
    """Probabilities of every text from a model of the other folds: float64 [n, K].

    Args:
        folds: texts of each fold, bool [n].
        classes: number of classes, K.
        predict: takes the rows to fit to and the rows to predict; returns probabilities [rows to predict, K].
    """
    found = np.empty((len(folds[0]), classes))
    for fold in folds:
        rows = np.flatnonzero(fold)
        found[rows] = predict(np.flatnonzero(~fold), rows)
    return found


def combined(probabilities: Sequence[FloatArray]) -> NDArray[np.float64]:
    """The mean of several models' probabilities: float64 [n, K].

    Models of words and models of meanings err on different texts, so a label that both doubt is ranked first.
    """
    return np.asarray(np.mean(probabilities, axis=0), np.float64)


def self_confidence(probabilities: FloatArray, labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """Probability of each text's own label, float64 [n]; low values are likely errors."""
    return np.asarray(probabilities[np.arange(len(labels)), labels], np.float64)


def suggested_labels(probabilities: FloatArray, labels: NDArray[np.integer]) -> NDArray[np.int64]:
    """The most probable class other than the label, int64 [n]."""
    others = np.array(probabilities, np.float64)
    others[np.arange(len(labels)), labels] = -1
    return np.asarray(others.argmax(axis=1), np.int64)


def confident_classes(probabilities: FloatArray, labels: NDArray[np.integer]) -> NDArray[np.int64]:
    """The class that confidently claims each text, int64 [n]; -1 if no class does.

    A class claims a text if its probability is at least its threshold: the mean probability of the class on the texts
    with its label. Among several, the most probable class claims it.
    """
    classes = probabilities.shape[1]
    own = np.bincount(labels, self_confidence(probabilities, labels), classes)
    # A class without texts claims none.
    counts = np.bincount(labels, minlength=classes)
    thresholds = np.where(counts > 0, own / np.maximum(counts, 1), np.inf)
    claims = np.where(probabilities >= thresholds - _ROUNDING, probabilities, -1)
    return np.where(claims.max(axis=1) >= 0, claims.argmax(axis=1), -1)


def likely_errors(probabilities: FloatArray, labels: NDArray[np.integer]) -> NDArray[np.intp]:
    """Rows of likely label errors, the likeliest first: another class claims the text and is the most probable."""
    claimed = confident_classes(probabilities, labels)
    is_error = (claimed >= 0) & (claimed != labels) & (probabilities.argmax(axis=1) == claimed)
    rows = np.flatnonzero(is_error)
    order = np.argsort(self_confidence(probabilities, labels)[rows], kind="stable")
    return rows[order]


def confusable_pairs(probabilities: FloatArray, labels: NDArray[np.integer]) -> list[tuple[int, int, int, float]]:
    """Pairs of classes that a model confuses, most confused first.

    Each has two class ids, the number of their texts that the model gives the other class, and its share of the texts
    of both classes.
    """
    classes = probabilities.shape[1]
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (labels, probabilities.argmax(axis=1)), 1)
    sizes = np.bincount(labels, minlength=classes)
    both = confusion + confusion.T
    pairs = [
        (int(a), int(b), int(both[a, b]), float(both[a, b] / (sizes[a] + sizes[b])))
        for a, b in zip(*np.nonzero(np.triu(both, 1)), strict=True)
    ]
    return sorted(pairs, key=lambda pair: (-pair[3], pair[0], pair[1]))
