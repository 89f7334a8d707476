"""Signatures of random draws: only a text that the server drew at random gives a label that counts as an audit.

The key is a file next to the reviews, so that all workers and `monitoring.py` share it and it survives restarts. Its
owner alone may read it. Without the file, earlier draws are no longer valid.

    draw    base64url of {"draw", "version", "expires"} as JSON, a dot, and base64url of the signature
    signature    HMAC-SHA256 of the purpose, the JSON and the SHA-256 of the text, whose white space does not count
"""

import base64
import binascii
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

from textclf.errors import EXPIRED, OTHER_VERSION, InvalidDrawError, StorageUnavailableError
from textclf.files import sync_folder

KEY_FILE = ".review.key"
# Labelling a file of texts may take days.
VALID_SECONDS = 14 * 86_400
UNDO_SECONDS = 3600

_KEY_BYTES = 32
_MAX_CHARS = 2000
_TRIES, _TRY_SECONDS = 20, 0.01
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
                f"{values['version']!s:.100}; {_AGAIN}",
                OTHER_VERSION,
            )
        # The id hashes the number, not the characters sent: several spellings in base64 mean the same bytes.
        digest = _mac(self._key(), "review id", values["draw"].encode(), "")
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
        return f"{_encoded(content)}.{_encoded(_mac(self._made_key(), purpose, content, text))}"

    def _checked(self, purpose: str, signed: str, text: str) -> dict[str, Any]:
        content, _, signature = signed[:_MAX_CHARS].partition(".")
        try:
            found = _decoded(content), _decoded(signature)
        except (binascii.Error, ValueError):
            found = b"", b""
        # Without a key nothing was signed. A damaged signature is compared too, so that the time reveals nothing.
        key = self._key()
        if not hmac.compare_digest(found[1], _mac(key, purpose, found[0], text)) or not key:
            raise InvalidDrawError(f"{purpose}: expected this server's signature of this text, got another; {_AGAIN}")
        values: dict[str, Any] = json.loads(found[0])
        if values["expires"] < self._clock():
            limit = VALID_SECONDS // 86_400
            given = f"{limit} days" if purpose == "draw" else f"{UNDO_SECONDS // 60} minutes"
            raise InvalidDrawError(f"{purpose}: expected one of the last {given}, got an older one; {_AGAIN}", EXPIRED)
        return values

    def _made_key(self) -> bytes:
        """The key, made if there is none."""
        if key := self._key():
            return key
        try:
            _make_key(self.folder / KEY_FILE)
        except OSError as error:
            raise self._unavailable(error) from error
        return self._key()

    def _key(self) -> bytes:
        """The key; empty if there is none."""
        path = self.folder / KEY_FILE
        try:
            key = _read_key(path)
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise self._unavailable(error) from error
        if len(key) != _KEY_BYTES:
            raise StorageUnavailableError(
                f"{path}: expected a key of {_KEY_BYTES} bytes, found {len(key)}; remove the file, and draw texts again"
            )
        return key

    def _unavailable(self, error: OSError) -> StorageUnavailableError:
        return StorageUnavailableError(
            f"expected the key of the draws, {self.folder / KEY_FILE}, to be readable by this user, got: "
            f"{error.strerror}; run as the user of the server, or fix the permissions of NEW_DATA_DIR"
        )


def _mac(key: bytes, purpose: str, content: bytes, text: str) -> bytes:
    digest = hashlib.sha256(" ".join(text.split()).encode("utf-8", "surrogatepass")).digest()
    return hmac.digest(key, b"\0".join((purpose.encode(), content, digest)), "sha256")


def _read_key(path: Path) -> bytes:
    key = path.read_bytes()
    for _ in range(_TRIES):
        if key:
            break
        # Where links are missing, another process may have created the file and not yet written it.
        time.sleep(_TRY_SECONDS)
        key = path.read_bytes()
    return key


def _make_key(path: Path) -> None:
    """Create the key; another process may create it first, and its key is kept."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        _write_key(temporary)
        try:
            os.link(temporary, path)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
                raise
            _write_key(path)  # A file system without links.
        sync_folder(path.parent)
    except FileExistsError:
        pass
    finally:
        temporary.unlink(missing_ok=True)


def _write_key(path: Path) -> None:
    """Write a new key into a new file.

    Raises:
        FileExistsError: if the file exists.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        file.write(secrets.token_bytes(_KEY_BYTES))
        os.fsync(file.fileno())


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
