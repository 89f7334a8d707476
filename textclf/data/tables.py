"""Reads rows of CSV, JSONL and Parquet files in constant memory; reading continues after a bad row."""

import contextlib
import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, AnyStr

from textclf.errors import DatasetError
from textclf.unicode import is_unicode

Row = dict[str, Any]
OnBad = Callable[[int, DatasetError], None]
OnProgress = Callable[[int], None]

_FORMATS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
# Limits the memory for a quote that is never closed, which reads the rest of the file as one field.
_MAX_FIELD_CHARS = 1 << 27
# Limits the memory for a line; a compressed one of a kilobyte may have a megabyte.
_MAX_LINE = 1 << 27
_BATCH_ROWS = 1024
_DAMAGE = (EOFError, gzip.BadGzipFile, zlib.error)


class UndecodableError(DatasetError):
    """A row or a file that is well formed except that its text is not UTF-8."""


def table_format(path: Path | str) -> str | None:
    """ "csv", "jsonl" or "parquet" by the file's name, with or without .gz for the first two; else None."""
    path = Path(path)
    is_compressed = path.suffix.lower() == ".gz"
    name = _FORMATS.get(Path(path.stem).suffix.lower() if is_compressed else path.suffix.lower())
    return None if is_compressed and name == "parquet" else name


def column_names(path: Path | str) -> list[str]:
    """The columns of a CSV or Parquet file; for JSONL the keys of its first good row, or [].

    Raises:
        DatasetError: if the file is missing, of an unknown kind or damaged.
    """
    path = _checked(path)
    with _open(path) as (raw, content):
        try:
            match table_format(path):
                case "csv":
                    with _csv_text(content) as text:
                        return _csv_header(path, csv.reader(_lines(path, text), strict=True))
                case "parquet":
                    return _parquet_columns(path, _parquet_file(path, raw))
                case _:
                    return next((list(row) for _, row in _jsonl_rows(path, content, lambda *_: None)), [])
        except _DAMAGE as error:
            raise _damaged(path, 0, error) from error


def read_rows(
    path: Path | str, *, on_bad: OnBad | None = None, on_progress: OnProgress | None = None
) -> Iterator[tuple[int, Row]]:
    """The rows of a table, as (row number, {column: value}).

    CSV is RFC 4180 with a header and has strings only; JSONL has one object per line. Text is UTF-8; a byte-order mark
    and blank lines are ignored. `.csv.gz` and `.jsonl.gz` are unpacked on the fly.

    Args:
        path: the file; its name determines the format.
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
    report = on_bad or _raise
    with _open(path) as (raw, content):
        match table_format(path):
            case "csv":
                rows = _csv_rows(path, content, report)
            case "jsonl":
                rows = _jsonl_rows(path, content, report)
            case _:
                rows = _parquet_rows(path, _parquet_file(path, raw), report)
        number = 0
        try:
            for number, row in rows:
                yield number, row
                if on_progress is not None:
                    on_progress(raw.tell())
        except _DAMAGE as error:
            raise _damaged(path, number, error) from error


def _raise(_number: int, error: DatasetError) -> None:
    raise error


def _checked(path: Path | str) -> Path:
    path = Path(path)
    if table_format(path) is None:
        raise DatasetError(f"{path}: expected a .csv, .jsonl, .ndjson or .parquet file (the first three may be .gz)")
    if not path.is_file():
        raise DatasetError(f"{path}: expected a table, found no such file; check the path")
    return path


@contextlib.contextmanager
def _open(path: Path) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    with open(path, "rb") as raw:
        if path.suffix.lower() == ".gz":
            with gzip.open(raw) as content:
                yield raw, content  # type: ignore[misc]  # GzipFile reads like any binary file
        else:
            yield raw, raw


def _damaged(path: Path, number: int, error: BaseException) -> DatasetError:
    return DatasetError(f"{path}, after row {number}: damaged or cut short ({error}); get the file again")


def _csv_text(content: IO[bytes]) -> io.TextIOWrapper:
    csv.field_size_limit(max(csv.field_size_limit(), _MAX_FIELD_CHARS))
    # Bytes that are not UTF-8 become lone surrogates (PEP 383), so that they spoil one row only.
    return io.TextIOWrapper(content, encoding="utf-8-sig", errors="surrogateescape", newline="")


def _lines(path: Path, content: IO[AnyStr]) -> Iterator[AnyStr]:
    """The lines of a file, each with its end.

    Raises:
        DatasetError: if a line is longer than _MAX_LINE.
    """
    number = 0
    while line := content.readline(_MAX_LINE):
        number += 1
        if len(line) == _MAX_LINE:
            raise DatasetError(f"{path}, line {number}: expected a line shorter than {_MAX_LINE:,}; check the file")
        yield line


def _csv_header(path: Path, reader: Any) -> list[str]:
    try:
        header: list[str] = next((fields for fields in reader if fields), [])
    except csv.Error as error:
        raise DatasetError(f"{path}: the header can't be read ({error})") from error
    if not header or len(set(header)) != len(header) or not is_unicode("".join(header)):
        raise DatasetError(
            f"{path}: expected a first line with distinct UTF-8 column names, found "
            f"{header or 'an empty file'}; save the table as CSV in UTF-8, with a header"
        )
    return header


def _csv_rows(path: Path, content: IO[bytes], report: OnBad) -> Iterator[tuple[int, Row]]:
    with _csv_text(content) as text:
        reader = csv.reader(_lines(path, text), strict=True)
        header = _csv_header(path, reader)
        number = 0
        while True:
            line = reader.line_num + 1
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                number += 1
                bad = DatasetError(f"{path}, row {number} (line {line}): {error}; check the quotes")
                if reader.line_num > line:
                    # An unclosed quote swallows the following lines: more than one row is bad.
                    unmatched = f"the quotes of lines {line} to {reader.line_num} do not match"
                    raise DatasetError(f"{bad}: {unmatched}") from error
                report(number, bad)
                continue
            if not fields:
                continue
            number += 1
            if len(fields) != len(header):
                found = f"expected {len(header)} fields ({', '.join(header)}), found {len(fields)}"
                remedy = "a text with a comma or a line break needs quotes around it"
                report(number, DatasetError(f"{path}, row {number} (line {line}): {found}; {remedy}"))
            elif not is_unicode("".join(fields)):
                report(number, _undecodable(path, f"row {number} (line {line})"))
            else:
                yield number, dict(zip(header, fields, strict=True))


def _jsonl_rows(path: Path, content: IO[bytes], report: OnBad) -> Iterator[tuple[int, Row]]:
    number = 0
    for line_number, line in enumerate(_lines(path, content), start=1):
        if line_number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not line.strip():
            continue
        number += 1
        place = f"row {number} (line {line_number})"
        try:
            row = json.loads(line.decode("utf-8"))
        except UnicodeDecodeError:
            report(number, _undecodable(path, place))
            continue
        except (ValueError, RecursionError) as error:
            reason = f"expected a JSON object per line, got invalid JSON ({error})"
            report(number, DatasetError(f"{path}, {place}: {reason}"))
            continue
        if not isinstance(row, dict):
            report(number, DatasetError(f"{path}, {place}: expected a JSON object, got {type(row).__name__}"))
        elif not all(is_unicode(value) for value in (*row, *row.values()) if isinstance(value, str)):
            report(number, _undecodable(path, place))
        else:
            yield number, row


def _parquet_file(path: Path, raw: IO[bytes]) -> Any:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise DatasetError(f"{path}: reading Parquet needs pyarrow; run: python -m pip install pyarrow") from None
    try:
        return pq.ParquetFile(raw)
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(f"{path}: expected a Parquet file ({error}); get the file again") from error


def _parquet_columns(path: Path, table: Any) -> list[str]:
    names: list[str] = list(table.schema_arrow.names)
    if len(set(names)) != len(names):
        raise DatasetError(f"{path}: expected distinct column names, found {names}")
    return names


def _parquet_rows(path: Path, table: Any, report: OnBad) -> Iterator[tuple[int, Row]]:
    import pyarrow as pa

    names = _parquet_columns(path, table)
    number = 0
    batches = table.iter_batches(batch_size=_BATCH_ROWS)
    while True:
        try:
            batch = next(batches)
        except StopIteration:
            return
        except (pa.ArrowException, OSError) as error:
            raise _damaged(path, number, error) from error
        for i in range(batch.num_rows):
            number += 1
            try:
                row = {name: batch.column(j)[i].as_py() for j, name in enumerate(names)}
            except UnicodeDecodeError:
                report(number, _undecodable(path, f"row {number}"))
                continue
            yield number, row


def _undecodable(path: Path, place: str) -> UndecodableError:
    return UndecodableError(
        f"{path}, {place}: not UTF-8; convert the file (iconv -f latin1 -t utf-8, if it is Latin-1)"
    )
