"""Reviews that people labelled, one file each, in the layout that load_dataset reads, and the index beside them.

    <folder>/train/<class>/<id>.txt   a review
    <folder>/feedback.log             one JSON line a review: when, where from, answering which model

The index does not end in .jsonl, because that is data.
"""

import json
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

from textclf.errors import InputError
from textclf.files import atomic_file
from textclf.labels import is_class_name

TEXTS = "train"
INDEX = "feedback.log"


@dataclass(frozen=True)
class IndexEntry:
    """A line of the index.

    Attributes:
        id: the review's file is named after it.
        time: when it was stored, ISO 8601 with the time zone.
        label: as it was given; a review that somebody moves to another class folder has that class.
        source: who sent it, as the sender says; None if it does not.
        model: the version that was serving.
        audit: whether the text was picked at random, right or wrong, to be labelled.
    """

    id: str
    time: str
    label: str
    source: str | None
    model: str
    audit: bool

    def to_line(self) -> str:
        """One line of JSON, without its end."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_line(cls, line: str) -> Self:
        """The inverse of to_line; fields that are not known are passed over.

        Raises:
            ValueError: the line is torn, or none of ours.
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


def save_review(text: str, label: str, save_dir: Path | str, class_names: Sequence[str]) -> Path:
    """Store a labelled text as `<save_dir>/<label>/<uuid>.txt`, whole or not at all.

    Args:
        text: the review, stored as it is, in UTF-8.
        label: one of class_names.
        save_dir: the folder of the class folders; made where it is missing.
        class_names: the classes there are.

    Returns:
        The new file.

    Raises:
        InputError: the text is blank or no Unicode text, the label is unknown, or the class folder
            leads out of save_dir.
    """
    if not isinstance(text, str) or not text.strip():
        raise InputError(f"expected a text that is not blank, got {text!r:.80}")
    try:
        content = text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"expected Unicode text, got half of a surrogate pair at character {error.start}; remove it"
        ) from error
    if label not in class_names or not is_class_name(label):
        raise InputError(f"expected one of {', '.join(class_names)} as the label, got {label!r}")
    folder = Path(save_dir) / label
    if folder.resolve().parent != Path(save_dir).resolve():
        raise InputError(
            f"{folder}: expected a folder in {save_dir}, found a link that leads out of it; remove the link"
        )
    path = folder / f"{uuid.uuid4()}.txt"
    with atomic_file(path, "wb") as file:
        file.write(content)
    return path
