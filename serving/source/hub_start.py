"""Imports a model of the Hub in a process of its own, whose memory is free again when the server starts."""

import contextlib
import errno
import json
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from serving.source.errors import FetchError, UnusableArchiveError
from serving.source.fetch import FetchedModel
from serving.source.location import HubModel
from serving.source.origin import Origin
from serving.source.settings import SourceSettings
from textclf.cli.termination import ends_on_sigterm
from textclf.errors import ConfigError, TextClfError
from textclf.files import in_use

_ROOT = Path(__file__).parents[2]
_CODE = "import sys; sys.path[0] = sys.argv.pop(1); from serving.source.hub_import import main; main()"
# Time to remove unfinished files after SIGTERM.
_SECONDS_TO_END = 5
_ERRORS: dict[str, type[TextClfError]] = {"config": ConfigError, "fetch": FetchError, "unusable": UnusableArchiveError}
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
# Variables that place the cache of huggingface_hub.
_HF_CACHES = ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE")


@contextlib.contextmanager
def model_in_use(
    location: HubModel, settings: SourceSettings, environ: Mapping[str, str], temporary: str
) -> Iterator[FetchedModel]:
    """A model of the Hub as import_from_hub returns it; other servers do not remove it during the block."""
    with contextlib.ExitStack() as held:
        with ends_on_sigterm():
            model = import_from_hub(location, settings, environ, temporary)
            try:
                held.enter_context(in_use(model.path.parent))
            except FileNotFoundError:  # Another server removed it, because the branch had moved meanwhile.
                model = import_from_hub(location, settings, environ, temporary)
                held.enter_context(in_use(model.path.parent))
        yield model


def import_from_hub(
    location: HubModel, settings: SourceSettings, environ: Mapping[str, str], temporary: str
) -> FetchedModel:
    """Return a model of the Hub from the cache; it is downloaded and imported unless it is there.

    Args:
        environ: environment of the process; HF_HOME and other variables of huggingface_hub count.
        temporary: TMPDIR; "" is the system's folder for temporary files.

    Raises:
        ConfigError: if the cache can't be used, or the extra `hub` is missing.
        FetchError: if the model can't be downloaded.
        UnusableArchiveError: if it can't be imported.
        TextClfError: if the space is used up, or the import ended without a result.
    """
    folder = cache_folder(settings, Path(temporary or tempfile.gettempdir()))
    keeps_downloads = not settings.serverless and any(environ.get(name) for name in _HF_CACHES)
    request = {
        "name": settings.hub_model_name,
        "tokenizer": "" if location.tokenizer is None else settings.tokenizer,
        "folder": str(folder),
        "max_bytes": settings.model_max_bytes,
        "keeps_downloads": keeps_downloads,
    }
    result = _result_of([sys.executable, "-c", _CODE, str(_ROOT), json.dumps(request)], environ)
    if result.get("kind") == "full":
        raise TextClfError(
            f"HUB_CACHE_DIR: expected free space in {folder}, found none; free some, or set another folder"
        )
    if "kind" in result:
        raise _ERRORS.get(result["kind"], TextClfError)(result["message"])
    return FetchedModel(Path(result["path"]), Origin(**result["origin"]))


def cache_folder(settings: SourceSettings, temporary: Path) -> Path:
    """HUB_CACHE_DIR, or a folder below `temporary` that only this user may use; it is created.

    Raises:
        ConfigError: if it can't be created, belongs to another user, or SERVERLESS forbids it.
    """
    given = settings.hub_cache_dir
    folder = Path(given).absolute() if given else temporary.absolute() / f"textclf-hub-{os.geteuid()}"
    if settings.serverless and not folder.resolve().is_relative_to(temporary.resolve()):
        raise ConfigError(
            f"HUB_CACHE_DIR, SERVERLESS: expected a folder below TMPDIR, because SERVERLESS is true, got {folder}; "
            f"unset HUB_CACHE_DIR, or build the model into the image"
        )
    try:
        folder.mkdir(mode=0o777 if given else 0o700, parents=bool(given), exist_ok=True)
        state = folder.lstat()
    except OSError as error:
        raise ConfigError(_not_writable(str(folder), error)) from None
    # Anyone may make files in a folder for temporary files.
    if not given and (not stat.S_ISDIR(state.st_mode) or state.st_uid != os.geteuid() or state.st_mode & 0o022):
        raise ConfigError(
            f"HUB_CACHE_DIR: expected a folder that only user {os.geteuid()} may write in, got {folder} of user "
            f"{state.st_uid}; remove it, or set HUB_CACHE_DIR to another folder"
        )
    return folder


def _not_writable(folder: str, error: OSError) -> str:
    return (
        f"HUB_CACHE_DIR: expected a folder that user {os.geteuid()} may write in, got {folder} ({error.strerror}); "
        f"set HUB_CACHE_DIR to another folder"
    )


def _result_of(command: list[str], environ: Mapping[str, str]) -> dict[str, Any]:
    """The result that the process prints; it ends before this one does."""
    with subprocess.Popen(  # noqa: S603
        command, env=dict(environ), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as process:
        try:
            out, _ = process.communicate()
        except BaseException:
            process.terminate()
            try:
                process.wait(_SECONDS_TO_END)
            except subprocess.TimeoutExpired:
                process.kill()
            raise
    try:
        result: dict[str, Any] = json.loads(out)
    except ValueError:
        status = process.returncode
        reason = f"signal {-status}" if status < 0 else f"status {status}"
        hint = "; give it more memory" if status == -9 else "; see the lines above"
        raise TextClfError(f"HUB_MODEL_NAME: expected the import to end, got {reason}{hint}") from None
    return result


def failure_of(error: Exception, folder: str) -> dict[str, str]:
    """The result of an import into the cache `folder` that failed."""
    from textclf.hub.errors import HubError

    cause = error if isinstance(error, OSError) else error.__cause__
    if isinstance(cause, OSError) and cause.errno in _FULL:
        return {"kind": "full", "message": str(error)}
    if isinstance(cause, OSError) and cause.errno in _FORBIDDEN:
        return {"kind": "config", "message": _not_writable(folder, cause)}
    if isinstance(error, OSError):
        return {"kind": "file", "message": f"HUB_CACHE_DIR: {error}"}
    kind = "config" if isinstance(error, ConfigError) else "fetch" if isinstance(error, HubError) else "unusable"
    return {"kind": kind, "message": str(error)}
