"""The data channels of a training job, put together as one data set that Training takes."""

import contextlib
import dataclasses
import json
from pathlib import Path

from textclf.config import DataOptions
from textclf.data.dataset_layout import find_parts
from textclf.data.readers import Part, read_part
from textclf.data.tables import table_format
from textclf.errors import DatasetError


def join_channels(channels: Path, root: Path, options: DataOptions) -> None:
    """Fill the new folder `root` with a train and a test part that stand for the channels.

    A channel holds class folders of .txt files, or one table (.csv, .jsonl, .parquet); a train channel that is a whole
    data set, with train and test parts, is taken as such unless there is a test channel. Parts are links; but where
    there is a validation channel, its texts and those of train are written into one file: Training keeps
    options.val_split of the training texts for validation itself, by content, and would not know what to do with a
    second split.

    Args:
        channels: the folder with train, and perhaps validation and test.
        root: of the data set; must not exist.
        options: says the columns, and what to do with texts that are not UTF-8.

    Raises:
        DatasetError: there is no train channel, or a channel holds no data.
    """
    train = channels / "train"
    if not _has_data(train):
        found = sorted(path.name for path in channels.iterdir()) if channels.is_dir() else []
        raise DatasetError(
            f"{train}: expected the channel train with class folders or a table, found "
            f"{', '.join(found) or 'nothing'}; name the channel train, or give the hyperparameter dataset_path"
        )
    test = channels / "test"
    # A test part in the folder above belongs to the other channel, which may be empty: look inside only.
    layout = find_parts(train.resolve(), test.resolve() if _has_data(test) else None)
    root.mkdir(parents=True)
    validation = channels / "validation"
    if _has_data(validation):
        _write_together([layout.train, find_parts(validation.resolve()).train], root / "train.jsonl", options)
    else:
        _link(layout.train, root, "train")
    if layout.test is not None and _has_data(layout.test):
        _link(layout.test, root, "test")


def _has_data(channel: Path) -> bool:
    """Platforms make the folders of channels that were not given, too."""
    return channel.is_file() or (channel.is_dir() and any(not path.name.startswith(".") for path in channel.iterdir()))


def _link(part: Path, root: Path, name: str) -> None:
    """A link `name` to a folder; to a table `name` and what says its format."""
    suffix = ""
    if table_format(part) is not None and part.is_file():
        suffix = Path(part.stem).suffix + part.suffix if part.suffix.lower() == ".gz" else part.suffix
    (root / f"{name}{suffix}").symlink_to(part.resolve())


def _write_together(parts: list[Path], target: Path, options: DataOptions) -> None:
    # Labels are renamed when the result is read, not twice.
    options = dataclasses.replace(options, rename_labels={})
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(target.open("w", encoding="utf-8"))
        for path in parts:
            part: Part = read_part(path, options)
            for text, label in zip(part.texts, part.labels, strict=True):
                row = {options.text_column: text, options.label_column: label}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
