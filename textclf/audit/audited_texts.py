"""Reads all texts of a data set as they are, before anything is cleaned, with the place of each."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from textclf.config import DataOptions
from textclf.data.dataset_layout import chosen_parts, find_parts
from textclf.data.part_labels import name_labels
from textclf.data.part_names import TEST, TRAIN, VALIDATION
from textclf.data.readers import read_part
from textclf.label_column import label_notes

PARTS = (TRAIN, VALIDATION, TEST)


@dataclass(frozen=True, eq=False)
class AuditedTexts:
    """The labelled texts of all parts; blank ones are counted only.

    Attributes:
        source: path of the data set.
        class_names: class names; the position is the class id.
        texts: n texts.
        labels: class ids, int64 [n].
        parts: name of each text's part: train, validation or test.
        files: file of each text, relative to the folder of the data set.
        rows: row of each text in its table, counted from 1; 0 for a text file.
        senders: value of each text in the column `source`, else "".
        blank: number of blank texts.
        notes: sentences about columns found by synonyms, bad rows, and normalised labels.
        weight_column: column of the weights; "" without.
        weights: how much each text counts in the loss; 1 outside of the training part.
    """

    source: Path
    class_names: tuple[str, ...]
    texts: tuple[str, ...]
    labels: NDArray[np.int64]
    parts: tuple[str, ...]
    files: tuple[str, ...]
    rows: tuple[int, ...]
    senders: tuple[str, ...]
    blank: int
    notes: tuple[str, ...] = ()
    weight_column: str = ""
    weights: tuple[float, ...] = ()

    def __len__(self) -> int:
        return len(self.texts)

    def place(self, at: int) -> str:
        """The file of a text, and its row in a table."""
        return f"{self.files[at]}, row {self.rows[at]}" if self.rows[at] else self.files[at]


def read_texts(source: Path, options: DataOptions) -> AuditedTexts:
    """Read the texts of all parts at `source`.

    Raises:
        DatasetError: if a file can't be read, or a label is not allowed.
    """
    found = find_parts(source)
    layout = chosen_parts(found, options)
    paths = dict(zip(PARTS, (layout.train, layout.validation, layout.test), strict=True))
    parts = {
        name: read_part(its_paths, options, needs_weight=name == TRAIN)
        for name, its_paths in paths.items()
        if its_paths
    }
    class_names, changes = name_labels(
        parts[TRAIN],
        [(paths[name][0], part) for name, part in parts.items() if name != TRAIN],
        options.rename_labels,
        source,
        all_read=layout.paths == found.paths,
    )
    ids = {name: i for i, name in enumerate(class_names)}
    folder = source if source.is_dir() else source.parent
    return AuditedTexts(
        source=source,
        class_names=class_names,
        texts=tuple(text for part in parts.values() for text in part.texts),
        labels=np.array([ids[label] for part in parts.values() for label in part.labels], np.int64),
        parts=tuple(name for name, part in parts.items() for _ in part.texts),
        files=tuple(_relative(path, folder) for part in parts.values() for path in part.paths),
        rows=tuple(row for part in parts.values() for row in part.rows),
        senders=tuple(sender for part in parts.values() for sender in part.sources),
        blank=sum(part.empty for part in parts.values()),
        notes=tuple(note for part in parts.values() for note in (*part.notes, part.skipped.note()) if note)
        + label_notes(changes),
        weight_column=options.weight_column,
        weights=tuple(weight for part in parts.values() for weight in part.weights),
    )


def _relative(path: str, folder: Path) -> str:
    # Parts next to a train part are not below its folder. The review file must fit from any working directory.
    return os.path.relpath(path, folder)
