"""Audits a data set: every check, and the rows that a person should review."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from textclf.audit.audited_texts import PARTS, AuditedTexts
from textclf.audit.copies import Copies, contradictions, find_copies, shared
from textclf.audit.label_search import MIN_CLASS_TEXTS, MIN_TEXTS, LabelSearch, search_labels
from textclf.audit.reading_model import ReadTexts
from textclf.audit.review_file import row_key
from textclf.audit.settings import AuditSettings
from textclf.phases import announce
from textclf.report.audit_report import (
    CONTRADICTION,
    LIKELY_ERROR,
    OUTLIER,
    SIMILAR_CONTRADICTION,
    AuditReport,
    ConfusablePair,
    Group,
    LabelErrors,
    Leak,
    PartSummary,
    ReviewRow,
)
from textclf.report.counted import counted
from textclf.stats.label_errors import confusable_pairs, suggested_labels
from textclf.stats.neighbours import neighbour_distances, outlying
from textclf.tokenization.text_key import KeyFunction

# Texts of fewer wordpieces, with [CLS] and [SEP], rarely show their class.
_SHORT = 5
_MAX_PAIRS = 10
_MAX_GROUPS = 20
_MAX_OUTLIERS = 50
# Characters per second that are compared for similar texts.
_COMPARING_SPEED = 1_000_000


def audit(
    found: AuditedTexts,
    read: ReadTexts,
    settings: AuditSettings,
    keys_of: KeyFunction,
    correct_command: str = "",
    notes: Sequence[str] = (),
) -> AuditReport:
    """All findings about labelled texts.

    Args:
        found: the texts.
        read: the same texts as a model reads them.
        settings: how to search, and how many rows to list.
        keys_of: the rule by which texts are equal.
        correct_command: the command that applies the review file, for the report.
        notes: sentences about the model, for the report.
    """
    announce(f"comparing {len(found):,} texts with each other", sum(map(len, found.texts)) / _COMPARING_SPEED)
    copies = find_copies(found.texts, keys_of)
    classes = len(found.class_names)
    search = search_labels(read, found.labels, copies.group_of, classes, settings.folds, settings.seed)
    outliers = None if read.embeddings is None else outlying(neighbour_distances(read.embeddings))
    rows = list(_rows(found, copies, search, outliers))
    equal = contradictions(copies.equal, found.labels)
    similar = contradictions(copies.similar, found.labels)
    return AuditReport(
        source=str(found.source),
        review_file=str(settings.review_file),
        correct_command=correct_command,
        parts=tuple(_parts(found, read.lengths, settings.max_length)),
        max_length=settings.max_length,
        blank=found.blank,
        short=int((read.lengths < _SHORT).sum()),
        equal_groups=len(copies.equal),
        surplus=sum(len(group) - 1 for group in copies.equal),
        similar_groups=len(copies.similar),
        similar_texts=sum(map(len, copies.similar)),
        contradictions=sum(map(len, equal)),
        similar_contradictions=sum(map(len, similar)),
        leaks=tuple(Leak(*pair, *counts) for pair, counts in shared(copies, found.parts).items()),
        errors=None if search is None else _errors(found, search),
        pairs=() if search is None else tuple(_pairs(found, search)),
        outliers=None if outliers is None else len(outliers),
        groups=tuple(_groups(found, copies)),
        rows=tuple(rows[: settings.max_rows]),
        left_out_rows=max(0, len(rows) - settings.max_rows),
        notes=(*found.notes, *_notes(found, read, search, copies), *notes),
    )


def _rows(
    found: AuditedTexts, copies: Copies, search: LabelSearch | None, outliers: NDArray[np.intp] | None
) -> Iterator[ReviewRow]:
    """Rows to review: contradictions, likely errors, similar texts with other labels, outliers; each text once."""
    suggested: dict[int, int] = {}
    if search is not None:
        classes = suggested_labels(search.probabilities, found.labels[search.rows])
        suggested = dict(zip(search.rows.tolist(), classes.tolist(), strict=True))
    reasons: dict[int, str] = {}
    # Copies next to each other, so that a person sees the contradiction.
    for row in [row for rows in contradictions(copies.equal, found.labels) for row in rows]:
        reasons.setdefault(row, CONTRADICTION)
    for row in [] if search is None else search.errors.tolist():
        reasons.setdefault(row, LIKELY_ERROR)
    for row in [row for rows in contradictions(copies.similar, found.labels) for row in rows]:
        reasons.setdefault(row, SIMILAR_CONTRADICTION)
    for row in [] if outliers is None else outliers[:_MAX_OUTLIERS].tolist():
        reasons.setdefault(row, OUTLIER)
    for row, reason in reasons.items():
        label = found.class_names[found.labels[row]]
        score = None if search is None or np.isnan(search.confidence[row]) else float(search.confidence[row])
        doubts = reason == LIKELY_ERROR or (reason != OUTLIER and score is not None and score < 0.5)
        yield ReviewRow(
            file=found.files[row],
            row=found.rows[row],
            part=found.parts[row],
            label=label,
            suggested_label=found.class_names[suggested[row]] if doubts and row in suggested else "",
            score=None if score is None else round(score, 4),
            reason=reason,
            text=found.texts[row],
            key=row_key(found.texts[row], label),
        )


def _parts(found: AuditedTexts, lengths: NDArray[np.int64], max_length: int) -> Iterator[PartSummary]:
    of_text = np.array(found.parts)
    for name in PARTS:
        rows = np.flatnonzero(of_text == name)
        if len(rows):
            counts = np.bincount(found.labels[rows], minlength=len(found.class_names)).tolist()
            yield PartSummary(
                name=name,
                texts=len(rows),
                classes=dict(zip(found.class_names, counts, strict=True)),
                median_length=float(np.median(lengths[rows])),
                truncated=float((lengths[rows] > max_length).mean()),
            )


def _errors(found: AuditedTexts, search: LabelSearch) -> LabelErrors:
    labels = found.labels[search.rows]
    present = set(labels.tolist())
    return LabelErrors(
        searched=len(search.rows),
        found=len(search.errors),
        accuracy=float((search.probabilities.argmax(axis=1) == labels).mean()),
        models=search.models,
        left_out=tuple(name for at, name in enumerate(found.class_names) if at not in present),
    )


def _pairs(found: AuditedTexts, search: LabelSearch) -> Iterator[ConfusablePair]:
    for first, second, texts, share in confusable_pairs(search.probabilities, found.labels[search.rows])[:_MAX_PAIRS]:
        yield ConfusablePair(found.class_names[first], found.class_names[second], texts, share)


def _groups(found: AuditedTexts, copies: Copies) -> Iterator[Group]:
    """The groups with contradictory labels first, then the largest."""
    groups = [*copies.equal, *copies.similar]
    contradictory = set(contradictions(groups, found.labels))
    for rows in sorted(groups, key=lambda rows: (rows not in contradictory, -len(rows), rows))[:_MAX_GROUPS]:
        labels = Counter(found.class_names[found.labels[row]] for row in rows)
        yield Group(tuple(map(found.place, rows)), tuple(labels), found.texts[rows[0]])


def _notes(found: AuditedTexts, read: ReadTexts, search: LabelSearch | None, copies: Copies) -> Iterator[str]:
    if search is None:
        yield (
            f"There are too few texts to search label errors: this needs {MIN_TEXTS} different texts, and "
            f"{MIN_CLASS_TEXTS} of each of two classes. Read all labels yourself."
        )
    elif len(search.errors):
        yield (
            f"Likely label errors are doubts of {' and '.join(f'a {model}' for model in search.models)}. In tests with "
            f"5% wrong labels, three to nine of ten listed rows were wrong: fewer where the classes are hard to tell "
            f"apart. The first rows are the likeliest."
        )
    if search is not None and (unsearched := len(found) - len(search.rows)):
        texts, classes = (
            counted(unsearched, "text was", "texts were"),
            "its class has" if unsearched == 1 else "their classes have",
        )
        yield f"{texts} not searched for label errors: {classes} too few texts."
    if read.embeddings is None:
        yield "Without embeddings the audit usually finds fewer label errors. It finds no outliers."
    if len(copies.equal) + len(copies.similar) > _MAX_GROUPS:
        yield f"The page shows {_MAX_GROUPS} of the {len(copies.equal) + len(copies.similar):,} groups of copies."
