"""One file from a URL to disk: resumed where it was cut, checked, and named only when it is whole."""

import contextlib
import fcntl
import json
import logging
import os
import re
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit, urlunsplit

import requests
import urllib3
from tqdm import tqdm

from textclf.errors import ConfigError, DatasetError
from textclf.files import atomic_file, sha256_of_file, sync_folder

_CHUNK_BYTES = 1 << 18
_TIMEOUTS = (10.0, 60.0)  # Seconds to connect, and between two packets.
_ATTEMPTS = 4
_PASSING_STATUSES = {408, 425, 429, 500, 502, 503, 504}

_log = logging.getLogger(__name__)


def download(
    url: str, target: Path | str, *, sha256: str | None = None, show_progress: bool = True, retry_wait: float = 0.5
) -> Path:
    """The file at `url`, as `target`; at once if `target` is there already.

    Bytes go to `<target>.part`, and only a complete, checked file gets the final name. A cut download
    goes on where it stopped, in this call (a few attempts) or in a later one, if the server still has
    the same file: `<target>.part.json` keeps the validator (ETag, or date) for If-Range
    (RFC 9110, section 13.1.5). Two processes with one target wait for each other.

    Args:
        url: http, https or file. What may be secret in it (user, password, query) is never shown.
        target: the file to write; its folder is made.
        sha256: the expected hash as hex digits, or None to check the length only.
        show_progress: draw a bar on stderr where that is a terminal.
        retry_wait: seconds before the second attempt; doubled before each further one.

    Raises:
        ConfigError: the URL or the hash is malformed.
        DatasetError: the file can't be had, or is not the one that `sha256` names.
    """
    target = Path(target)
    part = _Part(target, public_url(url))
    if sha256 is not None:
        _check_form(sha256)
    try:
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            with part.open() as file:
                if not target.exists():  # Another process may have finished it while this one waited.
                    _fill(part, file, url, show_progress, retry_wait)
                    part.finish(file, sha256)
                    return target
        if sha256 is not None:
            check_sha256(target, sha256, "delete the file to download it again, or check the checksum")
    except OSError as error:
        raise DatasetError(
            f"{target}: can't store {part.source} here ({error.strerror or type(error).__name__}); free some space, "
            f"or choose a folder that you may write to"
        ) from None
    return target


def public_url(url: str) -> str:
    """The URL without what may be secret: user, password, query and fragment.

    Raises:
        ConfigError: it is not an http, https or file URL.
    """
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme == "file" or (parts.scheme in ("http", "https") and bool(parts.hostname))
    except ValueError:
        is_usable = False
    if not is_usable:
        # Whatever it is, it may hold a password: only its beginning is shown.
        raise ConfigError(f"url: expected http://…, https://… or file://…, got {url.partition(':')[0][:20]!r}…")
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))


def check_sha256(path: Path | str, expected: str, remedy: str) -> None:
    """Compare a file with the hash that it should have.

    Raises:
        ConfigError: `expected` is no SHA-256.
        DatasetError: the file has another one; the message ends with `remedy`.
    """
    _check_form(expected)
    found = sha256_of_file(path)
    if found != expected.lower():
        raise DatasetError(f"{path}: expected sha256 {expected.lower()}, got {found}; {remedy}")


def _check_form(sha256: str) -> None:
    if not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise ConfigError(f"sha256: expected 64 hex digits, got {sha256!r}")


class _Part:
    """The unfinished file, and a note beside it that says of which file it is the beginning."""

    def __init__(self, target: Path, source: str) -> None:
        self.target = target
        self.source = source
        self.path = target.with_name(f"{target.name}.part")
        self.note = target.with_name(f"{target.name}.part.json")

    @contextlib.contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """The file, open to append, locked; if the block fails, it stays only where it can be resumed."""
        while True:
            with open(self.path, "ab") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                if not self._is_still(file):  # Whoever held the lock has renamed or removed it meanwhile.
                    continue
                try:
                    yield file
                except BaseException:
                    with contextlib.suppress(OSError):
                        file.flush()
                    if self._is_still(file) and not (os.fstat(file.fileno()).st_size and self.validator()):
                        self.discard()
                    raise
                if self._is_still(file):
                    self.discard()
                return

    def validator(self) -> str:
        """What the server called this version of the file, or "" where that is not known."""
        try:
            note = json.loads(self.note.read_text(encoding="utf-8"))
            return str(note["validator"]) if note["source"] == self.source else ""
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def restart(self, file: IO[bytes], validator: str) -> None:
        """Empty the file and note down what it is going to be."""
        file.truncate(0)
        with atomic_file(self.note) as note:
            json.dump({"source": self.source, "validator": validator}, note)

    def finish(self, file: IO[bytes], sha256: str | None) -> None:
        """Give the file its final name, if it is the right one."""
        if sha256 is not None:
            try:
                check_sha256(self.path, sha256, f"what {self.source} sent is removed; check address and checksum")
            except DatasetError:
                self.discard()
                raise
        os.fsync(file.fileno())
        os.replace(self.path, self.target)
        self.note.unlink(missing_ok=True)
        sync_folder(self.target.parent)

    def discard(self) -> None:
        """Remove the file and its note."""
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    def _is_still(self, file: IO[bytes]) -> bool:
        try:
            return os.path.samestat(os.fstat(file.fileno()), os.stat(self.path))
        except FileNotFoundError:
            return False


class _AttemptError(Exception):
    """This attempt failed in a way that the next may not; the message says how, without secrets."""


def _fill(part: _Part, file: IO[bytes], url: str, show_progress: bool, retry_wait: float) -> None:
    """Bring the part to its full length."""
    if urlsplit(url).scheme == "file":
        _copy(part, file, url)
        return
    with requests.Session() as session:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                _fetch(session, part, file, url, show_progress)
                return
            except _AttemptError as error:
                file.flush()
                reason = str(error)
            _log.info("%s: %s (attempt %d of %d)", part.source, reason, attempt, _ATTEMPTS)
            if attempt < _ATTEMPTS:
                time.sleep(retry_wait * 2 ** (attempt - 1))
    received = os.fstat(file.fileno()).st_size
    goes_on = received and part.validator()
    raise DatasetError(
        f"{part.source}: {reason}, {_ATTEMPTS} times; check the address and the network"
        + (f", and run the same again to go on after the {received:,} bytes in {part.path}" if goes_on else "")
    )


def _copy(part: _Part, file: IO[bytes], url: str) -> None:
    path = urllib.request.url2pathname(urlsplit(url).path)
    part.restart(file, validator="")
    try:
        origin = open(path, "rb")  # noqa: SIM115 (an error here is about the origin, later ones about the target)
    except OSError as error:
        raise DatasetError(f"{part.source}: can't be read ({error.strerror}); check the path") from None
    with origin:
        while chunk := origin.read(_CHUNK_BYTES):
            file.write(chunk)
    file.flush()


def _fetch(session: requests.Session, part: _Part, file: IO[bytes], url: str, show_progress: bool) -> None:
    """One request: what is missing of the file, or all of it.

    Exceptions of requests and urllib3 carry the whole URL, so they are replaced and never chained.
    """
    headers = {"Accept-Encoding": "identity"}  # The bytes of the file itself: Range counts those.
    have = os.fstat(file.fileno()).st_size
    if have and (validator := part.validator()):
        headers |= {"Range": f"bytes={have}-", "If-Range": validator}
    else:
        have = 0
    try:
        with session.get(url, headers=headers, stream=True, timeout=_TIMEOUTS) as response:
            if response.status_code == 416:
                if _range_total(response) == have:
                    return
                part.restart(file, validator="")
                raise _AttemptError("the server's file is shorter than what was received before")
            _check_status(response, part)
            if response.status_code == 200:
                have = 0
                part.restart(file, _validator_of(response))
            elif not have or _range_start(response) != have:
                part.restart(file, validator="")
                raise _AttemptError("the server sent another range than was asked for")
            total = _length(response, have)
            _receive(response, file, have, total, part.target.name, show_progress)
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise _AttemptError(f"the connection failed ({type(error).__name__})") from None
    received = os.fstat(file.fileno()).st_size
    if total is not None and received != total:
        if received > total:
            part.restart(file, validator="")
        raise _AttemptError(f"the connection ended after {received:,} of {total:,} bytes")


def _receive(
    response: requests.Response, file: IO[bytes], have: int, total: int | None, name: str, show_progress: bool
) -> None:
    with tqdm(
        desc=name,
        initial=have,
        total=total,
        unit="B",
        unit_scale=True,
        disable=None if show_progress else True,  # None: where stderr is no terminal
    ) as bar:
        for chunk in response.raw.stream(_CHUNK_BYTES, decode_content=False):
            file.write(chunk)
            bar.update(len(chunk))
    file.flush()


def _check_status(response: requests.Response, part: _Part) -> None:
    status = response.status_code
    if status in (200, 206):
        return
    answer = f"the server answered {status} {response.reason or ''}".strip()
    if status in _PASSING_STATUSES:
        raise _AttemptError(answer)
    remedy = "check the user, password or token in it" if status in (401, 403) else "check the address"
    raise DatasetError(f"{part.source}: {answer}; {remedy}, or put the file at {part.target} yourself")


def _validator_of(response: requests.Response) -> str:
    """The strong ETag, else the date: a weak ETag does not promise equal bytes, and If-Range refuses it."""
    etag = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else response.headers.get("Last-Modified", "")


def _range_start(response: requests.Response) -> int | None:
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(match[1]) if match else None


def _range_total(response: requests.Response) -> int | None:
    match = re.search(r"/(\d+)$", response.headers.get("Content-Range", ""))
    return int(match[1]) if match else None


def _length(response: requests.Response, have: int) -> int | None:
    """Bytes of the whole file, or None where the server does not say."""
    length = response.headers.get("Content-Length", "")
    return _range_total(response) or (have + int(length) if length.isdigit() else None)
