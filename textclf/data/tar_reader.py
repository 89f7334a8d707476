"""Reads tar archives from untrusted sources: files and folders, in one pass, with bounded headers.

It takes the place of tarfile, which keeps all headers in memory, and which a header of a kilobyte (packed) can keep
busy for hours before Python 3.11.10 (CVE-2024-6232). Here the work is linear in the bytes read.

It reads the formats v7, ustar and pax (POSIX.1-2001, "pax Interchange Format"), and those of GNU with long names and
large sizes. Sparse files are not unpacked.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import IO, Protocol

BLOCK_BYTES = 512
# Limits of one extended header. Usual ones have a few hundred bytes; attributes of files may need some kilobytes.
MAX_HEADER_BYTES = 1 << 20
_MAX_RECORDS = 100
_MAX_EXTENSIONS = 8
# Limit of all bytes that are not content: headers, padding, and what follows the end.
_SPARE_BYTES = 64 << 20
_SPARE_BYTES_A_MEMBER = 8 << 10
_SKIP_BYTES = 1 << 16
_MAX_DIGITS = 20

_FILES = (b"0", b"\0", b"7")
_FOLDER = b"5"
_PAX, _PAX_GLOBAL = (b"x", b"X"), b"g"
_LONG_NAME, _LONG_LINK = b"L", b"K"
_SPARSE = b"S"
_HAS_NO_CONTENT = (b"1", b"2", b"3", b"4", b"6", _FOLDER)


class TarError(Exception):
    """An archive that is damaged, or exceeds a limit of its headers."""


class Kind(Enum):
    """Kind of a member."""

    FILE = auto()
    FOLDER = auto()
    SPARSE = auto()
    OTHER = auto()


class Stream(Protocol):
    """The only method of a decompressor that a reader needs."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes; none at the end."""


@dataclass(frozen=True)
class TarMember:
    """A member; `content` is valid until the next member is read."""

    name: str
    kind: Kind
    content: "Content"


class Content:
    """The bytes of a member, to be read once."""

    def __init__(self, stream: Stream, size: int) -> None:
        self._stream = stream
        self.left = size

    def __enter__(self) -> "Content":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes; none at the end.

        Raises:
            TarError: if the archive ends before the content.
        """
        wanted = min(size, self.left)
        data = self._stream.read(wanted) if wanted else b""
        if wanted and not data:
            raise TarError("it ends inside a file")
        self.left -= len(data)
        return data


def tar_members(stream: IO[bytes] | Stream) -> Iterator[TarMember]:
    """Yield the members of an archive, then read the stream to its end.

    Raises:
        TarError: if the archive is damaged, has no end, or exceeds a limit.
    """
    return _TarReader(stream).members()


class _TarReader:
    def __init__(self, stream: IO[bytes] | Stream) -> None:
        self._stream = stream
        self._spare = _SPARE_BYTES
        self._global_records: dict[bytes, bytes] = {}

    def members(self) -> Iterator[TarMember]:
        while (header := self._next_header()) is not None:
            self._spare += _SPARE_BYTES_A_MEMBER
            member, padding = header
            yield member
            while member.content.read(_SKIP_BYTES):
                pass
            self._read_spare(padding)
        # Reading to the end makes the decompressor compare its checksum.
        while self._some_spare(_SKIP_BYTES):
            pass

    def _next_header(self) -> tuple[TarMember, int] | None:
        """Return the next member and the bytes of padding after it; None at the end of the archive."""
        records: dict[bytes, bytes] = {}
        for _ in range(_MAX_EXTENSIONS + 1):
            block = self._some_spare(BLOCK_BYTES)
            if not block.strip(b"\0") and len(block) == BLOCK_BYTES:
                return None
            if len(block) < BLOCK_BYTES or not _has_checksum(block):
                raise TarError("a header is damaged, or the mark at the end of the archive is missing")
            kind, size = block[156:157], _number(block[124:136])
            if kind in _PAX:
                records = {**records, **_records(self._extension(size))}
            elif kind == _PAX_GLOBAL:
                self._global_records |= _records(self._extension(size))
                if len(self._global_records) > _MAX_RECORDS:
                    raise TarError(f"more than {_MAX_RECORDS} global records")
            elif kind == _LONG_NAME:
                records.setdefault(b"path", _text(self._extension(size)))
            elif kind == _LONG_LINK:
                self._extension(size)
            else:
                return self._member(block, kind, size, {**self._global_records, **records})
        raise TarError(f"more than {_MAX_EXTENSIONS} headers for one file")

    def _member(self, block: bytes, kind: bytes, size: int, records: dict[bytes, bytes]) -> tuple[TarMember, int]:
        name = records.get(b"path") or _name(block)
        if stated := records.get(b"size"):
            size = _decimal(stated)
        if kind in _HAS_NO_CONTENT:
            size = 0
        member_kind = Kind.OTHER
        if kind == _SPARSE or any(key.startswith(b"GNU.sparse.") for key in records):
            member_kind = Kind.SPARSE
        elif kind == _FOLDER or (kind == b"\0" and name.endswith(b"/")):
            member_kind = Kind.FOLDER
        elif kind in _FILES:
            member_kind = Kind.FILE
        content = Content(self._stream, size)
        return TarMember(
            name.rstrip(b"/").decode("utf-8", "surrogateescape"), member_kind, content
        ), -size % BLOCK_BYTES

    def _extension(self, size: int) -> bytes:
        """The content of an extended header."""
        if size > MAX_HEADER_BYTES:
            raise TarError(f"a header of {size:,} bytes; expected at most {MAX_HEADER_BYTES:,}")
        return self._read_spare(size + -size % BLOCK_BYTES)[:size]

    def _read_spare(self, size: int) -> bytes:
        data = self._some_spare(size)
        if len(data) < size:
            raise TarError("it ends inside a header")
        return data

    def _some_spare(self, size: int) -> bytes:
        """Read `size` bytes that are not content, or fewer at the end of the stream."""
        parts = []
        while size:
            data = self._stream.read(size)
            if not data:
                break
            parts.append(data)
            size -= len(data)
            self._spare -= len(data)
        if self._spare < 0:
            raise TarError("its headers and padding are larger than those of any usual archive")
        return b"".join(parts)


def _records(data: bytes) -> dict[bytes, bytes]:
    """Parse the records `<length> <key>=<value>` of a pax header, each with a line feed at its end."""
    records: dict[bytes, bytes] = {}
    start = 0
    while start < len(data) and data[start]:
        blank = data.find(b" ", start, start + _MAX_DIGITS)
        length = _decimal(data[start:blank]) if blank > start else 0
        end = start + length
        if end <= blank + 1 or end > len(data) or data[end - 1 : end] != b"\n":
            raise TarError("a header has a damaged record")
        key, equals, value = data[blank + 1 : end - 1].partition(b"=")
        if not equals or len(records) == _MAX_RECORDS:
            raise TarError(f"a header has a damaged record, or more than {_MAX_RECORDS}")
        records[key] = value
        start = end
    return records


def _has_checksum(block: bytes) -> bool:
    """Whether the sum of the bytes is the stated one; old programs added signed bytes."""
    stated, others = _number(block[148:156]), block[:148] + block[156:]
    unsigned = sum(others) + 8 * ord(" ")
    return stated == unsigned or stated == unsigned - 256 * sum(byte > 127 for byte in others)


def _number(field: bytes) -> int:
    """A number in octal digits, or in GNU's binary form."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = _text(field).strip(b" ")
    if digits.strip(b"01234567"):
        raise TarError("a header has a damaged number")
    return int(digits or b"0", 8)


def _decimal(digits: bytes) -> int:
    if not digits.isdigit() or len(digits) > _MAX_DIGITS:
        raise TarError("a header has a damaged number")
    return int(digits)


def _name(block: bytes) -> bytes:
    name, prefix = _text(block[:100]), _text(block[345:500])
    is_ustar = block[257:263] == b"ustar\0"  # GNU's header has other fields in the place of the prefix.
    return prefix + b"/" + name if is_ustar and prefix else name


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]
