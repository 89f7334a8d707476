"""Reads an xz file with a limit on the decoder's memory, which the lzma module's own file object does not have."""

import lzma
from pathlib import Path

# The preset -9 of xz needs 65 MiB. A header may ask for 4 GiB.
MAX_MEMORY_BYTES = 256 << 20
_READ_BYTES = 1 << 16


class XzStream:
    """The unpacked content of a file with one or more xz streams; close it, or use it as a context manager."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "rb")  # noqa: SIM115 closed by __exit__
        self._decoder = _decoder()
        self._rest = b""

    def __enter__(self) -> "XzStream":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes; none at the end.

        Raises:
            lzma.LZMAError: if the file is damaged, or needs more memory than MAX_MEMORY_BYTES.
            EOFError: if the file is cut short.
        """
        while not self._decoder.eof or self._begin_next_stream():
            packed, self._rest = self._rest, b""
            if not packed and self._decoder.needs_input:
                packed = self._file.read(_READ_BYTES)
                if not packed:
                    raise EOFError("the compressed data is cut short")
            if data := self._decoder.decompress(packed, size):
                return data
        return b""

    def _begin_next_stream(self) -> bool:
        """Go to the next stream; zeros may be between two streams and at the end of the file."""
        rest = self._decoder.unused_data.lstrip(b"\0")
        while not rest:
            block = self._file.read(_READ_BYTES)
            if not block:
                return False
            rest = block.lstrip(b"\0")
        self._decoder, self._rest = _decoder(), rest
        return True


def _decoder() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_MEMORY_BYTES)
