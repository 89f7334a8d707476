"""Registers an exported version in the model registry of an MLflow server; the extra is `mlflow`."""

import contextlib
import logging
import re
import socket
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from textclf.errors import ConfigError

TRACKING_URI = "MLFLOW_TRACKING_URI"
VERSION_TAG = "textclf.version"
_ARTIFACT = "model"
_CONNECT_SECONDS = 10.0
_NAME = re.compile(r"[0-9A-Za-z._-]{1,200}")


def check_registration(name: str | None, alias: str | None, target: str, environ: Mapping[str, str]) -> None:
    """Check the options before anything is written.

    Raises:
        ConfigError: if a name can't be used, or there is no server to register at, or nothing listens at its address.
    """
    if alias is not None and name is None:
        raise ConfigError("--alias: expected --register next to it, got none; name the registered model")
    if name is None:
        return
    if target != "mlflow":
        raise ConfigError(f"--register: expected --to mlflow, got --to {target}; correct one")
    for option, value in (("--register", name), ("--alias", alias)):
        if value is not None and not _NAME.fullmatch(value):
            raise ConfigError(
                f"{option}: expected at most 200 letters, digits, dots, _ and -, got {value[:50]!r}; choose "
                f"another name"
            )
    address = environ.get(TRACKING_URI, "").strip()
    if not address:
        raise ConfigError(f"--register: expected {TRACKING_URI}, found none; set it to the address of an MLflow server")
    _check_address(address)


def _check_address(address: str) -> None:
    """Refuse a URL of HTTP where nothing listens, which MLflow tries for minutes.

    Raises:
        ConfigError: if no connection is possible.
    """
    try:
        parts = urlsplit(address)
        scheme, host, port = parts.scheme.lower(), parts.hostname or "", parts.port
        if scheme not in ("http", "https"):
            return  # A database or a folder.
        if not host:
            raise ValueError("an address without a host")
        if urllib.request.getproxies().get(scheme) and not urllib.request.proxy_bypass(host):
            return
        socket.create_connection((host, port or (443 if scheme == "https" else 80)), _CONNECT_SECONDS).close()
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"--register: expected an MLflow server at {TRACKING_URI}, found none ({error}); start one, or correct the "
            f"address"
        ) from error


def register(folder: Path, version_id: str, name: str, alias: str | None = None) -> str:
    """Make the folder a version of a registered model, once for each version of textclf.

    Args:
        folder: what write_mlflow wrote.
        name: the registered model; made if it is missing.
        alias: alias to move to this version.

    Returns:
        The number of the version in the registry.

    Raises:
        ConfigError: if the server refuses it, or can't be reached.
    """
    import mlflow

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    client = mlflow.MlflowClient()
    with _one_line_errors():
        number = _registered(client, name, version_id) or _upload(client, folder, name, version_id)
        if alias is not None:
            client.set_registered_model_alias(name, alias, number)
    return number


def _registered(client: Any, name: str, version_id: str) -> str | None:
    for found in client.search_model_versions(f"name='{name}'"):
        if found.tags.get(VERSION_TAG) == version_id:
            return str(found.version)
    return None


def _upload(client: Any, folder: Path, name: str, version_id: str) -> str:
    import mlflow

    if not client.search_registered_models(f"name='{name}'"):
        client.create_registered_model(name)
    with mlflow.start_run(run_name=f"textclf {version_id}", tags={VERSION_TAG: version_id}) as run:
        mlflow.log_artifacts(str(folder), _ARTIFACT)
    source = f"runs:/{run.info.run_id}/{_ARTIFACT}"
    found = client.create_model_version(name, source, run.info.run_id, tags={VERSION_TAG: version_id})
    return str(found.version)


@contextlib.contextmanager
def _one_line_errors() -> Iterator[None]:
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, OSError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(
            f"--register: expected an MLflow server at {TRACKING_URI} that takes the model, got: {reason}; the folder "
            f"is complete; correct the cause, and export to another folder to register it"
        ) from error
