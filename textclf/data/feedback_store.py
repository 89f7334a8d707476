"""Labelled reviews on disk: the layout, the writers and the reader of its index.

    <folder>/train/<class>/<id>.txt   a review, in the layout that load_dataset reads
    <folder>/feedback.log             one JSON line per review: id, time, label, source, model, audit
    <folder>/.feedback.usage          bytes taken, as a number; locked (flock) while a review is stored

The index does not end in .jsonl, which would make it a table of data. A review is written and synced before its line.
A crash between the two leaves a review without a line: it was not acknowledged, can be trained on and is no audit.

A sync takes milliseconds on many disks, so threads share them. Each thread writes and syncs its own text; the disk
serves concurrent syncs together. The names and lines of all waiting threads then become durable as one group.
"""

import contextlib
import errno
import glob
import os
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from textclf.data.class_folders import class_folder, make_class_folder
from textclf.data.feedback_index import INDEX, IndexEntry
from textclf.data.group_commit import GroupCommit
from textclf.errors import (
    AlreadyLabelledError,
    InputError,
    StorageQuotaError,
    StorageUnavailableError,
    TextClfError,
    UnknownLabelError,
)
from textclf.files import atomic_file, locked, remove_leftovers, staged_file, sync_folder
from textclf.label_column import parse_label
from textclf.labels import OTHER_LABEL
from textclf.tokenization.text_key import is_blank
from textclf.unicode import encode_utf8

TEXTS = "train"
_USAGE = ".feedback.usage"
# Smallest unit of space on most file systems.
_BLOCK_BYTES = 4096
# Reviews may have been removed, so a full store counts again, but not at every request.
_RECOUNT_SECONDS = 60.0
# The folder can't be made or written; EEXIST if it, or train/, is a file.
_UNWRITABLE = {errno.EACCES, errno.EEXIST, errno.ENOENT, errno.ENOTDIR, errno.EPERM, errno.EROFS}


def stored_label(label: str, class_names: Sequence[str]) -> str:
    """The class name (or OTHER_LABEL) under which a label is stored: the label itself, or an equal one.

    Raises:
        UnknownLabelError: if no class has such a name; 0 and 1 are no positions here.
    """
    known = (*class_names, OTHER_LABEL)
    if label in known:
        return label
    try:
        return parse_label(label, known, has_positions=False)
    except InputError:
        raise _unknown(label, known) from None


def _unknown(label: str, known: Sequence[str]) -> UnknownLabelError:
    return UnknownLabelError(f"label: expected one of {', '.join(known)}, got {label[:100]!r}")


def save_review(text: str, label: str, save_dir: Path | str, class_names: Sequence[str]) -> Path:
    """Store a labelled text in the folder of its class in `save_dir`, completely or not at all; return the file's path.

    The label is a class or OTHER_LABEL; textclf.data.class_folders names its folder, which is made if it is missing.
    The text is stored unchanged, in UTF-8.

    Raises:
        InputError: if the text is blank or not Unicode, the label is unknown, or the class folder is a link that
            leads out of save_dir.
    """
    content = _checked_content(text)
    path = _new_path(label, Path(save_dir), class_names)
    with atomic_file(path, "wb") as file:
        file.write(content)
    return path


def _checked_content(text: str) -> bytes:
    if not isinstance(text, str) or is_blank(text):
        raise InputError(f"expected a text that is not blank, got {text!r:.80}")
    return encode_utf8(text)


def _new_path(label: str, save_dir: Path, class_names: Sequence[str], name: str | None = None) -> Path:
    """Return a path in the folder of a class; without a name an unused one."""
    if label not in (*class_names, OTHER_LABEL):
        raise UnknownLabelError(f"expected one of {', '.join(class_names)} as the label, got {label!r:.220}")
    folder = class_folder(save_dir, label)
    if folder.resolve().parent != save_dir.resolve():
        raise InputError(
            f"{folder}: expected a folder in {save_dir}, found a link that leads out of it; remove the link"
        )
    make_class_folder(save_dir, label)
    return folder / f"{name or uuid.uuid4()}.txt"


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class _Review:
    """A review whose text is on disk under a temporary name, and what its line needs."""

    temporary: Path
    path: Path
    space: int
    label: str
    source: str | None
    model: str
    audit: bool
    is_named: bool

    def entry(self, stored_at: str) -> IndexEntry:
        return IndexEntry(self.path.stem, stored_at, self.label, self.source, self.model, self.audit)


class FeedbackStore:
    """Reviews with an index and a quota; processes and threads may share a folder. The constructor only stores.

    Args:
        folder: folder of the reviews; made if missing.
        max_bytes: space for reviews and index, in bytes; each file is rounded up to blocks of 4 KiB.
    """

    def __init__(
        self,
        folder: Path,
        max_bytes: int,
        clock: Callable[[], datetime] = _now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        self._usage = folder / _USAGE
        self._clock = clock
        self._monotonic = monotonic
        self._counted_at: float | None = None
        self._commits = GroupCommit(self._commit)
        # Class folders and the index, if this process has synced their own names.
        self._named: set[Path] = set()

    def save(
        self,
        text: str,
        label: str,
        class_names: Sequence[str],
        model: str,
        source: str | None = None,
        audit: bool = False,
        review_id: str | None = None,
    ) -> str:
        """Store a review and its line in the index (see IndexEntry), both synced to disk; return the review's id.

        `review_id` is a UUID that the caller chose, so that the same label is stored once; None makes a new one.

        Raises:
            AlreadyLabelledError: if there is a review with this id.
            UnknownLabelError: if the label is neither a class nor OTHER_LABEL.
            InputError: if the text can't be stored.
            StorageQuotaError: if the quota is used up.
            StorageUnavailableError: if the folder can't be made or written.
            OSError: if the disk refuses for another reason; nothing is left behind.
        """
        if label not in (known := (*class_names, OTHER_LABEL)):
            raise _unknown(label, known)
        content = _checked_content(text)
        space = _blocks(len(content))
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._refuse_if_full(space)
            path = _new_path(label, self.folder / TEXTS, class_names, review_id)
            with staged_file(path, content) as temporary:
                is_named = review_id is not None
                self._commits.submit(_Review(temporary, path, space, label, source, model, audit, is_named))
        except OSError as error:
            if error.errno not in _UNWRITABLE:
                raise
            raise StorageUnavailableError(
                f"expected NEW_DATA_DIR, {self.folder}, to be a folder that this user can write, got: {error}; fix "
                f"its permissions, or set NEW_DATA_DIR to another folder"
            ) from error
        return path.stem

    def remove(self, review_id: str) -> bool:
        """Remove the text of a review, whatever its class; return whether there was one. Its line in the index stays.

        Raises:
            OSError: if the disk refuses.
        """
        if not self.folder.is_dir():
            return False
        with locked(self._usage):
            paths = self._paths(review_id)
            for path in paths:
                # A process counts the disk once. It must count before the text is removed, or its space is freed twice.
                used, space = self._used(), _blocks(path.stat().st_size)
                path.unlink()
                sync_folder(path.parent)
                self._write_usage(max(0, used - space))
        return bool(paths)

    def label_of(self, review_id: str) -> str | None:
        """The class folder of a stored review; None if there is no such review."""
        return next((path.parent.name for path in self._paths(review_id)), None)

    def _paths(self, review_id: str) -> list[Path]:
        return list((self.folder / TEXTS).glob(f"*/{glob.escape(review_id)}.txt"))

    def _commit(self, reviews: Sequence[_Review]) -> list[TextClfError | None]:
        """Give staged reviews their names and lines; return the reason against each one that is not stored.

        Raises:
            OSError: if the disk refuses; then none of the reviews is stored.
        """
        with locked(self._usage):
            used = self._used()
            if used + sum(review.space for review in reviews) > self.max_bytes:
                used = self._counted(used)
            refusals: list[TextClfError | None] = []
            fitting: list[_Review] = []
            for review in reviews:
                refusal = self._refusal(review, used, fitting)
                refusals.append(refusal)
                if refusal is None:
                    used += review.space
                    fitting.append(review)
            if fitting:
                used += self._stored(fitting)
            self._write_usage(used)
        return refusals

    def _refusal(self, review: _Review, used: int, others: Sequence[_Review]) -> TextClfError | None:
        name = review.path.stem
        if review.is_named and (self._paths(name) or any(other.path.stem == name for other in others)):
            return AlreadyLabelledError("draw: expected one without a label, got one with a label; undo that first")
        return None if used + review.space <= self.max_bytes else self._full(used)

    def _stored(self, reviews: Sequence[_Review]) -> int:
        """Store all reviews, or none; return the space by which the index grew."""
        try:
            self._publish(reviews)
            stored_at = self._clock().isoformat(timespec="milliseconds")
            return self._append([review.entry(stored_at) for review in reviews])
        except BaseException:
            for review in reviews:
                review.path.unlink(missing_ok=True)
            raise

    def _publish(self, reviews: Sequence[_Review]) -> None:
        """Rename staged reviews to their names, and sync these."""
        for review in reviews:
            review.temporary.rename(review.path)
        folders = {review.path.parent for review in reviews}
        for folder in folders:
            sync_folder(folder)
        if new := folders - self._named:
            for parent in (self.folder / TEXTS, self.folder):
                sync_folder(parent)
            with contextlib.suppress(PermissionError):  # A folder that may be entered, but not listed.
                sync_folder(self.folder.absolute().parent)
            self._named |= new

    def _refuse_if_full(self, space: int) -> None:
        """Refuse a review before its text is written, if the quota was found used up within the last minute.

        Raises:
            StorageQuotaError: if the quota is used up.
        """
        if self._counted_at is None or self._monotonic() - self._counted_at >= _RECOUNT_SECONDS:
            return
        # Another process may remove or damage the number; the commit reads it again, under the lock.
        with contextlib.suppress(FileNotFoundError, ValueError):
            used = int(self._usage.read_bytes())
            if used + space > self.max_bytes:
                raise self._full(used)

    def _full(self, used: int) -> StorageQuotaError:
        return StorageQuotaError(
            f"the stored reviews take {used} of {self.max_bytes} bytes; remove some (noticed within a minute), "
            f"or raise NEW_DATA_MAX_BYTES"
        )

    def _append(self, entries: Sequence[IndexEntry]) -> int:
        """Add lines to the index, completely or not at all; return the space by which the index grew."""
        content = "".join(f"{entry.to_line()}\n" for entry in entries).encode()
        path = self.folder / INDEX
        is_new = not path.exists()
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                content = b"\n" + content  # A crash cut the last line short.
            try:
                if os.write(descriptor, content) != len(content):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
                os.fsync(descriptor)
                if is_new or path not in self._named:
                    sync_folder(self.folder)
            except OSError:
                os.ftruncate(descriptor, size)
                raise
        finally:
            os.close(descriptor)
        self._named.add(path)
        return _blocks(size + len(content)) - _blocks(size)

    def _used(self) -> int:
        """Return the bytes in use as last written; counted once per process, and if the number is damaged."""
        try:
            used = int(self._usage.read_bytes())
        except ValueError:
            used = -1
        if used < 0 or self._counted_at is None:
            self._counted_at = None
            used = self._counted(max(used, 0))
        return used

    def _counted(self, known: int) -> int:
        """Count the bytes in use, or return `known` if they were counted within the last minute."""
        now = self._monotonic()
        if self._counted_at is not None and now - self._counted_at < _RECOUNT_SECONDS:
            return known
        self._counted_at = now
        used = 0
        for folder in self.folder.glob(f"{TEXTS}/*/"):
            remove_leftovers(folder)
        with contextlib.suppress(FileNotFoundError):
            used += _blocks((self.folder / INDEX).stat().st_size)
        for parent, _, names in os.walk(self.folder / TEXTS):
            # Hidden files are texts that threads are writing now, which reserve their space later.
            for name in (name for name in names if not name.startswith(".")):
                with contextlib.suppress(FileNotFoundError):
                    used += _blocks(os.lstat(os.path.join(parent, name)).st_size)
        return used

    def _write_usage(self, used: int) -> None:
        """Replace the number in place: its length is constant, so this is one write."""
        with open(self._usage, "r+b", buffering=0) as file:
            file.write(b"%-31d\n" % used)


def _blocks(size: int) -> int:
    return -(-size // _BLOCK_BYTES) * _BLOCK_BYTES
