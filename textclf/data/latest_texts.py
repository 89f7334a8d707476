"""The texts that a check of drift looks at, from wherever they lie; labels are welcome and not needed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from textclf.config import DataOptions
from textclf.data.dataset_layout import find_parts
from textclf.data.feedback_store import INDEX
from textclf.data.labelled_reviews import left_out_notes, read_labelled_reviews
from textclf.data.readers import class_folders, read_part, visible_entries
from textclf.data.tables import column_names, read_rows, table_format
from textclf.errors import DatasetError

_DEFAULT_OPTIONS = DataOptions()


@dataclass(frozen=True)
class LatestTexts:
    """n texts, in an order that does not depend on the file system.

    Attributes:
        texts: none is blank.
        labels: class names as read, one each; None where the texts have none.
        audit: whether a label is of a random audit, one each; None where nothing says so.
        times: when a text was labelled, in seconds since the epoch, or None where that is not known, one each; None
            where nothing says so of any.
        notes: what was left out or passed over, a sentence each.
        part: of a data set's root, the part that was read; None where the path itself was.
    """

    texts: tuple[str, ...]
    labels: tuple[str, ...] | None = None
    audit: tuple[bool, ...] | None = None
    times: tuple[float | None, ...] | None = None
    notes: tuple[str, ...] = ()
    part: Path | None = None


def read_latest(path: Path | str, options: DataOptions = _DEFAULT_OPTIONS) -> LatestTexts:
    """Read texts of one of these kinds.

    - a folder of .txt files: no labels;
    - class folders of .txt files;
    - a data set's root: its test part, which no model was trained on, else its train part; or one of its parts;
    - the folder that POST /feedback fills: its index says which labels are of an audit, and when they were given;
    - a table (.csv, .jsonl, .parquet): with labels if it has the column.

    Raises:
        DatasetError: it is none of these, has no text, or can't be read.
    """
    path = Path(path)
    if not path.exists():
        raise DatasetError(f"{path}: expected a folder or a table of texts, found nothing; check the path")
    if path.is_dir() and any((folder / INDEX).is_file() for folder in (path, path.parent)):
        latest = _feedback(path, options)
    elif path.is_dir() and not class_folders(path) and (files := _text_files(path)):
        read = [_read(file, options) for file in files]
        latest = _unlabelled([text for text in read if text is not None], read.count(None))
    else:
        layout = find_parts(path)
        # Beside a train part that is named itself there may be a test part, which was not asked for.
        part = layout.train if layout.train == path else layout.test or layout.train
        if part.is_file() and options.label_column not in column_names(part):
            latest = _unlabelled(_column(part, options))
        else:
            found = read_part(part, options)
            notes = left_out_notes(found.empty, found.undecodable)
            latest = LatestTexts(tuple(found.texts), tuple(found.labels), notes=notes)
        latest = dataclasses.replace(latest, part=None if part == path else part)
    if not latest.texts:
        raise DatasetError(f"{path}: expected texts, found none that is not blank; check the path")
    return latest


def _feedback(folder: Path, options: DataOptions) -> LatestTexts:
    found = read_labelled_reviews(folder, options)
    times = tuple(None if review.time is None else review.time.timestamp() for review in found.reviews)
    return LatestTexts(
        tuple(review.text for review in found.reviews),
        tuple(review.label for review in found.reviews),
        tuple(review.audit for review in found.reviews),
        None if times.count(None) == len(times) else times,
        found.notes,
    )


def _text_files(folder: Path) -> list[Path]:
    return [Path(entry.path) for entry in visible_entries(folder) if entry.name.endswith(".txt") and entry.is_file()]


def _read(path: Path, options: DataOptions) -> str | None:
    try:
        return path.read_bytes().decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        if options.skip_undecodable:
            return None
        raise DatasetError(f"{path}: not UTF-8 ({error.reason} at byte {error.start}); convert it") from error


def _column(path: Path, options: DataOptions) -> list[str | None]:
    """The column of the texts in a table without labels."""
    names, name = column_names(path), options.text_column
    if table_format(path) != "jsonl" and name not in names:
        raise _no_column(path, name, names)
    texts: list[str | None] = []
    for number, row in read_rows(path):
        if name not in row:
            raise _no_column(f"{path}, row {number}", name, list(row))
        text = row[name]
        if not isinstance(text, str | None):
            raise DatasetError(f"{path}, row {number}: expected a string in {name!r}, got {text!r:.80}")
        texts.append(text)
    return texts


def _no_column(where: object, name: str, names: list[str]) -> DatasetError:
    found = ", ".join(map(repr, names)) or "none"
    return DatasetError(f"{where}: expected a column {name!r}, found {found}; name it with --text-column")


def _unlabelled(texts: Sequence[str | None], undecodable: int = 0) -> LatestTexts:
    kept = tuple(text for text in texts if text is not None and text.strip())
    return LatestTexts(kept, notes=left_out_notes(len(texts) - len(kept), undecodable))
