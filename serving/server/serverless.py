"""SERVERLESS=true: one worker, and no file outside the folder for temporary files, which ends with the container."""

import os
from collections.abc import Mapping
from pathlib import Path

from serving.settings import Settings
from textclf.data.prediction_log.database_url import DEFAULT_URL, OFF, DatabaseUrl
from textclf.errors import ConfigError
from textclf.fields import default_of

# No folder can be made there, so that POST /feedback refuses reviews (507) instead of losing them later.
_NOWHERE = f"{os.devnull}/new_data"


def serverless_environment(environ: Mapping[str, str], temporary: Path) -> tuple[dict[str, str], list[str]]:
    """Return the environment of a server that writes below `temporary` only, and what that turns off, in sentences."""
    changed, notes = dict(environ), []
    if not environ.get("MODEL_SERVER_WORKERS", "").strip():
        changed["MODEL_SERVER_WORKERS"] = "1"
    changed["PYTHONDONTWRITEBYTECODE"] = "1"
    reviews = environ.get("NEW_DATA_DIR", "").strip() or str(default_of(Settings, "new_data_dir"))
    if not _is_below(Path(reviews), temporary):
        changed["NEW_DATA_DIR"] = _NOWHERE
        notes.append(f"POST /feedback is refused, because NEW_DATA_DIR, {reviews}, is not below TMPDIR")
    if (file := _log_file(environ)) is not None and not _is_below(file, temporary):
        changed["PREDICTION_LOG_URL"] = OFF
        notes.append(
            f"predictions are not logged, because {file} is not below TMPDIR; PREDICTION_LOG_URL can name a PostgreSQL "
            f"database"
        )
    metrics = environ.get("PROMETHEUS_MULTIPROC_DIR", "").strip()
    if metrics and not _is_below(Path(metrics), temporary):
        changed["PROMETHEUS_MULTIPROC_DIR"] = ""
        notes.append("metrics are in TMPDIR, because PROMETHEUS_MULTIPROC_DIR is not below it")
    return changed, notes


def _log_file(environ: Mapping[str, str]) -> Path | None:
    """The file of an SQLite log; None for another one, or for a malformed URL, which the settings refuse."""
    url = environ.get("PREDICTION_LOG_URL", "").strip() or DEFAULT_URL
    try:
        return None if url == OFF else DatabaseUrl.parse(url).file
    except ConfigError:
        return None


def _is_below(path: Path, folder: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))
