"""Signatures of random draws: only a text that the server drew at random gives a label that counts as an audit.

The key is a file next to the reviews, so that all workers and `monitoring.py` share it and it survives restarts. Its
owner alone may read it. Without the file, earlier draws are no longer valid.

    draw    base64url of {"draw", "version", "expires"} as JSON, a dot, and base64url of the signature
    signature    HMAC-SHA256 of the purpose, the JSON and the SHA-256 of the text, whose white space does not count
"""

import base64
import binascii
import contextlib
import errno
import hashlib
import hmac
import json
import os
import secrets
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textclf.errors import InvalidDrawError, StorageUnavailableError
from textclf.files import sync_folder

KEY_FILE = ".review.key"
# Labelling a file of texts may take days.
VALID_SECONDS = 14 * 86_400
UNDO_SECONDS = 3600

_KEY_BYTES = 32
_MAX_CHARS = 2000
_AGAIN = "draw the text again"


@dataclass(frozen=True)
class Draw:
    """A draw whose signature is valid.

    Attributes:
        id: number of the draw, 32 hex digits.
        version: model version whose logged texts were drawn from.
        review_id: id under which the label is stored, so that a draw gives one label.
    """

    id: str
    version: str
    review_id: str


class DrawSignatures:
    """Signs draws and checks signatures; several threads and processes may share a folder.

    Args:
        folder: folder of the reviews, which contains the key; made with a new key when the first draw is signed.
        clock: returns seconds since the epoch.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self.folder = folder
        self._clock = clock

    def sign(self, text: str, version: str) -> str:
        """A signed draw of a text among those that a model version predicted.

        Raises:
            StorageUnavailableError: if the key can't be read or made.
        """
        values = {"draw": secrets.token_hex(16), "version": version, "expires": int(self._clock() + VALID_SECONDS)}
        return self._signed("draw", values, text)

    def check(self, signed: str, text: str, version: str) -> Draw:
        """The draw if this server signed it for this text and version, and it has not expired.

        Raises:
            InvalidDrawError: if it did not, or if the draw has expired.
            StorageUnavailableError: if the key can't be read.
        """
        values = self._checked("draw", signed, text)
        if values["version"] != version:
            raise InvalidDrawError(
                f"draw: expected one from the texts of the version that is served, {version}, got one from "
                f"{values['version']!s:.100}; {_AGAIN}"
            )
        digest = self._mac("review id", signed.encode(), "")
        return Draw(values["draw"], version, str(uuid.UUID(bytes=digest[:16], version=4)))

    def sign_undo(self, review_id: str) -> str:
        """A permission to remove a stored label, for UNDO_SECONDS."""
        return self._signed("undo", {"id": review_id, "expires": int(self._clock() + UNDO_SECONDS)}, "")

    def check_undo(self, signed: str) -> str:
        """The id of the review that may be removed.

        Raises:
            InvalidDrawError: if the permission is not signed by this server, or has expired.
        """
        return str(self._checked("undo", signed, "")["id"])

    def _signed(self, purpose: str, values: dict[str, Any], text: str) -> str:
        content = json.dumps(values, separators=(",", ":")).encode()
        return f"{_encoded(content)}.{_encoded(self._mac(purpose, content, text))}"

    def _checked(self, purpose: str, signed: str, text: str) -> dict[str, Any]:
        content, _, signature = signed[:_MAX_CHARS].partition(".")
        try:
            found = _decoded(content), _decoded(signature)
        except (binascii.Error, ValueError):
            found = b"", b""
        # Compared also if it is damaged, so that the time tells nothing.
        if not hmac.compare_digest(found[1], self._mac(purpose, found[0], text)):
            raise InvalidDrawError(f"{purpose}: expected this server's signature of this text, got another; {_AGAIN}")
        values: dict[str, Any] = json.loads(found[0])
        if values["expires"] < self._clock():
            limit = VALID_SECONDS // 86_400
            given = f"{limit} days" if purpose == "draw" else f"{UNDO_SECONDS // 60} minutes"
            raise InvalidDrawError(f"{purpose}: expected one of the last {given}, got an older one; {_AGAIN}")
        return values

    def _mac(self, purpose: str, content: bytes, text: str) -> bytes:
        digest = hashlib.sha256(" ".join(text.split()).encode("utf-8", "surrogatepass")).digest()
        return hmac.digest(self._key(), b"\0".join((purpose.encode(), content, digest)), "sha256")

    def _key(self) -> bytes:
        path = self.folder / KEY_FILE
        try:
            try:
                key = path.read_bytes()
            except FileNotFoundError:
                _make_key(path)
                key = path.read_bytes()
        except OSError as error:
            raise StorageUnavailableError(
                f"expected the key of the draws, {path}, to be readable by this user, got: {error.strerror}; run as "
                f"the user of the server, or fix the permissions of NEW_DATA_DIR"
            ) from error
        if len(key) != _KEY_BYTES:
            raise StorageUnavailableError(
                f"{path}: expected a key of {_KEY_BYTES} bytes, found {len(key)}; remove the file, and draw texts again"
            )
        return key


def _make_key(path: Path) -> None:
    """Create the key, complete at once; another process may create it first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:
            return
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
                raise
            with contextlib.suppress(FileExistsError):  # A file system without links.
                if not path.exists():
                    temporary.rename(path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
