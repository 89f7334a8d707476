"""gunicorn's constants and hooks; serving/server/programs.py passes the settings as arguments.

A server ends if no worker becomes ready. While one is ready, the others are restarted again and again: a version that
is damaged on disk must not end a server that has it in memory.
"""

import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer

from serving.server.backlog import hand_over
from serving.server.heartbeat import use_memory
from serving.server.shared_imports import import_application
from serving.server.worker_files import forget, is_any_warm, prepare, show

# Load the model after the fork: the threads of an engine do not survive a fork.
preload_app = False
loglevel = "warning"
control_socket_disable = True
# As in nginx, which also limits all headers together.
limit_request_line = 8190
limit_request_field_size = 8190
limit_request_fields = 1000
# Without nginx clients connect directly, so no header may set the scheme or a part of the path.
forwarded_allow_ips = ""

# Failed loads in a row after which a server without a warm worker ends.
_BOOTS = 3
# Pause after a failed load while other workers serve; doubled each time.
_FIRST_PAUSE = 1.0
_MAX_PAUSE = 30.0


def on_starting(server: Any) -> None:
    """Keep the workers' signs of life in memory, so that a full disk keeps none from starting; import their code.

    A single worker has nobody to share the memory of its code with.
    """
    use_memory()
    if server.cfg.workers > 1:
        import_application()


def pre_fork(server: Any, worker: Any) -> None:
    """Give the worker the lowest free number, and the listener of that number if each worker has one."""
    taken = {other.number for other in server.WORKERS.values()}
    worker.number = next(number for number in range(len(taken) + 1) if number not in taken)
    if len(server.LISTENERS) > 1:
        worker.sockets = [server.LISTENERS[worker.number % len(server.LISTENERS)]]
    prepare(worker)


def post_fork(server: Any, worker: Any) -> None:
    """Tell the worker its number; hand over late requests; pause if the last load failed and other workers serve."""
    from serving.observability.value_file import WORKER

    # The arbiter's handlers are still set; gunicorn sets the worker's later.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGABRT):
        signal.signal(number, signal.SIG_DFL)
    os.environ[WORKER] = str(worker.number)
    _hand_over(worker)
    failed = getattr(server, "failed_boots", 0)
    if failed and is_any_warm(_runtime(worker)):
        time.sleep(min(_MAX_PAUSE, _FIRST_PAUSE * 2 ** min(failed - 1, 10)))
        worker.notify()  # Restart the time-out of the load.


def post_worker_init(worker: Any) -> None:
    """Show the loaded and warm worker to nginx."""
    show(worker)


def worker_exit(_server: Any, worker: Any) -> None:
    """Keep the exit status of a failed load only for the first such worker, and only if no other worker serves.

    gunicorn stops at that status, and fails if it sees a second one while it stops.
    """
    if worker.pid == os.getpid() and not worker.booted:
        if is_any_warm(_runtime(worker)):
            os._exit(1)
        try:
            Path(worker.cfg.worker_tmp_dir, "failed").mkdir()
        except FileExistsError:
            os._exit(1)


def child_exit(server: Any, worker: Any) -> None:
    """Hide an ended worker, hand over its queue and close its metrics; stop the server if no worker becomes ready.

    Raises:
        HaltServer: if _BOOTS workers in a row ended while loading the model, and none is warm.
    """
    server.failed_boots = 0 if forget(worker) else getattr(server, "failed_boots", 0) + 1
    # Without listeners the server is already stopping.
    if server.LISTENERS:
        _hand_over(worker)
    if folder := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        from serving.observability.value_file import forget_gauges

        forget_gauges(Path(folder), str(worker.number))
    if server.failed_boots >= _BOOTS and server.LISTENERS and not is_any_warm(_runtime(worker)):
        raise HaltServer(f"{_BOOTS} workers in a row ended while loading the model", Arbiter.WORKER_BOOT_ERROR)


def _hand_over(worker: Any) -> None:
    """Respond to the requests that wait for a worker on a socket of its own, which a server without nginx lacks."""
    for listener in worker.sockets:
        if listener.FAMILY == socket.AF_UNIX:
            hand_over(listener)


def _runtime(worker: Any) -> Path:
    return Path(worker.cfg.worker_tmp_dir)
