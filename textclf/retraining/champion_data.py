"""The champion's data: how it was read, its test set, and until when the champion may have seen new texts."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from textclf.config import DataOptions
from textclf.data.datasets import Dataset, split_fingerprint
from textclf.data.splits import Split
from textclf.errors import TrainingError
from textclf.retraining.new_classes import relabelled
from textclf.store.manifest import ENCODER_KEYS, Manifest
from textclf.store.model_store import ModelVersion
from textclf.tokenization.text_key import KeyFunction, TextKeys
from textclf.tokenization.text_tokenizer import load_tokenizer


def data_options_of(manifest: Manifest, changes: Mapping[str, Any]) -> DataOptions:
    """The options that the champion's data was read with, changed by `changes`; the test part is always read.

    Only fields of DataOptions in `changes` count, without rename_labels, which is for the new data.

    A champion of an earlier product may have been trained on disguised test texts; its challengers are not.
    """
    changes = DataOptions.pop_from({**changes})
    changes.pop("rename_labels", None)
    recorded = {"equal_texts": "wordpieces", **manifest.data.get("options", {})}
    return DataOptions.from_record({**recorded, **changes, "read_test": True})


def without_counting(options: DataOptions) -> dict[str, Any]:
    """The options, except that near duplicates are not only counted; the training of the challenger counts them."""
    how = "ignore" if options.near_duplicates == "count" else options.near_duplicates
    return {**options.to_dict(), "near_duplicates": how}


def text_keys_of(champion: ModelVersion) -> TextKeys:
    """The rule by which two texts are equal to the champion; without its vocabulary if it has no engine.

    Raises:
        ModelStoreError: if the engine is damaged.
    """
    return TextKeys(load_tokenizer(champion.part("engine")) if champion.has("engine") else None)


def known_text_keys(champion: ModelVersion, changes: Mapping[str, Any]) -> TextKeys | None:
    """The rule of the champion's challengers; None if it is known only after their encoder was loaded."""
    is_known = champion.has("engine") and changes.keys().isdisjoint(ENCODER_KEYS)
    return text_keys_of(champion) if is_known else None


def trained_until(manifest: Manifest, old: Dataset) -> datetime | None:
    """The champion's creation time, if it may have been trained on new texts; None if it was trained on `old` alone."""
    known = manifest.data.get("fingerprint", {})
    trained_on = {name: value for name, value in old.fingerprints.items() if name not in ("all", "test")}
    return None if trained_on.items() <= known.items() else datetime.fromisoformat(manifest.created)


def check_old_classes(old: Dataset, champion: ModelVersion, source: object) -> None:
    """Check that the old data has no class that the champion does not know.

    It may lack classes that an earlier retraining added: their texts are among the new ones.

    Raises:
        TrainingError: if it has such a class.
    """
    names = champion.manifest.class_names
    if unknown := sorted(set(old.class_names) - set(names)):
        raise TrainingError(
            f"{source}: expected the classes of the champion {champion.id}, {', '.join(names)}, got also "
            f"{', '.join(unknown)}; name the data that the champion was trained on, and give texts of other classes as "
            f"new data, with --add-classes"
        )


def reference_test_set(dataset: Dataset, source: object) -> Split:
    """The reference test set of the gate: the test part of a data set.

    Raises:
        TrainingError: if `source` has no test part.
    """
    if dataset.test is None:
        raise TrainingError(f"{source}: expected a test part, which is the reference test set, found none")
    return dataset.test


def distinct_texts(test_set: Split, text_keys: KeyFunction) -> Split:
    """One of each set of equal test texts, so that none counts twice; none of those with contradictory labels."""
    labels: dict[bytes, set[int]] = {}
    first: dict[bytes, int] = {}
    for i, key in enumerate(text_keys(test_set.texts)):
        labels.setdefault(key, set()).add(int(test_set.labels[i]))
        first.setdefault(key, i)
    kept = [i for key, i in first.items() if len(labels[key]) == 1]
    return Split(tuple(test_set.texts[i] for i in kept), test_set.labels[kept])


def is_test_set_of_champion(dataset: Dataset, champion: ModelVersion) -> bool | None:
    """Whether the champion was measured on this test part; None if it was saved without a test part."""
    known = champion.manifest.data.get("fingerprint", {}).get("test")
    return None if known is None else known == fingerprint_of_test_set(dataset, champion.manifest.class_names)


def fingerprint_of_test_set(dataset: Dataset, class_names: Sequence[str]) -> str | None:
    """The fingerprint that a version with these classes records of the test part; None if it lacks one of its classes.

    The fingerprint depends on the list of classes, which a retraining may extend.
    """
    if dataset.test is None:
        return None
    try:
        test = relabelled(dataset.test, dataset.class_names, class_names)
    except ValueError:
        return None
    return split_fingerprint(class_names, {"test": test})


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
