"""The file of a study, which several processes share."""

import warnings
from pathlib import Path

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy import URL
from sqlalchemy.exc import SQLAlchemyError

from textclf.errors import ConfigError, TrainingError
from textclf.tuning.options import STORAGES

FILES = dict(zip(STORAGES, ("study.db", "study.journal"), strict=True))
# A process waits this long for another one that writes.
_WAIT_SECONDS = 60


def open_storage(folder: Path, kind: str) -> BaseStorage:
    """The storage of the study in `folder`, of a kind in STORAGES; a missing file is created.

    Raises:
        ConfigError: if the folder has a study of the other kind.
        TrainingError: if the file is damaged or is no study.
    """
    path = folder / FILES[kind]
    for other, name in FILES.items():
        if other != kind and (folder / name).exists() and not path.exists():
            raise ConfigError(f"{folder}: expected a study in {path.name}, found {name}; pass --storage {other}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            if kind == "journal":
                return JournalStorage(JournalFileBackend(str(path)))
            url = URL.create("sqlite", database=str(path)).render_as_string()
            return RDBStorage(url, engine_kwargs={"connect_args": {"timeout": _WAIT_SECONDS}})
    except (SQLAlchemyError, ValueError, KeyError, RuntimeError) as error:
        raise TrainingError(
            f"{path}: expected the file of a study, found something else or a damaged one "
            f"({str(error).splitlines()[0]}); move it away, or choose another folder with --study-dir"
        ) from error
