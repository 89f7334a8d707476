"""Rows of table files: CSV with any common delimiter, JSON, Parquet, .xlsx and fastText, in constant memory."""

from textclf.bad_rows import UndecodableError
from textclf.data.tables.formats import TABLE_ENDINGS, table_format
from textclf.data.tables.header import Columns, Wanted
from textclf.data.tables.reading import OnBad, OnProgress, Row, column_names, describe_dialect, find_columns, read_rows

__all__ = [
    "TABLE_ENDINGS",
    "Columns",
    "OnBad",
    "OnProgress",
    "Row",
    "UndecodableError",
    "Wanted",
    "column_names",
    "describe_dialect",
    "find_columns",
    "read_rows",
    "table_format",
]
