"""Removes from the folder of imported models what no server needs.

These are downloads and unfinished imports of processes that were killed, and commits that a branch or a tag had
before. A server locks (flock) the model that it serves, and an import locks its name: what is locked stays.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from serving.source.origin import Origin
from textclf.files import locked, remove_leftovers, remove_unused

DOWNLOADS, LOCKS, MODELS, REFS = "downloads", "locks", "models", "refs"
ORIGIN_FILE = "origin.json"
# Next to the store of a model that was asked for by its commit: it stays when a branch moves.
PINNED_FILE = "pinned"


@contextlib.contextmanager
def folder_of_chunks(cache: Path) -> Iterator[Path]:
    """A folder for parts of files while they are downloaded.

    Raises:
        OSError: if the lock can't be created.
    """
    name = f"chunks-{os.getpid()}-{os.urandom(4).hex()}"
    folder, lock = cache / DOWNLOADS / name, cache / LOCKS / name
    lock.parent.mkdir(parents=True, exist_ok=True)
    with locked(lock):
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            lock.unlink(missing_ok=True)


def remove_old_files(cache: Path, key: str, origin: Origin) -> list[str]:
    """Remove what killed imports left, and former commits of the model `origin` with the name `key`.

    A former commit stays while a server serves it, while another branch or tag has it, or if it was asked for by its
    hash. So does everything where the file system has no locks.

    Returns:
        The names of the removed models.
    """
    with contextlib.suppress(OSError):  # The cache may be read-only.
        _remove_downloads(cache)
        remove_leftovers(cache / MODELS)
        return _remove_former(cache, key, origin)
    return []


def _remove_downloads(cache: Path) -> None:
    for folder in _entries(cache / DOWNLOADS):
        # Its import holds the lock of the same name.
        with contextlib.suppress(BlockingIOError), locked(cache / LOCKS / folder.name, wait=False):
            shutil.rmtree(folder, ignore_errors=True)


def _remove_former(cache: Path, key: str, origin: Origin) -> list[str]:
    commits = {path.read_text(encoding="utf-8").strip() for path in _entries(cache / REFS)}
    removed = []
    for folder in _entries(cache / MODELS):
        if folder.name == key or (folder / PINNED_FILE).exists():
            continue
        found = _origin(folder)
        if found is None or (found.location, found.tokenizer) != (origin.location, origin.tokenizer):
            continue
        is_named = found.commit in commits and found.tokenizer_commit in {None, *commits}
        if not is_named and remove_unused(folder):
            removed.append(folder.name)
    return removed


def _origin(folder: Path) -> Origin | None:
    try:
        return Origin(**json.loads((folder / ORIGIN_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _entries(folder: Path) -> list[Path]:
    """The entries of a folder without hidden ones; [] if it is missing."""
    return sorted(path for path in folder.iterdir() if path.name[0] != ".") if folder.is_dir() else []
