"""Memory of a worker's model: out of Python's garbage collections while it serves, back to the system after a swap."""

import ctypes
import gc
import sys


def leave_out_lasting_objects() -> None:
    """Leave all objects that exist now out of later collections; call it after the first model is loaded.

    A full collection searches all objects of a worker. It takes up to 0.1 seconds, about once in 1,000 requests.

    Free memory goes back to the system. The C library keeps it for later requests, but the load of a model leaves more
    than they need. Only glibc has the call.
    """
    gc.collect()
    gc.freeze()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def return_memory_of_replaced_model() -> None:
    """Collect what is left of a replaced model, and leave out the lasting objects again.

    The parts of an engine's model do not refer to each other, so it goes without a search. Those of TensorFlow do. A
    search writes to all objects, which would copy the memory that workers share (serving/server/shared_imports.py).
    """
    if "tensorflow" in sys.modules:
        gc.unfreeze()
    leave_out_lasting_objects()
