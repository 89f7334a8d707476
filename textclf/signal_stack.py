"""The stack on which a thread handles signals, kept while a library exchanges it.

With AMX, OpenVINO 2026.4 gives a thread that makes the first use of an openvino.Core another stack for signal handlers.
It unmaps that stack with the Core. If another thread releases the Core, or two Cores are released in the order in which
they were made, a thread is left with an unmapped stack, and its next signal kills the process.
"""

import contextlib
import ctypes
import sys
from collections.abc import Iterator


class _Stack(ctypes.Structure):
    """`stack_t` of Linux: https://man7.org/linux/man-pages/man2/sigaltstack.2.html."""

    _fields_ = (("start", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextlib.contextmanager
def kept_signal_stack() -> Iterator[None]:
    """After the block, this thread has the stack for signal handlers that it had before, or none as before.

    A library that finds another stack than its own in use does not touch it when it unmaps its own.
    """
    if sys.platform != "linux":
        yield
        return
    exchange = ctypes.CDLL(None).sigaltstack
    before = _Stack()
    exchange(None, ctypes.byref(before))
    try:
        yield
    finally:
        # Linux refuses a stack that is too small for the registers of AMX. Then the larger new one stays.
        exchange(ctypes.byref(before), None)
