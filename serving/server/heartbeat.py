"""The sign of life of a gunicorn worker, in memory: gunicorn would end if it could not create a file for it."""

import os
from typing import Any

from gunicorn.workers import base
from gunicorn.workers.workertmp import WorkerTmp


class MemoryHeartbeat(WorkerTmp):  # type: ignore[misc]
    """gunicorn's heartbeat file without a disk; the worker sets its time, and the arbiter reads it."""

    def __init__(self, _cfg: Any) -> None:
        self._tmp = os.fdopen(os.memfd_create("textclf-heartbeat"), "w+b", 0)


def use_memory() -> None:
    """Let all workers that are created from now on use memory."""
    base.WorkerTmp = MemoryHeartbeat
