"""Locks of a retraining: one process per model store, and one per combined folder."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from textclf.errors import BusyError
from textclf.files import locked

LOCK_FILE = ".retrain.lock"


@contextlib.contextmanager
def retraining_locks(store: Path, combined: Path) -> Iterator[None]:
    """Hold the retraining lock of a store and the lock of a combined folder, a hidden file next to that folder.

    Raises:
        BusyError: if another process holds one of them.
    """
    folder = combined.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    locks = {
        store / LOCK_FILE: f"{store}: another process is retraining its models; wait for it",
        folder.parent / f".{folder.name}.lock": (
            f"{combined}: another retraining works in this folder; wait for it, or give another --combined-dataset-path"
        ),
    }
    with contextlib.ExitStack() as held:
        for path, message in locks.items():
            try:
                held.enter_context(locked(path, wait=False))
            except BlockingIOError:
                raise BusyError(message) from None
        yield
