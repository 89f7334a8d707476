"""Searches likely label errors with out-of-fold probabilities of two models: of wordpieces, and of embeddings."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from textclf.audit.reading_model import ReadTexts
from textclf.phases import announce
from textclf.stats.calibration import softmax
from textclf.stats.label_errors import combined, grouped_folds, likely_errors, out_of_fold, self_confidence

# A model of fewer texts doubts labels by chance.
MIN_TEXTS = 50
MIN_CLASS_TEXTS = 10
# Inverse strength of the L2 penalty on standardised embeddings; chosen on banking77 and Amazon reviews.
_C = 0.01
_MAX_STEPS = 300
# Seconds to fit the linear stage once to a wordpiece, for a class against the others.
_SECONDS_PER_FIT = 1e-6


@dataclass(frozen=True, eq=False)
class LabelSearch:
    """The search over the texts of all classes that have enough of them.

    Attributes:
        rows: rows of the texts that were searched, int64 [m].
        probabilities: out-of-fold probabilities of these texts, float64 [m, K], 0 for classes that were left out.
        errors: rows of likely errors, the likeliest first.
        confidence: out-of-fold probability of each text's own label, by row, float64 [n]; NaN if not searched.
        models: what gave the probabilities.
    """

    rows: NDArray[np.intp]
    probabilities: NDArray[np.float64]
    errors: NDArray[np.intp]
    confidence: NDArray[np.float64]
    models: tuple[str, ...]


def search_labels(
    read: ReadTexts, labels: NDArray[np.int64], groups: NDArray[np.int64], classes: int, folds: int, seed: int
) -> LabelSearch | None:
    """Search likely label errors; None if there are too few texts, or only one class has enough.

    Args:
        read: the texts.
        labels: class ids, [n].
        groups: numbers of groups of equal and similar texts, which share a fold, [n].
        classes: number of classes.
        folds: number of folds.
        seed: random seed of the folds.
    """
    rows, kept = searched_rows(labels, groups, classes, folds)
    if len(kept) < 2 or len(np.unique(groups[rows])) < MIN_TEXTS:
        return None
    ids = np.searchsorted(kept, labels[rows])
    folded = grouped_folds(ids, groups[rows], folds, seed)
    count = len(kept)
    announce(
        f"searching label errors in {len(rows):,} texts of {count} classes",
        folds * (count if count > 2 else 1) * int(read.lengths[rows].sum()) * _SECONDS_PER_FIT,
    )
    found = {}
    if (of_words := _of_words(read, rows, ids, folded, count)) is not None:
        found["linear stage on wordpieces"] = of_words
    if read.embeddings is not None:
        found["logistic regression on embeddings"] = _of_embeddings(read.embeddings[rows], ids, folded, count)
    if not found:
        return None
    probabilities = np.zeros((len(rows), classes))
    probabilities[:, kept] = mean = combined(list(found.values()))
    confidence = np.full(len(labels), np.nan)
    confidence[rows] = self_confidence(mean, ids)
    return LabelSearch(rows, probabilities, rows[likely_errors(mean, ids)], confidence, tuple(found))


def searched_rows(
    labels: NDArray[np.int64], groups: NDArray[np.int64], classes: int, folds: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows of the texts of classes with enough different texts, and the ids of these classes."""
    # The folds of a group are those of its first text, so only these count.
    _, first = np.unique(groups, return_index=True)
    different = np.bincount(labels[first], minlength=classes)
    kept = np.flatnonzero(different >= max(MIN_CLASS_TEXTS, folds))
    return np.flatnonzero(np.isin(labels, kept)), kept


def _of_words(
    read: ReadTexts, rows: NDArray[np.intp], ids: NDArray[np.int64], folds: list[NDArray[np.bool_]], classes: int
) -> NDArray[np.float64] | None:
    from textclf.training.linear_stage_training import buckets_for, fit_linear_stage

    if buckets_for(classes) is None:
        return None

    def predict(fitted: NDArray[np.intp], predicted: NDArray[np.intp]) -> NDArray[np.float64]:
        wordpieces = [read.wordpieces[row] for row in rows[fitted]]
        linear = fit_linear_stage(wordpieces, ids[fitted], classes, is_rough=True)
        if linear is None:
            raise AssertionError("buckets_for() found room for the weights")
        return np.asarray(softmax(linear([read.wordpieces[row] for row in rows[predicted]])))

    return out_of_fold(folds, classes, predict)


def _of_embeddings(
    embeddings: NDArray[np.float32], ids: NDArray[np.int64], folds: list[NDArray[np.bool_]], classes: int
) -> NDArray[np.float64]:
    from sklearn.linear_model import LogisticRegression

    unit = embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    features = unit - unit.mean(axis=0)
    features /= features.std() or 1.0

    def predict(fitted: NDArray[np.intp], predicted: NDArray[np.intp]) -> NDArray[np.float64]:
        model = LogisticRegression(C=_C, max_iter=_MAX_STEPS).fit(features[fitted], ids[fitted])
        return np.asarray(model.predict_proba(features[predicted]), np.float64)

    return out_of_fold(folds, classes, predict)
