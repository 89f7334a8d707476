"""Read labelled reviews: texts with their label, sender, time and audit flag."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from textclf.bad_rows import BadRows
from textclf.config import DataOptions
from textclf.data.dataset_layout import Unread, find_parts, unread_names, visible_entries
from textclf.data.feedback_index import INDEX, IndexEntry, read_index
from textclf.data.readers import read_part
from textclf.data.splits import text_digest
from textclf.label_column import LabelChange, label_notes, match_labels, read_labels, rename_notes
from textclf.labels import OTHER_LABEL
from textclf.tokenization.text_key import TextKeys

_DEFAULT_OPTIONS = DataOptions()


@dataclass(frozen=True)
class LabelledReview:
    """A labelled text.

    Attributes:
        text: text as read.
        label: label as read; not checked against a model's classes.
        source: sender as named by the sender; "" if unknown.
        time: time of storing, with a time zone; None if unknown.
        audit: whether the text was drawn at random to be labelled. Only such labels measure accuracy.
        model: model version that was serving; "" if unknown.
        path: file of the text, or the table that has it.
    """

    text: str
    label: str
    source: str = ""
    time: datetime | None = None
    audit: bool = False
    model: str = ""
    path: Path = Path()


@dataclass(frozen=True)
class LabelledReviews:
    """Labelled reviews of a folder or a table.

    Attributes:
        reviews: labelled texts, in the order of the files.
        without_entry: number of reviews without a line in the index.
        bad_lines: number of damaged index lines, which were skipped.
        empty: number of blank texts, which were skipped.
        skipped: bad rows and texts, which were skipped.
        columns: sentences about columns of tables that were read instead of the default ones.
        not_read: names of other files, and of the other parts of a data set; "" if there are none.
        label_changes: spellings of labels that with_class_names normalised.
        unused_renames: old names of renames that no label has.
    """

    reviews: tuple[LabelledReview, ...]
    without_entry: int
    bad_lines: int
    empty: int
    skipped: BadRows = field(default_factory=BadRows)
    columns: tuple[str, ...] = ()
    not_read: str = ""
    label_changes: tuple[LabelChange, ...] = ()
    unused_renames: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.reviews)

    @property
    def notes(self) -> tuple[str, ...]:
        """One sentence for each kind of data that was skipped or is incomplete."""
        # A data set without an index is no reason for a note.
        unknown = self.without_entry if self.without_entry < len(self.reviews) else 0
        of_index = {
            f"Damaged lines in the index of the labels, skipped: {self.bad_lines:,}.": self.bad_lines,
            f"Labelled texts that the index does not know: {unknown:,}; their time, sender and audit flag are "
            f"unknown.": unknown,
        }
        notes = left_out_notes(self.empty, self.skipped, self.not_read)
        more = (note for note, count in of_index.items() if count)
        return (*self.columns, *notes, *more, *label_notes(self.label_changes), *rename_notes(self.unused_renames))


def read_labelled_reviews(source: Path | str, options: DataOptions = _DEFAULT_OPTIONS) -> LabelledReviews:
    """Read the reviews that POST /feedback stored, or any other labelled folder or table.

    Only the training part of a data set is read. The class folder decides the label, not the index, so moving a file
    corrects a wrong label. Reviews may be added and removed during the call. An empty folder has no reviews.

    `source` is the folder of the server's reviews, or any source that load_dataset takes. In a table, the optional
    column `source` names the sender.

    Raises:
        DatasetError: if there are no labelled texts at `source`, or a file can't be read.
    """
    source = Path(source)
    if source.is_dir() and not any(entry.name != INDEX for entry in visible_entries(source)):
        return LabelledReviews((), 0, 0, 0)
    layout = find_parts(source)
    if (layout.train[0].parent / INDEX).is_file():
        options = replace(options, encoding="utf-8")  # The server writes it.
    part = read_part(layout.train, options, is_in_use=True)
    unread = [entry for entry in (*layout.unread, *part.unread) if entry.path.name != INDEX]
    unread += [Unread(path, "no train part") for path in layout.validation + layout.test]
    entries: dict[str, IndexEntry] = {}
    bad_lines = 0
    if layout.train[0].is_dir():
        # After the reviews, because a review is written before its line.
        entries, bad_lines = read_index(layout.train[0].parent)
    reviews = []
    without_entry = 0
    for text, label, path, sender in zip(part.texts, part.labels, part.paths, part.sources, strict=True):
        entry = entries.get(Path(path).stem)
        if entry is None:
            without_entry += 1
            review = LabelledReview(text, label, sender, path=Path(path))
        else:
            time = datetime.fromisoformat(entry.time)
            review = LabelledReview(text, label, entry.source or "", time, entry.audit, entry.model, Path(path))
        reviews.append(review)
    not_read = unread_names(unread, source)
    columns = tuple(part.notes)
    return LabelledReviews(tuple(reviews), without_entry, bad_lines, part.empty, part.skipped, columns, not_read)


def with_class_names(
    found: LabelledReviews, class_names: Sequence[str], renames: Mapping[str, str], other_names: Mapping[str, str]
) -> LabelledReviews:
    """The reviews with class names as labels; unknown labels that are equal get one spelling.

    Args:
        found: reviews with labels as read.
        class_names: class names of the model.
        renames: new names by labels as read.
        other_names: class names by the names that the classes have in the training data.
    """
    counts = Counter(review.label for review in found.reviews)
    column = match_labels(counts, class_names, renames, other_names=other_names)
    unknown = read_labels({label: count for label, count in counts.items() if label not in column.names}, renames)
    names = {**column.names, **unknown.names}
    reviews = tuple(replace(review, label=names[review.label]) for review in found.reviews)
    unused = tuple(sorted(set(renames) - column.renamed - unknown.renamed))
    changes = (*column.changes, *unknown.changes)
    return replace(found, reviews=reviews, label_changes=changes, unused_renames=unused)


def left_out_notes(empty: int, skipped: BadRows, not_read: str = "") -> tuple[str, ...]:
    """Sentences for blank texts, bad rows and files (`not_read` has their names) that were left out."""
    notes = [f"Blank texts, left out: {empty:,}."] if empty else []
    if skipped:
        notes.append(skipped.note())
    if not_read:
        notes.append(f"Not read: {not_read}.")
    return tuple(notes)


def different_texts(reviews: Sequence[LabelledReview]) -> int:
    """Number of texts that can be trained on: duplicates are counted once, and those with OTHER_LABEL not at all."""
    return len(set(TextKeys()(review.text for review in reviews if review.label != OTHER_LABEL)))


def fingerprint_of(reviews: Sequence[LabelledReview]) -> str:
    """SHA-256 of the texts with their labels and sources, independent of their order, as 64 hex digits."""
    lines = sorted(f"{text_digest(review.text).hex()} {review.label!r} {review.source!r}" for review in reviews)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
