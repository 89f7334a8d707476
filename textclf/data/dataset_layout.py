"""Where the training part and the test part of a data set are, and which folders are classes."""

import os
from pathlib import Path
from typing import NamedTuple

from textclf.data.tables import table_format
from textclf.errors import DatasetError
from textclf.labels import CLUTTER_FOLDER, UNLABELLED_FOLDER


class Layout(NamedTuple):
    """For each part a table file or a folder of class folders; `test` is None if there is no test part."""

    train: Path
    test: Path | None


def visible_entries(folder: Path) -> list[os.DirEntry[str]]:
    """The entries of a folder, sorted by name, without hidden ones and those that archivers add."""
    with os.scandir(folder) as entries:
        visible = [entry for entry in entries if not entry.name.startswith(".") and entry.name != CLUTTER_FOLDER]
    return sorted(visible, key=lambda entry: entry.name)


def class_folders(folder: Path) -> list[os.DirEntry[str]]:
    """The subfolders that are classes, sorted by name."""
    return [entry for entry in visible_entries(folder) if entry.is_dir() and entry.name != UNLABELLED_FOLDER]


def find_parts(source: Path, test_source: Path | None = None) -> Layout:
    """The parts of a data set.

    Each argument may be a data set's root (with train/ and test/, or with train.* and test.* tables, or with one folder
    that contains these, as in archives), one of its parts, or labelled texts without parts: class folders or one table,
    which are used whole. If `source` is a part named train, the test part is looked for in the same folder.

    Raises:
        DatasetError: if a part is missing or ambiguous.
    """
    root = data_root(source)
    train = _part(root, "train") or _whole(root, "train")
    test: Path | None
    if test_source is not None:
        test_root = data_root(test_source)
        test = _part(test_root, "test") or _whole(test_root, "test")
    else:
        test = _part(train.parent if _part_name(train) == "train" else root, "test")
        if root.is_file() and test is not None and test.is_dir():
            test = None  # A folder test/ next to a table need not belong to it.
    # The same texts as both parts are no test: they are split instead.
    return Layout(train, None if test is not None and test.resolve() == train.resolve() else test)


def data_root(path: Path) -> Path:
    """The path itself, or the data set's folder in it if it contains only that folder.

    Raises:
        DatasetError: if the path does not exist.
    """
    if not path.exists():
        raise DatasetError(f"{path}: expected a data set (a folder or a table file), found nothing; check the path")
    if path.is_dir() and not _has_parts(path) and not _tables(path):
        folders = [Path(entry.path) for entry in visible_entries(path) if entry.is_dir()]
        if len(folders) == 1 and (_has_parts(folders[0]) or _tables(folders[0]) or class_folders(folders[0])):
            return folders[0]
    return path


def _has_parts(folder: Path) -> bool:
    return _part(folder, "train") is not None or _part(folder, "test") is not None


def _part(folder: Path, name: str) -> Path | None:
    """A subfolder, or a table such as `name`.csv."""
    if not folder.is_dir():
        return None
    found = [path for path in _tables(folder) if _part_name(path) == name]
    if (folder / name).is_dir():
        found.append(folder / name)
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise DatasetError(f"{folder}: expected one {name} part, found {names}; give the path of the one to use")
    return found[0] if found else None


def _part_name(path: Path) -> str:
    return path.name if path.is_dir() else path.name.partition(".")[0]


def _tables(folder: Path) -> list[Path]:
    return [Path(e.path) for e in visible_entries(folder) if e.is_file() and table_format(e.name) is not None]


def _whole(path: Path, name: str) -> Path:
    """The path as one part: a table file, a folder with one table, or a folder of class folders."""
    if path.is_file():
        return path  # The reader checks the format.
    other = "test" if name == "train" else "train"
    if _part(path, other) is not None:
        raise DatasetError(f"{path}: expected a {name} part, found only a {other} part; add one, or give its path")
    tables = _tables(path)
    if class_folders(path):
        return path
    if len(tables) == 1:
        return tables[0]
    raise DatasetError(
        f"{path}: expected train/ and test/ with a folder of .txt files for each class, or such class folders, or "
        f"tables train.* and test.* (.csv, .jsonl, .parquet), or one table; "
        f"found {'several tables: give the path of one' if tables else 'no such files'}"
    )
