"""Reviews that people labelled, read back: each with who sent it, when, and whether it was a random audit."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from textclf.config import DataOptions
from textclf.data.content_hash import content_digest
from textclf.data.dataset_layout import find_parts
from textclf.data.feedback_store import INDEX, IndexEntry
from textclf.data.readers import read_part, visible_entries
from textclf.data.splits import text_digest
from textclf.errors import DatasetError

_DEFAULT_OPTIONS = DataOptions()


@dataclass(frozen=True)
class LabelledReview:
    """A text that somebody labelled.

    Attributes:
        text: as it was read.
        label: the class it was given; not checked against any model's.
        source: who sent it, as the sender says; "" if nobody knows.
        time: when it was stored, with a time zone; None if nobody knows.
        audit: whether the text was picked at random, right or wrong, to be labelled. Only such labels
            are a sample of how often the model is right.
        model: the version that was serving; "" if nobody knows.
        path: its file, or the table it stands in.
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
    """What a folder or a table of labelled reviews holds.

    Attributes:
        reviews: in the order of the files.
        without_entry: reviews that the index does not know.
        bad_lines: lines of the index that are torn, or none of ours; they are passed over.
        empty: blank texts left out.
        undecodable: texts that are not UTF-8 left out (options.skip_undecodable).
    """

    reviews: tuple[LabelledReview, ...]
    without_entry: int
    bad_lines: int
    empty: int
    undecodable: int

    def __len__(self) -> int:
        return len(self.reviews)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was passed over or left out, a sentence each."""
        # Where the index knows none there is none: a data set of somebody's own.
        unknown = self.without_entry if self.without_entry < len(self.reviews) else 0
        of_index = {
            f"Damaged lines in the index of the labels, passed over: {self.bad_lines:,}.": self.bad_lines,
            f"Labelled texts that the index does not know: {unknown:,}; when they were labelled, and "
            f"whether for an audit, nobody knows.": unknown,
        }
        return (*left_out_notes(self.empty, self.undecodable), *(note for note, count in of_index.items() if count))


def read_labelled_reviews(source: Path | str, options: DataOptions = _DEFAULT_OPTIONS) -> LabelledReviews:
    """Read what POST /feedback stored, or any other labelled folder or table.

    Of data with a test part only the training part is read. A class folder says what a review's label is, whatever
    the index says: so a wrong label is mended by moving the file. Reviews may be added and taken away meanwhile.

    Args:
        source: the folder that the server stores reviews in, or anything that load_dataset takes. In a table
            the column `source`, if there is one, says who sent a text.
        options: names of columns, labels to rename, and whether texts that are not UTF-8 may be left out.

    Raises:
        DatasetError: there is nothing of the kind, or a file can't be read. An empty folder is no error.
    """
    source = Path(source)
    if source.is_dir() and not any(entry.name != INDEX for entry in visible_entries(source)):
        return LabelledReviews((), 0, 0, 0, 0)
    location = find_parts(source).train
    part = read_part(location, options, is_in_use=True)
    entries: dict[str, IndexEntry] = {}
    bad_lines = 0
    if location.is_dir():
        # The index is read second, because a review's line is written after the review.
        entries, bad_lines = _read_index(location.parent / INDEX)
    reviews = []
    without_entry = 0
    for text, label, path, sender in zip(part.texts, part.labels, part.paths, part.sources, strict=True):
        entry = entries.get(Path(path).stem)
        if entry is None:
            without_entry += 1
            reviews.append(LabelledReview(text, label, sender, path=Path(path)))
        else:
            time = datetime.fromisoformat(entry.time)
            review = LabelledReview(text, label, entry.source or "", time, entry.audit, entry.model, Path(path))
            reviews.append(review)
    return LabelledReviews(tuple(reviews), without_entry, bad_lines, part.empty, part.undecodable)


def _read_index(path: Path) -> tuple[dict[str, IndexEntry], int]:
    """The good lines by id, and how many are bad. The last line may be half written: it is bad until it is whole."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {}, 0
    except OSError as error:
        raise DatasetError(f"{path}: expected the index of the reviews beside it, got: {error.strerror}") from error
    entries = {}
    bad = 0
    for line in content.split(b"\n"):
        if line.strip():
            try:
                entry = IndexEntry.from_line(line.decode("utf-8"))
            except ValueError:
                bad += 1
            else:
                entries[entry.id] = entry
    return entries, bad


def left_out_notes(empty: int, undecodable: int) -> tuple[str, ...]:
    """A sentence for each kind of texts that were left out."""
    kinds = {"Blank texts": empty, "Texts that are not UTF-8": undecodable}
    return tuple(f"{kind}, left out: {count:,}." for kind, count in kinds.items() if count)


def different_texts(reviews: Sequence[LabelledReview]) -> int:
    """How many texts there are, equal ones counted once."""
    return len({content_digest(review.text) for review in reviews})


def fingerprint_of(reviews: Sequence[LabelledReview]) -> str:
    """SHA-256 over the texts with their labels and sources, in whatever order, as 64 hex digits."""
    lines = sorted(f"{text_digest(review.text).hex()} {review.label!r} {review.source!r}" for review in reviews)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
