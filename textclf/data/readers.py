"""Labelled texts as they lie on disk -> two lists, in an order that does not depend on the file system."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from textclf.config import DataOptions
from textclf.data.tables import Row, UndecodableRowError, column_names, read_rows, table_format
from textclf.errors import DatasetError

# Passed over where it begins a file.
BYTE_ORDER_MARK = "\ufeff"
# Folders that archives and desktops leave behind; the other such names begin with a dot.
_CLUTTER = {"__MACOSX"}
# Large Movie Review Dataset: reviews without a label.
_UNLABELLED = "unsup"


@dataclass
class Part:
    """The texts of one part (train or test) with their labels, and what was left out.

    Attributes:
        texts, labels: as read, one label a text; labels are renamed already.
        paths, sources: the file of each text, and what a table's column `source` says of it, else "".
        classes: all labels, those of blank texts included.
        empty: texts that were blank or null.
        undecodable: texts that were not UTF-8 (options.skip_undecodable).
        unlabelled: files in an `unsup` folder.
        ignored: files in class folders that are hidden or do not end in .txt.
        renamed: old labels that were renamed.
    """

    texts: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    classes: set[str] = field(default_factory=set)
    empty: int = 0
    undecodable: int = 0
    unlabelled: int = 0
    ignored: int = 0
    renamed: set[str] = field(default_factory=set)

    def add(self, text: str | None, label: str, options: DataOptions, path: str, source: str = "") -> None:
        """Take one text, unless it is blank."""
        if label in options.rename_labels:
            self.renamed.add(label)
            label = options.rename_labels[label]
        self.classes.add(label)
        if text is None or not text.strip():
            self.empty += 1
        else:
            self.texts.append(text)
            self.labels.append(label)
            self.paths.append(path)
            self.sources.append(source)


def read_part(path: Path, options: DataOptions, *, is_in_use: bool = False) -> Part:
    """The labelled texts of a table file, or of a folder of class folders.

    Args:
        path: the file or folder.
        options: see DataOptions.
        is_in_use: others add texts and take some away meanwhile, so that a class folder may be empty.

    Raises:
        DatasetError: something can't be read, or is not what it should be; the file is named.
    """
    return _read_class_folders(path, options, is_in_use) if path.is_dir() else _read_table(path, options)


def visible_entries(folder: Path) -> list[os.DirEntry[str]]:
    """What a person sees in a folder, sorted by name: neither hidden nor left behind by an archiver."""
    with os.scandir(folder) as entries:
        return sorted((e for e in entries if not e.name.startswith(".") and e.name not in _CLUTTER), key=_name)


def class_folders(folder: Path) -> list[os.DirEntry[str]]:
    """The subfolders that stand for classes."""
    return [entry for entry in visible_entries(folder) if entry.is_dir() and entry.name != _UNLABELLED]


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name


def _read_class_folders(folder: Path, options: DataOptions, is_in_use: bool) -> Part:
    part = Part()
    for entry in class_folders(folder):
        found = False
        for path in _text_files(entry.path, part):
            found = True
            try:
                with open(path, "rb") as file:
                    content = file.read()
            except FileNotFoundError:
                if is_in_use:
                    continue
                raise
            try:
                part.add(content.decode("utf-8").removeprefix(BYTE_ORDER_MARK), entry.name, options, path)
            except UnicodeDecodeError as error:
                _undecodable(part, options, DatasetError(f"{path}: not UTF-8 ({error.reason} at byte {error.start})"))
        if not found and not is_in_use:
            raise DatasetError(
                f"{entry.path}: expected .txt files in the folder of the class {entry.name!r}, found none; "
                f"add texts, or remove the folder"
            )
    unlabelled = folder / _UNLABELLED
    if unlabelled.is_dir():
        with os.scandir(unlabelled) as entries:
            part.unlabelled = sum(1 for entry in entries if entry.name.endswith(".txt"))
    return part


def _text_files(folder: str, part: Part) -> Iterator[str]:
    with os.scandir(folder) as scan:
        entries = sorted(scan, key=_name)
    for entry in entries:
        if entry.name.endswith(".txt") and not entry.name.startswith(".") and entry.is_file():
            yield entry.path
        else:
            part.ignored += 1


def _read_table(path: Path, options: DataOptions) -> Part:
    part = Part()

    def on_bad(_number: int, error: DatasetError) -> None:
        if not isinstance(error, UndecodableRowError):
            raise error
        _undecodable(part, options, error)

    if table_format(path) != "jsonl":  # There each row has keys of its own.
        names = column_names(path)
        for name in (options.text_column, options.label_column):
            if name not in names:
                raise _missing_column(path, name, names)
    for number, row in read_rows(path, on_bad=on_bad):
        source = row.get("source")
        text, label = _text_and_label(path, number, row, options)
        part.add(text, label, options, str(path), "" if source is None else str(source))
    return part


def _text_and_label(path: Path, number: int, row: Row, options: DataOptions) -> tuple[str | None, str]:
    for name in (options.text_column, options.label_column):
        if name not in row:
            raise _missing_column(f"{path}, row {number}", name, list(row))
    text: Any = row[options.text_column]
    label: Any = row[options.label_column]
    if not isinstance(text, str | None):
        raise DatasetError(
            f"{path}, row {number}: expected a string in {options.text_column!r}, got {text!r:.80}; "
            f"name the column of the texts with --text-column"
        )
    if isinstance(label, bool) or not isinstance(label, str | int) or label == "":
        raise DatasetError(
            f"{path}, row {number}: expected a class name or a whole number in {options.label_column!r}, "
            f"got {label!r:.80}; write the labels as text or whole numbers, or name another column with --label-column"
        )
    return text, str(label)


def _missing_column(where: object, name: str, names: list[str]) -> DatasetError:
    return DatasetError(
        f"{where}: expected a column {name!r}, found {', '.join(map(repr, names)) or 'none'}; "
        f"say which they are with --text-column and --label-column"
    )


def _undecodable(part: Part, options: DataOptions, error: DatasetError) -> None:
    if not options.skip_undecodable:
        raise DatasetError(f"{error}, or leave such texts out with --skip-undecodable") from None
    part.undecodable += 1
