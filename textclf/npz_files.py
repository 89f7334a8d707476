"""Reads arrays of damaged or hostile .npz files safely: checksum compared, size bounded, never unpickled."""

import io
import zipfile
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Exceptions of opening and reading a file that is missing, damaged or of another format.
UNREADABLE = (
    OSError, ValueError, KeyError, EOFError, OverflowError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def read_array(file: zipfile.ZipFile, name: str, max_bytes: int) -> NDArray[Any]:
    """One array of an open .npz file, as numpy.savez names it, with at most `max_bytes` when unpacked.

    Raises:
        UNREADABLE: if the array is missing, larger, damaged, or packed in another way than zip's usual two.
    """
    info = file.getinfo(f"{name}.npy")
    if info.file_size > max_bytes or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name} is larger than {max_bytes} bytes, or packed in another way")
    # Read to the end before parsing, because only then zipfile compares the checksum.
    values: NDArray[Any] = np.lib.format.read_array(io.BytesIO(file.read(info)), allow_pickle=False)
    return values
