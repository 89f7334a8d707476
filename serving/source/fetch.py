"""Fetches and unpacks the archive of a model into a folder, and finds the model in it."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from serving.source.errors import FetchError, UnusableArchiveError
from serving.source.location import ARCHIVE, Archive, LocalArchive, S3Object, WebFile, is_model
from serving.source.origin import Origin
from serving.source.s3 import read_object, s3_client
from serving.source.settings import SourceSettings
from textclf.data.archive import unpack_into
from textclf.data.download import download
from textclf.errors import SourceError, SourceTooLargeError, TextClfError
from textclf.files import sha256_of_file
from textclf.store.model_store import is_saved_model_folder, open_model

# Folders around the model in an archive.
_MAX_DEPTH = 3
_ENGINE = "engine"
_RAISE = "raise MODEL_MAX_BYTES if you trust the archive"


@dataclass(frozen=True)
class FetchedModel:
    """A model that was unpacked, and where it came from."""

    path: Path
    origin: Origin


def fetch_model(location: Archive, settings: SourceSettings, folder: Path) -> FetchedModel:
    """Fetch an archive, check it, unpack it below `folder` and return the model in it.

    The memory that this takes does not depend on the size of the archive. The fetched archive is removed.

    Raises:
        ConfigError: if S3 is needed and boto3 is not installed, or its settings can't be used.
        FetchError: if the archive can't be had.
        UnusableArchiveError: if it is damaged, unsafe or too large, or contains no model.
        OSError: if a file can't be written.
    """
    fetched = folder / ARCHIVE
    archive, etag = (location.path, None) if isinstance(location, LocalArchive) else (fetched, None)
    if isinstance(location, S3Object):
        with contextlib.closing(s3_client()) as client:
            etag = read_object(client, location, fetched, settings.model_max_bytes)
    elif isinstance(location, WebFile):
        _download(location, fetched, settings.model_max_bytes)
    else:
        _check_size(location, settings.model_max_bytes)
    sha256 = _checked_hash(location, archive, settings.model_sha256)
    unpacked = folder / "unpacked"
    unpacked.mkdir()
    try:
        unpack_into(unpacked, archive, settings.model_max_bytes)
    except SourceError as error:
        remedy = _RAISE if isinstance(error, SourceTooLargeError) else f"put another {ARCHIVE} there"
        raise UnusableArchiveError(f"{location}: {error.problem}; {remedy}") from error
    fetched.unlink(missing_ok=True)
    model = _model_in(location, unpacked)
    _check_files(location, model)
    return FetchedModel(model, Origin(str(location), sha256, etag))


def _download(location: WebFile, target: Path, max_bytes: int) -> None:
    try:
        download(location.url, target, max_bytes=max_bytes)
    except SourceTooLargeError as error:
        raise UnusableArchiveError(f"{location}: {error.problem}; {_RAISE}") from None
    except SourceError as error:
        raise FetchError(
            f"{location}: {error.problem}; check MODEL_PATH, the network and the space in TMPDIR"
        ) from None


def _check_size(location: LocalArchive, max_bytes: int) -> None:
    try:
        size = location.path.stat().st_size
    except OSError as error:
        raise _unreadable(location, error) from None
    if size > max_bytes:
        raise UnusableArchiveError(f"{location}: expected at most {max_bytes:,} bytes, got {size:,}; {_RAISE}")


def _unreadable(location: Archive, error: OSError) -> FetchError:
    return FetchError(f"{location}: can't be read ({error.strerror}); check MODEL_PATH and its permissions")


def _checked_hash(location: Archive, archive: Path, expected: str) -> str:
    try:
        found = sha256_of_file(archive)
    except OSError as error:
        raise _unreadable(location, error) from None
    if expected and found != expected.lower():
        raise UnusableArchiveError(
            f"{location}: expected SHA-256 {expected.lower()}, got {found}; check the archive and MODEL_SHA256"
        )
    return found


def _check_files(location: Archive, model: Path) -> None:
    """Compare the files that the workers read with their hashes; a plain SavedModel has none."""
    try:
        if not is_saved_model_folder(model):
            open_model(model).verify([_ENGINE])
    except TextClfError as error:
        raise UnusableArchiveError(f"{location}: {error}") from error


def _model_in(location: Archive, folder: Path) -> Path:
    """The model in an unpacked archive: the folder itself, or the only folder in it."""
    names: list[str] = []
    for _ in range(_MAX_DEPTH + 1):
        if is_model(folder):
            return folder
        entries = sorted(path for path in folder.iterdir() if not path.name.startswith((".", "__MACOSX")))
        names = names or [path.name for path in entries]
        if len(entries) != 1 or not entries[0].is_dir():
            break
        folder = entries[0]
    raise UnusableArchiveError(
        f"{location}: expected a model store, a version's folder or a SavedModel in the archive, found "
        f"{', '.join(names[:5]) or 'none'}; pack one with tar czf {ARCHIVE} -C my-models ."
    )
