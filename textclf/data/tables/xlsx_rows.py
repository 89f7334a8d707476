"""Rows of a sheet of an Excel workbook (.xlsx); needs openpyxl."""

import datetime
import zipfile
import zlib
from collections.abc import Iterator
from itertools import islice
from typing import Any

from textclf.bad_rows import BadRowError, Reason
from textclf.data.tables.header import SAMPLE_ROWS, Wanted, clean_name, name_unnamed, named_cells
from textclf.data.tables.source import OnBad, Rows, Source
from textclf.data.zip_reader import TooLargeError, TooManyMembersError, check_sizes
from textclf.errors import DatasetError
from textclf.label_column import label_text

# openpyxl needs several bytes of memory for a byte of unpacked XML. Spreadsheets pack it to a tenth or so.
MAX_UNPACKED = 512 << 20
MAX_RATIO = 100
UNCHECKED_RATIO = 16 << 20
_MAX_MEMBERS = 10_000
# Excel's own limit. A row number beyond it would be reached by counting empty rows.
_MAX_ROWS = 1 << 20
# Errors of openpyxl and its XML parsers for damaged files; their parse errors are SyntaxErrors.
_DAMAGE = (
    *(SyntaxError, ValueError, TypeError, LookupError, AttributeError, OverflowError, RuntimeError, EOFError, OSError),
    *(zipfile.BadZipFile, zlib.error),
)


class XlsxTable:
    """The only sheet with the wanted columns, or the first one; its first row that is not empty is the header.

    Numbers, truth values and dates in the column of the texts are read as texts, as in a CSV file.

    Raises:
        DatasetError: if the file is no workbook, is too large when unpacked, has no such sheet or several, or openpyxl
            is missing.
    """

    def __init__(self, source: Source, wanted: Wanted | None) -> None:
        self._source = source
        try:
            import openpyxl
        except ImportError:
            raise DatasetError(
                f"{source.path}: reading .xlsx needs openpyxl; run: python -m pip install openpyxl, or save the "
                f"sheet as CSV"
            ) from None
        try:
            check_sizes(source.raw, _MAX_MEMBERS, MAX_UNPACKED, MAX_RATIO, UNCHECKED_RATIO)
            # data_only: the values of formulas, as the spreadsheet saved them.
            book = openpyxl.load_workbook(source.raw, read_only=True, data_only=True)
        except (TooLargeError, TooManyMembersError):
            raise DatasetError(
                f"{source.path}: expected a workbook of at most {_MAX_MEMBERS:,} parts and {MAX_UNPACKED:,} bytes "
                f"unpacked, and at most {MAX_RATIO} times its size, found a larger one; save the sheet as CSV"
            ) from None
        except _DAMAGE as error:
            raise DatasetError(f"{source.path}: expected an .xlsx workbook ({error}); save it again") from error
        headers = {sheet: self._header(sheet) for sheet in book.worksheets}
        filled = [sheet for sheet, header in headers.items() if header]
        fitting = [sheet for sheet in filled if wanted is not None and wanted.fits(headers[sheet])]
        if len(fitting) > 1:
            titles = ", ".join(repr(sheet.title) for sheet in fitting)
            raise DatasetError(
                f"{source.path}: expected one sheet with the columns, found {titles}; save the one to use as a file"
            )
        if not filled:
            raise DatasetError(f"{source.path}: expected a sheet with a header, found an empty workbook; check it")
        self._sheet = (fitting or filled)[0]
        self._columns = headers[self._sheet]
        name_unnamed(self._columns, [values for _, values in islice(self._filled(self._sheet), 1, SAMPLE_ROWS)])
        self.names = [name for name in self._columns if name]
        self._text = wanted.find(self.names, source.path).text if wanted is not None and fitting else None
        if len(set(self.names)) != len(self.names):
            raise DatasetError(f"{source.path}: expected distinct column names, found {self.names}; rename one")

    def rows(self, report: OnBad) -> Rows:
        """The rows with their numbers, counted from 1 after the header; bad ones count, empty ones do not."""
        width = 1 + max(at for at, name in enumerate(self._columns) if name)
        for number, (line, values) in enumerate(islice(self._filled(self._sheet), 1, None), start=1):
            if any(value is not None for value in values[width:]):
                place = f"row {number} (line {line})"
                found = f"expected {len(self.names)} columns ({', '.join(self.names)}), found a value after the last"
                report(number, BadRowError(self._source.path, place, Reason.FIELD_COUNT, found, "name the column"))
                continue
            cells = [*values, *[None] * (width - len(values))]
            row = named_cells(self._columns, cells)
            if self._text is not None:
                row[self._text] = _as_text(row[self._text])
            yield number, row

    def _header(self, sheet: Any) -> list[str]:
        return next(([clean_name(value) for value in values] for _, values in self._filled(sheet)), [])

    def _filled(self, sheet: Any) -> Iterator[tuple[int, list[Any]]]:
        """Number and values of the rows that are not empty, without empty cells at the end."""
        # Many programs write a wrong range of cells into the file. Without it, all cells are read.
        sheet.reset_dimensions()
        line = 0
        try:
            for line, cells in enumerate(sheet.iter_rows(), start=1):
                if line > _MAX_ROWS:
                    raise ValueError(f"a row number above {_MAX_ROWS:,}")
                # The value of an error, such as #N/A, is missing.
                values = [None if cell.data_type == "e" else cell.value for cell in cells]
                while values and values[-1] in (None, ""):
                    values.pop()
                if values:
                    yield line, values
        except _DAMAGE as error:
            place = f"{self._source.path}, sheet {sheet.title!r}, after line {line}"
            raise DatasetError(f"{place}: damaged or cut short ({error}); save the workbook again") from error


def _as_text(value: Any) -> str | None:
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return value if value is None or isinstance(value, str) else label_text(value)
