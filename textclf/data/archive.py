"""Unpacks archives from untrusted sources: safely, with limits, and completely or not at all."""

import bz2
import contextlib
import gzip
import json
import lzma
import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

from textclf.data.tar_reader import Content, Kind, TarError, tar_members
from textclf.data.xz_stream import XzStream
from textclf.data.zip_reader import TooManyMembersError, check_packing, opened_zip
from textclf.errors import SourceError, SourceTooLargeError
from textclf.files import atomic_folder, remove_leftovers, sha256_of_file

MAX_BYTES = 20 << 30
MAX_MEMBERS = 1_000_000
_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".zip")
_RECORD = ".archive.json"
_CHUNK_BYTES = 1 << 16
# Linux has no longer paths; deeper folders are an attempt to exhaust the stack.
_MAX_NAME_BYTES = 4096
_MAX_DEPTH = 100
_DECOMPRESSORS: dict[bytes, Callable[[Path], Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": XzStream}
_DAMAGE = (TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, gzip.BadGzipFile)
_NOT_TRUSTED = "this is no archive to trust"


class _Member(NamedTuple):
    """A file or folder in an archive; `open` opens a file and is None for a folder."""

    name: str
    open: Callable[[], IO[bytes] | Content] | None


def is_archive(path: Path | str) -> bool:
    """True if extract_archive() unpacks files of this name."""
    return str(path).lower().endswith(_SUFFIXES)


def archive_stem(path: Path | str) -> str:
    """The file's name without the suffixes of an archive: `a/data.tar.gz` gives `data`."""
    name = Path(path).name
    suffix = max((s for s in _SUFFIXES if name.lower().endswith(s)), key=len, default="")
    return name[: len(name) - len(suffix)]


def extract_archive(
    archive: Path | str, target: Path | str, *, max_bytes: int = MAX_BYTES, max_members: int = MAX_MEMBERS
) -> Path:
    """Unpack a tar (plain, gzip, bzip2, xz) or zip archive and return the folder.

    Only plain files and folders inside the target are accepted: no links, devices, absolute paths or "..", and no
    name twice. Sizes are counted while unpacking; headers are not trusted. Modes, owners and times are not restored.
    The target appears when it is complete.

    A folder that was unpacked from the same archive (by SHA-256) is used again. If `target` has other content, the
    archive is unpacked to `<target>-<first digits of its SHA-256>`.

    Args:
        archive: the file; its first bytes decide its kind, not its name.
        target: the folder to create.
        max_bytes: largest accepted size of the unpacked files together.

    Raises:
        SourceError: if the archive is missing, damaged, too large or unsafe.
    """
    archive, target = Path(archive), Path(target)
    if not archive.is_file():
        raise SourceError(archive, "expected an archive, found no such file", "check the path, or download it again")
    record = {"archive": archive.name, "sha256": sha256_of_file(archive)}
    if target.exists() and not _was_made_from(target, record):
        target = target.with_name(f"{target.name}-{record['sha256'][:12]}")
    if _was_made_from(target, record):
        return target
    remove_leftovers(target.parent)
    try:
        with atomic_folder(target, many_files=True) as staging:
            unpack_into(staging, archive, max_bytes, max_members)
            (staging / _RECORD).write_text(json.dumps(record), encoding="utf-8")
    except OSError as error:
        if _was_made_from(target, record):
            return target  # Another process has unpacked it meanwhile.
        raise SourceError(
            archive,
            f"can't be unpacked to {target} ({error.strerror or error})",
            "free some space, or choose a folder that you may write to",
        ) from error
    return target


def _was_made_from(folder: Path, record: dict[str, str]) -> bool:
    try:
        return bool(json.loads((folder / _RECORD).read_text(encoding="utf-8"))["sha256"] == record["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def unpack_into(folder: Path, archive: Path, max_bytes: int, max_members: int = MAX_MEMBERS) -> None:
    """Unpack an archive into an existing folder by the rules of extract_archive(); an error leaves parts of it.

    Raises:
        SourceError: if the archive is damaged, too large or unsafe.
        OSError: if the archive can't be read, or the folder can't be written.
    """
    left, count = max_bytes, 0
    with (
        _damage_named(archive, max_members),
        contextlib.closing(_members(archive, max_members)) as members,
    ):
        for count, member in enumerate(members, start=1):
            if count > max_members:
                raise TooManyMembersError
            file = _make(archive, member, os.path.join(folder, *_safe_parts(archive, member.name)))
            if file is None or member.open is None:
                continue
            with file, member.open() as content:
                while chunk := content.read(_CHUNK_BYTES):
                    left -= len(chunk)
                    if left < 0:
                        problem = f"more than {max_bytes:,} bytes when unpacked, which is the limit"
                        raise SourceTooLargeError(archive, problem, "unpack it yourself if you trust it")
                    file.write(chunk)
        if count == 0:
            raise EOFError("it holds no files")


def _make(archive: Path, member: _Member, path: str) -> IO[bytes] | None:
    """Create the member's folder, or its new, empty file, which must not exist yet."""
    try:
        if member.open is None:
            os.makedirs(path, exist_ok=True)
            return None
        try:
            return open(path, "xb")
        except FileNotFoundError:  # Archives need not list their folders.
            os.makedirs(os.path.dirname(path), exist_ok=True)
            return open(path, "xb")
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        problem = f"the member {member.name!r} occurs twice, or has the name of a folder"
        raise SourceError(archive, problem, _NOT_TRUSTED) from None


@contextlib.contextmanager
def _damage_named(archive: Path, max_members: int) -> Iterator[None]:
    """Turn exceptions of the decompressors into a SourceError; an OSError of the system is raised again."""
    try:
        yield
    except TooManyMembersError:
        problem = f"more than {max_members:,} members, which is the limit"
        raise SourceTooLargeError(archive, problem, "unpack it yourself") from None
    except (*_DAMAGE, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        expected = "expected a tar (plain, gzip, bzip2, xz) or zip archive"
        problem = f"damaged, cut short or of an unknown kind ({error}); {expected}"
        raise SourceError(archive, problem, "delete it and download it again") from error


def _safe_parts(archive: Path, name: str) -> tuple[str, ...]:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise SourceError(archive, f"the member {name!r} points out of the archive", _NOT_TRUSTED)
    if len(path.parts) > _MAX_DEPTH or len(os.fsencode(name)) > _MAX_NAME_BYTES:
        problem = (
            f"the member {name[:100]!r}… has a path of {len(path.parts):,} parts and {len(name):,} characters; "
            f"expected at most {_MAX_DEPTH} and {_MAX_NAME_BYTES:,}"
        )
        raise SourceError(archive, problem, _NOT_TRUSTED)
    return path.parts


def _members(archive: Path, max_members: int) -> Generator[_Member, None, None]:
    with open(archive, "rb") as file:
        start = file.read(6)
    if start.startswith(b"PK"):
        return _zip_members(archive, max_members)
    for magic, decompressor in _DECOMPRESSORS.items():
        if start.startswith(magic):
            return _tar_members(archive, decompressor)
    return _tar_members(archive, lambda path: open(path, "rb"))


def _tar_members(archive: Path, decompress: Callable[[Path], Any]) -> Generator[_Member, None, None]:
    with decompress(archive) as stream:
        for member in tar_members(stream):
            if member.kind is Kind.FOLDER:
                yield _Member(member.name, None)
            elif member.kind is Kind.FILE:
                yield _Member(member.name, partial(_same, member.content))
            else:
                _refuse_kind(archive, member.name)


def _same(content: Content) -> Content:
    return content


def _zip_members(archive: Path, max_members: int) -> Generator[_Member, None, None]:
    with opened_zip(archive, max_members) as zipped:
        for member in zipped.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)
            if member.flag_bits & 1:
                raise SourceError(archive, f"the member {member.filename!r} is encrypted", "unpack it yourself")
            check_packing(member)
            if member.is_dir() and kind in (0, stat.S_IFDIR):
                yield _Member(member.filename, None)
            elif kind in (0, stat.S_IFREG):
                yield _Member(member.filename, partial(zipped.open, member))
            else:
                _refuse_kind(archive, member.filename)


def _refuse_kind(archive: Path, name: str) -> None:
    problem = f"the member {name!r} is a link or a device, or sparse; expected plain files and folders"
    raise SourceError(archive, problem, _NOT_TRUSTED)
