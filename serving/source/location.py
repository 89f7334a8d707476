"""From the settings to the place of the model: a folder, an archive, an S3 object, a web address or the Hub."""

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from serving.source.settings import SourceSettings
from textclf.errors import ConfigError
from textclf.hub.names import HubName
from textclf.store.manifest import MANIFEST_FILE
from textclf.store.model_store import is_model_store, is_saved_model_folder
from textclf.urls import public_text, public_url

# The name that SageMaker gives to what a training leaves in /opt/ml/model.
ARCHIVE = "model.tar.gz"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_S3 = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(.*[^/])", re.DOTALL)
_UNSET = "unset BUCKET_NAME, or set LOCAL=true, to serve what is at MODEL_PATH"


@dataclass(frozen=True)
class S3Object:
    """An object in a bucket."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True)
class WebFile:
    """A file of a web server; `url` may contain secrets, and the text of this object has none."""

    url: str

    def __str__(self) -> str:
        return public_url(self.url)

    def __repr__(self) -> str:
        return f"WebFile({self})"


@dataclass(frozen=True)
class LocalArchive:
    """An archive in the file system."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True)
class HubModel:
    """A model of the Hugging Face Hub; `tokenizer` is None if it has its own."""

    name: HubName
    tokenizer: HubName | None = None

    def __str__(self) -> str:
        return str(self.name)


Archive = S3Object | WebFile | LocalArchive
Location = Archive | HubModel


def location_of(settings: SourceSettings, given: str, default: str) -> Location | None:
    """Return where the model is; None if it is in a folder.

    Args:
        given: MODEL_PATH; "" if it is not set.
        default: path of the model if MODEL_PATH is not set.

    Raises:
        ConfigError: if settings are missing, contradict each other, or name a place that can't be read.
    """
    if settings.hub_model_name:
        return _hub_model(settings)
    if settings.tokenizer:
        raise ConfigError(
            "TOKENIZER: expected HUB_MODEL_NAME next to it, because every other model contains its own tokenizer, got "
            "none; unset TOKENIZER, or set HUB_MODEL_NAME"
        )
    scheme = match[1].lower() if (match := _SCHEME.match(given)) else ""
    if settings.local:
        if scheme:
            raise ConfigError(
                f"LOCAL, MODEL_PATH: expected a path, because LOCAL is true, got {_shown(given)}; unset LOCAL, or set "
                f"MODEL_PATH to a path"
            )
    elif settings.bucket_name:
        return _object_of_bucket(settings.bucket_name, given, scheme)
    if scheme == "s3":
        if (match := _S3.fullmatch(given)) is None:
            raise ConfigError(
                f"MODEL_PATH: expected s3://BUCKET/KEY with the key of a {ARCHIVE}, got {_shown(given)}; correct it"
            )
        return S3Object(match[1], match[2])
    if scheme:
        return _web_file(settings, given, scheme)
    archive = _local_archive(Path(given or default))
    if settings.model_sha256 and archive is None:
        raise ConfigError(
            f"MODEL_SHA256, MODEL_PATH: expected an archive, because MODEL_SHA256 is set, found none at "
            f"{given or default}; correct MODEL_PATH, or unset MODEL_SHA256 for a folder, whose files have hashes of "
            f"their own"
        )
    return archive


def is_model(folder: Path) -> bool:
    """Whether a folder is a model store, a version, or a plain SavedModel."""
    return is_model_store(folder) or (folder / MANIFEST_FILE).is_file() or is_saved_model_folder(folder)


def _hub_model(settings: SourceSettings) -> HubModel:
    if settings.model_sha256:
        raise ConfigError(
            "MODEL_SHA256, HUB_MODEL_NAME: expected an archive, because MODEL_SHA256 is set, got a model of the Hub; "
            "unset MODEL_SHA256, and pin a commit as OWNER/NAME@COMMIT"
        )
    name = HubName.parse(settings.hub_model_name, "HUB_MODEL_NAME")
    tokenizer = HubName.parse(settings.tokenizer or settings.hub_model_name, "TOKENIZER")
    # The name alone means the tokenizer of the model, whatever the revision.
    own = tokenizer == name or settings.tokenizer == name.name
    return HubModel(name, None if own else tokenizer)


def _object_of_bucket(bucket: str, key: str, scheme: str) -> S3Object:
    if not key:
        raise ConfigError(
            f"BUCKET_NAME, MODEL_PATH: expected the key of a {ARCHIVE} in MODEL_PATH, because BUCKET_NAME is set, got "
            f"none; set MODEL_PATH, or unset BUCKET_NAME"
        )
    if scheme or key.startswith("/") or key.endswith("/"):
        got = "an address" if scheme else "a folder" if key.endswith("/") else "an absolute path"
        raise ConfigError(
            f"BUCKET_NAME, MODEL_PATH: expected the key of a {ARCHIVE} without a slash in front in MODEL_PATH, because "
            f"BUCKET_NAME is set, got {got}, {_shown(key)}; {_UNSET}"
        )
    return S3Object(bucket, key)


def _web_file(settings: SourceSettings, url: str, scheme: str) -> WebFile:
    if scheme not in ("http", "https"):
        raise ConfigError(
            f"MODEL_PATH: expected a path, s3://… or https://…, got {scheme[:20]}://…; give a file as its path alone"
        )
    try:
        host = urlsplit(public_url(url)).hostname or ""
    except ConfigError:
        raise ConfigError(f"MODEL_PATH: expected https://HOST/PATH, got {scheme}://…; correct the address") from None
    if scheme == "http" and not settings.model_sha256 and not _is_loopback(host):
        raise ConfigError(
            f"MODEL_PATH: expected https://…, because anyone on the way can change what http sends, got "
            f"{public_url(url)}; use https, or set MODEL_SHA256 to the SHA-256 of the archive"
        )
    return WebFile(url)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _local_archive(path: Path) -> LocalArchive | None:
    """An archive at a path, or in a folder that is no model itself."""
    try:
        if path.is_file():
            from textclf.data.archive import is_archive  # It imports decompressors, which a folder does not need.

            return LocalArchive(path) if is_archive(path) else None
        has_archive = path.is_dir() and not is_model(path) and (path / ARCHIVE).is_file()
    except PermissionError:
        return None  # The check of the model names it.
    except OSError as error:
        raise ConfigError(
            f"MODEL_PATH: expected a path that can be read, got {_shown(str(path))} ({error.strerror}); correct it"
        ) from None
    return LocalArchive(path / ARCHIVE) if has_archive else None


def _shown(value: str) -> str:
    return repr(public_text(value)[:200])
