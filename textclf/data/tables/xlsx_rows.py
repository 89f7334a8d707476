"""Rows of a sheet of an Excel workbook (.xlsx); needs openpyxl."""

import zipfile
from collections.abc import Iterator
from typing import Any

from textclf.bad_rows import BadRowError, Reason
from textclf.data.tables.header import Wanted, clean_name
from textclf.data.tables.source import OnBad, Rows, Source
from textclf.errors import DatasetError


class XlsxTable:
    """The only sheet with the wanted columns, or the first one; its first row that is not empty is the header.

    Raises:
        DatasetError: if the file is no workbook, has no such sheet or several, or openpyxl is missing.
    """

    def __init__(self, source: Source, wanted: Wanted | None) -> None:
        self._source = source
        try:
            import openpyxl
            from openpyxl.utils.exceptions import InvalidFileException
        except ImportError:
            raise DatasetError(
                f"{source.path}: reading .xlsx needs openpyxl; run: python -m pip install openpyxl, or save the "
                f"sheet as CSV"
            ) from None
        try:
            # data_only: the values of formulas, as the spreadsheet saved them.
            book = openpyxl.load_workbook(source.raw, read_only=True, data_only=True)
        except (InvalidFileException, zipfile.BadZipFile, KeyError, ValueError, OSError) as error:
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
        self.names = [name for name in self._columns if name]
        if len(set(self.names)) != len(self.names):
            raise DatasetError(f"{source.path}: expected distinct column names, found {self.names}; rename one")

    def rows(self, report: OnBad) -> Rows:
        """The rows with their numbers, counted from 1 after the header; bad ones count, empty ones do not."""
        width = 1 + max(at for at, name in enumerate(self._columns) if name)
        for number, (line, values) in enumerate(self._filled(self._sheet), start=0):
            if number == 0:
                continue  # The header.
            if any(value is not None for value in values[width:]):
                place = f"row {number} (line {line})"
                found = f"expected {len(self.names)} columns ({', '.join(self.names)}), found a value after the last"
                report(number, BadRowError(self._source.path, place, Reason.FIELD_COUNT, found, "name the column"))
                continue
            cells = [*values, *[None] * (width - len(values))]
            yield number, {name: cell for name, cell in zip(self._columns, cells, strict=False) if name}

    def _header(self, sheet: Any) -> list[str]:
        return next(([clean_name(value) for value in values] for _, values in self._filled(sheet)), [])

    @staticmethod
    def _filled(sheet: Any) -> Iterator[tuple[int, list[Any]]]:
        """Number and values of the rows that are not empty."""
        for line, cells in enumerate(sheet.iter_rows(), start=1):
            # The value of an error, such as #N/A, is missing.
            values = [None if cell.data_type == "e" else cell.value for cell in cells]
            if any(value is not None and value != "" for value in values):
                yield line, values
