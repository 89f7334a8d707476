"""A probe: logistic regression on the outputs of a frozen encoder: a model, a floor, and the start of fine-tuning.

Training that starts from a random layer first distorts the encoder, because its first gradients are arbitrary. A probe
avoids that: Kumar et al. 2022, Fine-tuning can distort pretrained features and underperform out-of-distribution
("LP-FT").
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from textclf.stats.class_weights import loss_weights
from textclf.stats.floor import macro_recall
from textclf.stats.folds import FOLDS, stratified_folds
from textclf.training.out_of_fold import out_of_fold_logits

# Inverse strength of the L2 penalty for vectors of norm 1. With 200 texts 10 and 100 are less accurate.
_C = 1.0
_MAX_STEPS = 1000
_LOG_SCALES = (-6.0, 3.0)


def fit_probe(
    vectors: NDArray[np.float32],
    labels: NDArray[np.integer],
    classes: int,
    class_weights: bool = False,
    weights: NDArray[np.floating[Any]] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Kernel [H, K] and bias [K] of a linear layer that classifies `vectors`.

    Args:
        vectors: outputs of the encoder, [texts, H].
        labels: class ids, one per text; every class occurs.
        classes: number of classes, K.
        class_weights: weight each class the same.
        weights: how much each text counts, [texts]; None if all count the same.
    """
    norm = float(np.linalg.norm(vectors, axis=1).mean())
    of_texts = loss_weights(labels, classes, weights, class_weights)
    probe = LogisticRegression(C=_C, max_iter=_MAX_STEPS).fit(vectors / norm, labels, sample_weight=of_texts)
    kernel, bias = probe.coef_.T / norm, probe.intercept_
    if classes == 2:  # One column, the logit of the second class: half of it for each class.
        kernel, bias = np.hstack([-kernel, kernel]) / 2, np.hstack([-bias, bias]) / 2
    return kernel.astype(np.float32), bias.astype(np.float32)


def probe_scale(logits: NDArray[np.float32], labels: NDArray[np.integer[Any]]) -> float:
    """The number that logits [n, K] of a probe are divided by, so that its probabilities are calibrated.

    The penalty makes the logits of a probe up to fifty times too small, which is beyond the prior of fit_temperature.
    Each label has the probability (n + 1) / (n + 2), so that labels that are all right do not make the logits infinite:
    J. Platt, "Probabilistic outputs for support vector machines", Advances in Large Margin Classifiers (1999) 61-74.
    """
    n, classes = logits.shape
    targets = np.full((n, classes), 1 / ((n + 2) * (classes - 1)))
    targets[np.arange(n), labels] = (n + 1) / (n + 2)

    def cross_entropy(log_scale: float) -> float:
        return float(-np.sum(targets * log_softmax(logits / np.exp(log_scale), axis=1)))

    return float(np.exp(minimize_scalar(cross_entropy, bounds=_LOG_SCALES, method="bounded").x))


def probe_logits(
    vectors: NDArray[np.float32],
    labels: NDArray[np.integer[Any]],
    others: NDArray[np.float32],
    classes: int,
    class_weights: bool = False,
    weights: NDArray[np.floating[Any]] | None = None,
) -> NDArray[np.float32]:
    """Logits of `others`, float32 [texts, K], by a probe that is fitted to `vectors`; see fit_probe."""
    kernel, bias = fit_probe(vectors, labels, classes, class_weights, weights)
    return np.asarray(others @ kernel + bias)


def cross_fitted_probe(
    vectors: NDArray[np.float32],
    labels: NDArray[np.integer[Any]],
    classes: int,
    class_weights: bool = False,
    folds: int = FOLDS,
    weights: NDArray[np.floating[Any]] | None = None,
) -> NDArray[np.float32]:
    """Logits [texts, K] by probes that were not fitted to the text; each class has at least two."""

    def model(fitted: NDArray[np.intp], held: NDArray[np.intp]) -> NDArray[np.float32]:
        of_fitted = None if weights is None else weights[fitted]
        return probe_logits(vectors[fitted], labels[fitted], vectors[held], classes, class_weights, of_fitted)

    return out_of_fold_logits(labels, classes, model, folds)


def cross_scaled(logits: NDArray[np.float32], labels: NDArray[np.integer[Any]], folds: int) -> NDArray[np.float32]:
    """Logits [n, K], those of each fold divided by the probe_scale of the other folds."""
    scaled = np.empty_like(logits)
    for held in stratified_folds(labels, folds=folds):
        scaled[held] = logits[held] / probe_scale(logits[~held], labels[~held])
    return scaled


def recalls_by_weights(
    vectors: NDArray[np.float32],
    labels: NDArray[np.integer[Any]],
    classes: int,
    weights: NDArray[np.floating[Any]] | None = None,
) -> tuple[float, float]:
    """Mean recall of the classes without and with class weights, of probes on texts that they were not fitted to."""
    without, balanced = (
        macro_recall(cross_fitted_probe(vectors, labels, classes, on, weights=weights).argmax(axis=1), labels)
        for on in (False, True)
    )
    return without, balanced


def sampled_rows(labels: NDArray[np.integer[Any]], max_texts: int) -> NDArray[np.intp]:
    """Positions of about `max_texts` texts, ascending: each class keeps its share, and at least two texts."""
    if len(labels) <= max_texts:
        return np.arange(len(labels))
    by_class = np.argsort(labels, kind="stable")
    rows = by_class[np.linspace(0, len(labels) - 1, max_texts).astype(int)]
    of_class = (np.flatnonzero(labels == k)[:2] for k in np.unique(labels))
    return np.unique(np.concatenate([rows, *of_class]))
