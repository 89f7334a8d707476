"""Ends a command soon after SIGTERM, whatever it computes.

Python runs the handler of a signal between two instructions of the interpreter. A training step or the compilation of
a graph is one instruction and may take minutes. So a thread ends the process if the handler could not. That loses
no finished file: files are written atomically, as for a kill.
"""

import contextlib
import functools
import os
import signal
import sys
import threading
from collections.abc import Iterator

# Container runtimes send SIGKILL ten seconds after SIGTERM.
_MAX_SECONDS = 8.0
_STATUS = 128 + signal.SIGTERM
_END = 0  # No signal has this number.
_open_blocks: list[threading.Event] = []
_forking = threading.local()


@contextlib.contextmanager
def ends_on_sigterm(max_seconds: float = _MAX_SECONDS) -> Iterator[None]:
    """Within the block, SIGTERM raises SystemExit, and ends the process after `max_seconds` if that is not enough.

    It has no effect outside the main thread, which alone can handle signals. In a process forked within the block,
    SIGTERM has its default effect.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _prepare_forks()
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    is_over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(reader, is_over, max_seconds), daemon=True)
    _open_blocks.append(is_over)
    earlier_handler = signal.signal(signal.SIGTERM, lambda *_: sys.exit(_STATUS))
    # The interpreter writes the number of each signal at once, also while it can't run the handler.
    earlier_fd = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    watcher.start()
    try:
        yield
    finally:
        is_over.set()
        signal.set_wakeup_fd(earlier_fd)
        signal.signal(signal.SIGTERM, signal.SIG_DFL if earlier_handler is None else earlier_handler)
        _open_blocks.remove(is_over)
        # The end of the pipe would not do: a forked process may keep the writer open.
        with contextlib.suppress(BlockingIOError):
            os.write(writer, bytes([_END]))
        watcher.join()
        os.close(writer)
        os.close(reader)


def _watch(reader: int, is_over: threading.Event, max_seconds: float) -> None:
    while not is_over.is_set():
        if os.read(reader, 1)[0] == signal.SIGTERM and not is_over.wait(max_seconds):
            os._exit(_STATUS)


def _before_fork() -> None:
    # A signal to the new process waits until it has left the blocks.
    _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _after_fork() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _forking.mask)


def _leave_blocks() -> None:
    """In a forked process: it has no watcher, and a signal to it must not reach the watcher of its parent."""
    if _open_blocks:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _after_fork()


@functools.cache
def _prepare_forks() -> None:
    """Once in a process: Python can't remove such functions."""
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_leave_blocks)
