"""Writes the rows of a shard as Parquet, CSV or JSONL; equal rows give equal bytes.

A row has the kept columns, then `label`, `score`, with probabilities `p:<class>` for each class, `truncated`, then
`unusual`, `unsure` and `rules` if the model or the rules can mark rows so, and at last `error`. A row with an error has
only the kept columns and `error`. In JSONL a field without a value is left out, except of a kept column.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO, Any, Protocol

from textclf.data.tables.formats import CSV, PARQUET
from textclf.errors import InputError
from textclf.runtime.prediction import Prediction
from textclf.runtime.predictor import Predictor
from textclf.runtime.row_text import cell, csv_line, json_text, utf8
from textclf.sharding.inputs import InputFile
from textclf.sharding.parquet_input import kept_fields
from textclf.sharding.plan import Plan

# Other digits than these are smaller than the error of an 8-bit engine.
DIGITS = 6
_LABEL, INPUT_LABEL = "label", "input_label"
_ROW_GROUP_ROWS = 65_536
# Kept texts may be long: a row group also ends here, so that memory is limited.
_ROW_GROUP_BYTES = 1 << 26


@dataclass(frozen=True)
class OutputColumns:
    """The columns of the output.

    Attributes:
        kept: columns of the input, as the output names them.
        class_names: classes whose probabilities are written; () for none.
        marks: names of the columns `unusual`, `unsure` and `rules` that are written.
    """

    kept: tuple[str, ...]
    class_names: tuple[str, ...]
    marks: tuple[str, ...]

    @property
    def results(self) -> tuple[str, ...]:
        """The columns after the kept ones."""
        probabilities = (f"p:{name}" for name in self.class_names)
        return (_LABEL, "score", *probabilities, "truncated", *self.marks, "error")

    def values(self, prediction: Prediction | None, error: str | None) -> list[Any]:
        """The values of `results` for a row; None where there is none."""
        if prediction is None:
            return [*(None for _ in self.results[1:]), error]
        marks: dict[str, Any] = {
            "unusual": prediction.unusual_reason,
            "unsure": prediction.unsure,
            "rules": " ".join(prediction.rules) or None,
        }
        return [
            prediction.label,
            round(prediction.score, DIGITS),
            *(round(prediction.probabilities[name], DIGITS) for name in self.class_names),
            prediction.truncated,
            *(marks[name] for name in self.marks),
            None,
        ]


def output_columns(plan: Plan, predictor: Predictor) -> OutputColumns:
    """The columns of the output of a run.

    Raises:
        InputError: if a kept column has the name of a result.
    """
    marks = {
        "unusual": predictor.unusual is not None,
        "unsure": bool(predictor.unsure_below) or predictor.rules is not None,
        "rules": predictor.rules is not None,
    }
    columns = OutputColumns(
        tuple(INPUT_LABEL if name == _LABEL else name for name in plan.kept),
        predictor.class_names if plan.probabilities else (),
        tuple(name for name, is_marked in marks.items() if is_marked),
    )
    twice = {name for name in columns.kept if columns.kept.count(name) > 1}
    if clash := sorted(twice | (set(columns.kept) & set(columns.results))):
        raise InputError(
            f"--keep: the output has a column {', '.join(clash)} of its own; rename it in the input, or leave it out"
        )
    return columns


class RowWriter(Protocol):
    """Writes rows; close() ends the content, not the file."""

    def write(self, kept: Sequence[Any], prediction: Prediction | None, error: str | None) -> None:
        """Write a row."""

    def close(self) -> None:
        """Write what is left."""

    def abandon(self) -> None:
        """Write nothing more: the file is incomplete and will be removed."""


def row_writer(plan: Plan, columns: OutputColumns, file: IO[bytes]) -> RowWriter:
    """A writer of rows in the format of the plan."""
    if plan.output_format == PARQUET:
        return _ParquetWriter(plan, columns, file)
    is_csv = plan.output_format == CSV
    return _TextWriter(columns, file, _csv_row if is_csv else _json_row, is_csv)


class _TextWriter:
    def __init__(
        self,
        columns: OutputColumns,
        file: IO[bytes],
        text_of: Callable[[OutputColumns, Sequence[Any], Sequence[Any]], str],
        has_header: bool,
    ) -> None:
        self._columns = columns
        self._file = file
        self._text_of = text_of
        if has_header:
            file.write(utf8(csv_line([*columns.kept, *columns.results])))

    def write(self, kept: Sequence[Any], prediction: Prediction | None, error: str | None) -> None:
        """Write a row."""
        values = self._columns.values(prediction, error)
        self._file.write(utf8(self._text_of(self._columns, [_python_value(value) for value in kept], values)))

    def close(self) -> None:
        """Nothing is left."""

    def abandon(self) -> None:
        """Nothing is left."""


def _csv_row(_columns: OutputColumns, kept: Sequence[Any], values: Sequence[Any]) -> str:
    return csv_line([*map(cell, kept), *(value if isinstance(value, float) else cell(value) for value in values)])


def _json_row(columns: OutputColumns, kept: Sequence[Any], values: Sequence[Any]) -> str:
    results = {name: value for name, value in zip(columns.results, values, strict=True) if value is not None}
    return json_text(dict(zip(columns.kept, kept, strict=True)) | results) + "\n"


def _python_value(value: Any) -> Any:
    if not hasattr(value, "as_py"):
        return value
    try:
        return value.as_py()
    except (OverflowError, ValueError):
        return str(value)  # A moment that Python can't hold, or a text that is not UTF-8.


class _ParquetWriter:
    """Row groups of one number of rows, unless kept values are long, and no other metadata than the schema."""

    def __init__(self, plan: Plan, columns: OutputColumns, file: IO[bytes]) -> None:
        import pyarrow.parquet as pq

        self._is_arrow = plan.input_format == PARQUET
        self._schema = _schema(plan, columns, plan.files[0])
        self._columns = columns
        self._rows: list[list[Any]] = []
        self._bytes = 0
        self._file: Any = pq.ParquetWriter(file, self._schema, compression="zstd", version="2.6")

    def write(self, kept: Sequence[Any], prediction: Prediction | None, error: str | None) -> None:
        """Write a row."""
        values = kept if self._is_arrow else [_text_value(value) for value in kept]
        self._rows.append([*values, *self._columns.values(prediction, error)])
        self._bytes += sum(map(_size, values))
        if len(self._rows) == _ROW_GROUP_ROWS or self._bytes >= _ROW_GROUP_BYTES:
            self._flush()

    def close(self) -> None:
        """Write the last row group and the footer."""
        if self._rows:
            self._flush()
        self._file.close()

    def abandon(self) -> None:
        """Let no destructor write to a file that is incomplete, which would print a traceback."""
        self._file.is_open = False

    def _flush(self) -> None:
        import pyarrow as pa

        try:
            columns = [
                _arrow_array(values, field.type)
                for values, field in zip(zip(*self._rows, strict=True), self._schema, strict=True)
            ]
        except (pa.ArrowException, TypeError) as error:
            raise InputError(
                f"a kept column has another type than in the first file of the input ({error}); make the types equal, "
                f"or leave the column out"
            ) from None
        self._rows, self._bytes = [], 0
        self._file.write_table(pa.Table.from_arrays(columns, schema=self._schema), row_group_size=_ROW_GROUP_ROWS)


def _arrow_array(values: Sequence[Any], kind: Any) -> Any:
    """The values as an array; pa.array() takes no Arrow scalars of lists in which a list is null."""
    import pyarrow as pa

    if not pa.types.is_nested(kind):
        return pa.array(values, kind)
    return pa.concat_arrays([pa.repeat(value, 1).cast(kind) for value in values])


def _schema(plan: Plan, columns: OutputColumns, first: InputFile) -> Any:
    import pyarrow as pa

    if plan.input_format == PARQUET:
        found = kept_fields(first, plan.kept)
        types = [field.type for field in found]
    else:
        types = [pa.string()] * len(plan.kept)
    of_results = {"label": pa.string(), "truncated": pa.bool_(), "unsure": pa.bool_()}
    texts = ("unusual", "rules", "error")
    named = zip(columns.kept, types, strict=True)
    results = ((name, of_results.get(name, pa.string() if name in texts else pa.float32())) for name in columns.results)
    return pa.schema([pa.field(name, kind) for name, kind in (*named, *results)])


def _size(value: Any) -> int:
    """Roughly the bytes of a kept value, for one that may be long: a str, or an Arrow scalar of a text or of bytes."""
    if isinstance(value, str):
        return len(value)
    buffer = value.as_buffer() if hasattr(value, "as_buffer") else None
    return 0 if buffer is None else int(buffer.size)


def _text_value(value: Any) -> str | None:
    return None if value is None else str(cell(value))
