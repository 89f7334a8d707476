"""Labelled texts of a table: finds their columns, and reports the rows that have no usable text, label or weight."""

import math
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from textclf.bad_rows import BadRowError, OnBadRow, Reason
from textclf.config import DataOptions
from textclf.data.tables import Row, Wanted, column_names, describe_dialect, find_columns, read_rows
from textclf.errors import DatasetError, missing_column
from textclf.label_column import label_text

SOURCE = "source"
# Within these bounds no sum of weights is infinite, and no ratio of two weights is 0, whatever the number of texts.
WEIGHTS = (1e-9, 1e9)


class LabelledRow(NamedTuple):
    """A row of a table.

    Attributes:
        number: number of the row, counted from 1 after the header.
        text: None if the row has no text.
        label: as read; None if the row has none.
        source: value of the column `source`, else "".
        weight: how much the text counts in the loss.
    """

    number: int
    text: str | None
    label: str | int | float | Decimal | None
    source: str
    weight: float = 1.0


class LabelledTable:
    """A table with texts and labels.

    Args:
        path: the table file.
        options: names of the columns, and the encoding.
        needs_label: whether a row without a label is bad. If not, a table without labels may have no such column.
        weight_column: column of the weights; an empty cell counts 1, and so do all rows without a column ("").

    Raises:
        DatasetError: if the table can't be read, a column is missing, or several could be meant.
    """

    def __init__(self, path: Path, options: DataOptions, needs_label: bool = True, weight_column: str = "") -> None:
        self.path = path
        self._needs_label = needs_label
        self._encoding = options.encoding
        self._wanted = Wanted(options.text_column, options.label_column, needs_label)
        self.columns = find_columns(path, self._wanted, self._encoding)
        self._weight_column = weight_column
        if weight_column and weight_column not in (names := column_names(path, self._wanted, self._encoding)):
            raise DatasetError(f"{path}: {missing_column(weight_column, names, '--weight-column')}")

    @property
    def note(self) -> str:
        """A sentence about columns that are read instead of the wanted ones, and an unusual encoding or delimiter."""
        dialect = describe_dialect(self.path, self._wanted, self._encoding)
        note = "; ".join(filter(None, [self.columns.note(self._wanted), dialect]))
        return f"{self.path.name}: {note}." if note else ""

    def rows(self, on_bad: OnBadRow) -> Iterator[LabelledRow]:
        """The good rows; each bad one is passed to `on_bad`, with its number.

        Raises:
            DatasetError: if the file is damaged.
        """
        rows = read_rows(self.path, wanted=self._wanted, encoding=self._encoding, on_bad=on_bad)
        for number, row in rows:
            fault = self._fault(row)
            if fault is not None:
                on_bad(number, BadRowError(self.path, f"row {number}", *fault))
                continue
            label = None if self.columns.label is None else row.get(self.columns.label)
            source = row.get(SOURCE)
            sender = "" if source is None else str(source)
            weight = (weight_of(row.get(self._weight_column)) or 1.0) if self._weight_column else 1.0
            yield LabelledRow(number, row[self.columns.text], None if is_missing(label) else label, sender, weight)

    def _fault(self, row: Row) -> tuple[Reason, str, str] | None:
        """Reason, finding and remedy for a row that is not usable."""
        if self._weight_column and weight_of(given := row.get(self._weight_column)) is None:
            wanted = f"a number from {WEIGHTS[0]:g} to {WEIGHTS[1]:g}"
            found = f"expected {wanted} in {self._weight_column!r}, got {given!r:.80}"
            return Reason.WEIGHT, found, "correct the weight, or name another column with --weight-column"
        text_column, label_column, _ = self.columns
        for name, option in ((text_column, "--text-column"), (label_column, "--label-column")):
            if name not in row and (name == text_column or self._needs_label):
                found = f"expected the column {name!r}, found {', '.join(map(repr, row)) or 'none'}"
                return Reason.MISSING_COLUMN, found, f"add it, or name another column with {option}"
        text: Any = row[text_column]
        if not isinstance(text, str | None):
            found = f"expected a string in {text_column!r}, got {text!r:.80}"
            return Reason.TEXT_TYPE, found, "put quotes around it, or name the column of the texts with --text-column"
        label: Any = None if label_column is None else row.get(label_column)
        if is_missing(label) and not self._needs_label:
            return None
        found = f"expected a text, a number or a truth value in {label_column!r}, got {label!r:.80}"
        if is_missing(label):
            return Reason.MISSING_LABEL, found, "add the label, or name another column with --label-column"
        if not isinstance(label, str | int | float | Decimal):
            return Reason.LABEL_TYPE, found, "name another column with --label-column"
        return None


def weight_of(value: object) -> float | None:
    """The weight in a cell: 1 for an empty one, None if it is not a number within WEIGHTS."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return 1.0
    weight = number_of(value)
    return weight if WEIGHTS[0] <= weight <= WEIGHTS[1] else None


def number_of(value: object) -> float:
    """The number in a cell; NaN for anything else, and for a number that no float can hold."""
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        return math.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan


def is_missing(label: object) -> bool:
    """Whether a row has no label: null, NaN, or a text of blanks."""
    return isinstance(label, str | float | Decimal | None) and label_text(label) is None
