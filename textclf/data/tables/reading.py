"""Reads a table file: its columns, and its rows one by one; reading continues after a bad row."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from textclf.bad_rows import BadRowError
from textclf.data.tables import formats
from textclf.data.tables.delimited import DelimitedTable
from textclf.data.tables.fasttext_rows import FastTextTable
from textclf.data.tables.formats import TABLE_ENDINGS, table_format
from textclf.data.tables.header import Columns, Wanted
from textclf.data.tables.json_rows import JsonTable
from textclf.data.tables.parquet_rows import ParquetTable
from textclf.data.tables.source import DAMAGE, OnBad, Row, Rows, Source, open_source
from textclf.data.tables.xlsx_rows import XlsxTable
from textclf.errors import DatasetError

OnProgress = Callable[[int], None]
_DELIMITER_NAMES = {"\t": "tab"}

__all__ = ["OnBad", "OnProgress", "Row", "column_names", "describe_dialect", "find_columns", "read_rows"]


class _Table(Protocol):
    """An open table: its columns and its rows."""

    @property
    def names(self) -> list[str]: ...

    def rows(self, report: OnBad) -> Rows: ...


def column_names(path: Path | str, wanted: Wanted | None = None, encoding: str = "") -> list[str]:
    """The columns of a table; for JSON the keys of its first good rows, or [].

    For the arguments see read_rows().

    Raises:
        DatasetError: if the file is missing, of an unknown kind or damaged.
    """
    path = _checked(path)
    with open_source(path, encoding) as source:
        try:
            return _opened(source, wanted).names
        except DAMAGE as error:
            raise source.damaged(0, error) from error


def find_columns(path: Path | str, wanted: Wanted, encoding: str = "") -> Columns:
    """The columns of the texts and the labels in a table.

    The rows of a JSON file may differ. So a label that is optional may first appear in a late row, and a file without a
    good row has no columns: its bad rows tell more than a missing column. A label's column with another name than the
    default must be in some row.

    Raises:
        DatasetError: if the table can't be read, a column is missing, or several could be meant.
    """
    names = column_names(path, wanted, encoding)
    if table_format(path) not in (formats.JSON, formats.JSONL):
        return wanted.find(names, path)
    if not names:
        return Columns(wanted.text, wanted.label)
    if not wanted.needs_label and not wanted.has_default_label and not wanted.fits(names):
        rows = read_rows(path, encoding=encoding, on_bad=lambda *_: None)
        names = list(dict.fromkeys(key for _, row in rows for key in row))
    found = wanted.find(names, path)
    return found._replace(label=found.label or wanted.label)


def describe_dialect(path: Path, wanted: Wanted, encoding: str = "") -> str:
    """The encoding and the delimiter of a text file in words; "" for UTF-8 and the delimiter that its name stands for.

    Raises:
        DatasetError: if the file is missing, of an unknown kind or damaged.
    """
    kind, parts = table_format(_checked(path)), []
    if kind in (formats.PARQUET, formats.XLSX):
        return ""
    with open_source(path, encoding) as source:
        if source.encoding.codec != "utf-8":
            parts.append(f"encoding {source.encoding.codec}")
        if kind in (formats.CSV, formats.TSV):
            usual = "\t" if kind == formats.TSV else ","
            try:
                delimiter = DelimitedTable(source, wanted, usual).delimiter
            except DAMAGE as error:
                raise source.damaged(0, error) from error
            if delimiter != usual:
                parts.append(f"delimiter {_DELIMITER_NAMES.get(delimiter, repr(delimiter))}")
    return ", ".join(parts)


def read_rows(
    path: Path | str,
    *,
    wanted: Wanted | None = None,
    encoding: str = "",
    on_bad: OnBad | None = None,
    on_progress: OnProgress | None = None,
) -> Iterator[tuple[int, Row]]:
    """The rows of a table, as (row number, {column: value}).

    CSV has a header and strings only. JSON has objects: one per line, in an array, or one after the other. Blank lines
    and rows without any value are left out. Text is UTF-8, or UTF-16 if the file has its mark or its zero bytes. Text
    formats may be compressed (.gz).

    Args:
        path: the file; its name determines the format.
        wanted: the columns that the caller needs; they decide the delimiter of a CSV file and the sheet of a workbook.
        encoding: encoding of a text file without a byte-order mark; "" detects it.
        on_bad: called with (row number, error) for a row that can't be read; reading continues with
            the next one. None raises the error.
        on_progress: called after each row with the number of bytes read from disk so far.

    Yields:
        Rows with their numbers, counted from 1 after the header; bad rows count, too.

    Raises:
        DatasetError: if the file is missing, of an unknown kind or damaged; or if a row is bad and `on_bad` is None.
            The message names the row, and also the line of a text format.
    """
    path = _checked(path)
    with open_source(path, encoding) as source:
        number = 0
        try:
            for number, row in _opened(source, wanted).rows(on_bad or _raise):
                yield number, row
                if on_progress is not None:
                    on_progress(source.raw.tell())
        except DAMAGE as error:
            raise source.damaged(number, error) from error


def _opened(source: Source, wanted: Wanted | None) -> _Table:
    match table_format(source.path):
        case formats.CSV:
            return DelimitedTable(source, wanted, ",")
        case formats.TSV:
            return DelimitedTable(source, wanted, "\t")
        case formats.JSON:
            return JsonTable(source, is_lines=False)
        case formats.JSONL:
            return JsonTable(source, is_lines=True)
        case formats.XLSX:
            return XlsxTable(source, wanted)
        case formats.FASTTEXT:
            return FastTextTable(source)
        case _:
            return ParquetTable(source)


def _raise(_number: int, error: BadRowError) -> None:
    raise error


def _checked(path: Path | str) -> Path:
    path = Path(path)
    if table_format(path) is None:
        raise DatasetError(
            f"{path}: expected a table ({TABLE_ENDINGS}; text formats may be .gz; or .txt of fastText's lines)"
        )
    if not path.is_file():
        raise DatasetError(f"{path}: expected a table, found no such file; check the path")
    return path
