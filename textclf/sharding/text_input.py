"""Opens a part of a text file as an open table: CSV with the header of the file, or lines of JSON."""

import contextlib
import gzip
import io
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, cast

from textclf.data.tables.delimited import DelimitedTable
from textclf.data.tables.encoding import HEAD_BYTES, Encoding, detect_encoding
from textclf.data.tables.formats import CSV, JSONL, TSV
from textclf.data.tables.header import Wanted
from textclf.data.tables.json_rows import JsonTable
from textclf.data.tables.source import Source
from textclf.errors import DatasetError
from textclf.sharding.inputs import InputFile
from textclf.sharding.locations import open_location
from textclf.sharding.plan import Part
from textclf.urls import public_text

Table = DelimitedTable | JsonTable
_LINE_BYTES = 1 << 16
_DELIMITERS = {CSV: ",", TSV: "\t"}


@contextlib.contextmanager
def open_bytes(file: InputFile) -> Iterator[Any]:
    """Open a file (pyarrow.NativeFile), to read and to seek in."""
    system, path = open_location(file.place)
    with system.open_input_file(path) as opened:
        yield opened


@contextlib.contextmanager
def open_part(part: Part, input_format: str, wanted: Wanted, on_bytes: Callable[[int], None]) -> Iterator[Table]:
    """Open the lines that start in a part of a text file.

    Args:
        part: part of a file; all of a compressed one.
        input_format: "csv", "tsv" or "jsonl".
        wanted: the columns that are read.
        on_bytes: called with the number of bytes that were read from the file since the last call.

    Raises:
        DatasetError: if the text is not UTF-8 by its mark, or the header can't be read.
    """
    with contextlib.ExitStack() as stack:
        raw = stack.enter_context(open_bytes(part.file))
        content: IO[bytes]
        encoding = _encoding(raw, part)
        if part.file.is_compressed:
            content = stack.enter_context(cast(Any, gzip.open(_Counted(raw, 0, part.end, on_bytes))))  # noqa: SIM115
        else:
            start = part.start if input_format != JSONL else _line_start(raw, part.start, part.file.size)
            end = part.end if input_format != JSONL else _line_start(raw, part.end, part.file.size)
            head = b""
            if start and input_format != JSONL:
                raw.seek(0)
                head = _header(raw, part, input_format, wanted)
            elif start:
                encoding = Encoding(encoding.codec)
            content = io.BufferedReader(_Counted(raw, start, max(start, end), on_bytes, head), _LINE_BYTES)
        source = Source(cast(Path, public_text(part.file.place)), content, content, encoding, stack)
        yield open_table(source, input_format, wanted)


def open_table(source: Source, input_format: str, wanted: Wanted) -> Table:
    """The table of an open text file."""
    if input_format == JSONL:
        return JsonTable(source, is_lines=True)
    return DelimitedTable(source, wanted, _DELIMITERS[input_format])


def lines_of(raw: Any) -> Iterator[bytes]:
    """The lines of an open file from its beginning."""
    return iter(io.BufferedReader(_Counted(raw, 0, raw.size(), lambda _: None), 1 << 20))


def _encoding(raw: Any, part: Part) -> Encoding:
    head = raw.read(HEAD_BYTES)
    raw.seek(0)
    if part.file.is_compressed:
        with contextlib.suppress(EOFError, OSError), gzip.open(io.BytesIO(head)) as unpacked:
            head = unpacked.read(HEAD_BYTES)
    encoding = detect_encoding(head)
    if encoding.codec != "utf-8":
        raise DatasetError(
            f"{public_text(part.file.place)}: expected UTF-8, found {encoding.codec}, in which a file can't be cut; "
            f"convert it (iconv -t UTF-8 FILE)"
        )
    return encoding


def _header(raw: Any, part: Part, input_format: str, wanted: Wanted) -> bytes:
    """The bytes before the first row of a CSV file."""
    with contextlib.ExitStack() as stack:
        content = io.BufferedReader(_Counted(raw, 0, part.file.size, lambda _: None), _LINE_BYTES)
        stack.callback(content.detach)
        source = Source(cast(Path, public_text(part.file.place)), content, content, _encoding(raw, part), stack)
        table = DelimitedTable(source, wanted, _DELIMITERS[input_format])
        lines = table.lines_before_rows
    return b"".join(itertools.islice(lines_of(raw), lines))


def _line_start(raw: Any, at: int, size: int) -> int:
    """The start of the first line from a position on; the end of the file if there is none."""
    if at == 0 or at >= size:
        return min(at, size)
    raw.seek(at - 1)
    while chunk := raw.read(_LINE_BYTES):
        if (found := chunk.find(b"\n")) >= 0:
            return int(raw.tell() - len(chunk) + found + 1)
    return size


class _Counted(io.RawIOBase):
    """Bytes `head`, then those of a file from `start` to `end` - 1, counted as they are read."""

    def __init__(self, raw: Any, start: int, end: int, on_bytes: Callable[[int], None], head: bytes = b"") -> None:
        self._raw = raw
        self._start = start - len(head)
        self._end = end
        self._head = head
        self._position = 0
        self._counted = len(head)
        self._on_bytes = on_bytes

    def readable(self) -> bool:
        """Always true."""
        return True

    def seekable(self) -> bool:
        """Always true."""
        return True

    def tell(self) -> int:
        """The position from the beginning of `head`."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position from the beginning of `head`, from the present one, or from the end."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._end - self._start}[whence]
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Read up to as many bytes as the buffer holds."""
        size = len(buffer)
        if self._position < len(self._head):
            found = self._head[self._position : self._position + size]
        else:
            at = self._start + self._position
            self._raw.seek(at)
            found = self._raw.read(max(0, min(size, self._end - at)))
        buffer[: len(found)] = found
        self._position += len(found)
        if self._position > self._counted:  # The beginning is read twice.
            self._on_bytes(self._position - self._counted)
            self._counted = self._position
        return len(found)
