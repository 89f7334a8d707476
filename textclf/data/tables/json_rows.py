"""Rows of JSON files: an object per line, an array of objects, or objects that are written over several lines."""

import json
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

from textclf.bad_rows import BadRowError, Reason
from textclf.data.tables import source as source_module
from textclf.data.tables.source import Lines, OnBad, Row, Rows, Source
from textclf.errors import DatasetError
from textclf.unicode import is_unicode

# Rows whose keys are the columns; a row need not have every key.
_ROWS_FOR_NAMES = 50
_CHUNK_CHARS = 1 << 16
_BLANKS_AND_COMMAS = re.compile(r"[ \t\r\n,]*")
_SCALAR = r'(?:"[^"\\]*(?:\\.[^"\\]*)*"|[-\w.+]+)'
_ROW_LISTS = ("data", "rows", "records", "examples", "items")
# {"version": 1, "data": [ … ]}: an object around the array, as some tools write it.
_WRAPPER = re.compile(rf'\s*\{{(?:\s*"\w+"\s*:\s*{_SCALAR}\s*,)*\s*"(?:{"|".join(_ROW_LISTS)})"\s*:\s*\[')
# Marks the end of a value: strings, brackets, and the end of a number or a word.
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]]|[^\s,{}\[\]":]+|[,:\s]+|"', re.DOTALL)


class _Value(NamedTuple):
    """The text of a JSON value and the number of its first line."""

    content: str
    line: int


class JsonTable:
    """A JSON file; `is_lines` says that its ending promises one object per line."""

    def __init__(self, source: Source, is_lines: bool) -> None:
        self._source = source
        head = source.head()
        self._wrapper = None if is_lines else _WRAPPER.match(head)
        self._is_lines = self._wrapper is None and _has_lines(head, is_lines)

    @property
    def names(self) -> list[str]:
        """The keys of the first good rows, in their order."""
        rows = islice(self.rows(lambda *_: None), _ROWS_FOR_NAMES)
        return list(dict.fromkeys(key for _, row in rows for key in row))

    def rows(self, report: OnBad) -> Rows:
        """The rows with their numbers, counted from 1; bad ones are reported and count, too."""
        for number, value in enumerate(self._values(), start=1):
            place = f"row {number} (line {value.line})"
            row = self._row(value.content, place)
            if isinstance(row, BadRowError):
                report(number, row)
            else:
                yield number, row

    def _row(self, content: str, place: str) -> Row | BadRowError:
        path = self._source.path
        if not is_unicode(content):
            return self._source.undecodable(place)
        if content in ("]", "}"):
            found = f"expected a JSON object, got {content!r} without its opening bracket"
            return BadRowError(path, place, Reason.INVALID_JSON, found, "remove the bracket")
        try:
            row = json.loads(content)
        except (ValueError, RecursionError) as error:
            found = f"expected a JSON object, got invalid JSON ({error})"
            return BadRowError(path, place, Reason.INVALID_JSON, found, "correct it")
        if not isinstance(row, dict):
            found = f"expected a JSON object, got {type(row).__name__}"
            return BadRowError(path, place, Reason.NOT_AN_OBJECT, found, 'write {"text": …, "label": …}')
        if not all(is_unicode(value) for value in (*row, *row.values()) if isinstance(value, str)):
            return self._source.undecodable(place)
        return row

    def _values(self) -> Iterator[_Value]:
        text = self._source.text("\n")
        if not self._is_lines:
            yield from self._scanned(text)
            return
        lines = Lines(self._source.path, text)
        for line in lines:
            lines.start_record()
            if line.strip():
                yield _Value(line.strip(), lines.number)

    def _scanned(self, text: Any) -> Iterator[_Value]:
        """The values of arrays, or those that follow each other without one; a stray bracket is a value, too."""
        scanner = _Scanner(self._source, text)
        if self._wrapper is not None:
            scanner.skip(self._wrapper.end())
            yield from self._array(scanner)
            self._end_wrapper(scanner)
        has_arrays = scanner.next_is("[")
        while True:
            if has_arrays and scanner.skip_if("["):
                yield from self._array(scanner)
            elif (value := scanner.value() or scanner.bracket()) is not None:
                yield value
            else:
                return

    def _array(self, scanner: "_Scanner") -> Iterator[_Value]:
        """The values up to the end of an array."""
        while not scanner.skip_if("]"):
            value = scanner.value() or scanner.bracket()
            if value is None:
                raise self._source.damaged(scanner.values, EOFError("expected ] at the end of the array, found none"))
            yield value

    def _end_wrapper(self, scanner: "_Scanner") -> None:
        """Pass over the other keys of the object around the array.

        Raises:
            DatasetError: if the object does not end, or has a second list of rows.
        """
        rows = scanner.values
        while scanner.next_is('"') and (key := scanner.value()):
            value = scanner.value() if scanner.skip_if(":") else None
            if value is not None and value.content.startswith("[") and key.content.strip('"') in _ROW_LISTS:
                raise DatasetError(
                    f"{self._source.path}, line {key.line}: expected one list of rows, found a second one "
                    f"({key.content}); join them, or write each to a file"
                )
        if not scanner.skip_if("}"):
            raise self._source.damaged(rows, EOFError("expected } after the array, found none"))


def _has_lines(head: str, is_lines: bool) -> bool:
    """Whether each line is a row: the first line is a whole object, or the ending says so and nothing contradicts."""
    start = head.lstrip()
    first, _, rest = start.partition("\n")
    if start.startswith("["):
        # An array on the first line of several is a bad row of JSON Lines.
        return is_lines and first.rstrip().endswith("]") and bool(rest.strip())
    try:
        return isinstance(json.loads(first), dict)
    except (ValueError, RecursionError):
        # The first line of an object over several lines ends after a bracket or a comma.
        return is_lines and not (first.startswith("{") and first.rstrip().endswith(("{", ",", "[")))


class _Scanner:
    """Finds the end of each value without parsing it, so that a value that is not JSON spoils one row only."""

    def __init__(self, source: Source, text: Any) -> None:
        self.values = 0
        self._source = source
        self._text = text
        # The buffer is used up to position `_at`.
        self._buffer = ""
        self._at = 0
        self._line = 1

    def skip(self, count: int) -> None:
        """Leave out characters."""
        while len(self._buffer) - self._at < count and self._read():
            pass
        self._take(self._at + count)

    def next_is(self, char: str) -> bool:
        """Whether the character follows after blanks and commas, which are left out."""
        self._skip_blanks()
        return self._buffer.startswith(char, self._at)

    def skip_if(self, char: str) -> bool:
        """Leave out blanks, commas, and then the character if it follows; returns whether it did."""
        if not self.next_is(char):
            return False
        self._take(self._at + 1)
        return True

    def value(self) -> _Value | None:
        """The next value; None before a closing bracket or at the end of the file."""
        self._skip_blanks()
        if self._buffer[self._at : self._at + 1] in ("", "]", "}"):
            return None
        length, depth = 0, 0
        while True:
            token = _TOKEN.match(self._buffer, self._at + length)
            # A string or a word at the end of the buffer may go on in the next chunk.
            is_bracket = token is not None and token[0] in "{}[]"
            if token is None or token[0] == '"' or (token.end() == len(self._buffer) and not is_bracket):
                if self._read():
                    continue
                if depth or token is None or token[0] == '"':
                    raise self._source.damaged(self.values, EOFError("the last value has no end"))
            if token[0] in "{[":
                depth += 1
            elif token[0] in "}]":
                depth -= 1
            length = token.end() - self._at
            if depth == 0:
                break
        self.values += 1
        line = self._line
        return _Value(self._take(self._at + length), line)

    def bracket(self) -> _Value | None:
        """The closing bracket that value() stopped at; None at the end of the file."""
        if self._at == len(self._buffer):
            return None
        self.values += 1
        return _Value(self._take(self._at + 1), self._line)

    def _skip_blanks(self) -> None:
        while True:
            found = _BLANKS_AND_COMMAS.match(self._buffer, self._at)
            self._take(self._at if found is None else found.end())
            if self._at < len(self._buffer) or not self._read():
                return

    def _take(self, end: int) -> str:
        """Return and leave out what comes before the position `end`."""
        taken = self._buffer[self._at : end]
        self._line += taken.count("\n")
        self._at = end
        return taken

    def _read(self) -> bool:
        """Append a chunk as long as the buffer, so that a long value is not scanned again and again."""
        kept = self._buffer[self._at :]
        if len(kept) >= source_module.MAX_LINE:
            raise DatasetError(
                f"{self._source.path}, line {self._line}: expected a row shorter than {source_module.MAX_LINE:,} "
                f"characters; check the file"
            )
        chunk: str = self._text.read(max(_CHUNK_CHARS, len(kept)))
        self._buffer, self._at = kept + chunk, 0
        return bool(chunk)
