"""Reads the rows of a file that is scored, with short reasons for rows that can't be read."""

from collections.abc import Callable, Iterator
from pathlib import Path

from textclf.data.tables import OnProgress, Row, UndecodableError, column_names, read_rows, table_format
from textclf.errors import DatasetError, InputError, missing_column


def input_columns(path: Path, text_column: str) -> list[str]:
    """The columns of a CSV file; for JSONL the keys of the first row that has the text, or [].

    Raises:
        DatasetError: if the file can't be read.
        InputError: if the CSV file has no such column.
    """
    if table_format(path) == "jsonl":
        rows = read_rows(path, on_bad=lambda _number, _error: None)
        return next((list(row) for _, row in rows if isinstance(row.get(text_column), str)), [])
    columns = column_names(path)
    if text_column not in columns:
        raise InputError(f"{path}: {missing_column(text_column, columns)}")
    return columns


def input_rows(
    path: Path, on_bad: Callable[[int, InputError], None], on_progress: OnProgress | None = None
) -> Iterator[tuple[int, Row]]:
    """The rows as read_rows() gives them; the errors for `on_bad` do not repeat file and row.

    Raises:
        DatasetError: if the file can't be read.
    """

    def report(number: int, error: DatasetError) -> None:
        reason = str(error).removeprefix(f"{path}, row {number} ")
        if isinstance(error, UndecodableError):
            reason = "not well-formed UTF-8; convert the file (iconv -f latin1 -t utf-8, if it is Latin-1)"
        on_bad(number, InputError(reason))

    return read_rows(path, on_bad=report, on_progress=on_progress)
