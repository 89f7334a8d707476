"""Opens zip archives from untrusted sources: the central directory, the packing and the sizes are bounded."""

import contextlib
import os
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

# The directory is read whole. A million members with usual names need about 150 MB.
MAX_DIRECTORY_BYTES = 256 << 20
# zipfile's work grows with the square of an entry's extra field.
MAX_EXTRA_BYTES = 1 << 10
# zipfile unpacks these piece by piece. With other methods, 64 KiB may become a gigabyte in memory.
_PACKED = {zipfile.ZIP_STORED: "stored", zipfile.ZIP_DEFLATED: "deflated"}
_ENTRY_BYTES = 46
_LENGTHS = struct.Struct("<3H")  # Name, extra field, comment.
_LENGTHS_AT = 28


class TooManyMembersError(Exception):
    """The archive has more members than allowed."""


class TooLargeError(Exception):
    """The members have more bytes, unpacked, than allowed."""


@contextlib.contextmanager
def opened_zip(path: Path, max_members: int) -> Iterator[zipfile.ZipFile]:
    """Yield a zip archive, open to read.

    Raises:
        TooManyMembersError: if it has more than `max_members` members.
        zipfile.BadZipFile: if it is damaged, or its directory exceeds a limit.
    """
    with open(path, "rb") as file:
        reads = _BoundedReads(file, max_members)
        with zipfile.ZipFile(cast(Any, reads)) as zipped:
            reads.is_open = True
            yield zipped


def check_packing(member: zipfile.ZipInfo) -> None:
    """Check that a member is unpacked piece by piece.

    Raises:
        zipfile.BadZipFile: if it is packed in another way.
    """
    if member.compress_type not in _PACKED:
        raise zipfile.BadZipFile(
            f"the member {member.filename!r:.200} is packed by method {member.compress_type}; expected "
            f"{' or '.join(_PACKED.values())}"
        )


def check_sizes(file: IO[bytes], max_members: int, max_bytes: int, max_ratio: int, unchecked: int) -> None:
    """Check an archive before all of it is read; zipfile unpacks no more of a member than the directory says.

    Args:
        file: the archive, open to read.
        max_members: most members.
        max_bytes: most bytes of all members together, unpacked.
        max_ratio: most bytes, unpacked, for each byte of the archive.
        unchecked: bytes, unpacked, up to which any ratio is allowed.

    Raises:
        TooManyMembersError: if it has more members.
        TooLargeError: if it has more bytes.
        zipfile.BadZipFile: if it is damaged, its directory exceeds a limit, or a member is packed in another way.
    """
    with zipfile.ZipFile(cast(Any, _BoundedReads(file, max_members))) as zipped:
        members = zipped.infolist()
    for member in members:
        check_packing(member)
    size = sum(member.file_size for member in members)
    if size > min(max_bytes, max(unchecked, max_ratio * os.fstat(file.fileno()).st_size)):
        raise TooLargeError


class _BoundedReads:
    """A file that checks the directory of an archive before zipfile parses it."""

    def __init__(self, file: IO[bytes], max_members: int) -> None:
        self.is_open = False
        self._file = file
        self._max_members = max_members
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        if self.is_open:
            return self._file.read(size)
        left = os.fstat(self._file.fileno()).st_size - self._file.tell()
        if not -1 <= size <= MAX_DIRECTORY_BYTES or (size == -1 and left > MAX_DIRECTORY_BYTES):
            raise zipfile.BadZipFile(f"its directory has {max(size, left):,} bytes, more than {MAX_DIRECTORY_BYTES:,}")
        data = self._file.read(size)
        if data.startswith(b"PK\1\2"):
            self._check_directory(data)
        return data

    def _check_directory(self, data: bytes) -> None:
        start = members = 0
        while start + _ENTRY_BYTES <= len(data):
            name, extra, comment = _LENGTHS.unpack_from(data, start + _LENGTHS_AT)
            members += 1
            if members > self._max_members:
                raise TooManyMembersError
            if extra > MAX_EXTRA_BYTES:
                raise zipfile.BadZipFile(f"an entry has an extra field of {extra} bytes, more than {MAX_EXTRA_BYTES}")
            start += _ENTRY_BYTES + name + extra + comment
