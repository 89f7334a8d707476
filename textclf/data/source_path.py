"""The file or folder that the name of a data set stands for."""

import os
from pathlib import Path

from textclf.errors import DatasetError
from textclf.urls import public_handle


def source_path(name: str | Path, data_dir: str | Path) -> Path:
    """The path of a data set; the last one that was looked for, if none exists.

    A name alone is an entry of the working folder or, if there is none, of `data_dir`. A path with a separator is used
    as it is: a file of that name elsewhere may be other data.

    Raises:
        DatasetError: if the name is a URL.
    """
    if "://" in str(name):
        raise DatasetError(
            f"{public_handle(str(name))}: expected the path of a data set, found a URL; give a path, and the URL with "
            f"--url (textclf data download FILE --url URL)"
        )
    paths = _candidates(name, data_dir)
    return next((path for path in paths if path.exists()), paths[-1])


def searched(name: str | Path, data_dir: str | Path) -> str:
    """The absolute paths that source_path() looks for, for an error message."""
    return " and ".join(str(path.absolute()) for path in _candidates(name, data_dir))


def _candidates(name: str | Path, data_dir: str | Path) -> list[Path]:
    return [Path(name)] if os.sep in str(name) else [Path(name), Path(data_dir, name)]
