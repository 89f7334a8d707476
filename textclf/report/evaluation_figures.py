"""The figures of the evaluation page as rows: metrics, classes, slices, coverage, errors."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from textclf.report.excerpts import MAX_TEXT_CHARS, excerpt
from textclf.stats.confusions import largest_confusions
from textclf.stats.intervals import macro_f1_interval, wilson_interval
from textclf.stats.selective import Coverage, coverage_curve, largest_coverage
from textclf.stats.slices import length_slices, quartile_edges
from textclf.store.evaluation import Evaluation

MAX_CONFUSIONS = 20
MAX_ERRORS = 20
MAX_SOURCES = 20
# Error rates for which the page tells how many texts can be answered.
_ERROR_RATES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)


class Share(NamedTuple):
    """A share, its 95% interval, and the numbers that it was computed from."""

    value: float
    low: float
    high: float
    successes: int
    n: int


@dataclass(frozen=True)
class ClassFigures:
    """Results of one class; None where there is no text or no prediction of it.

    Attributes:
        name: name of the class.
        texts, predictions: number of texts with this label, and of predictions of it.
        recall, precision: shares of its texts and of its predictions that are right.
        f1: F1.
        confused_with: name of the class that its texts are most often predicted as, if it is another.
        confused: number of these texts.
    """

    name: str
    texts: int
    predictions: int
    recall: Share | None
    precision: float | None
    f1: float | None
    confused_with: str | None
    confused: int


class SliceFigures(NamedTuple):
    """The accuracy on a slice of the texts."""

    name: str
    accuracy: Share


class CoverageRow(NamedTuple):
    """The most texts that can be answered with an error rate of at most `max_error`; None for all texts."""

    max_error: float | None
    coverage: Coverage | None
    answered: float
    error: Share | None


class ErrorRow(NamedTuple):
    """A wrong prediction; the text is shortened to MAX_TEXT_CHARS."""

    label: str
    predicted: str
    confidence: float
    length: int
    text: str
    source: str


class EvaluatedTexts(NamedTuple):
    """Texts of an evaluation in its order, and their sources; a source may be ""."""

    texts: Sequence[str]
    sources: Sequence[str]


def share_of(successes: int, n: int) -> Share | None:
    """The share of n; None if n is 0."""
    return Share(successes / n, *wilson_interval(successes, n), successes, n) if n else None


def accuracy_of(matrix: NDArray[np.integer[Any]]) -> Share:
    """The accuracy of counts [K, K] with at least one text."""
    right, n = int(np.trace(matrix)), int(matrix.sum())
    return Share(right / n, *wilson_interval(right, n), right, n)


def macro_f1_of(matrix: NDArray[np.integer[Any]]) -> Share:
    """Macro F1 of counts [K, K] as a Share; its numbers are those of the texts."""
    return Share(*macro_f1_interval(matrix), int(np.trace(matrix)), int(matrix.sum()))


def class_figures(matrix: NDArray[np.integer[Any]], class_names: Sequence[str]) -> list[ClassFigures]:
    """Results of each class, the lowest recall first; classes without texts are last."""
    texts, predictions, right = (values.tolist() for values in (matrix.sum(1), matrix.sum(0), np.diag(matrix)))
    worst: dict[int, tuple[int, int]] = {}
    for found in largest_confusions(matrix, matrix.size):
        worst.setdefault(found.true, (found.predicted, found.texts))
    rows = []
    for class_id, name in enumerate(class_names):
        other, count = worst.get(class_id, (None, 0))
        both = texts[class_id] + predictions[class_id]
        rows.append(
            ClassFigures(
                name=name,
                texts=texts[class_id],
                predictions=predictions[class_id],
                recall=share_of(right[class_id], texts[class_id]),
                precision=right[class_id] / predictions[class_id] if predictions[class_id] else None,
                f1=2 * right[class_id] / both if both else None,
                confused_with=None if other is None else class_names[other],
                confused=count,
            )
        )
    return sorted(rows, key=lambda row: (2.0 if row.recall is None else row.recall.value, -row.texts))


def slice_figures(
    evaluation: Evaluation, max_length: int, sources: Sequence[str] = ()
) -> dict[str, list[SliceFigures]]:
    """Accuracies by length, and by source if there are several; the names of the tables are the keys."""
    lengths = list(length_slices(evaluation.lengths, quartile_edges(evaluation.lengths)))
    is_cut = evaluation.lengths > max_length
    if is_cut.any():
        lengths.append((f"over {max_length} tokens, of which a part is not read by the encoder", is_cut))
    tables = {"length": list(_slices(evaluation, lengths))}
    if len(set(sources)) > 1:
        values = np.array(sources, object)
        common = Counter(sources).most_common(MAX_SOURCES)
        named = [(name or "(no source)", np.asarray(values == name, np.bool_)) for name, _ in common]
        tables["source"] = list(_slices(evaluation, named))
    return tables


def _slices(evaluation: Evaluation, rows: Sequence[tuple[str, NDArray[np.bool_]]]) -> Iterator[SliceFigures]:
    for name, members in rows:
        accuracy = share_of(int(evaluation.is_right[members].sum()), int(members.sum()))
        if accuracy is not None:
            yield SliceFigures(name, accuracy)


def coverage_rows(evaluation: Evaluation) -> tuple[list[Coverage], list[CoverageRow]]:
    """The curve of coverage and errors, and its rows for round error rates below that of all texts.

    If no confidence reaches several of these rates, only the highest of them has a row.
    """
    curve, n = coverage_curve(evaluation.confidences, evaluation.is_right), len(evaluation)
    overall = curve[-1].errors / n
    rows = []
    for rate in (*(rate for rate in _ERROR_RATES if rate < overall), None):
        point = curve[-1] if rate is None else largest_coverage(curve, rate)
        answered = 0.0 if point is None else point.texts / n
        rows.append(CoverageRow(rate, point, answered, None if point is None else share_of(point.errors, point.texts)))
    reached = [row.coverage is not None for row in rows]
    return curve, rows[max(0, reached.index(True) - 1) :]


def confident_errors(evaluation: Evaluation, class_names: Sequence[str], known: EvaluatedTexts) -> list[ErrorRow]:
    """The wrong predictions with the highest confidence, up to MAX_ERRORS."""
    wrong = np.flatnonzero(~evaluation.is_right)
    order = wrong[np.argsort(-evaluation.confidences[wrong], kind="stable")][:MAX_ERRORS]
    return [
        ErrorRow(
            class_names[evaluation.labels[row]],
            class_names[evaluation.predicted[row]],
            float(evaluation.confidences[row]),
            int(evaluation.lengths[row]),
            excerpt(known.texts[row], MAX_TEXT_CHARS),
            known.sources[row] if known.sources else "",
        )
        for row in order.tolist()
    ]
