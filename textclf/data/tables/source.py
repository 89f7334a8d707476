"""An open table file: its bytes, unpacked, and its text in the detected encoding, line by line."""

import contextlib
import functools
import gzip
import io
import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from textclf.bad_rows import OnBadRow, UndecodableError
from textclf.data.tables.encoding import HEAD_BYTES, Encoding, detect_encoding, encoding_remedy
from textclf.errors import DatasetError

Row = dict[str, Any]
Rows = Iterator[tuple[int, Row]]
OnBad = OnBadRow

# Limits the memory for a line; a compressed one of a kilobyte may have a megabyte.
MAX_LINE = 1 << 27
DAMAGE = (EOFError, gzip.BadGzipFile, zlib.error, UnicodeError)


@dataclass(frozen=True, eq=False)
class Source:
    """An open file.

    Attributes:
        path: the file.
        raw: its bytes on disk.
        content: its bytes, unpacked.
        encoding: of its text.
        opened: closes what belongs to the file.
    """

    path: Path
    raw: IO[bytes]
    content: IO[bytes]
    encoding: Encoding
    opened: contextlib.ExitStack

    def text(self, newline: str) -> io.TextIOWrapper:
        """The text from its beginning, after a byte-order mark; `newline` ends a line and is kept."""
        self.content.seek(self.encoding.mark)
        codec, errors = self.encoding.codec, self.encoding.errors
        text = io.TextIOWrapper(self.content, encoding=codec, errors=errors, newline=newline)
        self.opened.callback(text.detach)
        return text

    def head(self) -> str:
        """The beginning of the text; an incomplete character at its end is left out."""
        self.content.seek(self.encoding.mark)
        return self.content.read(HEAD_BYTES).decode(self.encoding.codec, "ignore")

    def undecodable(self, place: str) -> UndecodableError:
        """The error for a row with invalid bytes."""
        if self.encoding.codec != "utf-8":
            # A byte-order mark outranks the option.
            remedy = "correct these texts" if self.encoding.mark else "correct --encoding, or these texts"
            return UndecodableError(self.path, place, f"not {self.encoding.codec}", remedy)
        return UndecodableError(self.path, place, "not UTF-8", lambda: self._encoding_remedy)

    @functools.cached_property
    def _encoding_remedy(self) -> str:
        lines, size = [], 0
        with open_source(self.path) as again, contextlib.suppress(*DAMAGE):
            while size < HEAD_BYTES and (line := again.content.readline(HEAD_BYTES)):
                if not line.isascii():
                    lines.append(line)
                    size += len(line)
        return encoding_remedy(lines)

    def damaged(self, number: int, error: BaseException) -> DatasetError:
        """The error for a file that is damaged after row `number`."""
        return DatasetError(f"{self.path}, after row {number}: damaged or cut short ({error}); get the file again")


@contextlib.contextmanager
def open_source(path: Path, encoding: str = "") -> Iterator[Source]:
    """Open a file, and unpack it if it ends in .gz; `encoding` is that of a text without a byte-order mark.

    Raises:
        DatasetError: if `encoding` is no text encoding, or the file is not compressed as it should be.
    """
    with contextlib.ExitStack() as stack:
        raw: IO[bytes] = stack.enter_context(open(path, "rb"))
        content: Any = stack.enter_context(gzip.open(raw)) if path.suffix.lower() == ".gz" else raw
        try:
            head = content.read(HEAD_BYTES)
            content.seek(0)
        except DAMAGE as error:
            # A cut file still has rows before the cut.
            head = b""
            content.seek(0)
            if isinstance(error, gzip.BadGzipFile):
                raise DatasetError(f"{path}, after row 0: damaged ({error}); get the file again") from error
        yield Source(path, raw, content, detect_encoding(head, encoding), stack)


class Lines:
    """Iterator over the lines of a text; remembers those of a record, so that it can be read again.

    Attributes:
        number: number of the last line.
        record: lines since start_record().
    """

    def __init__(self, path: Path, text: io.TextIOBase) -> None:
        self.number = 0
        self.record: list[str] = []
        self._path = path
        self._text = text
        self._again: deque[str] = deque()

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else self._read()
        if not line:
            raise StopIteration
        self.number += 1
        self.record.append(line)
        return line

    def start_record(self) -> None:
        """Forget the lines of the last record."""
        self.record = []

    def return_lines(self, kept: int) -> None:
        """Give the lines of the record back, except the first `kept`: they are read again."""
        self.record, returned = self.record[:kept], self.record[kept:]
        self._again.extendleft(reversed(returned))
        self.number -= len(returned)

    def _read(self) -> str:
        line = self._text.readline(MAX_LINE)
        if len(line) == MAX_LINE:
            place = f"{self._path}, line {self.number + 1}"
            raise DatasetError(f"{place}: expected a line shorter than {MAX_LINE:,}; check the file")
        return line
