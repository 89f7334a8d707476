"""Thresholds of unsure predictions, chosen for a target on predictions of texts that the model was not fitted to.

The scores are those that a version serves, with its cascade, so that the thresholds fit them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from textclf.config import TrainingOptions
from textclf.drift.reference import Reference
from textclf.errors import ConfigError, DatasetError
from textclf.evaluation.cost_table import CostTable
from textclf.stats.calibration import softmax
from textclf.stats.intervals import wilson_interval
from textclf.stats.selective import Coverage, coverage_curve
from textclf.stats.unsure import CONFIDENCE, ClassThreshold, class_thresholds, needed_texts, with_counts
from textclf.stats.unsure_costs import cost_thresholds, mean_cost
from textclf.store.evaluation import CONFIDENCE_DIGITS, Evaluation
from textclf.store.manifest import Manifest
from textclf.store.recorded_options import target_options_of

# Shares of the most confident texts that the curve in the manifest has a point for.
_SHARES = tuple(step / 20 for step in range(1, 21))


@dataclass(frozen=True)
class UnsureTarget:
    """The aim of the thresholds: a precision, or the lowest costs.

    Attributes:
        precision: precision to reach, between 0 and 1; None for costs.
        costs: the cost table; None for a precision.

    Raises:
        ConfigError: if not exactly one of them is given, or the precision is not between 0 and 1.
    """

    precision: float | None = None
    costs: CostTable | None = None

    def __post_init__(self) -> None:
        if (self.precision is None) == (self.costs is None):
            raise ConfigError("expected --target-precision or --costs, got both or neither; give one of them")
        if self.precision is not None and not 0 < self.precision < 1:
            raise ConfigError(f"target precision: expected a number above 0 and below 1, got {self.precision}")

    @classmethod
    def of_options(cls, options: TrainingOptions) -> Self | None:
        """The target that options of a training set; None if they set none."""
        if not (options.target_precision or options.costs):
            return None
        return cls(options.target_precision or None, CostTable.read(options.costs) if options.costs else None)

    @classmethod
    def of_version(cls, manifest: Manifest) -> Self | None:
        """The target of a version's thresholds, or the one that its training had; None if it had none."""
        recorded = TrainingOptions.pop_from(dict(manifest.training.get("options", {})))
        return cls.of_options(TrainingOptions(**{**recorded, **target_options_of(manifest)}))


@dataclass(frozen=True, eq=False)
class LabelledScores:
    """Served predictions of n texts: labels and predicted class ids [n], and probabilities [n, K]."""

    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    probabilities: NDArray[np.float64]

    @classmethod
    def of_reference(cls, reference: Reference, temperature: float) -> Self:
        """The predictions in the drift reference of a version with this temperature."""
        features = reference.features
        return cls(reference.labels, features.predicted, softmax(features.logits, temperature))

    @property
    def confidences(self) -> NDArray[np.float64]:
        """Probability of the predicted class, [n]."""
        return self.probabilities[np.arange(len(self.predicted)), self.predicted]


def chosen_thresholds(
    class_names: Sequence[str], scores: LabelledScores, target: UnsureTarget, measured: Evaluation | None = None
) -> dict[str, Any]:
    """Manifest.unsure: thresholds for a target, their effect, and the error rate by coverage.

    Args:
        class_names: position is the class id.
        scores: predictions to choose on.
        target: the aim.
        measured: predictions of other texts, which the thresholds are measured on; only those of a test part are used.

    Raises:
        DatasetError: if no threshold reaches the target precision.
        ConfigError: if the cost table names another class.
    """
    if target.costs is not None:
        found, effect = _for_costs(class_names, scores, target.costs)
    else:
        found, effect = _for_precision(class_names, scores, target.precision or 0.0)
    curve = coverage_curve(scores.confidences, scores.labels == scores.predicted)
    n = len(scores.labels)
    points = list(dict.fromkeys(next(item for item in curve if item.texts >= share * n) for share in _SHARES))
    thresholds = [item.threshold for item in found]
    has_test = measured is not None and measured.split == "test"
    return {
        **effect,
        "texts": n,
        "sure": sum(item.sure for item in found),
        "errors": sum(item.errors for item in found),
        "thresholds": dict(zip(class_names, thresholds, strict=True)),
        "classes": [
            {"class": name, "basis": item.basis, "texts": item.texts, "sure": item.sure, "errors": item.errors}
            for name, item in zip(class_names, found, strict=True)
        ],
        "curve": [_curve_row(point) for point in points],
        **({"test": _measured(measured, thresholds, points)} if measured is not None and has_test else {}),
    }


def _for_precision(
    class_names: Sequence[str], scores: LabelledScores, precision: float
) -> tuple[list[ClassThreshold], dict[str, Any]]:
    found = class_thresholds(scores.labels, scores.predicted, scores.confidences, len(class_names), precision)
    if not any(item.sure for item in found):
        raise DatasetError(
            f"no threshold reaches a precision of {precision:g} on {len(scores.labels):,} calibration texts; to show "
            f"it, at least {needed_texts(precision):,} predictions are needed, of which one may be wrong: lower the "
            f"target, or use more texts"
        )
    return found, {"target_precision": precision, "test_confidence": CONFIDENCE}


def _for_costs(
    class_names: Sequence[str], scores: LabelledScores, table: CostTable
) -> tuple[list[ClassThreshold], dict[str, Any]]:
    costs = table.matrix(class_names)
    limits = cost_thresholds(scores.predicted, scores.probabilities, costs, table.unsure)
    found = with_counts(limits.tolist(), scores.labels, scores.predicted, scores.confidences)
    is_sure = scores.confidences >= limits[scores.predicted]
    measured = scores.labels, scores.predicted
    return found, {
        "costs": table.to_dict(),
        "mean_cost": mean_cost(*measured, is_sure, costs, table.unsure),
        "mean_cost_all_sure": mean_cost(*measured, np.ones_like(is_sure), costs, table.unsure),
    }


def _curve_row(point: Coverage) -> dict[str, Any]:
    low, high = wilson_interval(point.errors, point.texts)
    return {**point._asdict(), "error_low": low, "error_high": high}


def _measured(evaluation: Evaluation, thresholds: Sequence[float | None], points: Sequence[Coverage]) -> dict[str, Any]:
    """Effect of the thresholds on evaluated texts, and their error rate at the confidences of `points`."""
    # An evaluation on disk has rounded confidences.
    digits, is_right = CONFIDENCE_DIGITS, evaluation.is_right
    confidences = np.round(evaluation.confidences, digits)
    limits = np.array([np.inf if value is None else round(value, digits) for value in thresholds])
    is_sure = confidences >= limits[evaluation.predicted]
    rows = []
    for point in points:
        is_above = confidences >= round(point.confidence, digits)
        texts, errors = int(is_above.sum()), int((is_above & ~is_right).sum())
        if texts:
            rows.append(_curve_row(Coverage(point.confidence, texts, errors)))
    return {
        "texts": len(evaluation),
        "sure": int(is_sure.sum()),
        "errors": int((is_sure & ~is_right).sum()),
        "curve": rows,
    }
