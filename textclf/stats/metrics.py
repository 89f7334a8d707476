"""Metrics of a classifier on labelled texts, in one frozen record."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self, TypedDict

import numpy as np
import numpy.typing as npt

from textclf.config import SELECTION_METRICS
from textclf.errors import ConfigError, InputError
from textclf.stats.calibration import check_probabilities, expected_calibration_error

# With fewer texts a calibration error is mostly chance.
MIN_CALIBRATION_TEXTS = 100
# Name of the training texts as a split whose texts were predicted by cross-fitting.
OUT_OF_FOLD = "out_of_fold"


class ClassMetrics(TypedDict):
    """Metrics of one class; None is an undefined ratio (0 / 0)."""

    precision: float | None
    recall: float | None
    f1: float | None
    support: int


@dataclass(frozen=True)
class Metrics:
    """Metrics of a classifier on n labelled texts; to_dict() and from_dict() are inverse.

    Attributes:
        n: texts.
        accuracy: share of texts whose most probable class is the label.
        macro_f1: mean F1 over the classes that occur in labels or predictions.
        per_class: class name -> precision, recall, F1 and support (texts with that label).
        roc_auc: area under the ROC curve of P(second class); for more classes the mean of one-vs-rest; None if a
            class has no text.
        log_loss: mean negative log-likelihood of the labels, in nats.
        expected_calibration_error: 15 bins of the confidence (textclf.stats.calibration).
        confusion_matrix: counts, [K][K]; rows are true classes, columns predicted ones.
    """

    n: int
    accuracy: float
    macro_f1: float
    per_class: dict[str, ClassMetrics]
    roc_auc: float | None
    log_loss: float
    expected_calibration_error: float
    confusion_matrix: list[list[int]]

    def to_dict(self) -> dict[str, Any]:
        """The metrics as a dict for strict JSON: undefined values are None, not NaN."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The metrics from the dict of to_dict().

        Raises:
            InputError: if a key is missing or unknown.
        """
        known = {item.name for item in dataclasses.fields(cls)}
        if set(values) != known:
            raise InputError(
                f"metrics: expected exactly the keys {', '.join(sorted(known))}; missing: "
                f"{sorted(known - set(values)) or 'none'}, unknown: {sorted(set(values) - known) or 'none'}"
            )
        return cls(**values)


def classification_metrics(probabilities: npt.ArrayLike, labels: npt.ArrayLike, class_names: Sequence[str]) -> Metrics:
    """Metrics of probabilities [n, K] for labels [n].

    Args:
        probabilities: float [n, K], rows that add up to 1.
        labels: class ids, int [n]; classes without texts are allowed.
        class_names: K names; position is the class id.

    Raises:
        InputError: if shapes or ranges do not fit, or n is 0.
    """
    from sklearn import metrics as sklearn_metrics  # Lazy: --help works without it.

    values, ids = check_probabilities(probabilities, labels)
    classes = values.shape[1]
    if len(class_names) != classes or len(set(class_names)) != classes:
        raise InputError(
            f"expected {classes} different class names, one for each column of the probabilities, "
            f"got {list(class_names)!r}"
        )
    all_ids = np.arange(classes)
    predicted = values.argmax(axis=1)  # [n]
    # NaN marks 0 / 0; with it scikit-learn neither warns nor substitutes a value.
    precision, recall, f1, support = sklearn_metrics.precision_recall_fscore_support(
        ids, predicted, labels=all_ids, average=None, zero_division=np.nan
    )  # each [K]
    return Metrics(
        n=len(ids),
        accuracy=float(np.mean(predicted == ids)),
        macro_f1=float(np.nanmean(f1)),
        per_class={
            name: ClassMetrics(
                precision=_defined(precision[k]),
                recall=_defined(recall[k]),
                f1=_defined(f1[k]),
                support=int(support[k]),
            )
            for k, name in enumerate(class_names)
        },
        roc_auc=_roc_auc(values, ids) if support.all() else None,
        log_loss=float(sklearn_metrics.log_loss(ids, values / values.sum(axis=1, keepdims=True), labels=all_ids)),
        expected_calibration_error=expected_calibration_error(values, ids),
        confusion_matrix=sklearn_metrics.confusion_matrix(ids, predicted, labels=all_ids).tolist(),
    )


def selection_value(metrics: Metrics, name: str) -> float | None:
    """The value of the metric `name`, one of textclf.config.SELECTION_METRICS; None if undefined.

    Raises:
        ConfigError: if there is no such metric.
    """
    _check_name(name)
    value: float | None = getattr(metrics, name)
    return value


def is_better(name: str, value: float | None, than: float | None) -> bool:
    """True if `value` of the metric `name` is better than `than`; any value is better than None.

    Raises:
        ConfigError: if there is no such metric.
    """
    _check_name(name)
    if value is None:
        return False
    if than is None:
        return True
    return value > than if SELECTION_METRICS[name] else value < than


def _check_name(name: str) -> None:
    if name not in SELECTION_METRICS:
        raise ConfigError(f"metric: expected one of {', '.join(SELECTION_METRICS)}, got {name!r}")


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _roc_auc(probabilities: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]) -> float:
    from sklearn.metrics import roc_auc_score

    columns = [1] if probabilities.shape[1] == 2 else range(probabilities.shape[1])
    areas = [roc_auc_score(labels == k, probabilities[:, k]) for k in columns]
    return float(np.mean(areas))
