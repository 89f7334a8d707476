"""Folders for the time of a server, and what killed servers left of theirs."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from textclf.errors import ConfigError
from textclf.files import in_use, remove_unused


@contextlib.contextmanager
def fresh_folder(variable: str, parent: str, prefix: str, *, make_parent: bool = False) -> Iterator[Path]:
    """Make a folder in another one for the duration of the block.

    Args:
        variable: environment variable that sets `parent`, for the error message.
        parent: folder to make it in; "" is the system's folder for temporary files.
        make_parent: whether to make a missing `parent`, which then stays.

    Raises:
        ConfigError: if the folder can't be made.
    """
    with contextlib.ExitStack() as held:
        try:
            if make_parent and not os.path.exists(parent):
                os.makedirs(parent)
            folder = _new_folder(parent, prefix, held)
        except OSError as error:
            raise ConfigError(
                f"{variable}: expected a folder that user {os.geteuid()} may write in, got {parent or 'none'} "
                f"({error.strerror}); make it, change its permissions, or set {variable} to another folder"
            ) from error
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def remove_abandoned(parent: str, prefix: str) -> None:
    """Remove folders of fresh_folder() whose processes were killed; those of other users stay.

    Args:
        parent, prefix: as for fresh_folder().
    """
    with contextlib.suppress(OSError):
        for entry in os.scandir(parent or tempfile.gettempdir()):
            is_own = entry.name.startswith(prefix) and entry.stat(follow_symlinks=False).st_uid == os.geteuid()
            if is_own and entry.is_dir(follow_symlinks=False):
                remove_unused(Path(entry.path))


def _new_folder(parent: str, prefix: str, held: contextlib.ExitStack) -> Path:
    """A new folder that is in use until `held` ends."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent or None)).absolute()
        with contextlib.suppress(FileNotFoundError):  # remove_abandoned() of another process was faster.
            held.enter_context(in_use(folder))
            return folder
