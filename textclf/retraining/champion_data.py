"""The champion's data: how it was read, its test set, and until when the champion may have seen new texts."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from textclf.config import DataOptions
from textclf.data.datasets import Dataset, Split
from textclf.errors import TrainingError
from textclf.store.manifest import Manifest
from textclf.store.model_store import ModelVersion


def data_options_of(manifest: Manifest, changes: Mapping[str, Any]) -> DataOptions:
    """The options that the champion's data was read with, changed by `changes`; the test part is always read."""
    return DataOptions.from_record({**manifest.data.get("options", {}), **changes, "read_test": True})


def trained_until(manifest: Manifest, old: Dataset) -> datetime | None:
    """The champion's creation time, if it may have been trained on new texts; None if it was trained on `old` alone."""
    known = manifest.data.get("fingerprint", {})
    trained_on = {name: value for name, value in old.fingerprints.items() if name not in ("all", "test")}
    return None if trained_on.items() <= known.items() else datetime.fromisoformat(manifest.created)


def reference_test_set(dataset: Dataset, champion: ModelVersion, source: object) -> Split:
    """The reference test set of the gate: the test part of a data set with the champion's classes.

    Raises:
        TrainingError: if the classes differ, or `source` has no test part.
    """
    names = champion.manifest.class_names
    if set(dataset.class_names) != set(names):
        raise TrainingError(
            f"{source}: expected the classes of the champion {champion.id}, {', '.join(names)}, got "
            f"{', '.join(dataset.class_names)}; only models with the same classes are compared: train a model with "
            f"other classes with textclf train, and promote it with textclf versions promote"
        )
    if dataset.test is None:
        raise TrainingError(f"{source}: expected a test part, which is the reference test set, found none")
    return dataset.test


def is_test_set_of_champion(dataset: Dataset, champion: ModelVersion) -> bool | None:
    """Whether the champion was measured on this test part; None if it was saved without a test part."""
    known = champion.manifest.data.get("fingerprint", {}).get("test")
    return None if known is None else known == dataset.fingerprints["test"]


def describe_test_set(dataset: Dataset, champion: ModelVersion) -> str:
    """The origin of the reference test set, as the end of a sentence; warns if the champion may have seen its texts."""
    is_same = is_test_set_of_champion(dataset, champion)
    if is_same:
        return f", the test part of {champion.id}"
    why = "was saved without a test part" if is_same is None else "was measured on another test part"
    return (
        f"; {champion.id} {why}, and may have been trained on some of these texts, which would favour it: "
        f"name the data that it was trained on"
    )
