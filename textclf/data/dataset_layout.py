"""Where in a data set's folder the training part lies, and where the test part."""

from pathlib import Path
from typing import NamedTuple

from textclf.data.readers import class_folders, visible_entries
from textclf.data.tables import table_format
from textclf.errors import DatasetError


class Layout(NamedTuple):
    """A table file or a folder of class folders for each part; no test part if `test` is None."""

    train: Path
    test: Path | None


def find_parts(source: Path, test_source: Path | None = None) -> Layout:
    """The parts that `source` stands for; the test part is that of `test_source` if given.

    Each may be a data set's root (with train/ and test/, or train.* and test.* tables, perhaps one
    folder deeper, as archives have it), one of its parts, or anything else that holds labelled texts:
    class folders or one table, which then serve whole. Beside a part named train, a part
    named test is looked for.

    Raises:
        DatasetError: nothing of that kind is there, or there is more than one.
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
            test = None  # A table goes with a table: a folder test/ beside it may be anything.
    # The same texts for both is no test: they are split instead.
    return Layout(train, None if test is not None and test.resolve() == train.resolve() else test)


def data_root(path: Path) -> Path:
    """The folder or file itself, or the only folder in a folder that holds no data of its own.

    Raises:
        DatasetError: there is no such folder or file.
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
    """The part of that name in a folder: a folder, or the table `name`.csv and the like."""
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
        return path  # The reader says which formats it knows.
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
        f"found {'several tables: give the path of one' if tables else 'none of these'}"
    )
