"""The thresholds of unsure predictions in Manifest.unsure: as sentences, and as a chart of error rate by coverage."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from textclf.report.drift_terms import percent
from textclf.stats.intervals import wilson_interval
from textclf.stats.unsure import COST, POOLED

# Classes with a line of their own; the manifest has all.
_MAX_CLASSES = 20


class CurvePoint(NamedTuple):
    """A share of the texts, their error rate, and its 95% interval."""

    coverage: float
    error: float
    low: float
    high: float


class CurveRow(NamedTuple):
    """The texts with at least a confidence: of the calibration set, and of the test part if it has any."""

    confidence: float
    calibration: CurvePoint
    test: CurvePoint | None


@dataclass(frozen=True)
class CurveChart:
    """The curve in SVG units of a width and height: the interval as a polygon, and two lines.

    Attributes:
        band: 95% intervals of the calibration set.
        line: error rates of the calibration set.
        test_line: error rates of the test part; "" without one.
        top: error rate at the top of the chart.
    """

    band: str
    line: str
    test_line: str
    top: float


def unsure_lines(unsure: dict[str, Any]) -> list[str]:
    """The thresholds of Manifest.unsure and their effect, as lines for people; [] for a version without thresholds."""
    if not unsure:
        return []
    lines = [f"{_aim(unsure)}: {_effect(unsure, 'calibration')}"]
    if test := unsure.get("test"):
        lines.append(f"measured: {_effect(test, 'test')}")
    if "mean_cost" in unsure:
        lines.append(
            f"mean cost of a calibration text: {unsure['mean_cost']:.4f}; {unsure['mean_cost_all_sure']:.4f} if every "
            f"prediction were sure"
        )
    rows = [(row, unsure["thresholds"][row["class"]]) for row in unsure["classes"]]
    pooled = [(row, threshold) for row, threshold in rows if row["basis"] == POOLED]
    others = [(row, threshold) for row, threshold in rows if row["basis"] != POOLED]
    if pooled:
        which = "every class" if not others else "every other class"
        lines.append(f"{which}: unsure below {pooled[0][1]:.4f}; {_counts([row for row, _ in pooled])}")
    lines += [_class_line(row, threshold) for row, threshold in others[:_MAX_CLASSES]]
    if len(others) > _MAX_CLASSES:
        lines.append(f"and {len(others) - _MAX_CLASSES:,} more classes, in the manifest")
    return lines


def curve_rows(unsure: dict[str, Any]) -> list[CurveRow]:
    """The error rate by coverage, the most confident texts first; [] without a curve."""
    test = unsure.get("test", {"curve": [], "texts": 0})
    measured = {row["confidence"]: _point(row, test["texts"]) for row in test["curve"]}
    return [
        CurveRow(row["confidence"], _point(row, unsure["texts"]), measured.get(row["confidence"]))
        for row in unsure.get("curve", [])
    ]


def curve_chart(rows: Sequence[CurveRow], width: int, height: int) -> CurveChart | None:
    """The curve as a chart of this size; None without rows."""
    if not rows:
        return None
    calibration, test = [row.calibration for row in rows], [row.test for row in rows if row.test is not None]
    # The intervals of few texts reach far above the curves.
    top = max(0.01, *(1.5 * point.error for point in (*calibration, *test)))

    def points(places: Iterable[tuple[float, float]]) -> str:
        return " ".join(f"{width * x:.1f},{height * (1 - min(y, top) / top):.1f}" for x, y in places)

    lows = [(point.coverage, point.low) for point in calibration]
    highs = [(point.coverage, point.high) for point in reversed(calibration)]
    return CurveChart(
        band=points(lows + highs),
        line=points((point.coverage, point.error) for point in calibration),
        test_line=points((point.coverage, point.error) for point in test),
        top=top,
    )


def _aim(unsure: dict[str, Any]) -> str:
    if costs := unsure.get("costs"):
        return f"cost of an unsure prediction {costs['unsure']:g}"
    return f"target precision {unsure['target_precision']:g}"


def _effect(counts: dict[str, Any], split: str) -> str:
    n, sure, errors = counts["texts"], counts["sure"], counts["errors"]
    found = f"{sure:,} of {n:,} {split} texts sure ({percent(sure / n)})"
    if not sure:
        return found
    low, high = map(percent, wilson_interval(sure - errors, sure))
    return f"{found}, {percent((sure - errors) / sure)} of them right (95% interval {low} to {high})"


def _class_line(row: dict[str, Any], threshold: float | None) -> str:
    if threshold is None:
        texts = row["texts"]
        return f"{row['class']}: always unsure; it does not reach the target on {texts:,} predictions"
    if row["basis"] == COST and threshold == 0:
        return f"{row['class']}: never unsure; {_counts([row])}"
    return f"{row['class']}: unsure below {threshold:.4f}; {_counts([row])}"


def _counts(rows: Sequence[dict[str, Any]]) -> str:
    texts, sure, errors = (sum(row[name] for row in rows) for name in ("texts", "sure", "errors"))
    return f"{sure:,} of {texts:,} predictions sure, {sure - errors:,} right"


def _point(row: dict[str, Any], texts: int) -> CurvePoint:
    return CurvePoint(row["texts"] / texts, row["errors"] / row["texts"], row["error_low"], row["error_high"])
