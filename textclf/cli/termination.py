"""Ends a command soon after SIGTERM, whatever it computes.

Python runs the handler of a signal between two instructions of the interpreter. A training step or the compilation of
a graph is one instruction and may take minutes. So a thread ends the process if the handler could not. That loses
nothing: files are written atomically, as for a kill.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator

# Container runtimes send SIGKILL ten seconds after SIGTERM.
_MAX_SECONDS = 8.0
_STATUS = 128 + signal.SIGTERM


@contextlib.contextmanager
def ends_on_sigterm(max_seconds: float = _MAX_SECONDS) -> Iterator[None]:
    """Within the block, SIGTERM raises SystemExit, and ends the process after `max_seconds` if that is not enough.

    It has no effect outside the main thread, which alone can handle signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    is_over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(reader, is_over, max_seconds), daemon=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_STATUS))
    # The interpreter writes the number of each signal at once, also while it can't run the handler.
    earlier = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    watcher.start()
    try:
        yield
    finally:
        is_over.set()
        signal.set_wakeup_fd(earlier)
        os.close(writer)
        watcher.join()
        os.close(reader)


def _watch(reader: int, is_over: threading.Event, max_seconds: float) -> None:
    while number := os.read(reader, 1):  # Empty at the end of the block.
        if number[0] == signal.SIGTERM and not is_over.wait(max_seconds):
            os._exit(_STATUS)
