"""Where the parts of a data set are, which folders are classes, and what else is there."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from textclf.config import DataOptions
from textclf.data.part_names import EVALUATION, TEST, TRAIN, VALIDATION, part_name
from textclf.data.tables import TABLE_ENDINGS, table_format
from textclf.errors import DatasetError
from textclf.labels import CLUTTER_FOLDER, UNLABELLED_FOLDER
from textclf.listing import shortened

Paths = tuple[Path, ...]
# Reasons of a file that is not read.
NO_TABLE = "not a table"
NO_TEXT = "not a .txt file"
# JSON files that data sets of the Hugging Face Hub and of Kaggle contain, without texts.
_METADATA = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "dataset-metadata.json")
_Group = dict[str, list[Path]]


class Unread(NamedTuple):
    """A file or folder of a data set that is not read, and the reason."""

    path: Path
    reason: str


class Layout(NamedTuple):
    """The paths of each part: a folder of class folders, or one or more tables; () for a part that is not there.

    `unread` has the other entries of the data set's folder and of the parts' folders.
    """

    train: Paths
    validation: Paths = ()
    test: Paths = ()
    unread: tuple[Unread, ...] = ()

    @property
    def paths(self) -> Paths:
        """The paths of all parts."""
        return self.train + self.validation + self.test


def visible_entries(folder: Path | str) -> list[os.DirEntry[str]]:
    """The entries of a folder, sorted by name, without hidden ones and those that archivers add."""
    with os.scandir(folder) as entries:
        visible = [entry for entry in entries if not entry.name.startswith(".") and entry.name != CLUTTER_FOLDER]
    return sorted(visible, key=lambda entry: entry.name)


def class_folders(folder: Path) -> list[os.DirEntry[str]]:
    """The subfolders that are classes, sorted by name."""
    folders = [entry for entry in visible_entries(folder) if entry.is_dir()]
    return [entry for entry in folders if not is_unlabelled(entry.name) and not _is_read_elsewhere(entry)]


def is_unlabelled(name: str) -> bool:
    """Whether a folder name, in any case, stands for texts without labels."""
    return name.lower() == UNLABELLED_FOLDER


def _is_read_elsewhere(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a link to a folder above it, or to one next to it."""
    if not entry.is_symlink():
        return False
    target, folder = Path(entry.path).resolve(), Path(entry.path).parent.resolve()
    return target in (folder, *folder.parents) or (target.parent == folder and not target.name.startswith("."))


def class_files(folder: Path | str) -> Iterator[tuple[os.DirEntry[str], bool]]:
    """The files of a class folder and of its subfolders in a fixed order, and whether each is a visible text file."""
    with os.scandir(folder) as scan:
        entries = sorted(scan, key=lambda entry: entry.name)
    for entry in entries:
        is_hidden = entry.name.startswith(".") or entry.name == CLUTTER_FOLDER
        # A link to a folder above would have no end.
        if entry.is_dir(follow_symlinks=False) and not is_hidden:
            yield from class_files(entry.path)
        else:
            yield entry, not is_hidden and is_text_file(entry)


def is_text_file(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a file with one text."""
    return entry.name.lower().endswith(".txt") and entry.is_file()


def find_parts(source: Path, test_source: Path | None = None) -> Layout:
    """The parts of a data set.

    Each argument may be a data set's root (with a folder or tables for each part, or with one folder that contains
    these, as in archives), one of its parts, or labelled texts without parts: class folders or one table, which are
    used whole. textclf.data.part_names describes the names of parts. If `source` is a train part itself, the other
    parts are looked for in its folder.

    Raises:
        DatasetError: if a part is missing, ambiguous or incomplete.
    """
    root = data_root(source)
    parts = _parts(root)
    is_part = TRAIN not in parts and (root.is_file() or part_name(root.name).affixes == "*")
    if TRAIN not in parts:
        parts = {**_siblings(root), TRAIN: _whole(root, TRAIN, parts)}
    if test_source is not None:
        parts[TEST] = find_part(test_source, TEST)
    train, validation, test = (parts.get(part, ()) for part in (TRAIN, VALIDATION, TEST))
    # The same texts as both parts are no test: they are split instead.
    if {path.resolve() for path in test} == {path.resolve() for path in train}:
        test = ()
    layout = Layout(train, validation, test)
    return layout._replace(unread=tuple(_unread(root, layout.paths, is_part=is_part)))


def find_part(source: Path, part: str) -> Paths:
    """The paths of one part: of a data set's root, or of labelled texts that are used whole.

    Raises:
        DatasetError: if the part is missing, ambiguous or incomplete.
    """
    root = data_root(source)
    parts = _parts(root)
    return parts.get(part) or _whole(root, part, parts)


def held_out_part(source: Path) -> tuple[Paths, tuple[Unread, ...]]:
    """The test part in `source`, which models are not trained on, or else its train part; and what is no part.

    Labelled texts without parts are used whole.

    Raises:
        DatasetError: if there is no such part, or it is ambiguous or incomplete.
    """
    root = data_root(source)
    parts = _parts(root)
    part = parts.get(TEST) or parts.get(TRAIN) or _whole(root, TRAIN, parts)
    return part, tuple(_unread(root, [*part, *(path for paths in parts.values() for path in paths)]))


def chosen_parts(found: Layout, options: DataOptions) -> Layout:
    """The parts that the options ask for; the paths of the others are unread."""
    validation = found.validation if options.read_validation else ()
    test = found.test if options.read_test else ()
    unread = [Unread(path, "left out by --no-validation-part") for path in found.validation if not validation]
    unread += [Unread(path, "left out by --no-test") for path in found.test if not test]
    return Layout(found.train, validation, test, (*found.unread, *unread))


def data_root(path: Path) -> Path:
    """The path itself, or the data set's folder in it if it contains only folders in one another.

    Raises:
        DatasetError: if the path does not exist.
    """
    if not path.exists():
        raise DatasetError(
            f"{path.absolute()}: expected a data set (a folder or a table file), found nothing; check the path"
        )
    while path.is_dir() and not _parts(path) and not _tables(path):
        folders = class_folders(path)
        inner = Path(folders[0].path) if len(folders) == 1 else path
        if inner == path or not (_parts(inner) or _tables(inner) or class_folders(inner)):
            break
        path = inner
    return path


# --- parts by their names


def _parts(folder: Path) -> dict[str, Paths]:
    """The parts in a folder: those with plain names, or else those of a train part with other words in its name."""
    groups = _groups(folder)
    plain = groups.pop("*", {})
    # Names such as imdb-train are a sign of parts only if imdb-test is there, too.
    others = {affixes: group for affixes, group in groups.items() if TRAIN in group and len(group) > 1}
    if TRAIN in plain or not others:
        return _complete(folder, plain)
    if len(others) > 1:
        names = ", ".join(_names(group[TRAIN]) for _, group in sorted(others.items()))
        raise DatasetError(f"{folder}: expected one data set, found the train parts {names}; give the path of one")
    return _complete(folder, *others.values())


def _siblings(part: Path) -> dict[str, Paths]:
    """The other parts next to a train part, with the same other words in their names."""
    name = part_name(part.name)
    if name.part != TRAIN:
        return {}
    group = _groups(part.parent).get(name.affixes, {})
    group.pop(TRAIN, None)
    if part.is_file():  # A folder test/ next to a table may contain something else.
        full = {other: [path for path in paths if path.is_file() or _has_texts(path)] for other, paths in group.items()}
        group = {other: paths for other, paths in full.items() if paths}
    # Errors say: give the path of one file. So a path is no error; _unread() names the files of unclear parts.
    return _complete(part.parent, group, leaves_out=part.is_file())


def _groups(folder: Path) -> dict[str, _Group]:
    """Files and folders by the part that their names stand for, for each set of other words in the names."""
    groups: dict[str, _Group] = {}
    for entry in visible_entries(folder) if folder.is_dir() else ():
        name, path = part_name(entry.name), Path(entry.path)
        if name.part and (_may_be_part(path) if entry.is_dir() else _is_table(path)):
            groups.setdefault(name.affixes, {}).setdefault(name.part, []).append(path)
    return groups


def _may_be_part(folder: Path) -> bool:
    """Whether a folder may contain a part: a folder of .txt files alone is a class."""
    entries = visible_entries(folder)
    return not entries or any(entry.is_dir() or _is_table(Path(entry.path)) for entry in entries)


def _complete(folder: Path, group: _Group, *, leaves_out: bool = False) -> dict[str, Paths]:
    """The paths of each part, after a check that each is there once and with all its shards.

    A part that fails the check is an error, or is left out.
    """
    group = dict(group)
    if EVALUATION in group:
        part = VALIDATION if TEST in group else TEST
        group[part] = [*group.get(part, []), *group.pop(EVALUATION)]
    complete = {}
    for part, paths in group.items():
        try:
            complete[part] = _one_part(folder, part, paths)
        except DatasetError:
            if not leaves_out:
                raise
    return complete


def _one_part(folder: Path, part: str, paths: list[Path]) -> Paths:
    if len(paths) == 1 and paths[0].is_dir():
        tables = _tables(paths[0])
        return _all_tables(paths[0], part, tables) if tables and not _has_classes(paths[0], tables) else tuple(paths)
    # The number of train_100.csv may be a size.
    if len(paths) == 1 and part_name(paths[0].name).total is None:
        return tuple(paths)
    return _shards(folder, part, paths)


def _all_tables(folder: Path, part: str, tables: Sequence[Path]) -> Paths:
    """The tables in the folder of a part, which all belong to it."""
    are_shards = all(part_name(table.name).total is not None for table in tables)
    return _shards(folder, part, tables) if are_shards else tuple(tables)


def _shards(folder: Path, part: str, paths: Sequence[Path]) -> Paths:
    """The files of one part in the order of their numbers.

    Raises:
        DatasetError: if they are not all shards of one table, or one is missing.
    """
    names = [part_name(path.name) for path in paths]
    numbers = sorted(name.number for name in names if name.number is not None)
    kinds = {(name.affixes, name.total, path.suffix.lower()) for name, path in zip(names, paths, strict=True)}
    if len(set(numbers)) < len(paths) or len(kinds) > 1:
        raise DatasetError(
            f"{folder}: expected one {part} part, found {_names(paths)}; give the path of the one to use, or move the "
            f"others away"
        )
    start = min(numbers[0], 1)
    expected = range(start, start + (names[0].total or numbers[-1] + 1 - start))
    if missing := sorted(set(expected) - set(numbers)):
        raise DatasetError(
            f"{folder}: expected {len(expected)} files of the {part} part, found {_names(paths)}, without number "
            f"{', '.join(map(str, missing[:5]))}; add the missing files, or give the path of one file"
        )
    return tuple(sorted(paths, key=lambda path: part_name(path.name).number or 0))


# --- labelled texts without parts


def _whole(path: Path, part: str, parts: Mapping[str, Paths]) -> Paths:
    """The path as one part: a table file, a folder with one table, or a folder of class folders.

    Raises:
        DatasetError: if the path is something else.
    """
    if path.is_file():
        return (path,)  # The reader checks the format.
    if parts:
        found = " and a ".join(parts)
        raise DatasetError(f"{path}: expected a {part} part, found only a {found} part; add one, or give its path")
    tables = _tables(path)
    if _has_classes(path, tables):
        _check_classes(path)
        return (path,)
    are_shards = all(part_name(table.name).total is not None for table in tables)
    if len(tables) == 1 or (tables and (are_shards or part_name(path.name).part)):
        return _all_tables(path, part, tables)
    raise DatasetError(
        f"{path}: expected train/ and test/ with a folder of .txt files for each class, or such class folders, or "
        f"tables train.* and test.* ({TABLE_ENDINGS}), or one table; "
        f"found {f'several tables ({_names(tables)}): give the path of one' if tables else 'no such files'}"
    )


def _has_classes(folder: Path, tables: Sequence[Path]) -> bool:
    """Whether a folder contains class folders; next to tables, at least two of them must have texts."""
    folders = class_folders(folder)
    if not tables:
        return bool(folders)
    return sum(any(is_text for _, is_text in class_files(entry.path)) for entry in folders) > 1


def _has_texts(folder: Path) -> bool:
    texts = (is_text for entry in class_folders(folder) for _, is_text in class_files(entry.path))
    return bool(_tables(folder)) or any(texts)


def _check_classes(folder: Path) -> None:
    """Refuse data sets in folders that would be read as classes."""
    for entry in class_folders(folder):
        inner = [Path(inner.path) for inner in visible_entries(entry.path) if inner.is_dir()]
        if parts := [path for path in inner if part_name(path.name).part == TRAIN and _may_be_part(path)]:
            raise DatasetError(
                f"{folder}: expected a folder of texts for each class, found the data set {entry.path} with "
                f"{parts[0].name}/; give its path"
            )


def _is_table(path: Path) -> bool:
    return path.name not in _METADATA and table_format(path) is not None and path.is_file()


def _tables(folder: Path) -> list[Path]:
    return [path for entry in visible_entries(folder) if _is_table(path := Path(entry.path))]


# --- the rest


def _unread(root: Path, used: Sequence[Path], *, is_part: bool = False) -> Iterator[Unread]:
    """The entries of a data set's folder, and of its parts' folders, that are not read.

    If the root `is_part` of a data set, these are also the other parts next to it.
    """
    top = root.parent if is_part else root
    parents = [path.parent for path in used if top in path.parents and path.parent != top]
    for folder in dict.fromkeys([top, *parents, *(path for path in used if top in (path, *path.parents))]):
        if is_part and folder == top:
            others = [path for group in _groups(top).values() for paths in group.values() for path in paths]
            known = {path.resolve() for path in (root, *used, *parents)}
            yield from (Unread(path, _why_unread(path)) for path in sorted(others) if path.resolve() not in known)
        elif folder.is_dir():
            has_classes = folder in used
            for entry in visible_entries(folder):
                path = Path(entry.path)
                if has_classes and entry.is_dir():
                    if _is_read_elsewhere(entry):
                        yield Unread(path, "a link to a folder that is read already, or to one above")
                elif path not in used and path not in parents:
                    yield Unread(path, "not in a class folder" if has_classes else _why_unread(path))


def _why_unread(path: Path) -> str:
    if part := part_name(path.name).part:
        return f"not a {part} part of this data set, although its name has the word"
    return "no part has this name" if path.is_dir() or _is_table(path) else NO_TABLE


def unread_names(unread: Iterable[Unread], root: Path) -> str:
    """The first paths of unread entries, as seen from the data set's folder."""
    return shortened([_within(root, entry.path) for entry in unread])


def path_names(paths: Iterable[Path], root: Path) -> str:
    """The first paths of a part, as seen from the data set's folder."""
    return shortened([path.name if path == root else _within(root, path) for path in paths])


def _within(root: Path, path: Path) -> Path:
    return path.relative_to(root) if root in path.parents else path


def _names(paths: Sequence[Path]) -> str:
    return shortened([path.name for path in paths], max_names=10)
