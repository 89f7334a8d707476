"""Lines of metrics on standard output, and the regular expressions by which SageMaker finds the metrics in them.

A metric is written as `textclf:NAME=VALUE;`. The names of an epoch and of the finished model differ, so that a chart
or a tuning job never mixes them. Both the lines and the definitions follow from the tables below.
"""

import math
from collections.abc import Iterator, Mapping

# Key of a training's history -> name of the metric, one value per epoch.
_EPOCH_METRICS = {
    "loss": "train_loss",
    "val_loss": "val_loss",
    "val_accuracy": "val_accuracy",
    "val_macro_f1": "val_macro_f1",
}
# Key of a model's metrics -> beginning of their names, and the fields of textclf.stats.metrics.Metrics after it.
_FINAL_SPLITS = {"validation_select": "final_validation", "test": "final_test", "out_of_fold": "final_out_of_fold"}
_FINAL_METRICS = ("accuracy", "macro_f1", "roc_auc", "log_loss", "expected_calibration_error")


def epoch_line(epoch: int, history: Mapping[str, float]) -> str:
    """The line after an epoch.

    Args:
        epoch: its number, from 1.
        history: values of the epoch by the keys of a training's history; others than those of metrics are left out.
    """
    metrics = {name: history[key] for key, name in _EPOCH_METRICS.items() if key in history}
    return _line({"epoch": epoch, **metrics})


def final_line(metrics: Mapping[str, Mapping[str, object]]) -> str:
    """The line of the finished model; "" without metrics.

    Args:
        metrics: split to the fields of textclf.stats.metrics.Metrics, as in a manifest.
    """
    return _line(
        {
            f"{prefix}_{name}": metrics[split].get(name)
            for split, prefix in _FINAL_SPLITS.items()
            if split in metrics
            for name in _FINAL_METRICS
        }
    )


def metric_definitions() -> list[dict[str, str]]:
    """SageMaker's MetricDefinitions: the name and the regular expression of every metric.

    The objective of a tuning job is one of them, usually `val_macro_f1`, which has a value after each epoch.
    """
    return [{"Name": name, "Regex": rf"textclf:{name}=([-+.0-9eE]+);"} for name in _names()]


def _names() -> Iterator[str]:
    yield from _EPOCH_METRICS.values()
    for prefix in _FINAL_SPLITS.values():
        yield from (f"{prefix}_{name}" for name in _FINAL_METRICS)


def _line(values: Mapping[str, object]) -> str:
    """The values that are finite numbers; an undefined metric is left out."""
    return " ".join(
        f"textclf:{name}={value:.6g};"
        for name, value in values.items()
        if isinstance(value, int | float) and math.isfinite(value)
    )
