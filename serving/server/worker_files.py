"""Files in the runtime folder that tell which workers are ready and whether the server drains.

Behind nginx each worker has its own unix socket, `<number>.sock`. While the worker is ready, the link `<number>.ready`
points to the socket and the file `<number>.warm` exists. nginx uses only these names, so it sends no request to a
loading worker.

Both exist from the start under other names, `.hidden` and `.cold`: a worker needs no new file, which a full disk may
refuse. So does the file `draining`, which is `serving` before.
"""

import contextlib
from pathlib import Path
from typing import Any

# Variable with the path of the file that exists while the server drains, for the app.
DRAINING_VARIABLE = "TEXTCLF_DRAINING_FILE"


def draining_file(runtime: Path) -> Path:
    """Return the file that exists from announce_drain() on."""
    return runtime / "draining"


def prepare_drain(runtime: Path) -> None:
    """Create the file that announce_drain() needs.

    Raises:
        OSError: if the disk has no room for it.
    """
    (runtime / "serving").touch()


def announce_drain(runtime: Path) -> None:
    """Tell nginx and the workers that the server is about to stop.

    Raises:
        OSError: if the file of prepare_drain() is gone.
    """
    (runtime / "serving").rename(draining_file(runtime))


def prepare(worker: Any) -> None:
    """Create the files of a worker that has none; without room for them, show() tries again."""
    with contextlib.suppress(OSError):
        if not _file(worker, "ready").is_symlink() and not _file(worker, "hidden").is_symlink():
            _file(worker, "hidden").symlink_to(f"{worker.number}.sock")
        if not _file(worker, "warm").exists():
            _file(worker, "cold").touch()


def show(worker: Any) -> None:
    """Let nginx send requests to a worker.

    Raises:
        OSError: if its files don't exist and can't be created.
    """
    if not _rename(worker, "hidden", "ready"):
        with contextlib.suppress(FileExistsError):
            _file(worker, "ready").symlink_to(f"{worker.number}.sock")
    # nginx can test for a file, but not for a socket.
    if not _rename(worker, "cold", "warm"):
        _file(worker, "warm").touch()


def hide(worker: Any) -> None:
    """Let nginx send no new requests to a worker that finishes its requests."""
    _rename(worker, "ready", "hidden")


def forget(worker: Any) -> bool:
    """Hide an ended worker; return whether it was warm."""
    hide(worker)
    return _rename(worker, "warm", "cold")


def is_any_warm(runtime: Path) -> bool:
    """Return whether a worker has loaded and warmed its model."""
    return any(runtime.glob("*.warm"))


def _rename(worker: Any, old: str, new: str) -> bool:
    """Rename a file of a worker; return whether there was one."""
    try:
        _file(worker, old).rename(_file(worker, new))
    except FileNotFoundError:
        return False
    return True


def _file(worker: Any, suffix: str) -> Path:
    return Path(worker.cfg.worker_tmp_dir, f"{worker.number}.{suffix}")
