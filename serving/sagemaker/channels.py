"""Join the data channels of a training job into one data set for Training."""

import dataclasses
import json
from pathlib import Path

from textclf.config import DataOptions
from textclf.data.dataset_layout import find_parts
from textclf.data.readers import read_part
from textclf.data.tables import table_format
from textclf.errors import DatasetError


def join_channels(channels: Path, root: Path, options: DataOptions) -> None:
    """Make the folder `root` with a train and a test part of the channels.

    A channel contains class folders of .txt files, or one table (.csv, .jsonl, .parquet). A train channel that is a
    whole data set also gives the test part, unless there is a test channel. Parts are links. The texts of a validation
    channel are written into one file with those of train, because Training itself splits off options.val_split of the
    training texts.

    Args:
        channels: folder with train, and perhaps validation and test.
        root: folder of the data set; must not exist.

    Raises:
        DatasetError: if there is no train channel, or a channel has no data.
    """
    train = channels / "train"
    if not _has_data(train):
        found = sorted(path.name for path in channels.iterdir()) if channels.is_dir() else []
        raise DatasetError(
            f"{train}: expected the channel train with class folders or a table, found "
            f"{', '.join(found) or 'nothing'}; name the channel train, or set the hyperparameter dataset_path"
        )
    test = channels / "test"
    # Search only inside: a test part in the folder above belongs to the other channel.
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
    """A channel may be an empty folder: platforms also make folders for missing channels."""
    return channel.is_file() or (channel.is_dir() and any(not path.name.startswith(".") for path in channel.iterdir()))


def _link(part: Path, root: Path, name: str) -> None:
    suffix = ""
    if table_format(part) is not None and part.is_file():
        suffix = Path(part.stem).suffix + part.suffix if part.suffix.lower() == ".gz" else part.suffix
    (root / f"{name}{suffix}").symlink_to(part.resolve())


def _write_together(parts: list[Path], target: Path, options: DataOptions) -> None:
    # Labels are renamed later, when the result is read.
    options = dataclasses.replace(options, rename_labels={})
    with target.open("w", encoding="utf-8") as file:
        for path in parts:
            part = read_part(path, options)
            for text, label in zip(part.texts, part.labels, strict=True):
                row = {options.text_column: text, options.label_column: label}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
