"""Files in the runtime folder that tell which workers are ready and whether the server drains.

Behind nginx each worker has its own unix socket, `<number>.sock`. While the worker is ready, the link `<number>.ready`
points to the socket and the file `<number>.warm` exists. nginx uses only these names, so it sends no request to a
loading worker.
"""

from pathlib import Path
from typing import Any

# Variable with the path of the file that exists while the server drains, for the app.
DRAINING_VARIABLE = "TEXTCLF_DRAINING_FILE"


def draining_file(runtime: Path) -> Path:
    """Return the file that the supervisor makes before it stops the server."""
    return runtime / "draining"


def show(worker: Any) -> None:
    """Let nginx send requests to a worker."""
    link = _file(worker, "ready")
    link.unlink(missing_ok=True)
    link.symlink_to(f"{worker.number}.sock")
    # nginx can test for a file, but not for a socket.
    _file(worker, "warm").touch()


def hide(worker: Any) -> None:
    """Let nginx send no new requests to a worker that finishes its requests."""
    _file(worker, "ready").unlink(missing_ok=True)


def forget(worker: Any) -> bool:
    """Remove the files of an ended worker; return whether it was warm."""
    hide(worker)
    try:
        _file(worker, "warm").unlink()
    except FileNotFoundError:
        return False
    return True


def is_any_warm(runtime: Path) -> bool:
    """Return whether a worker has loaded and warmed its model."""
    return any(runtime.glob("*.warm"))


def _file(worker: Any, suffix: str) -> Path:
    return Path(worker.cfg.worker_tmp_dir, f"{worker.number}.{suffix}")
