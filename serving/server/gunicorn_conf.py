"""gunicorn's constants and hooks; what depends on the settings comes as arguments from serving/server/launcher.py.

Behind nginx each worker has a unix socket of its own; as long as the worker can answer, the link `<number>.ready`
stands for it, and the file `<number>.warm` says so. nginx knows only these names: so it chooses the worker with the
fewest requests in hand, and sends none to a worker that is still loading the model.

A server none of whose workers gets as far as to answer ends. As long as one answers, the others are tried again and
again: a version that is damaged on disk is no reason to end what goes on with it in memory.
"""

import os
import signal
import time
from pathlib import Path
from typing import Any

from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer

# The model is loaded after the fork: an engine's threads do not survive one.
preload_app = False
loglevel = "warning"
control_socket_disable = True
# As much as nginx lets through; for all headers together nginx has a limit.
limit_request_line = 8190
limit_request_field_size = 8190
limit_request_fields = 1000

# Workers that may die in a row while they load the model, before a server without a warm one gives up.
_BOOTS = 3
# From a worker that could not load the model to the next try, while others serve: doubled each time.
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 30.0


def pre_fork(server: Any, worker: Any) -> None:
    """Give the worker the lowest free number, and the listener of that number if there is one for each."""
    taken = {other.number for other in server.WORKERS.values()}
    worker.number = next(number for number in range(len(taken) + 1) if number not in taken)
    if len(server.LISTENERS) > 1:
        worker.sockets = [server.LISTENERS[worker.number % len(server.LISTENERS)]]


def post_fork(server: Any, worker: Any) -> None:
    """Wait before loading the model if that has just failed, and others serve meanwhile."""
    failed = getattr(server, "failed_boots", 0)
    if failed and _is_any_warm(worker):
        # The arbiter's handlers are still in place; gunicorn sets the worker's own afterwards.
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGABRT):
            signal.signal(number, signal.SIG_DFL)
        time.sleep(min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(failed - 1, 10)))
        worker.notify()  # Its time to load begins now.


def post_worker_init(worker: Any) -> None:
    """The app is loaded and warm: let nginx find the worker."""
    link = _in_runtime_folder(worker, "ready")
    link.unlink(missing_ok=True)
    link.symlink_to(f"{worker.number}.sock")
    # nginx can ask whether a file is there, but not a socket.
    _in_runtime_folder(worker, "warm").touch()


def worker_exit(_server: Any, worker: Any) -> None:
    """Let only the first worker that can't load the model say so by its status, and none while others serve.

    gunicorn stops at that status, and trips over a second one while it does.
    """
    if worker.pid == os.getpid() and not worker.booted:
        if _is_any_warm(worker):
            os._exit(1)
        try:
            Path(worker.cfg.worker_tmp_dir, "failed").mkdir()
        except FileExistsError:
            os._exit(1)


def child_exit(server: Any, worker: Any) -> None:
    """Hide a worker that has ended from nginx and close its metrics; give up if none gets as far as to answer.

    Raises:
        HaltServer: so many workers in a row have ended while they were loading the model, and none is warm.
    """
    try:
        _in_runtime_folder(worker, "warm").unlink()
        _in_runtime_folder(worker, "ready").unlink()
        server.failed_boots = 0
    except FileNotFoundError:
        server.failed_boots = getattr(server, "failed_boots", 0) + 1
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        from prometheus_client import multiprocess

        multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
    # Without listeners it is stopping already.
    if server.failed_boots >= _BOOTS and server.LISTENERS and not _is_any_warm(worker):
        raise HaltServer(f"{_BOOTS} workers in a row ended while loading the model", Arbiter.WORKER_BOOT_ERROR)


def _is_any_warm(worker: Any) -> bool:
    return any(Path(worker.cfg.worker_tmp_dir).glob("*.warm"))


def _in_runtime_folder(worker: Any, suffix: str) -> Path:
    return Path(worker.cfg.worker_tmp_dir, f"{worker.number}.{suffix}")
