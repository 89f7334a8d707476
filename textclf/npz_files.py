"""Arrays of .npz files that may be damaged, or were made to do harm: read whole, never unpickled, bounded in size."""

import io
import zipfile
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

# What opening such a file, and reading it, raises where it is missing, damaged or something else.
UNREADABLE = (
    OSError, ValueError, KeyError, EOFError, OverflowError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def read_array(file: zipfile.ZipFile, name: str, max_bytes: int) -> NDArray[Any]:
    """One array of an open .npz file, as numpy.savez names it.

    Args:
        file: the .npz file.
        name: of the array.
        max_bytes: that it may take, unpacked.

    Raises:
        one of UNREADABLE: it is not there, larger, packed in a way of its own, or damaged.
    """
    info = file.getinfo(f"{name}.npy")
    if info.file_size > max_bytes or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name} is larger than {max_bytes} bytes, or packed in another way")
    # Read to its end before it is parsed: only there its checksum is compared.
    values: NDArray[Any] = np.lib.format.read_array(io.BytesIO(file.read(info)), allow_pickle=False)
    return values
