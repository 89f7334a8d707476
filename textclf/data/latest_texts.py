"""Read the texts of a drift check, with or without labels, from a folder or a table."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from textclf.config import DataOptions
from textclf.data.dataset_layout import Paths, class_folders, find_parts, visible_entries
from textclf.data.feedback_store import INDEX
from textclf.data.labelled_reviews import left_out_notes, read_labelled_reviews
from textclf.data.readers import read_part, read_text_file
from textclf.data.tables import UndecodableError, column_names, read_rows, table_format
from textclf.errors import DatasetError, missing_column
from textclf.tokenization.text_key import is_blank

_DEFAULT_OPTIONS = DataOptions()


@dataclass(frozen=True)
class LatestTexts:
    """n texts, in an order that does not depend on the file system.

    Attributes:
        texts: texts that are not blank.
        labels: n class names as read; None without labels.
        audit: n flags, True for a label of a random audit; None if unknown for all.
        times: n times of labelling, in seconds since the epoch or None if unknown; None if unknown for all.
        notes: sentences about texts and labels that were left out.
        part: paths of the part of the data set that was read; () if the path itself was read.
    """

    texts: tuple[str, ...]
    labels: tuple[str, ...] | None = None
    audit: tuple[bool, ...] | None = None
    times: tuple[float | None, ...] | None = None
    notes: tuple[str, ...] = ()
    part: Paths = ()


def read_latest(path: Path | str, options: DataOptions = _DEFAULT_OPTIONS) -> LatestTexts:
    """Read texts from one of these places:

    - a folder of .txt files, without labels;
    - class folders of .txt files;
    - the root of a data set: its test part, which models are not trained on, or else its train part; or a part itself;
    - the folder of POST /feedback: its index marks the audits and contains the times of the labels;
    - a table (.csv, .jsonl, .parquet), with labels if it has the column.

    Raises:
        DatasetError: if the path is none of these, has no text, or can't be read.
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
        # A train part that was passed itself may have a test part next to it: do not read that.
        part = tuple(test for test in layout.test if path in test.parents) or layout.train
        if not any(table.is_dir() or options.label_column in column_names(table) for table in part):
            latest = _unlabelled([text for table in part for text in _column(table, options)])
        else:
            found = read_part(part, options, keeps_other=True)
            notes = left_out_notes(found.empty, found.undecodable)
            latest = LatestTexts(tuple(found.texts), tuple(found.labels), notes=notes)
        latest = dataclasses.replace(latest, part=() if part == (path,) else part)
    if not latest.texts:
        raise DatasetError(f"{path}: expected at least one non-blank text, found none; check the path")
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
        return read_text_file(path)
    except UndecodableError:
        if options.skip_undecodable:
            return None
        raise


def _column(path: Path, options: DataOptions) -> list[str | None]:
    names, name = column_names(path), options.text_column
    if table_format(path) != "jsonl" and name not in names:
        raise DatasetError(f"{path}: {missing_column(name, names)}")
    texts: list[str | None] = []
    for number, row in read_rows(path):
        if name not in row:
            raise DatasetError(f"{path}, row {number}: {missing_column(name, row)}")
        text = row[name]
        if not isinstance(text, str | None):
            raise DatasetError(f"{path}, row {number}: expected a string in {name!r}, got {text!r:.80}")
        texts.append(text)
    return texts


def _unlabelled(texts: Sequence[str | None], undecodable: int = 0) -> LatestTexts:
    kept = tuple(text for text in texts if text is not None and not is_blank(text))
    return LatestTexts(kept, notes=left_out_notes(len(texts) - len(kept), undecodable))
