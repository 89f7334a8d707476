"""Reads the labelled texts of a part of a data set, in an order that does not depend on the file system."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from textclf.config import DataOptions
from textclf.data.dataset_layout import Unread, class_files, class_folders
from textclf.data.tables import Row, UndecodableError, column_names, read_rows, table_format
from textclf.errors import DatasetError, missing_column
from textclf.labels import OTHER_LABEL, UNLABELLED_FOLDER
from textclf.tokenization.text_key import is_blank

BYTE_ORDER_MARK = "\ufeff"


@dataclass
class Part:
    """The labelled texts of one part (train or test), and counts of what was left out.

    Attributes:
        texts, labels: as read, one label per text; labels are renamed already.
        paths, sources: the file of each text, and its value in a table's column `source`, else "".
        classes: all labels, including those of blank texts.
        empty: texts that were blank or null.
        undecodable: texts that were not UTF-8 (options.skip_undecodable).
        unlabelled: files in an `unsup` folder, and texts with OTHER_LABEL.
        ignored: files in class folders that are hidden or do not end in .txt.
        unread: one entry for each class folder with such files, except hidden ones.
        nested: files in subfolders of class folders, by the class folder.
        renamed: old labels that were renamed.
        keeps_other: whether texts with OTHER_LABEL are appended; it is no class to train.
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
    unread: list[Unread] = field(default_factory=list)
    nested: Counter[str] = field(default_factory=Counter)
    renamed: set[str] = field(default_factory=set)
    keeps_other: bool = False

    def add(self, text: str | None, label: str, options: DataOptions, path: str, source: str = "") -> None:
        """Append one text, or count it if it is blank."""
        if label in options.rename_labels:
            self.renamed.add(label)
            label = options.rename_labels[label]
        if label == OTHER_LABEL and not self.keeps_other:
            self.unlabelled += 1
            return
        self.classes.add(label)
        if text is None or is_blank(text):
            self.empty += 1
        else:
            self.texts.append(text)
            self.labels.append(label)
            self.paths.append(path)
            self.sources.append(source)


def read_part(
    paths: Path | Sequence[Path], options: DataOptions, *, is_in_use: bool = False, keeps_other: bool = False
) -> Part:
    """The labelled texts of a folder of class folders, or of one or more tables.

    If it `is_in_use`, other processes add and remove texts meanwhile: files vanish, and class folders may be empty.
    For `keeps_other` see Part.

    Raises:
        DatasetError: if a file can't be read or is invalid; the message names the file.
    """
    part = Part(keeps_other=keeps_other)
    for path in (paths,) if isinstance(paths, Path) else paths:
        if path.is_dir():
            _read_class_folders(path, part, options, is_in_use)
        else:
            _read_table(path, part, options)
    return part


def read_text_file(path: Path | str) -> str:
    """The text of a UTF-8 file, without a byte-order mark.

    Raises:
        OSError: if the file can't be read.
        UndecodableError: if the file is not UTF-8.
    """
    try:
        return Path(path).read_bytes().decode("utf-8").removeprefix(BYTE_ORDER_MARK)
    except UnicodeDecodeError as error:
        found = f"not UTF-8 ({error.reason} at byte {error.start})"
        raise UndecodableError(path, "", found, "convert the file, or remove it") from None


def _read_class_folders(folder: Path, part: Part, options: DataOptions, is_in_use: bool) -> None:
    for folder_entry in class_folders(folder):
        found, others = 0, []
        for entry, is_text in class_files(folder_entry.path):
            if not is_text:
                others.append(entry.name)
                continue
            found += 1
            part.nested[folder_entry.name] += os.path.dirname(entry.path) != folder_entry.path
            try:
                part.add(read_text_file(entry.path), folder_entry.name, options, entry.path)
            except FileNotFoundError:
                if not is_in_use:
                    raise
            except UndecodableError as error:
                _undecodable(part, options, error)
        if not found and not is_in_use and folder_entry.name != OTHER_LABEL:
            raise DatasetError(
                f"{folder_entry.path}: expected .txt files in the folder of the class {folder_entry.name!r}, found "
                f"{f'others, such as {others[0]}' if others else 'none'}; add texts, or remove the folder"
            )
        part.ignored += len(others)
        if visible := [name for name in others if not name.startswith(".")]:
            reason = f"{len(visible):,} file{'s' * (len(visible) > 1)} other than .txt, such as {visible[0]}"
            part.unread.append(Unread(Path(folder_entry.path), reason))
    unlabelled = folder / UNLABELLED_FOLDER
    if unlabelled.is_dir():
        with os.scandir(unlabelled) as entries:
            part.unlabelled += sum(1 for entry in entries if entry.name.endswith(".txt"))


def _read_table(path: Path, part: Part, options: DataOptions) -> None:
    def on_bad(_number: int, error: DatasetError) -> None:
        if not isinstance(error, UndecodableError):
            raise error
        _undecodable(part, options, error)

    if table_format(path) != "jsonl":  # In JSONL each row has its own keys.
        _check_columns(path, column_names(path), options)
    for number, row in read_rows(path, on_bad=on_bad):
        source = row.get("source")
        text, label = _text_and_label(path, number, row, options)
        part.add(text, label, options, str(path), "" if source is None else str(source))


def _check_columns(where: object, names: list[str], options: DataOptions) -> None:
    for name, option in ((options.text_column, "--text-column"), (options.label_column, "--label-column")):
        if name not in names:
            raise DatasetError(f"{where}: {missing_column(name, names, option)}")


def _text_and_label(path: Path, number: int, row: Row, options: DataOptions) -> tuple[str | None, str]:
    _check_columns(f"{path}, row {number}", list(row), options)
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


def _undecodable(part: Part, options: DataOptions, error: DatasetError) -> None:
    if not options.skip_undecodable:
        raise DatasetError(f"{error}, or leave such texts out with --skip-undecodable") from None
    part.undecodable += 1
