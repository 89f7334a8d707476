"""Checks before the servers start: address, model, nginx, and the folders that they write to."""

import os
import shlex
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path

from serving.settings import DEFAULT_PREFIX
from textclf.data.prediction_log.database_url import OFF, DatabaseUrl
from textclf.errors import ConfigError
from textclf.store.model_store import is_saved_model_folder, open_model

# Debian and others install nginx in a folder that is only on root's PATH.
_SYSTEM_PROGRAMS = "/usr/local/sbin:/usr/sbin:/sbin"
NO_NGINX = (
    f"found no nginx on PATH or in {_SYSTEM_PROGRAMS}, so gunicorn listens itself: slow clients hold its threads, "
    f"MODEL_SERVER_TIMEOUT does not end slow responses, and a worker may refuse requests while another is idle; "
    f"install nginx (Debian: apt-get install nginx-light), or set NGINX=off if this is intended"
)


def model_path(environ: Mapping[str, str]) -> str:
    """Return MODEL_PATH, or model/ in PREFIX (default: /opt/ml)."""
    return environ.get("MODEL_PATH", "").strip() or default_model_path(environ)


def default_model_path(environ: Mapping[str, str]) -> str:
    """Return model/ in PREFIX (default: /opt/ml)."""
    return f"{environ.get('PREFIX', '').strip() or DEFAULT_PREFIX}/model"


def find_nginx(environ: Mapping[str, str]) -> str | None:
    """Return the absolute path of the nginx in NGINX, on PATH or of the system; None if there is none or it is off.

    Raises:
        ConfigError: if NGINX is not a program.
    """
    wanted = environ.get("NGINX", "").strip()
    if wanted.lower() == "off":
        return None
    nginx = shutil.which(wanted or "nginx", path=f"{environ.get('PATH', os.defpath)}:{_SYSTEM_PROGRAMS}")
    if wanted and nginx is None:
        raise ConfigError(
            f"NGINX: expected off, or the path of an nginx that user {os.geteuid()} may run, got {wanted!r}; correct "
            f"or unset the environment variable NGINX"
        )
    # Absolute, because nginx is started in another folder.
    return nginx and os.path.abspath(nginx)


def check_address(host: str, port: int) -> None:
    """Check that the address is free.

    Raises:
        ConfigError: if the address can't be used.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        with socket.socket(family, kind, protocol) as listener:
            # As the servers do: ignore connections of a server that has just ended.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen()
    except OSError as error:
        raise ConfigError(
            f"HOST, PORT: expected an address that can be listened on, got {host}:{port} ({error.strerror}); "
            f"stop the program that listens there, or set another PORT or HOST"
        ) from error


def check_model(path: Path) -> None:
    """Check that there is a model that this user may read; the workers read its parts.

    Raises:
        ConfigError: if there is no model, or it can't be read.
        ModelStoreError: if the model is damaged.
    """
    try:
        if not path.exists() or _is_empty(path):
            raise ConfigError(
                f"MODEL_PATH: expected a model, found none in {path}; train one (textclf train --dataset-path DATA "
                f"--model-dir {shlex.quote(str(path))}), or set another folder: after `make demo` there is a model in "
                f"demo/model"
            )
        if not is_saved_model_folder(path):
            open_model(path)
    except PermissionError as error:
        raise ConfigError(
            f"MODEL_PATH: expected a model that user {os.geteuid()} may read, got {error.filename} "
            f"({error.strerror}); change its permissions (chmod -R a+rX {path}), or serve as its owner"
        ) from error


def check_rules(path: str, model: Path) -> None:
    """Check the file of rules, and its labels with the classes of a version; the workers try golden texts.

    Raises:
        ConfigError: if there is a path, but not of a file of rules that this user may read, or they are invalid.
        ModelStoreError: if the model is damaged.
    """
    if not path:
        return
    from textclf.rules.loading import load_rules  # It needs packages that a server without rules does not.

    try:
        source = load_rules(Path(path))
        # The classes of a plain SavedModel are known after it is loaded.
        if not is_saved_model_folder(model):
            source.check(open_model(model).manifest.class_names)
    except ConfigError as error:
        raise ConfigError(f"RULES: {error}") from error


def _is_empty(path: Path) -> bool:
    """Return whether a folder, or a store's folder of versions, has no visible entries."""
    entries = [entry for entry in path.iterdir() if not entry.name.startswith(".")] if path.is_dir() else [path]
    return not entries or (entries == [path / "versions"] and _is_empty(entries[0]))


def why_not_writable(folder: Path) -> str:
    """Return why files can't be made in a folder, which need not exist yet; "" if they can."""
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if os.path.exists(path))
    if not existing.is_dir():
        return f"is below {existing}, which is not a folder"
    if not os.access(existing, os.W_OK | os.X_OK, effective_ids=True):
        return f"can't be written: user {os.geteuid()} has no permission to write in {existing}"
    return ""


def why_not_logged(url: str) -> str:
    """Return why an SQLite prediction log can't be made; "" if it can, or the log is off or no file."""
    file = None if url == OFF else DatabaseUrl.parse(url).file
    reason = "" if file is None else why_not_writable(file.parent)
    return f"{file}: its folder {reason}" if reason else ""
