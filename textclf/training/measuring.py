"""Measures a model: its temperature, then its metrics on texts that it was not fitted to.

K: classes.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from textclf.data.datasets import Dataset
from textclf.data.splits import Split
from textclf.stats.calibration import expected_calibration_error, fit_temperature, softmax
from textclf.stats.floor import Floor
from textclf.stats.folds import stratified_folds
from textclf.stats.metrics import OUT_OF_FOLD, Metrics, classification_metrics
from textclf.tokenization.windows import means_of_windows
from textclf.training.encoders.preprocessing import TextPreprocessing, tokenize_windows
from textclf.training.fitting.training_loop import predict_logits
from textclf.training.tf_setup import tf


@dataclass(frozen=True, eq=False)
class MeasuredModel:
    """Results of a model by split: logits float32 [texts, K], probabilities float64 [texts, K] and metrics.

    `logits` include those that the temperature was fitted to.
    """

    temperature: float
    calibration: dict[str, Any]
    logits: dict[str, np.ndarray]
    probabilities: dict[str, np.ndarray]
    metrics: dict[str, Metrics]


@dataclass(frozen=True, eq=False)
class MeasuredTraining(MeasuredModel):
    """Results of a trained model, and of its floor; `precision` is that of the logits (see fast_outputs)."""

    floor: Floor
    precision: str


@dataclass(frozen=True, eq=False)
class CrossFitted:
    """Texts, and logits [texts, K] of each by a model that was not fitted to it."""

    split: Split
    logits: np.ndarray


def window_logits(
    ids_to_logits: Callable[[np.ndarray, np.ndarray], tf.Tensor],
    preprocessing: TextPreprocessing,
    texts: Sequence[str],
    label: str,
) -> np.ndarray:
    """Logits of texts, the means over their windows, float32 [texts, K]; for the arguments see predict_logits."""
    windows = tokenize_windows(preprocessing, texts)
    return means_of_windows(
        predict_logits(ids_to_logits, windows.rows, preprocessing.padding_id, label), windows.counts
    )


def measure_model(
    dataset: Dataset,
    logits_of: Callable[[Split, str], np.ndarray],
    names: Collection[str],
    cross_fitted: CrossFitted | None = None,
) -> MeasuredModel:
    """Fit the temperature on the calibration set, then measure a model on other splits.

    Args:
        dataset: the data that the model was trained on.
        logits_of: computes the logits of a split's texts, float32 [n, K]; the text names the progress bar.
        names: splits that are measured; those that the data lacks are left out.
        cross_fitted: replaces the calibration set of a model that was fitted to it, and is measured, too.
    """
    measured = {name: split for name, split in dataset.splits.items() if name in names}
    if cross_fitted is None:
        calibrated, split = "validation_calibrate", dataset.validation_calibrate
        logits = logits_of(split, "calibration")
    else:
        calibrated, split, logits = OUT_OF_FOLD, cross_fitted.split, cross_fitted.logits
        measured = {OUT_OF_FOLD: split, **measured}
    temperature, labels = fit_temperature(logits, split.labels), split.labels
    all_logits = {calibrated: logits}
    all_logits |= {name: logits_of(texts, name) for name, texts in measured.items() if name != calibrated}

    def probabilities_of(name: str) -> np.ndarray:
        if name == OUT_OF_FOLD:
            return cross_fitted_probabilities(logits, labels)
        return softmax(all_logits[name], temperature)

    probabilities = {name: probabilities_of(name) for name in measured}
    after = probabilities[OUT_OF_FOLD] if OUT_OF_FOLD in probabilities else softmax(logits, temperature)
    return MeasuredModel(
        temperature=temperature,
        calibration={
            "split": calibrated,
            "n": len(labels),
            "expected_calibration_error_before": expected_calibration_error(softmax(logits, 1.0), labels),
            "expected_calibration_error_after": expected_calibration_error(after, labels),
        },
        logits=all_logits,
        probabilities=probabilities,
        metrics={
            name: classification_metrics(probabilities[name], texts.labels, dataset.class_names)
            for name, texts in measured.items()
        },
    )


def cross_fitted_probabilities(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Probabilities of logits [n, K], each text with a temperature that was fitted to other texts, float64 [n, K]."""
    probabilities = np.empty(logits.shape)
    for held in stratified_folds(labels):
        probabilities[held] = softmax(logits[held], fit_temperature(logits[~held], labels[~held]))
    return probabilities
