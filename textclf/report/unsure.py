"""The thresholds of unsure predictions in Manifest.unsure, as sentences."""

from typing import Any

from textclf.report.drift_terms import percent
from textclf.stats.intervals import wilson_interval
from textclf.stats.unsure import POOLED


def unsure_lines(unsure: dict[str, Any]) -> list[str]:
    """The thresholds of Manifest.unsure and their effect, as lines for people; [] for a version without thresholds."""
    if not unsure:
        return []
    n, sure, errors = unsure["texts"], unsure["sure"], unsure["errors"]
    low, high = map(percent, wilson_interval(sure - errors, sure))
    right = f"{percent((sure - errors) / sure)} of them right (95% interval {low} to {high})"
    lines = [
        f"target precision {unsure['target_precision']:g}: {sure:,} of {n:,} calibration texts sure "
        f"({percent(sure / n)}), {right}"
    ]
    for row in unsure["classes"]:
        threshold = unsure["thresholds"][row["class"]]
        if threshold is None:
            lines.append(f"{row['class']}: always unsure; it does not reach the target on {row['texts']:,} predictions")
            continue
        too_few = "; too few for a threshold of its own" if row["basis"] == POOLED else ""
        lines.append(
            f"{row['class']}: unsure below {threshold:.4f}; {row['sure']:,} of {row['texts']:,} predictions sure, "
            f"{row['sure'] - row['errors']:,} right{too_few}"
        )
    return lines
