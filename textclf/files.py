"""Files that matter are written whole or not at all: temporary name, sync, rename. And hashes of files."""

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

# Of the target's name only so much goes into the temporary one: a name has at most 255 bytes, a character up to 4.
_KEPT_NAME_CHARS = 50


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` durable (fsync of the directory itself)."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """fsync every file and folder below `folder`, and `folder`."""
    for path, _, names in os.walk(folder):
        for name in names:
            descriptor = os.open(os.path.join(path, name), os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        sync_folder(Path(path))


def _default_mode(directory: bool = False) -> int:
    """The mode a new file (or folder) would get: tempfile makes private ones, which others could not read."""
    mask = os.umask(0)
    os.umask(mask)
    return (0o777 if directory else 0o666) & ~mask


@contextlib.contextmanager
def atomic_file(target: Path | str, mode: str = "w", **open_arguments: object) -> Iterator[IO[Any]]:
    """A file object whose content appears under `target` when the block ends, or never.

    The temporary file lies in the same folder, so that the last step is a rename; text is UTF-8
    unless `encoding` says otherwise. On an exception it is removed and `target` stays as it was.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    if "b" not in mode:
        open_arguments.setdefault("encoding", "utf-8")
    descriptor, temporary = tempfile.mkstemp(
        prefix=f".{target.name[:_KEPT_NAME_CHARS]}.", suffix=".tmp", dir=target.parent
    )
    try:
        with os.fdopen(descriptor, mode, **open_arguments) as file:  # type: ignore[call-overload]
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, _default_mode())
        os.replace(temporary, target)
        sync_folder(target.parent)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


@contextlib.contextmanager
def atomic_folder(target: Path | str, *, many_files: bool = False) -> Iterator[Path]:
    """A new folder to fill, which becomes `target` when the block ends, or is removed.

    Args:
        target: the folder to make; those above it are made too.
        many_files: write everything out with one sync of the whole system, instead of one of each
            file: for 37,500 small files .4 s instead of 8 s.

    Raises:
        FileExistsError: `target` exists; nothing is overwritten.
    """
    target = Path(target)
    if target.exists():
        raise FileExistsError(f"{target} exists already")
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name[:_KEPT_NAME_CHARS]}.", suffix=".tmp", dir=target.parent))
    try:
        yield staging
        if many_files:
            os.sync()
        else:
            sync_tree(staging)
        os.chmod(staging, _default_mode(directory=True))
        os.rename(staging, target)
        sync_folder(target.parent)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def sha256_of_file(path: Path | str) -> str:
    """The SHA-256 of a file's bytes, as 64 hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
