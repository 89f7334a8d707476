"""Files that matter are written whole or not at all: temporary name, sync, rename. Their locks, and their hashes."""

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

# Of the target's name only so much goes into the temporary one: a name has at most 255 bytes, a character up to 4.
_KEPT_NAME_CHARS = 50
_TEMPORARY_NAMES = f".*.{'[0-9a-f]' * 16}.tmp"
# A day: no living writer has a temporary file that old.
LEFTOVER_SECONDS = 24 * 3600


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


def _temporary_beside(target: Path) -> Path:
    """A new hidden name in the same folder, so that the last step is a rename."""
    return target.parent / f".{target.name[:_KEPT_NAME_CHARS]}.{secrets.token_hex(8)}.tmp"


def remove_leftovers(folder: Path, now: float | None = None) -> None:
    """Remove what killed writers of atomic_file and atomic_folder left in `folder`, once it is LEFTOVER_SECONDS old.

    `now` is a Unix time in seconds; None asks the clock.
    """
    now = time.time() if now is None else now
    for path in folder.glob(_TEMPORARY_NAMES):
        with contextlib.suppress(FileNotFoundError):
            if now - path.lstat().st_mtime <= LEFTOVER_SECONDS:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()


@contextlib.contextmanager
def atomic_file(target: Path | str, mode: str = "w", **open_arguments: object) -> Iterator[IO[Any]]:
    """A file object whose content appears under `target` when the block ends, or never.

    Text is UTF-8 unless `encoding` says otherwise. On an exception the temporary file is removed and
    `target` stays as it was. A file that is replaced keeps its mode; a new one has the usual one.

    Raises:
        OSError: it can't be written; names `target`, not the temporary file.
    """
    target = Path(target)
    with _errors_name(target), _written(target, mode, open_arguments) as file:
        yield file


def check_writable(target: Path | str) -> None:
    """Find out whether atomic_file could write a file, before there is something to write.

    Raises:
        OSError: as atomic_file.
    """
    target = Path(target)
    with _errors_name(target):
        temporary = _new_beside(target)
        temporary.touch(exist_ok=False)
        temporary.unlink()


@contextlib.contextmanager
def _errors_name(target: Path) -> Iterator[None]:
    """Let the system's refusals speak of the file that the user knows."""
    try:
        yield
    except OSError as error:
        own = error.filename is None or str(error.filename).endswith(".tmp")
        if error.errno is None or not own:
            raise
        raise OSError(error.errno, error.strerror, str(target)) from error


def _new_beside(target: Path) -> Path:
    """A temporary name for a file, in its folder, which is made where it is missing."""
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder", str(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    return _temporary_beside(target)


@contextlib.contextmanager
def _written(target: Path, mode: str, open_arguments: dict[str, Any]) -> Iterator[IO[Any]]:
    if "b" not in mode:
        open_arguments.setdefault("encoding", "utf-8")
    temporary = _new_beside(target)
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(descriptor, mode, **open_arguments) as file:
            with contextlib.suppress(FileNotFoundError):
                temporary.chmod(stat.S_IMODE(target.stat().st_mode))
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
        sync_folder(target.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def atomic_folder(target: Path | str, *, many_files: bool = False, replace: bool = False) -> Iterator[Path]:
    """A new folder to fill, which becomes `target` when the block ends, or is removed.

    Args:
        target: the folder to make; those above it are made too.
        many_files: write everything out with one sync of the whole system, instead of one of each
            file: for 37,500 small files .4 s instead of 8 s.
        replace: a folder that is there stays as it is until the new one is whole, then makes room for it. A
            process that is killed between the two renames leaves both under hidden names.

    Raises:
        FileExistsError: `target` exists, and is not to be replaced.
    """
    target = Path(target)
    if target.exists() and not replace:
        raise FileExistsError(f"{target} exists already")
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = _temporary_beside(target)
    staging.mkdir()
    try:
        yield staging
        if many_files:
            os.sync()
        else:
            sync_tree(staging)
        if replace and target.exists():
            _swap(staging, target)
        else:
            staging.rename(target)
        sync_folder(target.parent)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def _swap(staging: Path, target: Path) -> None:
    """Put `staging` in the place of `target`, and remove what was there."""
    former = _temporary_beside(target)
    target.rename(former)
    try:
        staging.rename(target)
    except BaseException:
        former.rename(target)
        raise
    shutil.rmtree(former, ignore_errors=True)


@contextlib.contextmanager
def locked(path: Path | str, *, wait: bool = True) -> Iterator[IO[bytes]]:
    """Hold the lock of a file against other processes, and against other threads of this one (flock).

    Yields the file, open for reading and appending without a buffer. A missing file is created. A process that ends
    releases its locks.

    Raises:
        BlockingIOError: if the lock is held and `wait` is false.
        OSError: if the file can't be created.
    """
    with open(path, "a+b", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield file


def sha256_of_file(path: Path | str) -> str:
    """The SHA-256 of a file's bytes, as 64 hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
