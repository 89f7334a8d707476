"""Labelled reviews that clients send: on disk before the answer, within a quota, with an index beside them.

    <folder>/train/<class>/<id>.txt   the review, as textclf.data reads it
    <folder>/feedback.log             one JSON line a review: id, time, label, source, model, audit
    <folder>/.feedback.usage          the space taken, as a number; locked (flock) while a review is stored

The review is written and synced first, its line second. A crash between the two leaves a labelled text
without a line, which nobody was told is stored: it is trained on like any other, and counts as no audit. The other
order would leave lines that point at nothing. Reviews and lines are those of textclf.data.feedback_store.
"""

import contextlib
import errno
import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from serving.api.errors import ApiError, ErrorCode
from serving.api.requests import FeedbackRequest
from textclf.data.feedback_store import INDEX, TEXTS, IndexEntry, save_review
from textclf.files import sync_folder

_USAGE = ".feedback.usage"
# What a file takes on most file systems, however short it is.
_BLOCK_BYTES = 4096
# A refusal counts anew what is there, because reviews may have been taken away, but not at every request.
_RECOUNT_SECONDS = 60.0
# The folder can't be made or written, until somebody mends it; EEXIST where it, or train/, is a file.
_UNWRITABLE = {errno.EACCES, errno.EEXIST, errno.ENOENT, errno.ENOTDIR, errno.EPERM, errno.EROFS}

_LOG = logging.getLogger(__name__)


def _now() -> datetime:
    return datetime.now(UTC)


class FeedbackStore:
    """Stores reviews; several processes and threads may share a folder. The constructor touches nothing.

    Args:
        folder: made where it is missing.
        max_bytes: space that reviews and index may take, each file rounded up to blocks of 4 KiB.
        clock: the time, in UTC.
        monotonic: seconds that only rise, for the time between two counts.
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
        self._clock = clock
        self._monotonic = monotonic
        self._counted_at: float | None = None

    def save(self, review: FeedbackRequest, class_names: Sequence[str], model: str) -> str:
        """Store a review and its line in the index, both synced to disk: the review's id.

        Raises:
            ApiError: the label is unknown, the quota is used up, or the folder can't be written.
            InputError: the text can't be stored.
            OSError: the disk refuses for another reason; nothing is left behind.
        """
        if review.label not in class_names:
            raise ApiError(
                ErrorCode.UNKNOWN_LABEL, f"label: expected one of {', '.join(class_names)}, got {review.label[:100]!r}"
            )
        try:
            return self._save(review, class_names, model)
        except OSError as error:
            if error.errno not in _UNWRITABLE:
                raise
            _LOG.error(
                "reviews can't be stored: expected NEW_DATA_DIR, %s, to be a folder that this user can write, got: %s; "
                "mend it, or name another one",
                self.folder,
                error,
            )
            raise ApiError(
                ErrorCode.STORAGE_UNAVAILABLE,
                "the server can't write its folder for reviews, and nothing was stored; have it mended, then send "
                "the review again",
            ) from error

    def _save(self, review: FeedbackRequest, class_names: Sequence[str], model: str) -> str:
        """The same, once the label is known to be right."""
        self.folder.mkdir(parents=True, exist_ok=True)
        # Once a review: one after the other costs little beside its three syncs, and needs no half-way states.
        with self._locked() as usage:
            space = _blocks(len(review.text.encode("utf-8")))
            taken = self._taken(usage)
            if taken + space > self.max_bytes:
                taken = self._taken_now(taken)
                _write_number(usage, taken)
                if taken + space > self.max_bytes:
                    raise ApiError(
                        ErrorCode.QUOTA_EXCEEDED,
                        f"the stored reviews take {taken} of {self.max_bytes} bytes; have them taken away, which is "
                        f"seen within a minute, or NEW_DATA_MAX_BYTES raised",
                    )
            path = save_review(review.text, review.label, self.folder / TEXTS, class_names)
            try:
                grown = self._append(path.stem, review, model)
            except BaseException:
                path.unlink()
                raise
            _write_number(usage, taken + space + grown)
        return path.stem

    def _append(self, review_id: str, review: FeedbackRequest, model: str) -> int:
        """Add the line of a review to the index, whole or not at all: how much space the index has grown by."""
        time_stored = self._clock().isoformat(timespec="milliseconds")
        entry = IndexEntry(review_id, time_stored, review.label, review.source, model, review.audit)
        content = f"{entry.to_line()}\n".encode()
        path = self.folder / INDEX
        is_new = not path.exists()
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                content = b"\n" + content  # A machine died while it wrote the last line.
            try:
                if os.write(descriptor, content) != len(content):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, size)
                raise
        finally:
            os.close(descriptor)
        if is_new:
            sync_folder(self.folder)
        return _blocks(size + len(content)) - _blocks(size)

    def _taken(self, usage: int) -> int:
        """The space taken, as last written; counted where that is not known, and once by each process."""
        try:
            taken = int(os.pread(usage, 32, 0))
        except ValueError:
            taken = -1
        if taken < 0 or self._counted_at is None:
            self._counted_at = None
            taken = self._taken_now(max(taken, 0))
        return taken

    def _taken_now(self, known: int) -> int:
        """The space taken, counted if that was not done lately, else what is known."""
        now = self._monotonic()
        if self._counted_at is not None and now - self._counted_at < _RECOUNT_SECONDS:
            return known
        self._counted_at = now
        taken = 0
        with contextlib.suppress(FileNotFoundError):
            taken += _blocks((self.folder / INDEX).stat().st_size)
        for parent, _, names in os.walk(self.folder / TEXTS):
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    taken += _blocks(os.lstat(os.path.join(parent, name)).st_size)
        return taken

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        """The descriptor of the usage file, locked against other processes and other threads."""
        descriptor = os.open(self.folder / _USAGE, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)


def _write_number(descriptor: int, number: int) -> None:
    """Replace the content of a small file; of constant length, so that it is one write."""
    os.pwrite(descriptor, b"%-31d\n" % number, 0)


def _blocks(size: int) -> int:
    """`size` bytes as the disk counts them."""
    return -(-size // _BLOCK_BYTES) * _BLOCK_BYTES
