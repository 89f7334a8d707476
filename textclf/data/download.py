"""Downloads one file: resumes an interrupted download, checks the result, and renames it when it is complete.

A server is not trusted: the size of a file and the number of redirects are bounded, and a download that began with
https never continues with http.
"""

import contextlib
import json
import logging
import os
import re
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from textclf.errors import ConfigError, DatasetError, SourceError, SourceTooLargeError
from textclf.files import atomic_file, locked, sha256_of_file, sync_folder
from textclf.progress_bar import progress_bar
from textclf.urls import public_url

_CHUNK_BYTES = 1 << 18
_TIMEOUTS = (10.0, 60.0)  # Seconds to connect, and between two packets.
_ATTEMPTS = 4
# Statuses after which another attempt may succeed.
_TEMPORARY_STATUSES = {408, 425, 429, 500, 502, 503, 504}
_MAX_REDIRECTS = 5
# A connection that is slower than this after some time would keep the caller waiting for days.
_MIN_BYTES_A_SECOND = 1000
_SLOW_SECONDS = 120.0
# Largest file without TEXTCLF_MAX_DOWNLOAD_BYTES: as much as an archive may contain.
MAX_BYTES = 20 << 30

_log = logging.getLogger(__name__)


def download(
    url: str,
    target: Path | str,
    *,
    sha256: str | None = None,
    retry_wait: float = 0.5,
    max_bytes: int | None = None,
) -> Path:
    """Download `url` to `target` and return its path; an existing `target` is not downloaded again.

    Bytes go to `<target>.part`; only a complete, checked file gets the final name. An interrupted download continues
    where it stopped, in this call (a few attempts) or in a later one, if the server still has the same file:
    `<target>.part.json` stores the validator (ETag or date) for If-Range (RFC 9110, section 13.1.5). Two processes with
    one target wait for each other.

    Args:
        url: http, https or file URL. Its secret parts (user, password, query) are never shown.
        target: the file to write; its folder is created.
        sha256: the expected hash as hex digits, or None to check the length only.
        retry_wait: seconds before the second attempt; doubled before each later one.
        max_bytes: largest accepted size; None takes TEXTCLF_MAX_DOWNLOAD_BYTES, or MAX_BYTES without it.

    Raises:
        ConfigError: if the URL, the hash or TEXTCLF_MAX_DOWNLOAD_BYTES is malformed.
        SourceError: if the file can't be downloaded, or is too large.
        DatasetError: if its hash is not `sha256`.
    """
    target = Path(target)
    max_bytes = _max_bytes() if max_bytes is None else max_bytes
    part = _Part(target, public_url(url), max_bytes)
    if sha256 is not None:
        _check_form(sha256)
    try:
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            with part.open() as file:
                if not target.exists():  # False if another process has finished it meanwhile.
                    _fill(part, file, url, retry_wait)
                    part.finish(file, sha256)
                    return target
        if sha256 is not None:
            check_sha256(target, sha256, "delete the file to download it again, or check the checksum")
    except OSError as error:
        raise SourceError(
            target,
            f"can't store {part.source} here ({error.strerror or type(error).__name__})",
            "free some space, or choose a folder that you may write to",
        ) from None
    return target


def check_sha256(path: Path | str, expected: str, remedy: str) -> None:
    """Compare a file's SHA-256 with the expected one.

    Raises:
        ConfigError: if `expected` is not a SHA-256 in hex digits.
        DatasetError: if the file's hash differs; the message ends with `remedy`.
    """
    _check_form(expected)
    found = sha256_of_file(path)
    if found != expected.lower():
        raise DatasetError(f"{path}: expected sha256 {expected.lower()}, got {found}; {remedy}")


def _check_form(sha256: str) -> None:
    if not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise ConfigError(f"sha256: expected 64 hex digits, got {sha256!r}")


def _max_bytes() -> int:
    text = os.environ.get("TEXTCLF_MAX_DOWNLOAD_BYTES", "").strip()
    if not text:
        return MAX_BYTES
    if not re.fullmatch("[0-9]{1,18}", text):
        raise ConfigError(f"TEXTCLF_MAX_DOWNLOAD_BYTES: expected a number of bytes, got {text[:50]!r}")
    return int(text)


class _Part:
    """The unfinished file, and a note in the same folder with its source and validator."""

    def __init__(self, target: Path, source: str, max_bytes: int) -> None:
        self.target = target
        self.source = source
        self.max_bytes = max_bytes
        self.path = target.with_name(f"{target.name}.part")
        self.note = target.with_name(f"{target.name}.part.json")

    @contextlib.contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """The locked file, open to append; if the block fails, it is kept only if it can be resumed."""
        while True:
            with locked(self.path) as lock, open(lock.fileno(), "ab", closefd=False) as file:
                if not self._is_still(file):  # The previous holder of the lock has renamed or removed it.
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
        """The server's validator of this version of the file, or "" if it is unknown."""
        try:
            note = json.loads(self.note.read_text(encoding="utf-8"))
            return str(note["validator"]) if note["source"] == self.source else ""
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def restart(self, file: IO[bytes], validator: str) -> None:
        file.truncate(0)
        with atomic_file(self.note) as note:
            json.dump({"source": self.source, "validator": validator}, note)

    def check_size(self, file: IO[bytes], size: int) -> None:
        """Refuse a file of `size` bytes if that is too large, and remove its beginning.

        Raises:
            SourceTooLargeError: if it is too large.
        """
        if size > self.max_bytes:
            file.truncate(0)
            self.discard()
            problem = f"expected at most {self.max_bytes:,} bytes, got {size:,} or more"
            remedy = "check the address, or set TEXTCLF_MAX_DOWNLOAD_BYTES to a larger number"
            raise SourceTooLargeError(self.source, problem, remedy)

    def finish(self, file: IO[bytes], sha256: str | None) -> None:
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
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    def _is_still(self, file: IO[bytes]) -> bool:
        try:
            return os.path.samestat(os.fstat(file.fileno()), os.stat(self.path))
        except FileNotFoundError:
            return False


class _Session(requests.Session):
    """A session that follows no redirect: requests would read its body without a limit."""

    def get_redirect_target(self, _response: requests.Response) -> None:
        """Let requests find no redirect, also not to prepare the next request."""


class _AttemptError(Exception):
    """This attempt failed, but the next one may succeed; the message contains no secrets."""


def _fill(part: _Part, file: IO[bytes], url: str, retry_wait: float) -> None:
    if urlsplit(url).scheme == "file":
        _copy(part, file, url)
        return
    with _Session() as session:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                _fetch(session, part, file, url)
                return
            except _AttemptError as error:
                file.flush()
                reason = str(error)
            _log.info("%s: %s (attempt %d of %d)", part.source, reason, attempt, _ATTEMPTS)
            if attempt < _ATTEMPTS:
                time.sleep(retry_wait * 2 ** (attempt - 1))
    received = os.fstat(file.fileno()).st_size
    is_resumable = received and part.validator()
    remedy = "check the address and the network"
    if is_resumable:
        remedy += f", and run the same again to continue after the {received:,} bytes in {part.path}"
    raise SourceError(part.source, f"{reason}, {_ATTEMPTS} times", remedy)


def _copy(part: _Part, file: IO[bytes], url: str) -> None:
    path = urllib.request.url2pathname(urlsplit(url).path)
    part.restart(file, validator="")
    try:
        origin = open(path, "rb")  # noqa: SIM115 (an error here is about the origin, later ones about the target)
    except OSError as error:
        raise SourceError(part.source, f"can't be read ({error.strerror})", "check the path") from None
    with origin:
        received = 0
        while chunk := origin.read(_CHUNK_BYTES):
            received += len(chunk)
            part.check_size(file, received)
            file.write(chunk)
    file.flush()


def _fetch(session: requests.Session, part: _Part, file: IO[bytes], url: str) -> None:
    """One request, for the missing bytes of the file or for all of them."""
    # Exceptions of requests and urllib3 contain the whole URL, so they are replaced and never chained.
    headers = {"Accept-Encoding": "identity"}  # Range counts the bytes of the file itself.
    have = os.fstat(file.fileno()).st_size
    if have and (validator := part.validator()):
        headers |= {"Range": f"bytes={have}-", "If-Range": validator}
    else:
        have = 0
    try:
        with _response(session, part, url, headers) as response:
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
            part.check_size(file, total or 0)
            _receive(response, part, file, have, total)
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise _AttemptError(f"the connection failed ({type(error).__name__})") from None
    received = os.fstat(file.fileno()).st_size
    if total is not None and received != total:
        if received > total:
            part.restart(file, validator="")
        raise _AttemptError(f"the connection ended after {received:,} of {total:,} bytes")


@contextlib.contextmanager
def _response(session: requests.Session, part: _Part, url: str, headers: dict[str, str]) -> Iterator[requests.Response]:
    """The response at the end of the redirects."""
    auth = requests.utils.get_auth_from_url(url)
    for _ in range(_MAX_REDIRECTS + 1):
        with session.get(
            url,
            headers=headers,
            stream=True,
            timeout=_TIMEOUTS,
            allow_redirects=False,
            auth=auth if any(auth) else None,
        ) as response:
            location = requests.Session.get_redirect_target(session, response)
            if location is None:
                yield response
                return
        before, url = url, _redirected(part, url, location)
        if session.should_strip_auth(before, url):
            auth = ("", "")
    raise SourceError(part.source, f"expected at most {_MAX_REDIRECTS} redirects, got more", "check the address")


def _redirected(part: _Part, url: str, location: str) -> str:
    """The URL of a redirect; another kind of URL, or http after https, is refused."""
    before = urlsplit(url).scheme
    try:
        target = urljoin(url, location)
        after = urlsplit(target).scheme
    except ValueError:
        target = after = ""
    if after not in ("http", "https") or (before, after) == ("https", "http"):
        problem = (
            f"expected a redirect to {'https' if before == 'https' else 'http or https'}, got one to "
            f"{after[:20] or 'a malformed URL'}; the server, or the network before it, is not to be trusted"
        )
        raise SourceError(part.source, problem, "use another address")
    return target


def _receive(response: requests.Response, part: _Part, file: IO[bytes], have: int, total: int | None) -> None:
    received, began = have, time.monotonic()
    with progress_bar(total, part.target.name, "B", have, stays=True, unit_scale=True) as bar:
        # Take the bytes that are there: a whole chunk of a slow connection may never arrive.
        while chunk := response.raw.read1(_CHUNK_BYTES, decode_content=False):
            received += len(chunk)
            part.check_size(file, received)
            file.write(chunk)
            bar.update(len(chunk))
            seconds = time.monotonic() - began
            if seconds > _SLOW_SECONDS and received - have < _MIN_BYTES_A_SECOND * seconds:
                raise _AttemptError(f"the connection has less than {_MIN_BYTES_A_SECOND:,} bytes a second")
    file.flush()


def _check_status(response: requests.Response, part: _Part) -> None:
    status = response.status_code
    if status in (200, 206):
        return
    problem = f"the server answered {status} {response.reason or ''}".strip()
    if status in _TEMPORARY_STATUSES:
        raise _AttemptError(problem)
    remedy = "check the user, password or token in it" if status in (401, 403) else "check the address"
    raise SourceError(part.source, problem, f"{remedy}, or put the file at {part.target} yourself")


def _validator_of(response: requests.Response) -> str:
    """The strong ETag, else the date; a weak ETag does not promise equal bytes, and If-Range refuses it."""
    etag = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else response.headers.get("Last-Modified", "")


def _range_start(response: requests.Response) -> int | None:
    match = re.match(r"bytes ([0-9]{1,18})-", response.headers.get("Content-Range", ""))
    return int(match[1]) if match else None


def _range_total(response: requests.Response) -> int | None:
    match = re.search(r"/([0-9]{1,18})$", response.headers.get("Content-Range", ""))
    return int(match[1]) if match else None


def _length(response: requests.Response, have: int) -> int | None:
    """Bytes of the whole file, or None if the server does not send the size."""
    length = response.headers.get("Content-Length", "")
    return _range_total(response) or (have + int(length) if re.fullmatch("[0-9]{1,18}", length) else None)
