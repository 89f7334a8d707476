"""Join the data channels of a training job into one data set for Training."""

from pathlib import Path

from textclf.data.dataset_layout import Paths, find_part, find_parts
from textclf.errors import DatasetError


def join_channels(channels: Path, root: Path) -> None:
    """Make the folder `root` with the parts of the channels, as links.

    A channel contains class folders of .txt files, or tables. A train channel that is a whole data set also gives the
    other parts, unless they have channels.

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
    # Search only inside: a part in the folder above belongs to the other channel.
    inner = train.resolve()
    layout = find_parts(inner)
    root.mkdir(parents=True)
    _link(layout.train, root / "train")
    for channel, paths in ((channels / "validation", layout.validation), (channels / "test", layout.test)):
        if _has_data(channel):
            _link(find_part(channel.resolve(), channel.name), root / channel.name)
        elif paths and inner in paths[0].parents:
            _link(paths, root / channel.name)


def _has_data(channel: Path) -> bool:
    """A channel may be an empty folder: platforms also make folders for missing channels."""
    return channel.is_file() or (channel.is_dir() and any(not path.name.startswith(".") for path in channel.iterdir()))


def _link(paths: Paths, part: Path) -> None:
    """Make `part` a link to a folder of class folders, or a folder with links to tables."""
    if paths[0].is_dir():
        part.symlink_to(paths[0].resolve())
        return
    part.mkdir()
    for path in paths:
        (part / path.name).symlink_to(path.resolve())
