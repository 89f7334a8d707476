"""The format of a table by the name of its file."""

import gzip
import zlib
from pathlib import Path

CSV, TSV, JSONL, JSON, PARQUET, XLSX, FASTTEXT = "csv", "tsv", "jsonl", "json", "parquet", "xlsx", "fasttext"
# Formats of text, which may be compressed (.gz).
_TEXT_FORMATS = {".csv": CSV, ".tsv": TSV, ".tab": TSV, ".jsonl": JSONL, ".ndjson": JSONL, ".json": JSON}
_FORMATS = {**_TEXT_FORMATS, ".parquet": PARQUET, ".xlsx": XLSX}
TABLE_ENDINGS = ".csv, .tsv, .jsonl, .json, .parquet, .xlsx"
FASTTEXT_PREFIX = "__label__"


def table_format(path: Path | str) -> str | None:
    """The format of a table file, or None; text formats may have .gz after their ending.

    A .txt file is a table only if it exists and its first line is one of fastText's: then it needs a path, not a name.
    """
    path = Path(path)
    ending = path.suffix.lower()
    is_compressed = ending == ".gz"
    if is_compressed:
        ending = Path(path.stem).suffix.lower()
    if ending == ".txt":
        return FASTTEXT if _starts_like_fasttext(path, is_compressed) else None
    return (_TEXT_FORMATS if is_compressed else _FORMATS).get(ending)


def _starts_like_fasttext(path: Path, is_compressed: bool) -> bool:
    try:
        with gzip.open(path) if is_compressed else open(path, "rb") as file:
            start: bytes = file.read(64)
    except (OSError, EOFError, zlib.error):
        return False
    # In UTF-16 each second byte is zero; a byte-order mark has up to three bytes.
    return FASTTEXT_PREFIX.encode() in start.replace(b"\0", b"")[: 3 + len(FASTTEXT_PREFIX)]
