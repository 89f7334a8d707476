"""Reads the labelled texts of a part of a data set, in an order that does not depend on the file system."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from textclf.bad_rows import BadRowError, BadRows, UndecodableError
from textclf.config import DataOptions
from textclf.data.class_folders import NAME_FILE, class_of_folder
from textclf.data.dataset_layout import (
    Unread,
    class_files,
    class_folders,
    is_text_file,
    is_unlabelled,
    visible_entries,
)
from textclf.data.table_rows import LabelledTable
from textclf.data.tables.encoding import HEAD_BYTES, decode, encoding_remedy
from textclf.errors import DatasetError
from textclf.label_column import label_text
from textclf.labels import OTHER_LABEL
from textclf.tokenization.text_key import is_blank

BYTE_ORDER_MARK = "\ufeff"


@dataclass
class Part:
    """The labelled texts of one part (train or test), and counts of what was left out.

    Attributes:
        texts, labels: as read, one label per text, "" if it is optional and missing; textclf.data.part_labels makes
            class names of the labels.
        paths, sources: the file of each text, and its value in a table's column `source`, else "".
        rows: the row of each text in its table, counted from 1; 0 for a text file.
        weights: how much each text counts in the loss, from a table's weight column; else 1.
        label_counts: number of texts by label, including blank texts.
        empty: texts that were blank or null.
        skipped: bad rows and texts that were left out (options.skip_bad, options.skip_undecodable).
        refused: bad rows that are an error.
        notes: a sentence about each table with other columns than the wanted ones.
        unlabelled: files in an `unsup` folder, and texts with OTHER_LABEL.
        other_labels: texts with OTHER_LABEL.
        ignored: files in class folders that are hidden or do not end in .txt.
        unread: one entry for each class folder with such files, except hidden ones.
        nested: files in subfolders of class folders, by label.
    """

    texts: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    label_counts: Counter[str] = field(default_factory=Counter)
    empty: int = 0
    skipped: BadRows = field(default_factory=BadRows)
    refused: BadRows = field(default_factory=BadRows)
    notes: list[str] = field(default_factory=list)
    unlabelled: int = 0
    other_labels: int = 0
    ignored: int = 0
    unread: list[Unread] = field(default_factory=list)
    nested: Counter[str] = field(default_factory=Counter)

    def add(self, text: str | None, label: str, path: str, source: str = "", row: int = 0, weight: float = 1.0) -> None:
        """Append one text, or count it if it is blank."""
        self.label_counts[label] += 1
        if text is None or is_blank(text):
            self.empty += 1
        else:
            self.texts.append(text)
            self.labels.append(label)
            self.paths.append(path)
            self.sources.append(source)
            self.rows.append(row)
            self.weights.append(weight)

    def leave_out(self, error: BadRowError, options: DataOptions) -> None:
        """Count a bad row, which is an error later unless the options skip it."""
        may_skip = options.skip_bad or (options.skip_undecodable and isinstance(error, UndecodableError))
        (self.skipped if may_skip else self.refused).add(error)


def read_part(
    paths: Path | Sequence[Path],
    options: DataOptions,
    *,
    is_in_use: bool = False,
    needs_label: bool = True,
    needs_weight: bool = False,
) -> Part:
    """The labelled texts of a folder of class folders, or of one or more tables.

    If it `is_in_use`, other processes add and remove texts meanwhile: files vanish, and class folders may be empty.
    Without `needs_label`, rows of a table may have no label. With `needs_weight`, the column options.weight_column is
    read; it must exist.

    Raises:
        DatasetError: if a file can't be read or is invalid; the message names the file.
    """
    part = Part()
    for path in (paths,) if isinstance(paths, Path) else paths:
        if path.is_dir():
            if needs_weight and options.weight_column:
                raise DatasetError(
                    f"{path}: expected a table with the weight column {options.weight_column!r}, found a folder; give "
                    f"a table, or leave --weight-column out"
                )
            _read_class_folders(path, part, options, is_in_use)
        else:
            _read_table(path, part, options, needs_label, options.weight_column if needs_weight else "")
    if part.refused:
        raise part.refused.error()
    if part.skipped and not part.label_counts:
        raise part.skipped.error(option="")  # Nothing else is left.
    return part


def read_text_file(path: Path | str, encoding: str = "") -> str:
    """The text of a file, without a byte-order mark; for `encoding` see DataOptions.

    Raises:
        OSError: if the file can't be read.
        UndecodableError: if the file is not in its encoding.
    """
    content = Path(path).read_bytes()
    try:
        return decode(content, encoding)
    except UnicodeDecodeError as error:
        found = f"not {error.encoding.upper()} ({error.reason} at byte {error.start})"
        remedy = "convert the file" if encoding else lambda: encoding_remedy([content[:HEAD_BYTES]])
        raise UndecodableError(path, "", found, remedy) from None


def _read_class_folders(folder: Path, part: Part, options: DataOptions, is_in_use: bool) -> None:
    for folder_entry in class_folders(folder):
        found, others = 0, []
        label = class_of_folder(folder_entry.path)
        if label_text(label) is None:
            raise DatasetError(
                f"{folder}: expected folders with the names of classes, found {folder_entry.name!r}, which is blank; "
                f"rename the folder"
            )
        for entry, is_text in class_files(folder_entry.path):
            if not is_text:
                others += [entry.name] if entry.name != NAME_FILE else []
                continue
            found += 1
            part.nested[label] += os.path.dirname(entry.path) != folder_entry.path
            try:
                part.add(read_text_file(entry.path, options.encoding), label, entry.path)
            except FileNotFoundError:
                if not is_in_use:
                    raise
            except UndecodableError as error:
                part.leave_out(error, options)
        if not found and not is_in_use and folder_entry.name != OTHER_LABEL:
            raise DatasetError(
                f"{folder_entry.path}: expected .txt files in the folder of the class {folder_entry.name!r}, found "
                f"{f'others, such as {others[0]}' if others else 'none'}; add texts, or remove the folder"
            )
        part.ignored += len(others)
        if visible := [name for name in others if not name.startswith(".")]:
            reason = f"{len(visible):,} file{'s' * (len(visible) > 1)} other than .txt, such as {visible[0]}"
            part.unread.append(Unread(Path(folder_entry.path), reason))
    for folder_entry in visible_entries(folder):
        if is_unlabelled(folder_entry.name) and folder_entry.is_dir():
            part.unlabelled += sum(is_text_file(entry) for entry in visible_entries(folder_entry.path))


def _read_table(path: Path, part: Part, options: DataOptions, needs_label: bool, weight_column: str) -> None:
    table = LabelledTable(path, options, needs_label, weight_column)
    if note := table.note:
        part.notes.append(note)
    for row in table.rows(lambda _number, error: part.leave_out(error, options)):
        part.add(row.text, label_text(row.label) or "", str(path), row.source, row.number, row.weight)
