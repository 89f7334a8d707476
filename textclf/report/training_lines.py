"""The lines about a trained model that a training prints."""

from collections.abc import Mapping

from textclf.stats.floor import Floor
from textclf.stats.intervals import wilson_interval
from textclf.stats.metrics import MIN_CALIBRATION_TEXTS, Metrics

_CHANCE = {True: "which chance does not explain", False: "which may be chance"}


def metrics_lines(of_splits: Mapping[str, Metrics], precision: str) -> list[str]:
    """The metrics of a trained encoder that were measured in this precision, a line per split."""
    model = "trained encoder" if precision == "float32" else f"trained encoder in {precision}"
    return [f"{split + ':':24} {model}: {_numbers(metrics)}" for split, metrics in of_splits.items()]


def _numbers(metrics: Metrics) -> str:
    """The metrics, with the interval of the accuracy."""
    low, high = wilson_interval(metrics.accuracy * metrics.n, metrics.n)
    numbers = [f"accuracy {metrics.accuracy:.4f} ({low:.3f} to {high:.3f})", f"macro F1 {metrics.macro_f1:.4f}"]
    if metrics.roc_auc is not None:
        numbers.append(f"ROC AUC {metrics.roc_auc:.4f}")
    numbers.append(f"log loss {metrics.log_loss:.4f}")
    if metrics.n >= MIN_CALIBRATION_TEXTS:
        numbers.append(f"calibration error {metrics.expected_calibration_error:.4f}")
    return f"{', '.join(numbers)} ({metrics.n} texts)"


def floor_line(floor: Floor) -> str:
    """The accuracy of a trained model next to its floor."""
    recall = "" if floor.macro_recall is None else f"; macro recall {floor.macro_recall:.4f}"
    return (
        f"floor:         accuracy {floor.accuracy:.4f}, of a probe {floor.probe_accuracy:.4f}, of the largest class "
        f"{floor.majority_share:.4f}{recall} ({floor.texts} texts)"
    )


def floor_sentences(floor: Floor) -> list[str]:
    """A warning if a trained model is below its floor; [] if it is not."""
    sentences = []
    kind = "training texts, which were held out in turn," if floor.is_out_of_fold else "held-out texts"
    if floor.is_below_probe:
        chance = _CHANCE[floor.is_significant]
        sentences.append(
            f"the trained model is below its floor: on {floor.texts:,} {kind} it is right for "
            f"{floor.accuracy:.1%}, a logistic regression on the encoder before training for "
            f"{floor.probe_accuracy:.1%}, {chance}; train with other options, or keep the regression with --epochs 0 "
            f"--head-init probe --pooling mean"
        )
    if floor.is_no_better:
        sentences.append(
            f"the trained model is no better than always answering the largest class: on {floor.texts:,} {kind} "
            f"{floor.accuracy:.1%} and {floor.majority_share:.1%} are right, {_CHANCE[floor.is_useless]}; add labels, "
            f"or check them with textclf data audit"
        )
    return sentences
