"""Reads the rows of a file that is scored."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from textclf.bad_rows import OnBadRow
from textclf.data.tables import Columns, OnProgress, Row, Wanted, column_names, find_columns, read_rows
from textclf.data.tables.header import LABEL


class ScoringInput(NamedTuple):
    """A table of texts.

    Attributes:
        path: the file.
        names: its columns; for JSON the keys of its first good rows, or [].
        columns: the columns of the texts and of the labels.
        wanted: the columns that were asked for.
        encoding: encoding of a text file without a byte-order mark; "" detects it.
    """

    path: Path
    names: list[str]
    columns: Columns
    wanted: Wanted
    encoding: str

    @property
    def note(self) -> str:
        """The columns that are read instead of those that were asked for; "" if there are none."""
        return self.columns.note(self.wanted)

    def rows(self, on_bad: OnBadRow, on_progress: OnProgress | None = None) -> Iterator[tuple[int, Row]]:
        """The rows as read_rows() gives them.

        Raises:
            DatasetError: if the file can't be read.
        """
        return read_rows(self.path, wanted=self.wanted, encoding=self.encoding, on_bad=on_bad, on_progress=on_progress)


def open_input(path: Path, text_column: str, label_column: str = LABEL, encoding: str = "") -> ScoringInput:
    """Find the columns of a table; one of labels is optional if it has the default name.

    Raises:
        DatasetError: if the file can't be read, or a column is missing or ambiguous.
    """
    wanted = Wanted(text_column, label_column, needs_label=False)
    columns = find_columns(path, wanted, encoding)
    return ScoringInput(path, column_names(path, wanted, encoding), columns, wanted, encoding)
