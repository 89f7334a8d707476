"""The evaluation of a version as one self-contained HTML page with charts and without scripts."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from textclf.errors import export_again_command
from textclf.report.drift_terms import percent
from textclf.report.evaluation_figures import (
    MAX_CONFUSIONS,
    EvaluatedTexts,
    Share,
    accuracy_of,
    class_figures,
    confident_errors,
    coverage_rows,
    macro_f1_of,
    slice_figures,
)
from textclf.report.html_page import render_page
from textclf.report.shortcomings import keeps_best_epoch, matrix_of, measured_split, shortcoming_sentences
from textclf.report.unsure import curve_chart, curve_rows, unsure_lines
from textclf.report.unusual import unusual_sentence
from textclf.stats.calibration import ReliabilityBins, bins_of_confidence, error_of_bins
from textclf.stats.confusions import confusion_matrix, largest_confusions
from textclf.stats.parity import Parity
from textclf.stats.selective import Coverage
from textclf.store.evaluation import Evaluation
from textclf.store.manifest import Manifest

# Size of a chart in SVG units.
WIDTH, HEIGHT = 480, 240
# Classes that are shown as a matrix.
_MAX_MATRIX = 10
_MAX_POINTS = 200
# A curve starts at this share of the texts: the error rate of fewer is mostly chance.
_FIRST_COVERAGE = 0.05
_SPLITS = {"test": "test texts", "validation_select": "texts of the selection set"}
_DATA_OPTION = "textclf versions inspect --model-path STORE ID --html FILE --dataset-path DATA"


@dataclass(frozen=True)
class Metric:
    """A metric of the engine, with its interval if it has one, and of the trained encoder alone; None if unknown."""

    name: str
    value: str | None
    interval: str | None
    trained: str | None


class ReliabilityBar(NamedTuple):
    """A bin of the reliability diagram in SVG units: the accuracy is the height, the confidence a line."""

    x: float
    width: float
    accuracy: float
    confidence: float
    texts: int
    title: str


class Line(NamedTuple):
    """A curve in SVG units, as the attribute `points`, and the value at the top of its vertical axis."""

    points: str
    top: float


def evaluation_page(
    manifest: Manifest,
    evaluation: Evaluation | None,
    known: EvaluatedTexts | None = None,
    notes: Sequence[str] = (),
    other_data: str | None = None,
) -> str:
    """The page of a version as HTML; names and texts are escaped.

    Args:
        manifest: manifest of the version.
        evaluation: predictions of the engine; None shows what the manifest contains, and what is missing.
        known: texts of the evaluation; None leaves out the errors and the slices by source.
        notes: sentences about the data that was measured.
        other_data: the measured data, if it is not known to be that of the version. The metrics of the trained encoder
            are left out then, because they are of other texts.
    """
    names = manifest.class_names
    split = measured_split(manifest.metrics)
    trained = {} if split is None else manifest.metrics[split]
    matrix = matrix_of(trained, len(names))
    if evaluation is not None:
        split, matrix = evaluation.split, confusion_matrix(evaluation.labels, evaluation.predicted, len(names))
        trained = manifest.metrics.get(split, {}) if other_data is None else {}
    split_name = _SPLITS.get(split or "", split or "")
    shown: dict[str, Any] = {
        "bars": [], "curve": None, "coverage": [], "slices": {}, "errors": None, "words": (), "bins_error": None,
    }  # fmt: skip
    if evaluation is not None:
        bins = bins_of_confidence(evaluation.confidences, evaluation.is_right)
        curve, rows = coverage_rows(evaluation)
        sources = () if known is None else known.sources
        shown = {
            "bars": reliability_bars(bins),
            "curve": coverage_line(curve, len(evaluation)),
            "coverage": rows,
            "slices": slice_figures(evaluation, manifest.max_wordpieces, sources),
            "errors": None if known is None else confident_errors(evaluation, names, known),
            "words": list(zip(names, evaluation.words, strict=True)) if evaluation.words else (),
            "bins_error": error_of_bins(bins),
        }
    unsure = curve_rows(manifest.unsure)
    return render_page(
        "evaluation_page.html.jinja",
        manifest=manifest,
        unsure=unsure_lines(manifest.unsure),
        unsure_rows=unsure,
        unsure_chart=curve_chart(unsure, WIDTH, HEIGHT),
        split=split_name,
        facts=_facts(manifest, evaluation, split_name, other_data),
        times=_times(manifest, evaluation),
        trained_on=", all texts" if evaluation is not None and evaluation.found > len(evaluation) else "",
        warnings=[] if matrix is None or split is None else shortcoming_sentences(matrix, manifest, split),
        notes=[*notes, *_missing(evaluation, known, matrix)],
        accuracy=None if matrix is None else accuracy_of(matrix),
        metrics=[] if matrix is None else _metrics(matrix, trained, evaluation, shown["bins_error"]),
        matrix=matrix.tolist() if matrix is not None and len(names) <= _MAX_MATRIX else None,
        confusions=[] if matrix is None else largest_confusions(matrix, MAX_CONFUSIONS),
        classes=[] if matrix is None else class_figures(matrix, names),
        parity=_parities(manifest),
        names=names,
        totals=[] if matrix is None else matrix.sum(axis=1).tolist(),
        width=WIDTH,
        height=HEIGHT,
        **shown,
    )


def reliability_bars(bins: ReliabilityBins) -> list[ReliabilityBar]:
    """The bins with texts."""
    number = len(bins.count)
    step = WIDTH / number
    found = []
    for at, (count, confidence, accuracy) in enumerate(
        zip(bins.count.tolist(), bins.confidence.tolist(), bins.accuracy.tolist(), strict=True)
    ):
        if count:
            title = f"{count:,} texts: mean confidence {percent(confidence)}, right {percent(accuracy)}"
            found.append(ReliabilityBar(at * step + 1, step - 2, HEIGHT * accuracy, HEIGHT * confidence, count, title))
    return found


def coverage_line(curve: Sequence[Coverage], n: int) -> Line:
    """The error rate (vertical) against the share of answered texts (horizontal), with up to _MAX_POINTS points."""
    points = [point for point in curve if point.texts >= _FIRST_COVERAGE * n]
    every = -(-len(points) // _MAX_POINTS)
    points = points[:-1:every] + points[-1:]
    top = max(0.01, *(point.errors / point.texts for point in points))
    places = (
        f"{WIDTH * point.texts / n:.1f},{HEIGHT * (1 - point.errors / point.texts / top):.1f}" for point in points
    )
    return Line(" ".join(places), top)


def _metrics(
    matrix: NDArray[np.int64], trained: dict[str, Any], evaluation: Evaluation | None, bins_error: float | None
) -> list[Metric]:
    """The metrics as text; without an evaluation the intervals are those of the trained model."""
    found: dict[str, Share] = {"accuracy": accuracy_of(matrix), "macro F1": macro_f1_of(matrix)}
    rows = [
        Metric(
            name,
            percent(share.value) if evaluation is not None else None,
            f"{percent(share.low)} to {percent(share.high)}",
            _figure(trained.get(key), percent),
        )
        for (name, share), key in zip(found.items(), ("accuracy", "macro_f1"), strict=True)
    ]
    error = None if bins_error is None else percent(bins_error)
    rows.append(Metric("calibration error", error, None, _figure(trained.get("expected_calibration_error"), percent)))
    rows.append(Metric("ROC AUC", None, None, _figure(trained.get("roc_auc"), "{:.4f}".format)))
    rows.append(Metric("log loss", None, None, _figure(trained.get("log_loss"), "{:.4f}".format)))
    return [row for row in rows if row.value is not None or row.trained is not None]


def _facts(
    manifest: Manifest, evaluation: Evaluation | None, split_name: str, other_data: str | None
) -> list[tuple[str, str]]:
    """Titles and texts: which model was measured, on what."""
    state = "" if manifest.source else ", before its engine was made"
    rows = [("model", f"the {manifest.measured}{state}")]
    if evaluation is not None:
        precision = manifest.engine.get("precision") or "SavedModel"
        stages = ", with the linear stage" if manifest.cascade.get("settings") else ""
        n, found = len(evaluation), evaluation.found
        drawn = f", drawn at random from {found:,}" if found > n else ""
        rows = [("model", f"the engine that serves ({precision}{stages})"), ("texts", f"{n:,} {split_name}{drawn}")]
    source = str(manifest.data.get("source") or "unknown")
    data = [("data", source)] if other_data is None else [("data", other_data), ("trained on", source)]
    return [
        *rows,
        *data,
        ("encoder", f"{manifest.encoder['model_name']}, up to {manifest.max_wordpieces:,} tokens of a text"),
        *([("marked as unusual", sentence)] if (sentence := unusual_sentence(manifest.unusual)) else []),
        ("created", manifest.created or "unknown"),
    ]


def _times(manifest: Manifest, evaluation: Evaluation | None) -> list[tuple[str, str]]:
    rows = []
    if seconds := _figure(manifest.training.get("seconds"), "{:,.0f} s".format):
        steps, best = (manifest.training.get(name, "?") for name in ("steps", "best_epoch"))
        kept = f"the best epoch, {best}, was kept" if keeps_best_epoch(manifest) else "the last epoch was kept"
        rows.append(("training", f"{seconds} for {steps} steps; {kept}"))
    if evaluation is not None and evaluation.seconds:
        each = 1000 * evaluation.seconds / len(evaluation)
        rows.append(("scoring", f"{each:.1f} ms per text in large batches, on the machine that measured"))
    return rows


def _parities(manifest: Manifest) -> list[tuple[str, Parity]]:
    """The comparisons of the engine with the SavedModel that the manifest contains."""
    found = []
    for name, values in manifest.parity.items():
        with contextlib.suppress(TypeError, KeyError):  # Not a comparison, or one of another version of this software.
            found.append((name, Parity.from_dict(values)))
    return found


def _figure(value: object, form: Any) -> str | None:
    return str(form(value)) if isinstance(value, int | float) else None


def _missing(
    evaluation: Evaluation | None, known: EvaluatedTexts | None, matrix: NDArray[np.int64] | None
) -> list[str]:
    """Sentences about what the page lacks, and how to get it."""
    if evaluation is None:
        return [
            "This version contains no evaluation of its engine, because an earlier version of this software saved it. "
            f"So this page lacks reliability, coverage, slices, words and errors. {_DATA_OPTION} shows them; "
            f"{export_again_command()} saves a child version that contains them.",
            *(["Its manifest contains no confusion matrix either."] if matrix is None else []),
        ]
    found = []
    if known is None:
        found.append(
            "A version contains no texts, so this page lacks the errors with their texts and the slices by source. "
            f"{_DATA_OPTION} shows them."
        )
    if not any(evaluation.words):
        found.append("The words of each class are unknown: this version was saved without a linear stage.")
    return found
