"""Requests to the Hub through huggingface_hub, with errors of one line.

The library reads HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE, HF_HOME and the timeouts HF_HUB_ETAG_TIMEOUT and
HF_HUB_DOWNLOAD_TIMEOUT itself. It is the extra `hub`, and imported when a client is used.
"""

import contextlib
import errno
import logging
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from textclf.errors import ConfigError
from textclf.files import atomic_file
from textclf.hub.errors import HubError, HubUnreachableError, UnusableHubModelError
from textclf.hub.files import CONFIG, TOKENIZER, HubFile
from textclf.hub.names import HubName

_NO_PACKAGE = (
    "models of the Hub need the package {package}, found none; install textclf with its extra `hub`, or build the "
    "image with EXTRAS=hub"
)
_TOKEN = "set HF_TOKEN to a token that may read it"  # noqa: S105
_NETWORK = "check the network and HF_ENDPOINT"
# Kind of the library's error -> what is wrong, and what to do.
_PROBLEMS = {
    "GatedRepoError": ("access is gated", f"accept the conditions on the model's page, and {_TOKEN}"),
    "DisabledRepoError": ("the Hub has disabled this model", "choose another model"),
    "RevisionNotFoundError": ("there is no such revision", "name a branch, a tag or the full hash of a commit"),
    "RepositoryNotFoundError": (
        "there is no such model, or it is private",
        f"correct the name; if it is private, {_TOKEN}",
    ),
    "RemoteEntryNotFoundError": ("a file is listed and can't be read", "start again, or choose another revision"),
}
_STATUS_PROBLEMS = {
    HTTPStatus.UNAUTHORIZED: ("the token is not accepted", _TOKEN),
    HTTPStatus.FORBIDDEN: ("access is denied", _TOKEN),
}


@dataclass(frozen=True)
class Listing:
    """The files of a repository at a commit."""

    name: HubName
    commit: str
    files: tuple[HubFile, ...]


class HubClient:
    """Lists and downloads files of models.

    Args:
        cache: folder of downloaded files in the layout of huggingface_hub; None takes the library's own (HF_HOME).
        endpoint: address of the Hub; None takes HF_ENDPOINT.
    """

    def __init__(self, cache: Path | None = None, endpoint: str | None = None) -> None:
        self.cache = cache
        self.endpoint = endpoint

    def list_files(self, name: HubName) -> Listing:
        """Ask for the commit of a revision and its files.

        Raises:
            ConfigError: if huggingface_hub is not installed, or its settings can't be used.
            HubUnreachableError: if the Hub does not respond.
            HubError: if there is no such model or revision, or access is denied.
        """
        hub = _library()
        with _errors_named(name):
            info = hub.HfApi(endpoint=self.endpoint).model_info(
                name.name, revision=name.revision, files_metadata=True, timeout=hub.constants.HF_HUB_ETAG_TIMEOUT
            )
        return Listing(name, str(info.sha), tuple(_file_of(sibling) for sibling in info.siblings or ()))

    def cached_files(self, name: HubName) -> Listing | None:
        """The files of a revision in the cache, without a request; None if there are none.

        A branch or a tag has the commit of the last remember(), or of a download by another program.
        """
        hub = _library()
        found = None
        for file in (CONFIG, TOKENIZER):  # A model, or a tokenizer alone.
            with contextlib.suppress(ValueError):  # The library's own check of names.
                found = hub.try_to_load_from_cache(name.name, file, cache_dir=self.cache, revision=name.revision)
            if isinstance(found, str):
                break
        else:
            return None
        folder = Path(found).parent
        files = tuple(HubFile(path.name) for path in sorted(folder.iterdir()) if path.is_file())
        return Listing(name, folder.name, files)

    def download(self, name: HubName, commit: str, path: str) -> Path:
        """The path of a file in the cache; it is downloaded unless it is there.

        A connection that breaks continues where it stopped.

        Raises:
            HubUnreachableError: if the Hub does not respond.
            HubError: if the file can't be had.
            OSError: if the file can't be written.
        """
        hub = _library()
        with _errors_named(name, path):
            found = hub.hf_hub_download(name.name, path, revision=commit, cache_dir=self.cache, endpoint=self.endpoint)
        return Path(found)

    def remember(self, listing: Listing, folder: Path) -> None:
        """Note in the cache which commit a branch or a tag has, now that `folder` has its files.

        The library itself notes it only if it is asked for the branch.
        """
        if listing.name.is_pinned:
            return
        ref = folder.parents[1] / "refs" / listing.name.revision
        with contextlib.suppress(OSError), atomic_file(ref) as file:  # The cache may be read-only.
            file.write(listing.commit)


def _library() -> Any:
    """huggingface_hub; its log may contain signed addresses, and is off."""
    if os.environ.get("HF_ENDPOINT") == "":
        del os.environ["HF_ENDPOINT"]  # The library takes an empty one for an address.
    # Else it asks for a list of programs that may have started it, and writes the list to HF_HOME.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        import huggingface_hub
        from huggingface_hub import constants  # noqa: F401 (an attribute of the package from here on)
        from huggingface_hub.utils import logging as hub_logging
        from huggingface_hub.utils.tqdm import disable_progress_bars
    except ModuleNotFoundError as error:
        raise ConfigError(_NO_PACKAGE.format(package=error.name)) from None
    hub_logging.set_verbosity(logging.CRITICAL)
    if not sys.stderr.isatty():
        disable_progress_bars()
    return huggingface_hub


def _file_of(sibling: Any) -> HubFile:
    if sibling.lfs is not None:
        return HubFile(sibling.rfilename, sibling.lfs.size, sibling.lfs.sha256)
    return HubFile(sibling.rfilename, sibling.size, git_sha1=sibling.blob_id or "")


@contextlib.contextmanager
def _errors_named(name: HubName, path: str = "") -> Iterator[None]:
    """Replace the library's errors, which contain addresses, by one line."""
    place = f"{name}: {path}" if path else str(name)
    try:
        yield
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        raise _problem_of(place, error) from None
    except Exception as error:
        # httpx's own errors have no base class among Python's.
        if not type(error).__module__.startswith(("httpx", "httpcore", "huggingface_hub", "hf_xet")):
            raise
        raise _problem_of(place, error) from None


def _problem_of(place: str, error: Exception) -> Exception:
    """The error with one line for an error of the library; errors of the file system are returned unchanged."""
    chain = _causes(error)
    names = [kind.__name__ for cause in chain for kind in type(cause).__mro__]
    if "OfflineModeIsEnabled" in names:
        return HubUnreachableError(
            f"{place}: is not in the cache, and HF_HUB_OFFLINE forbids to download it; unset HF_HUB_OFFLINE once"
        )
    for kind, (problem, remedy) in _PROBLEMS.items():
        if kind in names:
            return HubError(f"{place}: {problem}; {remedy}")
    if full := [one for one in chain if isinstance(one, OSError) and one.errno in (errno.ENOSPC, errno.EDQUOT)]:
        return full[0]
    responses = [getattr(one, "response", None) for one in chain]
    if statuses := [response.status_code for response in responses if response is not None]:
        if statuses[0] in _STATUS_PROBLEMS:
            problem, remedy = _STATUS_PROBLEMS[statuses[0]]
            return HubError(f"{place}: {problem}; {remedy}")
        return HubUnreachableError(f"{place}: the Hub answered with status {statuses[0]}; try again later")
    if "Consistency check failed" in str(error):
        return HubError(f"{place}: expected a file of another size than was received; start again")
    if "FileMetadataError" in names or "JSONDecodeError" in names:
        return HubError(f"{place}: what answered is not the Hub; check HF_ENDPOINT and the proxy")
    if isinstance(error, OSError) and error.errno is not None and "ConnectionError" not in names:
        return error
    if isinstance(error, ValueError) and "too large" in str(error):
        return UnusableHubModelError(f"{place}: the file is too large to download; choose another model")
    return HubUnreachableError(f"{place}: the Hub can't be reached ({type(chain[-1]).__name__}); {_NETWORK}")


def _causes(error: BaseException) -> list[BaseException]:
    """An error and its explicit causes."""
    chain = [error]
    while chain[-1].__cause__ is not None and len(chain) < 10:
        chain.append(chain[-1].__cause__)
    return chain
