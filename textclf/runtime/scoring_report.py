"""Counts of the rows of a scored file, and the sentences about them."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from textclf.bad_rows import MAX_PLACES, BadRowError, Reason, in_words
from textclf.label_column import describe_changes, rename_notes
from textclf.labels import OTHER_LABEL
from textclf.runtime.label_accuracy import LabelResults
from textclf.runtime.prediction import RULE, STAGES, UNSURE, Prediction
from textclf.unusual_reasons import MEANINGS

MAX_SKIPPED_LISTED = 1000


@dataclass
class ScoringReport:
    """Counts of the rows of a scored file.

    Attributes:
        scored: rows written.
        skipped: rows that could not be read, scored or written.
        skipped_rows: (number, reason) of up to MAX_SKIPPED_LISTED skipped rows.
        reasons: number of skipped rows by reason.
        empty: rows written whose text has no wordpieces.
        empty_rows: numbers of the first of them.
        unusual: reason -> rows written whose text is unusual.
        unusual_rows: numbers of the first of them.
        columns: the columns that were read instead of those that were asked for; "" if there are none.
        labels: the rows' own labels, compared with the predictions.
        stages: cascade stage, or "rule" -> rows that it predicted; empty without a cascade and rules.
        rules: name of a rule -> rows whose text or prediction it changed.
        unsure: rows whose prediction is unsure.
        left_unsure: those of them that a rule gave the label "unsure".
    """

    scored: int = 0
    skipped: int = 0
    skipped_rows: list[tuple[int, str]] = field(default_factory=list)
    reasons: Counter[Reason] = field(default_factory=Counter)
    empty: int = 0
    empty_rows: list[int] = field(default_factory=list)
    unusual: Counter[str] = field(default_factory=Counter)
    unusual_rows: list[int] = field(default_factory=list)
    columns: str = ""
    labels: LabelResults = field(default_factory=LabelResults)
    stages: Counter[str] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)
    unsure: int = 0
    left_unsure: int = 0

    @property
    def rows(self) -> int:
        """Number of input rows."""
        return self.scored + self.skipped

    @property
    def accuracy(self) -> float | None:
        """Share of the labelled rows whose label was predicted; None without labelled rows."""
        return self.correct / self.labelled if self.labelled else None

    @property
    def labelled(self) -> int:
        """Number of rows with a label that is a class of the model, or OTHER_LABEL."""
        return self.labels.labelled

    @property
    def correct(self) -> int:
        """Number of labelled rows whose label was predicted."""
        return self.labels.correct

    @property
    def unknown_labels(self) -> int:
        """Number of rows whose label is not a class of the model."""
        return self.labels.unknown

    def warnings(self) -> Iterator[str]:
        """Lines about columns, skipped and blank rows, and labels that were normalised or are unknown."""
        if self.columns:
            yield f"columns: {self.columns}"
        if self.empty:
            numbers = _first_rows(self.empty_rows, self.empty)
            yield f"blank texts: {self.empty} ({numbers}); their predictions depend on the model alone"
        if self.unusual:
            reasons = ", ".join(f"{MEANINGS[reason]} ({count})" for reason, count in self.unusual.most_common())
            numbers = _first_rows(self.unusual_rows, self.unusual.total())
            yield f"unusual texts: {self.unusual.total()} ({numbers}): {reasons}"
        if self.left_unsure:
            yield f"texts that a rule left {UNSURE}: {self.left_unsure}; rows with a label count as wrong"
        if self.skipped:
            yield f"skipped {self.skipped} of {self.rows} rows: {in_words(self.reasons)}"
            yield from (f"  {row_reason(number, reason)}" for number, reason in self.skipped_rows)
        if self.skipped > len(self.skipped_rows):
            yield f"  … and {self.skipped - len(self.skipped_rows)} more"
        if self.labels.changes:
            yield f"labels: {describe_changes(self.labels.changes)}"
        yield from rename_notes(self.labels.unused_renames)
        if self.unknown_labels:
            rows = "1 row has" if self.unknown_labels == 1 else f"{self.unknown_labels} rows have"
            yield f"{rows} a label that is not a class of the model{self.labels.remedy}"

    def results(self, has_cascade: bool) -> Iterator[str]:
        """Lines about stages, rules, accuracy and unsure predictions; stages need a model that `has_cascade`."""
        if has_cascade:
            counts = {by: self.stages[stage] for stage, by in STAGES.items()}
            counts |= {"by a rule": self.stages[RULE]} if self.stages[RULE] else {}
            yield f"predicted {', '.join(f'{by}: {count}' for by, count in counts.items())}"
        if self.rules:
            ordered = sorted(self.rules.items(), key=lambda item: (-item[1], item[0]))
            counted = (f"{rule} ({count})" for rule, count in ordered)
            yield f"rows that rules changed: {', '.join(counted)}"
        if self.accuracy is not None:
            others = self.labels.others
            wrong = f"; {others:,} with the label {OTHER_LABEL} count as wrong" if others else ""
            right = f"{self.correct} of {self.labelled} labelled rows right ({self.accuracy:.2%})"
            yield f"accuracy: {right}{wrong}"
        if self.unsure:
            labels, precision = self.labels, ""
            if labels.sure:
                share = f"{labels.sure_correct / labels.sure:.2%}"
                precision = f"; {labels.sure_correct} of the {labels.sure} other labelled rows right ({share})"
            share = f"{self.unsure} of {self.scored} rows ({self.unsure / self.scored:.2%})"
            yield f"unsure predictions: {share}{precision}"

    def leave_out(self, number: int, error: BadRowError) -> None:
        """Count a bad row."""
        self.skipped += 1
        self.reasons[error.reason] += 1
        if len(self.skipped_rows) < MAX_SKIPPED_LISTED:
            line = error.place.removeprefix(f"row {number}").strip()
            reason = "; ".join(filter(None, [error.found, error.remedy]))
            self.skipped_rows.append((number, f"{line}: {reason}" if line else reason))

    def count(self, number: int, prediction: Prediction) -> None:
        """Count a row that was written."""
        self.scored += 1
        if prediction.stage is not None:
            self.stages[prediction.stage] += 1
        self.rules.update(prediction.rules)
        self.unsure += prediction.unsure
        self.left_unsure += prediction.replaced is not None and prediction.label == UNSURE
        if prediction.is_empty:
            self.empty += 1
            if len(self.empty_rows) < MAX_PLACES:
                self.empty_rows.append(number)
        if prediction.unusual_reason is not None:
            self.unusual[prediction.unusual_reason] += 1
            if len(self.unusual_rows) < MAX_PLACES:
                self.unusual_rows.append(number)


def row_reason(number: int, reason: str) -> str:
    """The reason with its row; a reason that starts with the line, in brackets, continues the row's number."""
    return f"row {number}{'' if reason.startswith('(line ') else ':'} {reason}"


def _first_rows(numbers: Sequence[int], count: int) -> str:
    """The numbers of the first of `count` rows."""
    return f"rows {', '.join(map(str, numbers))}{', …' if count > len(numbers) else ''}"
