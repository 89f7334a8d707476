"""The index of the stored reviews: a line of JSON for each review that was stored, also if it was removed later."""

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

from textclf.errors import DatasetError

INDEX = "feedback.log"


@dataclass(frozen=True)
class IndexEntry:
    """A line of the index.

    Attributes:
        id: name of the review's file, without its suffix.
        time: time of storing, ISO 8601 with the time zone.
        label: class name when it was sent; the class folder has the last word.
        source: sender as named by the sender; None if not given.
        model: model version that was serving.
        audit: whether the text was drawn at random to be labelled.
    """

    id: str
    time: str
    label: str
    source: str | None
    model: str
    audit: bool

    def to_line(self) -> str:
        """Return one line of JSON, without a line end."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_line(cls, line: str) -> Self:
        """Parse a line; unknown fields are ignored.

        Raises:
            ValueError: if the line is not a whole entry.
        """
        try:
            values = json.loads(line)
            entry = cls(**{name: values[name] for name in cls.__dataclass_fields__})
            has_time = datetime.fromisoformat(entry.time).tzinfo is not None
        except (AttributeError, KeyError, RecursionError, TypeError) as error:
            raise ValueError(f"expected a line of {INDEX}") from error
        texts = (entry.id, entry.label, entry.model, "" if entry.source is None else entry.source)
        if not has_time or not all(isinstance(text, str) for text in texts) or not isinstance(entry.audit, bool):
            raise ValueError(f"expected a line of {INDEX}")
        return entry


def read_index(folder: Path) -> tuple[dict[str, IndexEntry], int]:
    """Return the entries of a folder's index by id, and the number of damaged lines.

    A line that is being written counts as damaged until it is complete. Without an index there are no entries.

    Raises:
        DatasetError: if the index can't be read.
    """
    path = folder / INDEX
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {}, 0
    except OSError as error:
        raise DatasetError(
            f"{path}: expected a readable index of the reviews, got: {error.strerror}; change its permissions"
        ) from error
    entries = {}
    damaged = 0
    for line in content.split(b"\n"):
        if line.strip():
            try:
                entry = IndexEntry.from_line(line.decode("utf-8"))
            except ValueError:
                damaged += 1
            else:
                entries[entry.id] = entry
    return entries, damaged
