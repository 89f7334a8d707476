"""Reads the rows of a part of a Parquet file; a shard starts at a row inside of a row group."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from textclf.errors import DatasetError
from textclf.sharding.inputs import InputFile
from textclf.sharding.plan import Part
from textclf.sharding.text_input import open_bytes
from textclf.urls import public_text

_BATCH_ROWS = 1024


class GroupRows(NamedTuple):
    """Rows of a row group: those from `start` to `end` - 1, and the number of the group's first row in the file."""

    group: int
    start: int
    end: int
    first_row: int


def column_names(file: InputFile) -> list[str]:
    """The columns of a file.

    Raises:
        DatasetError: if it is not Parquet.
    """
    with _opened(file) as table:
        return list(table.schema_arrow.names)


def kept_fields(file: InputFile, kept: tuple[str, ...]) -> list[Any]:
    """The Arrow fields (pyarrow.Field) of columns.

    Raises:
        DatasetError: if the file is not Parquet, or a column is missing.
    """
    with _opened(file) as table:
        _check_columns(table, kept, file)
        return [table.schema_arrow.field(name) for name in kept]


def rows(
    part: Part, text_column: str, kept: tuple[str, ...], on_bytes: Callable[[int], None]
) -> Iterator[tuple[int, Any, tuple[Any, ...]]]:
    """The number in the file, the text, and the kept values of each row of a part.

    A text is None for null, and b"" if it is not UTF-8. The other values are Arrow scalars.

    Raises:
        DatasetError: if the file is damaged, or a column is missing or has no texts.
    """
    import pyarrow as pa

    with _opened(part.file) as table:
        _check_columns(table, (text_column, *kept), part.file)
        _check_type(table.schema_arrow.field(text_column).type, text_column, part.file)
        columns = list(dict.fromkeys((text_column, *kept)))
        pieces = list(group_rows(_groups(table.metadata), part.start, part.end, part.file.size))
        # A column is read alone, so bytes are counted by the share of the rows.
        count, done, counted = sum(piece.end - piece.start for piece in pieces), 0, 0
        for piece in pieces:
            at = 0
            try:
                for batch in table.iter_batches(_BATCH_ROWS, row_groups=[piece.group], columns=columns):
                    some = batch.slice(max(0, piece.start - at), max(0, piece.end - max(at, piece.start)))
                    first = piece.first_row + max(at, piece.start) + 1
                    at += batch.num_rows
                    yield from _rows_of(some, text_column, kept, first)
                    if at >= piece.end:
                        break
            except (pa.ArrowException, OSError) as error:
                raise DatasetError(
                    f"{public_text(part.file.place)}, after row {piece.first_row + at}: damaged or cut ({error}); "
                    f"get the file again"
                ) from error
            done += piece.end - piece.start
            on_bytes((part.end - part.start) * done // count - counted)
            counted = (part.end - part.start) * done // count


def group_rows(groups: list[tuple[int, int]], start: int, end: int, size: int) -> Iterator[GroupRows]:
    """The rows of each row group that belong to the bytes from `start` to `end` - 1 of a file.

    Row r of R rows in a group that takes the bytes from s to e is at s + (e - s) * r // R.

    Args:
        groups: position and number of rows of each group, in the order of the file.
        start, end: bytes.
        size: bytes of the file.
    """
    first_row = 0
    for number, (position, count) in enumerate(groups):
        low = 0 if number == 0 else position
        high = size if number == len(groups) - 1 else groups[number + 1][0]
        if count and low < high:
            # The smallest row at or after each end.
            begin, stop = (min(count, max(0, -(-(at - low) * count // (high - low)))) for at in (start, end))
            if begin < stop:
                yield GroupRows(number, begin, stop, first_row)
        first_row += count


def _rows_of(
    batch: Any, text_column: str, kept: tuple[str, ...], first: int
) -> Iterator[tuple[int, Any, tuple[Any, ...]]]:
    texts = batch.column(text_column)
    columns = [batch.column(name) for name in kept]
    for at in range(batch.num_rows):
        yield first + at, _text(texts[at]), tuple(column[at] for column in columns)


def _text(scalar: Any) -> str | bytes | None:
    try:
        found: str | None = scalar.as_py()
    except UnicodeDecodeError:
        return b""
    return found


def _groups(metadata: Any) -> list[tuple[int, int]]:
    found = []
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        column = group.column(0)
        position = column.dictionary_page_offset or column.data_page_offset
        found.append((min(position, column.data_page_offset), group.num_rows))
    return found


def _check_columns(table: Any, wanted: tuple[str, ...], file: InputFile) -> None:
    names = list(table.schema_arrow.names)
    for name in wanted:
        if names.count(name) != 1:
            problem = "found two of this name" if name in names else f"found {', '.join(map(repr, names)) or 'none'}"
            raise DatasetError(f"{public_text(file.place)}: expected a column {name!r}, {problem}; name another one")


def _check_type(kind: Any, name: str, file: InputFile) -> None:
    import pyarrow as pa

    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not (pa.types.is_string(value) or pa.types.is_large_string(value) or pa.types.is_string_view(value)):
        raise DatasetError(
            f"{public_text(file.place)}: expected texts in the column {name!r}, found the type {kind}; name the "
            f"column of the texts with --text-column"
        )


@contextlib.contextmanager
def _opened(file: InputFile) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with open_bytes(file) as raw:
        try:
            table = pq.ParquetFile(raw)
        except (pa.ArrowException, OSError) as error:
            raise DatasetError(
                f"{public_text(file.place)}: expected a Parquet file ({error}); get the file again"
            ) from error
        yield table
