"""The folder of the output, which is also the ledger: a shard is done if its file is there.

On disk a file is written next to its place and renamed. In object storage a file is written to a temporary file here
first; there it appears as a whole, or not at all.
"""

import contextlib
import hashlib
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from textclf.files import LEFTOVER_SECONDS, atomic_file, remove_leftovers
from textclf.sharding.locations import absolute_place, is_url, open_location
from textclf.urls import public_text

# Readers of folders pass over names that start like this.
PLAN, SUCCESS, SHARDS = "_plan.json", "_SUCCESS", "_shards"
DRIFT_JSON, DRIFT_PAGE = "_drift.json", "_drift.html"
_UNFINISHED = ".tmp"


class HashingFile:
    """A file that hashes what is written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.closed = False

    def write(self, content: Any) -> int:
        """Write bytes."""
        self._hash.update(content)
        return self._file.write(content)

    def tell(self) -> int:
        """The number of bytes written."""
        return self._file.tell()

    def flush(self) -> None:
        """Nothing: the file is synced at the end."""

    def close(self) -> None:
        """Nothing: its owner closes the file."""

    def readable(self) -> bool:
        """Always false."""
        return False

    def writable(self) -> bool:
        """Always true."""
        return True

    def seekable(self) -> bool:
        """Always false."""
        return False

    @property
    def sha256(self) -> str:
        """The hash so far, as 64 hex digits."""
        return self._hash.hexdigest()


class OutputFolder:
    """A local folder or a URL; the constructor opens nothing.

    Args:
        place: a local path or a URL.
    """

    def __init__(self, place: str) -> None:
        self.place = absolute_place(place)

    def __str__(self) -> str:
        return public_text(self.place)

    @property
    def is_local(self) -> bool:
        """Whether the folder is on a disk of this machine, or mounted here."""
        return not is_url(self.place)

    def create(self) -> None:
        """Create the folder if it is missing.

        Raises:
            OSError: if it can't be created.
        """
        system, path = open_location(self.place)
        system.create_dir(f"{path}/{SHARDS}", recursive=True)

    def names(self, below: str = "") -> set[str]:
        """The names of the files in the folder, or in a folder of it; none if it is missing."""
        from pyarrow import fs

        system, path = open_location(self.place)
        try:
            infos = system.get_file_info(fs.FileSelector(f"{path}/{below}".rstrip("/")))
        except FileNotFoundError:
            return set()
        return {info.base_name for info in infos if info.type == fs.FileType.File}

    def read(self, name: str) -> bytes | None:
        """The content of a file; None if it is missing."""
        system, path = open_location(self.place)
        try:
            with system.open_input_file(f"{path}/{name}") as file:
                return bytes(file.read())
        except FileNotFoundError:
            return None

    @contextlib.contextmanager
    def new_file(self, name: str) -> Iterator[IO[bytes]]:
        """Yield a file; it appears under its name when the block ends without an exception.

        Raises:
            OSError: if it can't be written.
        """
        if self.is_local:
            with atomic_file(Path(self.place, name), "wb") as file:
                yield file
            return
        with tempfile.TemporaryFile() as file:
            yield file
            file.seek(0)
            self._upload(file, name)

    def write(self, name: str, content: bytes) -> None:
        """Write a file as a whole.

        Raises:
            OSError: if it can't be written.
        """
        with self.new_file(name) as file:
            file.write(content)

    def remove_leftovers(self) -> None:
        """Remove the unfinished files of writers that were killed; for a folder that nothing writes to."""
        if self.is_local:
            for folder in (Path(self.place), Path(self.place, SHARDS)):
                remove_leftovers(folder, time.time() + LEFTOVER_SECONDS + 1)
            return
        system, path = open_location(self.place)
        for name in self.names(SHARDS):
            if name.startswith(".") and name.endswith(_UNFINISHED):
                with contextlib.suppress(OSError):  # Its writer has just renamed it.
                    system.delete_file(f"{path}/{SHARDS}/{name}")

    def _upload(self, file: IO[bytes], name: str) -> None:
        system, path = open_location(self.place)
        target = f"{path}/{name}"
        # An object of S3 appears when it is complete.
        is_whole = system.type_name == "s3"
        if is_whole:
            with system.open_output_stream(target) as stream:
                shutil.copyfileobj(file, stream)
            return
        # Two machines may write one shard: that of a pod whose node was lost, and the next one.
        written = f"{path}/{SHARDS}/.{Path(name).name}.{secrets.token_hex(8)}{_UNFINISHED}"
        try:
            with system.open_output_stream(written) as stream:
                shutil.copyfileobj(file, stream)
            system.move(written, target)
        except BaseException:
            with contextlib.suppress(OSError):  # It may not exist yet.
                system.delete_file(written)
            raise
