"""A file of counted values, in the format that prometheus_client reads, without its risk on a full disk.

prometheus_client maps sparse files. If the disk has no room for a page of the file, the first write to that page raises
SIGBUS, which ends the process. Here the space is reserved before it is mapped. A value that gets no space is left out
of the file; the process that counts it still has it.

The file stays mapped, so that a count costs no system call, and none is lost with a process that is killed.

A file belongs to the number of a worker, not to its process: a successor continues the file of a worker that ended. So
counts survive the worker, and a scrape never reads more files than there are workers. No other imports of this package,
because gunicorn's arbiter and `serve` use it too.
"""

import contextlib
import errno
import json
import logging
import mmap
import os
import struct
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

# The header is the number of bytes in use. An entry is the length of its key, the key, its value and a timestamp.
_HEADER = struct.Struct("ii")
_LENGTH = struct.Struct("i")
_VALUE = struct.Struct("dd")
_ALIGNMENT = 8
# A worker fills about 100 KiB.
_STEP_BYTES = 16 * 1024
# Pause after a failure, so that each new value does not ask for space again.
_RETRY_SECONDS = 10.0
_NOT_SUPPORTED = {errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}

# Environment variable with the number of a worker; serving/server/gunicorn_conf.py sets it.
WORKER = "TEXTCLF_WORKER"
# prometheus_client's name for gauges of living workers, summed over them.
GAUGE_MODE: Final = "livesum"

_LOG = logging.getLogger(__name__)


def value_key(metric: str, sample: str, labels: Mapping[str, str], meaning: str) -> str:
    """Return the key of a value, as prometheus_client writes it."""
    return json.dumps([metric, sample, dict(labels), meaning], sort_keys=True)


def value_path(folder: Path, kind: str, mode: str, worker: str) -> Path:
    """Return the file of a kind of metrics; prometheus_client reads the kind and the mode of a gauge from its name."""
    return folder / f"{f'{kind}_{mode}' if mode else kind}_{worker}.db"


def forget_gauges(folder: Path, worker: str) -> None:
    """Remove the gauges of a worker that has ended, but keep the space of their file."""
    # Without the file there are none.
    with (
        contextlib.suppress(OSError),
        open(value_path(folder, "gauge", GAUGE_MODE, worker), "r+b", buffering=0) as file,
    ):
        file.write(_HEADER.pack(_HEADER.size, 0))


class ValueFile:
    """Named values in a file that one process writes and others read. Not thread-safe.

    Args:
        path: file to continue, or to create at the first value.
        clock: seconds, for the pause after a failure.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._map: mmap.mmap | None = None
        self._used = 0
        self._positions: dict[str, int] = {}
        self._failed_at: float | None = None

    def read(self, key: str) -> float:
        """Return a value, 0 if it is new; a new one is added to the file."""
        position = self._add(key)
        return 0.0 if self._map is None or position is None else float(_VALUE.unpack_from(self._map, position)[0])

    def write(self, key: str, value: float) -> None:
        """Set a value; the file is left as it is if it has no space for a new one."""
        position = self._positions.get(key)
        if position is None:
            position = self._add(key)
        if self._map is not None and position is not None:
            # One assignment: pack_into would first set the bytes to zero, and a reader could see that.
            self._map[position : position + _VALUE.size] = _VALUE.pack(value, 0.0)

    def _add(self, key: str) -> int | None:
        """Return the position of a value, added if it is new; None if there is no space."""
        if key in self._positions:
            return self._positions[key]
        if self._failed_at is not None and self._clock() - self._failed_at < _RETRY_SECONDS:
            return None
        try:
            if self._map is None:
                self._map = self._open()
            if key not in self._positions:
                self._append(self._map, key)
            self._failed_at = None  # A later failure is logged again.
        except OSError as error:
            if self._failed_at is None:
                _LOG.error("%s: no space for a metric, so /metrics lacks it until there is some: %s", self._path, error)
            self._failed_at = self._clock()
            return None
        return self._positions[key]

    def _open(self) -> mmap.mmap:
        if not self._path.exists():
            _create(self._path)
        with open(self._path, "r+b") as file:
            mapped = mmap.mmap(file.fileno(), os.fstat(file.fileno()).st_size)
        self._used = _HEADER.unpack_from(mapped, 0)[0]
        end = _HEADER.size
        while end < self._used:
            start = end + _LENGTH.size
            length = _LENGTH.unpack_from(mapped, end)[0]
            position = start + length + _padding(length)
            self._positions[mapped[start : start + length].decode("utf-8")] = position
            end = position + _VALUE.size
        return mapped

    def _append(self, mapped: mmap.mmap, key: str) -> None:
        name = key.encode("utf-8")
        entry = _LENGTH.pack(len(name)) + name + b" " * _padding(len(name)) + _VALUE.pack(0.0, 0.0)
        end = self._used + len(entry)
        while end > len(mapped):
            with open(self._path, "r+b", buffering=0) as file:
                _reserve(file.fileno(), len(mapped), _STEP_BYTES)
            mapped.resize(len(mapped) + _STEP_BYTES)
        mapped[self._used : end] = entry
        # Last, so that a reader, or the successor of a process that was killed here, sees only whole entries.
        mapped[: _LENGTH.size] = _LENGTH.pack(end)
        self._used = end
        self._positions[key] = end - _VALUE.size


def _padding(length: int) -> int:
    return _ALIGNMENT - (length + _LENGTH.size) % _ALIGNMENT


def _create(path: Path) -> None:
    """Create an empty file with reserved space, under its name only when it is complete."""
    new = path.with_suffix(".new")
    try:
        with open(new, "wb", buffering=0) as file:
            _reserve(file.fileno(), 0, _STEP_BYTES)
            os.pwrite(file.fileno(), _HEADER.pack(_HEADER.size, 0), 0)
        new.rename(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise


def _reserve(file: int, start: int, count: int) -> None:
    """Extend a file by bytes that have space on the disk.

    Raises:
        OSError: if the disk, a quota or a limit has no room for them.
    """
    try:
        os.posix_fallocate(file, start, count)
    except OSError as error:
        if error.errno not in _NOT_SUPPORTED:
            raise
        if os.pwrite(file, bytes(count), start) < count:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from None
