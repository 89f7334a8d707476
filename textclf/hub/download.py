"""Downloads what an import reads of a model: one commit, checked, into one folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from textclf.hub.client import HubClient, Listing
from textclf.hub.errors import HubError, HubUnreachableError
from textclf.hub.files import HubFile, check_content, check_size, needed_files
from textclf.hub.names import HubName


@dataclass(frozen=True)
class Downloaded:
    """A folder with the files of a commit."""

    name: HubName
    commit: str
    folder: Path


def find_commit(client: HubClient, name: HubName) -> Listing:
    """The files of a revision: from the Hub, or from the cache if the Hub can't be reached.

    The cache knows the commit that a branch or a tag had at its last download.

    Raises:
        ConfigError: if the extra `hub` is missing.
        HubError: if the model can't be found.
    """
    try:
        return client.list_files(name)
    except HubUnreachableError:
        listing = client.cached_files(name)
        if listing is None:
            raise
        return listing


def download_model(
    client: HubClient, listing: Listing, max_bytes: int, remedy: str, *, tokenizer_only: bool = False
) -> Downloaded:
    """Download the files that an import reads.

    Args:
        max_bytes: largest size of all files together.
        remedy: what to do if they are larger, for the error.
        tokenizer_only: whether only the tokenizer is wanted.

    Raises:
        UnusableHubModelError: if a file is missing, or the files are too large.
        HubError: if a file can't be downloaded, or is broken.
        OSError: if a file can't be written.
    """
    name = listing.name
    files = needed_files(name, listing.files, tokenizer_only=tokenizer_only)
    check_size(name, files, max_bytes, remedy)
    folder = _folder_of(client, listing, files)
    client.remember(listing, folder)
    return Downloaded(name, listing.commit, folder)


def _folder_of(client: HubClient, listing: Listing, files: Sequence[HubFile]) -> Path:
    path = Path()
    for file in files:
        path = client.download(listing.name, listing.commit, file.path)
        try:
            check_content(listing.name, file, path)
        except HubError:
            # The next attempt is to download it again.
            path.resolve().unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            raise
    return path.parent
