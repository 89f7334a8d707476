"""Rows of Parquet files; needs pyarrow."""

from typing import Any

from textclf.data.tables.source import OnBad, Rows, Source
from textclf.errors import DatasetError

_BATCH_ROWS = 1024


class ParquetTable:
    """A Parquet file.

    Raises:
        DatasetError: if the file is not Parquet, has two columns of one name, or pyarrow is missing.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError:
            raise DatasetError(
                f"{source.path}: reading Parquet needs pyarrow; run: python -m pip install pyarrow"
            ) from None
        try:
            self._file: Any = pq.ParquetFile(source.raw)
        except (pa.ArrowException, OSError) as error:
            raise DatasetError(f"{source.path}: expected a Parquet file ({error}); get the file again") from error
        self.names: list[str] = list(self._file.schema_arrow.names)
        if len(set(self.names)) != len(self.names):
            raise DatasetError(f"{source.path}: expected distinct column names, found {self.names}; rename one")

    def rows(self, report: OnBad) -> Rows:
        """The rows with their numbers, counted from 1; bad ones are reported and count, too."""
        import pyarrow as pa

        number = 0
        batches = self._file.iter_batches(batch_size=_BATCH_ROWS)
        while True:
            try:
                batch = next(batches)
            except StopIteration:
                return
            except (pa.ArrowException, OSError) as error:
                raise self._source.damaged(number, error) from error
            for i in range(batch.num_rows):
                number += 1
                try:
                    row = {name: _value(batch.column(j), i) for j, name in enumerate(self.names)}
                except UnicodeDecodeError:
                    report(number, self._source.undecodable(f"row {number}"))
                    continue
                yield number, row


def _value(column: Any, at: int) -> Any:
    try:
        return column[at].as_py()
    except UnicodeDecodeError:
        raise
    except (OverflowError, ValueError):
        # A date that Python can't hold, often in a column that nobody reads: as pyarrow shows it.
        return str(column.slice(at, 1).to_string(skip_new_lines=True))[1:-1]
