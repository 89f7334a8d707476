"""Finds the input files of a data set: one file, a folder, or a pattern, on disk or at a URL."""

import re
from dataclasses import dataclass
from typing import Any

from textclf.data.tables.formats import CSV, JSONL, PARQUET, TSV, table_format
from textclf.errors import DatasetError
from textclf.listing import shortened
from textclf.sharding.locations import absolute_place, is_url, open_location
from textclf.urls import public_text

FORMATS = (PARQUET, CSV, TSV, JSONL)
_WILDCARDS = re.compile(r"[*?\[]")
_EXPECTED = "files that end in .parquet, .csv, .tsv or .jsonl (text also with .gz)"


@dataclass(frozen=True)
class InputFile:
    """A file of the data set.

    Attributes:
        place: absolute path or URL.
        size: bytes, at least 1.
        modified: time of the last change in nanoseconds since the epoch; 0 if unknown.
    """

    place: str
    size: int
    modified: int

    @property
    def is_compressed(self) -> bool:
        """Whether the file is compressed as a whole, so that only one shard can read it."""
        return self.place.lower().endswith(".gz")


def list_inputs(place: str) -> tuple[InputFile, ...]:
    """The non-empty files of a data set, sorted by name.

    Args:
        place: local path or URL of a file, of a folder, which is read with its subfolders, or with the wildcards *, ?,
            [ ] and ** of shells. Names that start with _ or . are left out, except if a file itself is named.

    Raises:
        DatasetError: if there is no such file, or the files have several formats.
        ConfigError: if the place can't be opened.
    """
    from pyarrow import fs

    place = absolute_place(place)
    system, path = open_location(place)
    shown = public_text(place)
    (info,) = system.get_file_info([path])
    if info.type == fs.FileType.File:
        found = [info]
    elif _WILDCARDS.search(path):
        base, matches = _base_of(path), _matcher(path)
        found = [info for info in _below(system, base, shown) if matches.fullmatch(info.path)]
    else:
        found = [info for info in _below(system, path, shown) if table_format(info.path) in FORMATS]
    prefix = f"{place.partition('://')[0]}://" if is_url(place) else ""
    files = [InputFile(prefix + info.path, info.size, info.mtime_ns or 0) for info in found]
    _check(files, shown)
    return tuple(sorted((file for file in files if file.size), key=lambda file: file.place))


def is_part(place: str, file: str) -> bool:
    """Whether list_inputs() of a place would list a file, by its name.

    Args:
        place: as for list_inputs().
        file: absolute path or URL.
    """
    place = absolute_place(place)
    has_wildcards = _WILDCARDS.search(place) is not None
    base = (_base_of(place) if has_wildcards else place).rstrip("/") + "/"
    if not file.startswith(base) or _is_hidden(file[len(base) :]):
        return False
    return not has_wildcards or _matcher(place).fullmatch(file) is not None


def format_of(files: tuple[InputFile, ...]) -> str:
    """The format that all files have."""
    return str(table_format(files[0].place))


def _check(files: list[InputFile], shown: str) -> None:
    if not any(file.size for file in files):
        raise DatasetError(f"{shown}: expected {_EXPECTED}, found none that is not empty; check the path")
    formats = {table_format(file.place): public_text(file.place) for file in files}
    others = [name for kind, name in formats.items() if kind not in FORMATS]
    if others:
        raise DatasetError(f"{others[0]}: expected {_EXPECTED}; narrow --input to these")
    if len(formats) > 1:
        names = shortened(sorted(formats.values()))
        raise DatasetError(f"{shown}: expected files of one format, found several ({names}); score each with its own")


def _below(system: Any, base: str, shown: str) -> list[Any]:
    """The files below a folder, without those with hidden names."""
    from pyarrow import fs

    try:
        infos = system.get_file_info(fs.FileSelector(base, recursive=True))
    except (FileNotFoundError, NotADirectoryError):
        raise DatasetError(f"{shown}: expected {_EXPECTED}, found no such folder; check the path") from None
    start = len(base.rstrip("/")) + 1
    return [info for info in infos if info.type == fs.FileType.File and not _is_hidden(info.path[start:])]


def _is_hidden(path: str) -> bool:
    return any(part[:1] in ("_", ".") for part in path.split("/"))


def _base_of(pattern: str) -> str:
    """The folder before the first part with a wildcard."""
    parts = pattern.split("/")
    first = next(at for at, part in enumerate(parts) if _WILDCARDS.search(part))
    return "/".join(parts[:first]) or "/"


def _matcher(pattern: str) -> re.Pattern[str]:
    """The pattern of a shell as a regular expression: * does not match a slash, ** matches any folders."""
    parts = []
    for part in pattern.split("/"):
        if part == "**":
            parts.append("(?:[^/]+/)*")
        else:
            pieces = re.split(r"(\*|\?|\[[^\]]+\])", part)
            parts.append("".join(map(_piece, pieces)) + "/")
    return re.compile("".join(parts).removesuffix("/"))


def _piece(piece: str) -> str:
    if piece in ("*", "?"):
        return "[^/]*" if piece == "*" else "[^/]"
    if piece.startswith("[") and piece.endswith("]") and len(piece) > 2:
        return f"[{'^' if piece[1] == '!' else ''}{re.escape(piece[1:].lstrip('!')).replace(chr(92) + '-', '-')}]"
    return re.escape(piece)
