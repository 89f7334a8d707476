"""Reads the rows of a shard: the text, the columns that are kept, and why a row can't be scored."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from textclf.bad_rows import BadRowError
from textclf.bad_rows import Reason as RowReason
from textclf.data.tables.formats import JSONL, PARQUET
from textclf.data.tables.header import Wanted
from textclf.data.tables.source import DAMAGE
from textclf.errors import DatasetError, missing_column
from textclf.sharding import parquet_input
from textclf.sharding.inputs import InputFile
from textclf.sharding.plan import Part, Plan
from textclf.sharding.text_input import open_part
from textclf.tokenization.text_key import is_blank
from textclf.unicode import is_unicode
from textclf.urls import public_text

NO_TEXT, TOO_LONG = "no_text", "too_long"
_JSON_ROWS_FOR_NAMES = 50


class Problem(NamedTuple):
    """Why a row can't be scored: the key of its count, and the reason in words, without the text."""

    code: str
    words: str


class InputRow(NamedTuple):
    """A row of the input.

    Attributes:
        text: the text; "" with a problem.
        kept: values of the columns that are kept, None for a missing one. Those of Parquet are Arrow scalars.
        problem: why the row can't be scored; None if it can.
        place: file and row, for messages.
    """

    text: str
    kept: tuple[Any, ...]
    problem: Problem | None
    place: str


@dataclass(frozen=True)
class ColumnNames:
    """Columns of an input; `is_open` says that a row may have others (JSON)."""

    names: list[str]
    text: str
    is_open: bool = False

    def check_kept(self, kept: tuple[str, ...], where: str, id_column: str = "") -> None:
        """Check that the columns exist. In JSON a row may lack a column, but the first rows have the id column.

        Raises:
            DatasetError: if one is missing.
        """
        for name in kept:
            may_lack = self.is_open and (name != id_column or not self.names)
            if name not in self.names and not may_lack:
                raise DatasetError(f"{where}: {missing_column(name, self.names, '--id-column or --keep')}")


def columns_of(file: InputFile, input_format: str, text_column: str) -> ColumnNames:
    """The columns of a file, and which of them has the texts.

    Raises:
        DatasetError: if the file can't be read, or has no such column.
    """
    where, wanted = public_text(file.place), Wanted(text_column, None)
    if input_format == PARQUET:
        names = parquet_input.column_names(file)
        return ColumnNames(names, wanted.find(names, where).text)
    with open_part(Part(file, 0, file.size), input_format, wanted, lambda _: None) as table:
        if input_format != JSONL:
            return ColumnNames(table.names, wanted.find(table.names, where).text)
        rows = itertools.islice(table.rows(lambda *_: None), _JSON_ROWS_FOR_NAMES)
        names = list(dict.fromkeys(key for _, row in rows for key in row))
        return ColumnNames(names, wanted.find(names, where).text if names else text_column, is_open=True)


@dataclass
class ShardReader:
    """Reads the rows of shards.

    Args:
        plan: the run.
        on_bytes: called with the number of bytes of the input that were read since the last call.
    """

    plan: Plan
    on_bytes: Callable[[int], None] = field(default=lambda _: None)

    def rows(self, shard: int) -> Iterator[InputRow]:
        """The rows of a shard in the order of the input.

        Raises:
            DatasetError: if a file can't be read, or lacks a column.
            OSError: if the storage fails.
        """
        for part in self.plan.parts(shard):
            read = self._parquet_rows if self.plan.input_format == PARQUET else self._text_rows
            yield from read(part)

    def _parquet_rows(self, part: Part) -> Iterator[InputRow]:
        plan, place = self.plan, public_text(part.file.place)
        for number, text, kept in parquet_input.rows(part, plan.text_column, plan.kept, self.on_bytes):
            yield self._row(text, kept, f"{place}, row {number}")

    def _text_rows(self, part: Part) -> Iterator[InputRow]:
        plan, place = self.plan, public_text(part.file.place)
        wanted = Wanted(plan.text_column, None)
        bad: list[tuple[int, BadRowError]] = []
        nothing = (None,) * len(plan.kept)

        def refused() -> Iterator[InputRow]:
            for number, error in bad:
                problem = Problem(error.reason.value, error.reason.words)
                yield InputRow("", nothing, problem, self._numbered(place, part, number))
            bad.clear()

        with open_part(part, plan.input_format, wanted, self.on_bytes) as table:
            if plan.input_format != JSONL:
                wanted.find(table.names, place)
                ColumnNames(table.names, plan.text_column).check_kept(plan.kept, place)
            number = 0
            try:
                for number, row in table.rows(lambda number, error: bad.append((number, error))):
                    yield from refused()
                    kept = tuple(row.get(name) for name in plan.kept)
                    yield self._row(row.get(plan.text_column), kept, self._numbered(place, part, number))
            except DAMAGE as error:
                where = self._numbered(place, part, number)
                raise DatasetError(f"{where}: damaged or cut short after it ({error}); get the file again") from error
            yield from refused()

    def _row(self, text: Any, kept: tuple[Any, ...], place: str) -> InputRow:
        problem = None
        if text is None or (isinstance(text, str) and is_blank(text)):
            problem = Problem(NO_TEXT, "no text")
        elif isinstance(text, bytes) or (isinstance(text, str) and not is_unicode(text)):
            problem = Problem(RowReason.UNDECODABLE.value, RowReason.UNDECODABLE.words)
        elif not isinstance(text, str):
            problem = Problem(RowReason.TEXT_TYPE.value, RowReason.TEXT_TYPE.words)
        elif len(text) > self.plan.max_chars:
            problem = Problem(TOO_LONG, f"more than {self.plan.max_chars:,} characters")
        return InputRow("" if problem else text, kept, problem, place)

    @staticmethod
    def _numbered(place: str, part: Part, number: int) -> str:
        return f"{place}, row {number}{f' from byte {part.start:,} on' if part.start else ''}"
