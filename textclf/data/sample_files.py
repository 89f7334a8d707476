"""Random text files from the class folders of a data set."""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from textclf.data.class_folders import class_of_folder
from textclf.data.dataset_layout import class_files, class_folders, held_out_part
from textclf.data.readers import read_text_file
from textclf.errors import DatasetError
from textclf.label_column import match_labels
from textclf.labels import OTHER_LABEL


class SampleFile(NamedTuple):
    """A file from a class folder, its text, and the name of its class."""

    path: Path
    text: str
    label: str


def sample_files(
    folder: Path,
    class_names: Sequence[str],
    max_per_class: int,
    seed: int | None,
    other_names: Mapping[str, str] | None = None,
    encoding: str = "",
) -> list[SampleFile]:
    """Up to `max_per_class` random .txt files from each class folder, class by class.

    Args:
        folder: a folder of class folders, or a data set's root; its test part is used, or else its train part.
        class_names: class names of the model.
        seed: random seed; None gives another choice in each call.
        other_names: class names by the names that the classes have in the training data.
        encoding: encoding of files without a byte-order mark; "" detects it.

    Raises:
        DatasetError: if the folder is missing, has no class folders or other folders, a class folder has no file, or
            a file is not in its encoding.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder}: expected a folder of class folders with .txt files, found no such folder")
    part, _ = held_out_part(folder)
    if part[0].is_file():
        raise DatasetError(
            f"{folder}: expected a folder of class folders with .txt files, found the table {part[0].name}; score a "
            f"table with textclf score"
        )
    folder = part[0]
    found = {entry.path: class_of_folder(entry.path) for entry in class_folders(folder) if entry.name != OTHER_LABEL}
    names = match_labels(dict.fromkeys(found.values(), 1), class_names, other_names=other_names).names
    unknown = [label for label in found.values() if label not in names]
    if unknown or not found:
        raise DatasetError(
            f"{folder}: expected folders named like the classes of the model ({', '.join(class_names)}), "
            f"found {', '.join(unknown) or 'none'}; name such a folder, or a data set's root"
        )
    chance = random.Random(seed)  # noqa: S311
    chosen: list[tuple[Path, str]] = []
    for class_folder, label in found.items():
        files = [entry.path for entry, is_text in class_files(class_folder) if is_text]
        if not files:
            raise DatasetError(f"{class_folder}: expected .txt files in the folder of a class, found none")
        sampled = sorted(chance.sample(files, min(max_per_class, len(files))))
        chosen += [(Path(path), names[label]) for path in sampled]
    return [SampleFile(path, read_text_file(path, encoding), label) for path, label in chosen]
