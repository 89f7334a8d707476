"""Writes a version as a folder of MLflow: a model of the flavour `python_function` that predicts as the version does.

The folder contains the version's files and the code of textclf that reads them, so it needs no installation of
textclf. The extra is `mlflow`.
"""

import importlib.metadata
import logging
import os
import shutil
import tempfile
import warnings
from pathlib import Path

import textclf
from textclf.exporting import mlflow_loader
from textclf.exporting.mlflow_loader import LABEL, PROBABILITY, SCORE, TEXT
from textclf.store.model_store import ModelVersion

# Everything that a prediction needs, and what describes the version; absent parts are left out.
_PARTS = ("manifest.json", "engine", "reference.npz", "evaluation.json")
_PACKAGES = ("numpy", "openvino", "pandas", "scipy")
# The tokenizer of versions that have no WordPiece of textclf.
_LIBRARY_TOKENIZER = "engine/library_tokenizer.json"
MLFLOW_DIFFERENCE = "Rules are not part of it, and unusual or unsure texts are not marked."
_EXAMPLE = ("A joy from beginning to end.", "Dull, and far too long.")
# MLflow would send reports of its use.
_NO_REPORTS = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}


def checked_version(version: ModelVersion) -> ModelVersion:
    """Return the version after its files are checked.

    Raises:
        ModelStoreError: if it has no engine, or it is damaged.
    """
    version.verify(["engine"])
    return version


def write_mlflow(version: ModelVersion, folder: Path) -> None:
    """Write MLmodel and what belongs to it into an existing folder.

    Raises:
        ModuleNotFoundError: if the extra mlflow is not installed.
    """
    for name, value in _NO_REPORTS.items():
        os.environ.setdefault(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow warns of its own classes.
        _write(version, folder)


def _write(version: ModelVersion, folder: Path) -> None:
    import mlflow.pyfunc
    import pandas
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    classes = version.manifest.class_names
    numbers = [SCORE, *(PROBABILITY + name for name in classes)]
    outputs = [ColSpec("string", LABEL), *(ColSpec("double", name) for name in numbers)]
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".mlflow-") as work:
        parts = _copy(version, Path(work) / "version")
        mlflow.pyfunc.save_model(
            Path(work) / "model",
            loader_module=mlflow_loader.__name__,
            data_path=str(parts),
            code_paths=[str(Path(textclf.__file__).parent)],
            signature=ModelSignature(Schema([ColSpec("string", TEXT)]), Schema(outputs)),
            input_example=pandas.DataFrame({TEXT: _EXAMPLE}),
            pip_requirements=_requirements(version),
            metadata={"textclf_version": version.id, "class_names": list(classes)},
        )
        for entry in (Path(work) / "model").iterdir():
            shutil.move(entry, folder / entry.name)


def _copy(version: ModelVersion, target: Path) -> Path:
    target.mkdir()
    for name in _PARTS:
        source = version.path / name
        if source.is_dir():
            shutil.copytree(source, target / name)
        elif source.exists():
            shutil.copy2(source, target / name)
    return target


def _requirements(version: ModelVersion) -> list[str]:
    """The packages of a process that loads the folder, in the versions that are installed here."""
    tokenizers = ["tokenizers"] if _LIBRARY_TOKENIZER in version.manifest.files else []
    packages = ["mlflow-skinny", *_PACKAGES, *tokenizers]
    return [f"{name}=={importlib.metadata.version(name)}" for name in packages]
