"""Read the texts of a drift check, with or without labels, from a folder or a table."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from textclf.bad_rows import UndecodableError
from textclf.config import DataOptions
from textclf.data.dataset_layout import (
    NO_TEXT,
    Paths,
    Unread,
    class_folders,
    held_out_part,
    is_text_file,
    unread_names,
    visible_entries,
)
from textclf.data.feedback_index import INDEX
from textclf.data.labelled_reviews import left_out_notes, read_labelled_reviews
from textclf.data.readers import Part, read_part, read_text_file
from textclf.errors import DatasetError

_DEFAULT_OPTIONS = DataOptions()


@dataclass(frozen=True)
class LatestTexts:
    """n texts, in an order that does not depend on the file system.

    Attributes:
        texts: texts that are not blank.
        labels: n class names as read, None for a text without one; None if no text has a label.
        audit: n flags, True for a label of a random audit; None if unknown for all.
        times: n times of labelling, in seconds since the epoch or None if unknown; None if unknown for all.
        notes: sentences about texts and labels that were left out.
        part: paths of the part of the data set that was read; () if the path itself was read.
    """

    texts: tuple[str, ...]
    labels: tuple[str | None, ...] | None = None
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
    - a table, with labels if it has such a column.

    Raises:
        DatasetError: if the path is none of these, has no text, or can't be read.
    """
    path = Path(path)
    if not path.exists():
        raise DatasetError(f"{path}: expected a folder or a table of texts, found nothing; check the path")
    if path.is_dir() and any((folder / INDEX).is_file() for folder in (path, path.parent)):
        latest = _feedback(path, options)
    elif path.is_dir() and not class_folders(path) and _has_text_files(path):
        latest = _text_files(path, options)
    else:
        part, unread = held_out_part(path)
        latest = _part(path, part, unread, options)
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


def _part(root: Path, paths: Paths, unread: Sequence[Unread], options: DataOptions) -> LatestTexts:
    part = read_part(paths, options, needs_label=False)
    labels = tuple(label or None for label in part.labels)
    not_read = unread_names([*unread, *part.unread], root)
    notes = (*part.notes, *left_out_notes(part.empty, part.skipped, not_read))
    if (missing := labels.count(None)) < len(labels):
        notes += (f"Texts without a label: {missing:,}.",) if missing else ()
        return LatestTexts(tuple(part.texts), labels, notes=notes)
    return LatestTexts(tuple(part.texts), notes=notes)


def _text_files(folder: Path, options: DataOptions) -> LatestTexts:
    """The texts of the .txt files in a folder."""
    part = Part()
    unread = []
    for entry in visible_entries(folder):
        if not is_text_file(entry):
            unread.append(Unread(Path(entry.path), NO_TEXT))
            continue
        try:
            part.add(read_text_file(entry.path, options.encoding), "", entry.path)
        except UndecodableError as error:
            part.leave_out(error, options)
    if part.refused:
        raise part.refused.error()
    return LatestTexts(tuple(part.texts), notes=left_out_notes(part.empty, part.skipped, unread_names(unread, folder)))


def _has_text_files(folder: Path) -> bool:
    return any(is_text_file(entry) for entry in visible_entries(folder))
