"""Atomic files and folders (temporary name, sync, rename), file locks and hashes."""

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

# Characters of the target's name in a temporary name: names have at most 255 bytes, characters up to 4.
_KEPT_NAME_CHARS = 50
_TEMPORARY_NAMES = f".*.{'[0-9a-f]' * 16}.tmp"
# One day: a temporary file this old has no living writer.
LEFTOVER_SECONDS = 24 * 3600


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` durable (fsync of the directory itself); a file is synced, too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """fsync every file and folder below `folder`, and `folder`."""
    for path, _, names in os.walk(folder):
        for name in [*names, ""]:
            sync_folder(Path(path, name))


def _temporary_name(target: Path) -> Path:
    """A new hidden name in the folder of `target`, so that the last step is a rename."""
    return target.parent / f".{target.name[:_KEPT_NAME_CHARS]}.{secrets.token_hex(8)}.tmp"


def remove_leftovers(folder: Path, now: float | None = None) -> None:
    """Remove temporary files of killed writers from `folder` if they are older than LEFTOVER_SECONDS.

    A file of a living writer stays: a clock that was set ahead makes every file look old.
    `now` is a Unix time in seconds; None takes the current time.
    """
    now = time.time() if now is None else now
    for path in folder.glob(_TEMPORARY_NAMES):
        with contextlib.suppress(FileNotFoundError):
            if now - path.lstat().st_mtime <= LEFTOVER_SECONDS or _is_in_use(path):
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()


@contextlib.contextmanager
def atomic_file(target: Path | str, mode: str = "w", **open_arguments: object) -> Iterator[IO[Any]]:
    """Yield a file object; its content replaces `target` when the block ends without an exception.

    Text is UTF-8 unless `encoding` is given. On an exception the temporary file is removed and `target` stays
    unchanged. A replaced file keeps its mode.

    Raises:
        OSError: if the file can't be written; the error names `target`, not the temporary file.
    """
    target = Path(target)
    with _errors_name(target), _written(target, mode, open_arguments) as file:
        yield file


@contextlib.contextmanager
def staged_file(target: Path, content: bytes) -> Iterator[Path]:
    """Yield the path of a new, synced file with `content` in the folder of `target`, for a rename to `target`.

    At the end of the block the file is removed if it still has its temporary name. The caller syncs the folder.

    Raises:
        OSError: if the file can't be written; the error names `target`, not the temporary file.
    """
    with _errors_name(target):
        temporary = _new_temporary(target)
        descriptor = _create(temporary)
    try:
        with _errors_name(target), os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
        os.close(descriptor)


def check_writable(target: Path | str) -> None:
    """Check in advance that atomic_file could write `target`.

    Raises:
        OSError: if it could not; the error names `target`.
    """
    target = Path(target)
    with _errors_name(target):
        temporary = _new_temporary(target)
        temporary.touch(exist_ok=False)
        temporary.unlink()


@contextlib.contextmanager
def _errors_name(target: Path) -> Iterator[None]:
    """Replace the temporary file by `target` in the messages of OSErrors."""
    try:
        yield
    except OSError as error:
        own = error.filename is None or str(error.filename).endswith(".tmp")
        if error.errno is None or not own:
            raise
        raise OSError(error.errno, error.strerror, str(target)) from error


def _new_temporary(target: Path) -> Path:
    """A temporary name for a file in its folder; a missing folder is created."""
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder", str(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    return _temporary_name(target)


def _create(temporary: Path) -> int:
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    _mark_in_use(descriptor)
    return descriptor


def _mark_in_use(descriptor: int) -> None:
    """Lock a new temporary file or folder until its descriptor is closed; some network file systems have no locks."""
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_in_use(temporary: Path) -> bool:
    """Whether a living writer has the temporary file or folder locked."""
    with contextlib.suppress(OSError):
        descriptor = os.open(temporary, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
    return False


@contextlib.contextmanager
def _written(target: Path, mode: str, open_arguments: dict[str, Any]) -> Iterator[IO[Any]]:
    if "b" not in mode:
        open_arguments.setdefault("encoding", "utf-8")
    temporary = _new_temporary(target)
    descriptor = _create(temporary)
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
    """Yield a new folder; it becomes `target` when the block ends without an exception, else it is removed.

    Args:
        target: the folder to create; missing parents are created, too.
        many_files: sync the whole system once instead of each file: 0.4 s instead of 8 s for 37,500 small files.
        replace: replace an existing folder after the new one is complete. A process that is killed between the two
            renames leaves both under hidden names.

    Raises:
        FileExistsError: if `target` exists and `replace` is false.
    """
    target = Path(target)
    if target.exists() and not replace:
        raise FileExistsError(f"{target} exists already")
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = _temporary_name(target)
    staging.mkdir()
    lock = -1
    try:
        lock = os.open(staging, os.O_RDONLY)
        _mark_in_use(lock)
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
    finally:
        if lock >= 0:
            os.close(lock)


def _swap(staging: Path, target: Path) -> None:
    """Replace the folder `target` by `staging`."""
    former = _temporary_name(target)
    target.rename(former)
    try:
        staging.rename(target)
    except BaseException:
        former.rename(target)
        raise
    shutil.rmtree(former, ignore_errors=True)


@contextlib.contextmanager
def locked(path: Path | str, *, wait: bool = True) -> Iterator[IO[bytes]]:
    """Hold the lock of a file (flock) against other processes and other threads of this process.

    Yields the file, open for reading and appending without a buffer. A missing file is created. A process that ends
    releases its locks.

    Raises:
        BlockingIOError: if the lock is held and `wait` is false.
        OSError: if the file can't be created.
    """
    with open(path, "a+b", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield file


@contextlib.contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Keep other processes from removing a folder with remove_unused() during the block.

    Where the file system has no locks, nothing is removed either.

    Raises:
        FileNotFoundError: if the folder does not exist, or was removed just before.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        if not os.path.samestat(os.fstat(descriptor), folder.stat()):
            raise FileNotFoundError(errno.ENOENT, "was removed", str(folder))
        yield
    finally:
        os.close(descriptor)


def remove_unused(folder: Path) -> bool:
    """Remove a folder unless a process has it in_use(); return whether it was removed."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        former = _temporary_name(folder)
        folder.rename(former)  # It vanishes as a whole.
    except OSError:
        return False
    finally:
        os.close(descriptor)
    shutil.rmtree(former, ignore_errors=True)
    return True


def sha256_of_file(path: Path | str) -> str:
    """The SHA-256 of a file's bytes, as 64 hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
