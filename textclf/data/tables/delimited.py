"""Rows of CSV and TSV files, with the delimiter and the dialect that the file has."""

import contextlib
import csv
import io
import re
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, NamedTuple

from textclf.bad_rows import BadRowError, Reason
from textclf.data.tables.header import SAMPLE_ROWS, Wanted, clean_name, name_unnamed, named_cells
from textclf.data.tables.source import Lines, OnBad, Rows, Source
from textclf.errors import DatasetError
from textclf.unicode import is_unicode

DELIMITERS = (",", ";", "\t", "|")
# Limits the memory for a quote that is never closed, which reads the rest of the file as one field.
_MAX_FIELD_CHARS = 1 << 27
# Microsoft Excel reads and writes this line before the header.
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?[\r\n]*')


class _Dialect(NamedTuple):
    """How lines are divided.

    Attributes:
        delimiter: character between two fields.
        skips_blanks: whether blanks after a delimiter are no part of the field.
        skipped_lines: lines before the header.
    """

    delimiter: str
    skips_blanks: bool = False
    skipped_lines: int = 0


class DelimitedTable:
    """A CSV or TSV file: RFC 4180 with a header, and any delimiter of DELIMITERS.

    A line `sep=;` before the header names the delimiter. Otherwise it is the only one that gives the wanted columns,
    or `default`. Columns without a name are left out if they are empty, else `column 1` (its number) names them; those
    after the last name must be empty.

    Attributes:
        names: the columns.
        lines_before_rows: lines up to the header.

    Raises:
        DatasetError: if the header can't be read.
    """

    def __init__(self, source: Source, wanted: Wanted | None, default: str) -> None:
        csv.field_size_limit(max(csv.field_size_limit(), _MAX_FIELD_CHARS))
        self._source = source
        head = source.head()
        newline = _newline(head)
        self._dialect = _dialect(list(io.StringIO(head, newline=newline)), wanted, default)
        self._lines = Lines(source.path, source.text(newline))
        self._reader = _reader(self._lines, self._dialect)
        try:
            for _ in range(self._dialect.skipped_lines):
                next(self._lines)
            self._header = _header(self._reader)
        except csv.Error as error:
            raise DatasetError(f"{source.path}: the header can't be read ({error})") from error
        self.lines_before_rows = self._lines.number
        self._number_unnamed(head, newline)
        self.names = [name for name in self._header if name]
        if not self.names or len(set(self.names)) != len(self.names) or not is_unicode("".join(self.names)):
            raise DatasetError(
                f"{source.path}: expected a first line with distinct column names in {source.encoding.codec.upper()}, "
                f"found {self.names or 'an empty file'}; add a header, or name the encoding with --encoding"
            )
        self._width = 1 + max(at for at, name in enumerate(self._header) if name)

    @property
    def delimiter(self) -> str:
        """The character between two fields."""
        return self._dialect.delimiter

    @property
    def skips_blanks(self) -> bool:
        """Whether blanks after a delimiter are no part of the field."""
        return self._dialect.skips_blanks

    def rows(self, report: OnBad) -> Rows:
        """The rows with their numbers, counted from 1 after the header; bad ones count, empty ones do not."""
        number = 0
        while True:
            self._lines.start_record()
            place = f"row {number + 1} (line {self._lines.number + 1})"
            try:
                fields = self._next_fields()
            except StopIteration:
                return
            except csv.Error as error:
                number += 1
                report(number, self._quoting_fault(place, error))
                self._lines.return_lines(1)  # A quote that is not closed takes the following lines along.
                continue
            if not fields or (len(fields) > 1 and not any(map(str.strip, fields))):
                continue
            number += 1
            if fault := self._fault(fields, place):
                report(number, fault)
            else:
                yield number, named_cells(self._header, fields)

    def _next_fields(self) -> list[str]:
        if self._dialect.delimiter == "\t":
            # Tab-separated files seldom quote: a line that has all fields as it is needs no quotes.
            line = next(self._lines)
            fields = _split(line)
            if '"' in line and self._has_width(fields):
                if not any(map(_is_open, fields)):
                    return [_unquoted(field) for field in fields]
                if whole := self._whole_record():
                    return whole
                self._lines.return_lines(0)
                return _split(next(self._lines))
            self._lines.return_lines(0)
        quoted: list[str] = next(self._reader)
        return quoted

    def _whole_record(self) -> list[str] | None:
        """The fields of a record that starts with the last line and whose quotes end in a later one.

        None if it has no such end, or if each of its lines has all fields: then the quote is a character of a text.
        """
        self._lines.return_lines(0)
        try:
            fields: list[str] = next(self._reader)
        except csv.Error:
            return None
        later = self._lines.record[1:]
        is_whole = self._has_width(fields) and (
            self._width == 1 or not all(self._has_width(_split(line)) for line in later)
        )
        return fields if later and is_whole else None

    def _number_unnamed(self, head: str, newline: str) -> None:
        """Give the columns before the last name that have none, but values at the beginning, a name."""
        lines = islice(io.StringIO(head, newline=newline), self._dialect.skipped_lines, None)
        with contextlib.suppress(csv.Error):
            sample = (row for row in _reader(lines, self._dialect) if any(map(str.strip, row)))
            name_unnamed(self._header, list(islice(sample, 1, SAMPLE_ROWS)))

    def _has_width(self, fields: Sequence[str]) -> bool:
        return len(fields) >= self._width and not any(field.strip() for field in fields[self._width :])

    def _fault(self, fields: list[str], place: str) -> BadRowError | None:
        if not self._has_width(fields):
            found = f"expected {len(self.names)} fields ({', '.join(self.names)}), found {len(fields)}"
            remedy = "a text with the delimiter or a line break needs quotes around it"
            return BadRowError(self._source.path, place, Reason.FIELD_COUNT, found, remedy)
        return None if is_unicode("".join(fields)) else self._source.undecodable(place)

    def _quoting_fault(self, place: str, error: csv.Error) -> BadRowError:
        record = self._lines.record
        path = self._source.path
        if "new-line character" in str(error):
            found = "a carriage return (CR) in a text without quotes"
            remedy = "put quotes around the text, or replace the character (tr '\\r' ' ' < FILE)"
            return BadRowError(path, place, Reason.CARRIAGE_RETURN, found, remedy)
        if '\\"' in record[0]:
            found = 'quotes in a text are written as \\", which is not CSV'
            remedy = 'double them: write "" (sed \'s/\\\\"/""/g\' FILE)'
            return BadRowError(path, place, Reason.BACKSLASH_QUOTES, found, remedy)
        found = f"{error}"
        if len(record) > 1:
            last = self._lines.number
            found += f": the quotes of lines {last - len(record) + 1} to {last} do not match"
        return BadRowError(path, place, Reason.QUOTES, found, 'check the quotes; inside a text write ""')


def _newline(head: str) -> str:
    """The end of the lines: "\\r" in files of old Macs, else "\\n", also after a carriage return."""
    first = re.search("\r\n|\r|\n", head)
    return "\r" if first and first[0] == "\r" else "\n"


def _dialect(head: list[str], wanted: Wanted | None, default: str) -> _Dialect:
    """The dialect of the file whose first lines are `head`."""
    skipped = next((at for at, line in enumerate(head) if line.strip()), 0)
    if head and (named := _SEPARATOR_LINE.fullmatch(head[skipped])):
        delimiter, skipped = named[1], skipped + 1
        return _Dialect(delimiter, _skips_blanks(head[skipped:], delimiter), skipped)
    headers = {delimiter: _parsed(head, delimiter) for delimiter in DELIMITERS}
    fitting = [] if wanted is None else [at for at, names in headers.items() if wanted.fits(names)]
    # A header of one column looks the same with every delimiter.
    delimiter = default if default in fitting or not fitting else fitting[0]
    if wanted is not None and not fitting:
        # For the message about the missing column, which names those that were found.
        delimiter = max(DELIMITERS, key=lambda one: (len(headers[one]), one == default))
    return _Dialect(delimiter, _skips_blanks(head, delimiter))


def _parsed(lines: Iterable[str], delimiter: str) -> list[str]:
    try:
        return _header(_reader(lines, _Dialect(delimiter, skips_blanks=True)))
    except csv.Error:
        return []


def _skips_blanks(lines: Iterable[str], delimiter: str) -> bool:
    """Whether a blank follows every delimiter of the header."""
    header = next((line for line in lines if line.strip()), "")
    return delimiter != " " and delimiter in header and header.count(delimiter) == header.count(f"{delimiter} ")


def _reader(lines: Iterable[str], dialect: _Dialect) -> Any:
    return csv.reader(lines, delimiter=dialect.delimiter, skipinitialspace=dialect.skips_blanks, strict=True)


def _header(reader: Any) -> list[str]:
    return [clean_name(name) for name in next((fields for fields in reader if any(map(str.strip, fields))), [])]


def _split(line: str) -> list[str]:
    return line.rstrip("\r\n").split("\t")


def _is_open(field: str) -> bool:
    """Whether the field starts with a quote that does not end in it."""
    return field.startswith('"') and '"' not in field[1:].replace('""', "")


def _unquoted(field: str) -> str:
    """The field without the quotes around it, if the quotes in it are doubled."""
    inner = field[1:-1]
    is_quoted = len(field) > 1 and field[0] == field[-1] == '"' and '"' not in inner.replace('""', "")
    return inner.replace('""', '"') if is_quoted else field
