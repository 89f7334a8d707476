"""Which files of a repository are downloaded: weights in safetensors, the tokenizer, and the model card.

Nothing else is read: no pickle, and no code.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from textclf.files import sha256_of_file
from textclf.hub.errors import HubError, UnusableHubModelError
from textclf.hub.names import HubName
from textclf.listing import shortened

CONFIG, TOKENIZER, WEIGHTS, INDEX = "config.json", "tokenizer.json", "model.safetensors", "model.safetensors.index.json"
_SHARD = re.compile(r"model-[0-9]+-of-[0-9]+\.safetensors")
_OF_TOKENIZERS = (TOKENIZER, "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
# The model card names the licence.
_OF_MODELS = (CONFIG, *_OF_TOKENIZERS, "README.md")


@dataclass(frozen=True)
class HubFile:
    """A file of a repository.

    Attributes:
        path: its path in the repository.
        size: bytes; None if the server does not say.
        sha256: hash of a large file; "" if it is unknown.
        git_sha1: hash of a small file as git computes it; "" if it is unknown.
    """

    path: str
    size: int | None = None
    sha256: str = ""
    git_sha1: str = ""


def needed_files(name: HubName, files: Sequence[HubFile], *, tokenizer_only: bool = False) -> list[HubFile]:
    """The files that an import reads.

    Args:
        tokenizer_only: whether only the tokenizer is wanted.

    Raises:
        UnusableHubModelError: if a file is missing.
    """
    by_path = {file.path: file for file in files}
    wanted = [TOKENIZER] if tokenizer_only else [CONFIG, TOKENIZER]
    if missing := [path for path in wanted if path not in by_path]:
        root = [path for path in by_path if "/" not in path]
        raise UnusableHubModelError(
            f"{name}: expected {' and '.join(missing)}, found {shortened(sorted(root)) or 'no file'}; save the model "
            f"with a fast tokenizer (save_pretrained of transformers writes both), or choose another model"
        )
    chosen = [by_path[path] for path in (_OF_TOKENIZERS if tokenizer_only else _OF_MODELS) if path in by_path]
    if tokenizer_only:
        return chosen
    if WEIGHTS in by_path:
        return [*chosen, by_path[WEIGHTS]]
    shards = [file for path, file in sorted(by_path.items()) if _SHARD.fullmatch(path)]
    if INDEX not in by_path or not shards:
        others = [path for path in by_path if path.endswith((".bin", ".h5", ".msgpack", ".pt"))]
        raise UnusableHubModelError(
            f"{name}: expected weights in {WEIGHTS}, found {shortened(sorted(others)) or 'none'}; pickles can run code "
            f"and are never read: convert the model to safetensors, or choose another revision"
        )
    return [*chosen, by_path[INDEX], *shards]


def check_size(name: HubName, files: Sequence[HubFile], max_bytes: int, remedy: str) -> None:
    """Refuse files that are larger together than `max_bytes`.

    Raises:
        UnusableHubModelError: if they are.
    """
    total = sum(file.size or 0 for file in files)
    if total > max_bytes:
        raise UnusableHubModelError(
            f"{name}: expected at most {max_bytes:,} bytes to download, got {total:,}; {remedy}"
        )


def check_content(name: HubName, file: HubFile, path: Path) -> None:
    """Compare a downloaded file with the size and the hash that the Hub gave.

    Raises:
        HubError: if they differ.
    """
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        raise HubError(f"{name}: {file.path}: expected {file.size:,} bytes, got {size:,}; start again")
    if file.sha256 and (found := sha256_of_file(path)) != file.sha256:
        raise HubError(f"{name}: {file.path}: expected SHA-256 {file.sha256}, got {found}; start again")
    # Git's hash finds a broken file; it is no protection against a forged one.
    if not file.sha256 and file.git_sha1:
        digest = hashlib.sha1(f"blob {size}\0".encode() + path.read_bytes(), usedforsecurity=False).hexdigest()
        if digest != file.git_sha1:
            raise HubError(f"{name}: {file.path}: expected the git hash {file.git_sha1}, got {digest}; start again")
