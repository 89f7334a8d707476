"""The values that a cascade must not lose: accuracy, and those that its encoder was selected and weighted by."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textclf.config import SELECTION_METRICS
from textclf.errors import ConfigError

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Objective:
    """The values of predictions that count.

    Attributes:
        metric: selection metric of the training, a key of textclf.config.SELECTION_METRICS.
        class_weights: whether each class weighs the same; then the mean recall of the classes counts, too.

    Raises:
        ConfigError: if there is no such metric.
    """

    metric: str = "accuracy"
    class_weights: bool = False

    def __post_init__(self) -> None:
        if self.metric not in SELECTION_METRICS:
            raise ConfigError(f"metric: expected one of {', '.join(SELECTION_METRICS)}, got {self.metric!r}")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the values."""
        weighted = ("mean recall",) if self.class_weights else ()
        return ("accuracy", *weighted, *(() if self.metric == "accuracy" else (self.metric,)))

    def values(self, probabilities: Floats, truth: Floats) -> NDArray[np.float64]:
        """The value of each name, larger is better, float [values].

        Args:
            probabilities: of the predictions, [n, K].
            truth: probability of each label, [n, K]; 0 or 1 if the label is known.
        """
        return np.array([_VALUES[name](probabilities, truth) for name in self.names])

    def largest_weight(self, labels: NDArray[np.integer[Any]], classes: int) -> float:
        """Share of a value that one text can decide, as a multiple of 1 / n."""
        if not self.class_weights and self.metric not in ("macro_f1", "roc_auc"):
            return 1.0
        counts = np.bincount(labels, minlength=classes)
        return float(len(labels) / (classes * counts[counts > 0].min()))


def _hits(probabilities: Floats, truth: Floats) -> Floats:
    """Probability that the predicted label is the true one, in the column of that label: [n, K]."""
    hits = np.zeros_like(truth)
    rows, predicted = np.arange(len(truth)), probabilities.argmax(axis=1)
    hits[rows, predicted] = truth[rows, predicted]
    return hits


def _accuracy(probabilities: Floats, truth: Floats) -> float:
    return float(_hits(probabilities, truth).sum() / len(truth))


def _mean_recall(probabilities: Floats, truth: Floats) -> float:
    hits, texts = _hits(probabilities, truth).sum(axis=0), truth.sum(axis=0)
    return float(np.mean(hits[texts > 0] / texts[texts > 0]))


def _macro_f1(probabilities: Floats, truth: Floats) -> float:
    predicted = np.bincount(probabilities.argmax(axis=1), minlength=truth.shape[1])
    both = predicted + truth.sum(axis=0)
    return float(np.mean(2 * _hits(probabilities, truth).sum(axis=0)[both > 0] / both[both > 0]))


def _negative_log_loss(probabilities: Floats, truth: Floats) -> float:
    logs = np.log(np.maximum(probabilities, np.finfo(np.float64).tiny))
    return float((truth * logs).sum() / len(truth))


def _roc_auc(probabilities: Floats, truth: Floats) -> float:
    """Area under the ROC curve of the second of two classes, or the mean of one against the rest."""
    from sklearn.metrics import roc_auc_score

    is_inside = np.repeat([1, 0], len(truth))
    areas = [
        roc_auc_score(
            is_inside,
            np.tile(probabilities[:, k], 2),
            sample_weight=np.concatenate([truth[:, k], 1 - truth[:, k]]),
        )
        for k in ([1] if truth.shape[1] == 2 else range(truth.shape[1]))
        if 0 < truth[:, k].sum() < len(truth)
    ]
    return float(np.mean(areas)) if areas else 0.0


_VALUES = {
    "accuracy": _accuracy,
    "mean recall": _mean_recall,
    "macro_f1": _macro_f1,
    "roc_auc": _roc_auc,
    "log_loss": _negative_log_loss,
}
