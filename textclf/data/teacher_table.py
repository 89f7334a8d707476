"""Reads what a teacher predicts from a table: a text and the probability of each class in a row."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from textclf.data.table_rows import number_of
from textclf.data.tables import Row, Wanted, column_names, read_rows
from textclf.errors import DatasetError
from textclf.label_column import match_labels

# `textclf score` writes these columns in CSV, and this field in JSONL.
_PREFIX = "p:"
_FIELD = "probabilities"
# Rounded percentages of many classes.
_MAX_SUM_ERROR = 0.02


class TeacherTable(NamedTuple):
    """The rows of a table: texts, and their probabilities of the classes, float32 [n, K]."""

    texts: list[str]
    probabilities: NDArray[np.float32]


def read_teacher_table(path: Path, class_names: Sequence[str], text_column: str) -> TeacherTable:
    """Read a table with a column `p:<class>` for each class, or a field `probabilities` with an object of them.

    Rows without a text are left out. Each row is divided by its sum.

    Args:
        path: the table.
        class_names: the classes, K, in the order of the result.
        text_column: column of the texts in the training data; if the table lacks it, `text` or a synonym is read.

    Raises:
        DatasetError: if the table can't be read, has other classes, or a row has no probabilities.
    """
    names = column_names(path, Wanted(text_column, None))
    text = Wanted(text_column if text_column in names else "text", None).find(names, path).text
    rows = [(number, row) for number, row in read_rows(path, wanted=Wanted(text, None)) if row.get(text)]
    if not rows:
        raise DatasetError(f"{path}: expected texts with probabilities, found none; check the table")
    columns: dict[tuple[str, ...], list[str]] = {}
    probabilities = np.empty((len(rows), len(class_names)), np.float32)
    for i, (number, row) in enumerate(rows):
        given = _given(row)
        if (found := tuple(given)) not in columns:
            columns[found] = teacher_classes(found, class_names, f"{path}, row {number}")
        values = [number_of(given[name]) for name in columns[found]]
        if not all(0 <= value <= 1 for value in values) or abs(sum(values) - 1) > _MAX_SUM_ERROR:
            shown = ", ".join(f"{name} {given[name]!r:.20}" for name in columns[found][:5])
            raise DatasetError(
                f"{path}, row {number}: expected probabilities from 0 to 1 that sum to 1, found {shown}; correct the "
                f"row, or remove it: a text without a teacher is trained on its label"
            )
        probabilities[i] = np.array(values) / sum(values)
    return TeacherTable([str(row[text]) for _, row in rows], probabilities)


def teacher_classes(
    found: Sequence[str], class_names: Sequence[str], where: object, other_names: Mapping[str, str] | None = None
) -> list[str]:
    """The teacher's name of each class, [K], by the rules of label columns (textclf.label_column).

    Args:
        found: the classes of the teacher.
        class_names: the classes of the data.
        where: the teacher, for the message.
        other_names: the teacher's class names by the names that its training data has.

    Raises:
        DatasetError: if the teacher has other classes.
    """
    names = match_labels(dict.fromkeys(class_names, 1), found, other_names=other_names, has_positions=False).names
    if len(set(names.values())) == len(class_names) == len(found):
        return [names[name] for name in class_names]
    listed = ", ".join(map(repr, found[:20])) or "no probabilities"
    raise DatasetError(
        f"{where}: expected a teacher with the classes of the data, {', '.join(map(repr, class_names[:20]))}, found "
        f"{listed}; give one with these classes (a table needs a column {_PREFIX}CLASS for each)"
    )


def _given(row: Row) -> dict[str, Any]:
    """The cells of a row by class."""
    field = row.get(_FIELD)
    if isinstance(field, dict):
        return field
    return {name.removeprefix(_PREFIX): value for name, value in row.items() if name.startswith(_PREFIX)}
