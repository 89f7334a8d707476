"""Hidden folders with texts, which are not read: one of them may be meant as a class, such as .NET."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from textclf.data.class_folders import class_folder
from textclf.data.dataset_layout import Layout, Unread, class_files
from textclf.labels import CLUTTER_FOLDER

_HIDDEN = "hidden folder with"


def hidden_folders(root: Path, layout: Layout) -> list[Unread]:
    """The hidden folders with texts in a data set's folder and in its folders of classes, sorted by path."""
    found = []
    for folder in dict.fromkeys([root, *layout.paths]):
        if folder.is_dir():
            found += [
                _unread(path, texts, is_class=folder in layout.paths)
                for path in _hidden(folder)
                if (texts := sum(is_text for _, is_text in class_files(path)))
            ]
    return sorted(found)


def is_hidden_folder(entry: Unread) -> bool:
    """Whether an entry that is not read is a hidden folder with texts."""
    return entry.reason.startswith(_HIDDEN)


def describe_hidden(unread: Iterable[Unread]) -> str:
    """The hidden folders with texts and what to do, for an error; "" without any."""
    hidden = [f"{entry.path} was not read ({entry.reason})" for entry in unread if is_hidden_folder(entry)]
    return ", ".join(hidden)


def _unread(path: Path, texts: int, *, is_class: bool) -> Unread:
    reason = f"{_HIDDEN} {texts:,} .txt file{'s' * (texts > 1)}"
    name = class_folder(path.parent, path.name).name
    return Unread(path, f"{reason}; if it is a class, rename it to {name}" if is_class else reason)


def _hidden(folder: Path) -> Sequence[Path]:
    with os.scandir(folder) as entries:
        return [
            Path(entry.path)
            for entry in entries
            if (entry.name.startswith(".") or entry.name == CLUTTER_FOLDER) and entry.is_dir(follow_symlinks=False)
        ]
