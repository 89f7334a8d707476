"""The stack on which a thread handles signals, kept while a library exchanges it.

With AMX, OpenVINO 2026.4 gives the thread that first uses an openvino.Core another stack for signal handlers. It
unmaps that stack with the Core. Another thread may release the Core, or two Cores may be released in the order in which
they were made. Then a thread is left with an unmapped stack, and its next signal kills the process.
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

    OpenVINO unmaps its own stack later, and leaves the stack of the thread alone, because it is another one.
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
