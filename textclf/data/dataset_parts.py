"""Reads the parts of a data set, and makes class names of their labels."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from textclf.bad_rows import BadRows, joined
from textclf.config import DataOptions
from textclf.data.dataset_layout import Layout, chosen_parts, find_parts
from textclf.data.hidden_folders import describe_hidden, hidden_folders
from textclf.data.part_labels import name_labels, other_note
from textclf.data.readers import Part, read_part
from textclf.data.splits import Split
from textclf.errors import DatasetError
from textclf.label_column import LabelChange, label_notes


@dataclass(frozen=True)
class DatasetParts:
    """The parts that were read, with class names as labels.

    Attributes:
        layout: paths of the parts that were read, and everything that was not read.
        has_test: whether the data has a test part, read or not.
        class_names: class names; the position is the class id.
        train, validation, test: texts of the parts; None for a part that was not read.
        normalised_labels: spellings of labels that differ from their class names.
        has_weights: whether a column has the weights of the training texts.
    """

    layout: Layout
    has_test: bool
    class_names: tuple[str, ...]
    train: Part
    validation: Part | None
    test: Part | None
    normalised_labels: tuple[LabelChange, ...]
    has_weights: bool = False

    @property
    def all_read(self) -> list[Part]:
        """The parts that were read."""
        return [part for part in (self.train, self.validation, self.test) if part is not None]

    @property
    def nested(self) -> Counter[str]:
        """Number of texts in subfolders of class folders, by label."""
        return sum((part.nested for part in self.all_read), Counter())

    @property
    def skipped(self) -> BadRows:
        """The bad rows that were left out."""
        return joined([part.skipped for part in self.all_read])

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about columns, bad rows and normalised labels."""
        notes = [note for part in self.all_read for note in part.notes]
        if others := sum(part.other_labels for part in self.all_read):
            notes.append(f"Left out: {other_note(others)}.")
        return tuple(filter(None, [*notes, self.skipped.note(), *label_notes(self.normalised_labels)]))

    def split(self, part: Part, path: Path) -> Split:
        """The texts of a part with their class ids; `path` is its place, for the message.

        Raises:
            DatasetError: if it has no texts.
        """
        ids = {name: i for i, name in enumerate(self.class_names)}
        if not part.texts:
            raise DatasetError(f"{path}: expected labelled texts, found none; check the path")
        weights = np.array(part.weights) if self.has_weights and part is self.train else None
        return Split(tuple(part.texts), np.array([ids[label] for label in part.labels], np.int32), weights)


def read_parts(
    source: Path, test_source: Path | None, options: DataOptions, spellings: Collection[str] = ()
) -> DatasetParts:
    """Read the parts that the options ask for; for the arguments see textclf.data.datasets.load_dataset.

    Raises:
        DatasetError: if a part is missing, ambiguous or incomplete, a file can't be read, or the labels are no classes.
    """
    found = find_parts(source, test_source)
    layout = chosen_parts(found, options)
    layout = layout._replace(unread=(*layout.unread, *hidden_folders(source, layout)))
    train = read_part(layout.train, options, needs_weight=True)
    validation = read_part(layout.validation, options) if layout.validation else None
    test = read_part(layout.test, options) if layout.test else None
    others: Sequence[tuple[Path, Part]] = [
        (paths[0], part) for paths, part in ((layout.validation, validation), (layout.test, test)) if part is not None
    ]
    class_names, normalised_labels = name_labels(
        train,
        others,
        options.rename_labels,
        source,
        spellings=spellings,
        hint=describe_hidden(layout.unread),
        all_read=(layout.validation, layout.test) == (found.validation, found.test),
    )
    unread = [entry for part in (train, validation, test) if part is not None for entry in part.unread]
    return DatasetParts(
        layout=layout._replace(unread=(*layout.unread, *unread)),
        has_test=bool(found.test),
        class_names=class_names,
        train=train,
        validation=validation,
        test=test,
        normalised_labels=normalised_labels,
        has_weights=bool(options.weight_column),
    )
