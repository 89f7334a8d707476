"""Exports a version again: a child with the same weights, a new engine and a new drift reference."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from textclf.config import DataOptions
from textclf.data.datasets import Dataset
from textclf.errors import TrainingError
from textclf.report.withholding import report_withheld
from textclf.stats.floor import Floor
from textclf.store.model_store import ModelStore, ModelVersion
from textclf.tokenization.text_key import KeyFunction, made_at_first_use
from textclf.training.export.tokenizer_parity import preprocessing_of_version, text_keys_of_preprocessing
from textclf.training.export.version_writer import reexported_version, write_version

ReadDataset = Callable[[DataOptions, Collection[str], KeyFunction], Dataset]


def export_again(
    read_dataset: ReadDataset,
    path: str,
    store: ModelStore,
    version_id: str | None,
    promote: bool,
    changes: Mapping[str, Any],
    windows: int | None,
) -> Path:
    """Write the child of a version; see Training.export_again.

    Args:
        read_dataset: reads the data set at `path` with other options, class names and rule for equal texts.
        store, version_id, promote, changes, windows: as for Training.export_again.

    Raises:
        TrainingError: if the data is not what the version was trained on, or the engine differs from the SavedModel.
        ModelStoreError: if there is no such version, it has no saved_model/, or the store can't be written.
    """
    store.check_writable()
    current = store.current_id()
    parent = store.open(version_id)
    parent.verify()
    parent.part("saved_model")  # Fail before the data is read.
    text_keys = made_at_first_use(lambda: text_keys_of_preprocessing(preprocessing_of_version(parent)))
    options = DataOptions.from_record({**parent.manifest.data["options"], **changes})
    dataset = read_dataset(options, parent.manifest.class_names, text_keys)
    _check_same_data(parent, dataset, path)
    # The child has the weights of its parent, and so its floor.
    floor = parent.manifest.training.get("floor")  # Earlier software recorded none.
    is_withheld = not promote and floor is not None and Floor(**floor).is_refused
    new = reexported_version(parent, dataset, current, parent.manifest.windows if windows is None else windows)
    version = write_version(store, new, promote, is_withheld=is_withheld)
    report_withheld(store, version.id)
    return version.path


def _check_same_data(version: ModelVersion, dataset: Dataset, path: str) -> None:
    data = version.manifest.data
    if dataset.fingerprints != data["fingerprint"]:
        raise TrainingError(
            f"{path}: expected the data that version {version.id} was trained on (fingerprint "
            f"{data['fingerprint'].get('all')}), got other data ({dataset.fingerprint}); name the data set of the "
            f"training{DataOptions.differences_of_record(data['options'])}"
        )
