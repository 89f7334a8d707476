"""Where an imported model is: a folder, an archive, or the Hugging Face Hub."""

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from textclf.data.archive import is_archive, unpack_into
from textclf.errors import ConfigError, SourceError
from textclf.hub.client import HubClient
from textclf.hub.download import download_model, find_commit
from textclf.hub.names import hub_name_of

# Larger models are not for CPUs.
_MAX_BYTES = 8 << 30
_SMALLER = "choose a smaller model"


@dataclass(frozen=True)
class Source:
    """The files of a model.

    Attributes:
        folder: where they are.
        handle: name of the model, for people and for the record.
        revision: commit on the Hub; "" otherwise.
    """

    folder: Path
    handle: str
    revision: str = ""


@contextlib.contextmanager
def opened_source(handle: str, option: str, needed: str) -> Iterator[Source]:
    """The files of a model for the time of the block; a path that exists wins over a name of the Hub.

    Args:
        handle: path of a folder or an archive, or OWNER/NAME@REVISION; `hf://` in front always means the Hub.
        option: the option with the handle, for errors.
        needed: the file that tells the right folder of an archive; tokenizer.json needs no weights.

    Raises:
        ConfigError: if there is no such path, and the handle is no name of the Hub.
        HubError: if the model can't be downloaded.
        UnusableHubModelError: if a file is missing, or the model is too large.
        SourceError: if the archive can't be unpacked, or has no such file.
    """
    path = Path(handle)
    if (name := hub_name_of(handle, option)) is not None:
        client = HubClient()
        only = needed == "tokenizer.json"
        found = download_model(client, find_commit(client, name), _MAX_BYTES, _SMALLER, tokenizer_only=only)
        yield Source(found.folder, name.name, found.commit)
    elif path.is_dir():
        yield Source(path, path.resolve().name)
    elif path.is_file() and is_archive(path):
        with tempfile.TemporaryDirectory(prefix="textclf-import-") as scratch:
            unpack_into(Path(scratch), path, _MAX_BYTES)
            inner = [Path(scratch), *sorted(child for child in Path(scratch).iterdir() if child.is_dir())]
            folder = next((folder for folder in inner if (folder / needed).is_file()), None)
            if folder is None:
                problem = f"expected {needed} at the top of the archive or in a folder there, found none"
                raise SourceError(path, problem, "pack the folder of the model itself")
            yield Source(folder, path.name)
    else:
        raise ConfigError(
            f"{option}: expected a folder or an archive of a model, or OWNER/NAME of the Hub, got {handle}, which is "
            f"none; check the path"
        )
