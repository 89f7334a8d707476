"""A data set in a few lines: where each split is from, what was not read, and what makes results doubtful."""

from pathlib import Path

import numpy as np

from textclf.data.dataset_layout import NO_TABLE, Paths, path_names, unread_names
from textclf.data.datasets import Dataset
from textclf.data.hidden_folders import is_hidden_folder
from textclf.labels import OTHER_LABEL, rename_options
from textclf.listing import shortened

# With fewer training texts a class is learnt by chance.
FEW_TEXTS = 10
# Shares of the test texts from which on copies of them are worth a warning: left out, and near ones that are kept.
MANY_COPIES = 0.05
MANY_NEAR_COPIES = 0.01
# Share of the training texts with contradictory labels from which on they are worth a warning.
MANY_CONFLICTS = 0.05
# The same of the test texts: each one takes from the best possible accuracy.
MANY_TEST_CONFLICTS = 0.01
# Names that programs write where a value is missing.
_MISSING_VALUES = frozenset({"nan", "null", "none", "na", "n/a", "#n/a", "<na>", "nil", "undefined"})


def data_line(dataset: Dataset) -> str:
    """The path of a data set, the sizes of its splits and the files that they are from, and its classes."""
    select, calibrate = len(dataset.validation_select), len(dataset.validation_calibrate)
    sizes = {"train": f"{len(dataset.train):,}", "validation": f"{select:,} + {calibrate:,}"}
    sizes["test"] = "none" if dataset.test is None else f"{len(dataset.test):,}"
    parts = [f"{part} {sizes[part]} ({_origin(paths, dataset.source)})" for part, paths in dataset.origins.items()]
    names = dataset.class_names
    return f"{dataset.source.absolute()}: {', '.join(parts)}; {len(names)} classes: {shortened(names, max_names=8)}"


def not_read(dataset: Dataset) -> str:
    """The first files and folders that were not read; "" if everything was."""
    unread = dataset.layout.unread
    # Folders that may be classes come first, and data before notes.
    ordered = sorted(unread, key=lambda entry: (not is_hidden_folder(entry), entry.reason == NO_TABLE))
    return unread_names(ordered, dataset.source)


def few_texts(dataset: Dataset) -> dict[str, int]:
    """The classes with fewer than FEW_TEXTS training texts, and their number."""
    counts = np.bincount(dataset.train.labels, minlength=len(dataset.class_names)).tolist()
    return {name: count for name, count in zip(dataset.class_names, counts, strict=True) if count < FEW_TEXTS}


def missing_in_test(dataset: Dataset) -> tuple[str, ...]:
    """The classes without a test text."""
    present = set() if dataset.test is None else set(dataset.test.labels.tolist())
    return tuple(name for i, name in enumerate(dataset.class_names) if present and i not in present)


def copies_of_test(dataset: Dataset) -> tuple[str, ...]:
    """Sentences about many training texts that are equal to or near a test text."""
    if dataset.test is None:
        return ()
    counts, tested, found = dataset.counts, len(dataset.test), []
    if counts.in_test and counts.in_test >= MANY_COPIES * tested:
        found.append(
            f"{counts.in_test:,} of {counts.train_read:,} training texts are also in the test part ({tested:,} texts), "
            f"and were left out: check where the test part is from"
        )
    if dataset.near_are_kept and counts.near_test and counts.near_test >= MANY_NEAR_COPIES * tested:
        found.append(
            f"{counts.near_test:,} training texts are near duplicates of test texts, which makes the test results too "
            f"good: leave them out with --near-duplicates drop"
        )
    return tuple(found)


def warnings_of(dataset: Dataset) -> tuple[str, ...]:
    """Sentences about what makes the results on this data doubtful."""
    found = []
    if missing := missing_in_test(dataset):
        tested = [name for name in dataset.class_names if name not in missing]
        if len(tested) == 1:
            found.append(f"the test part has texts of {tested[0]!r} only: predicting it always seems perfect")
        else:
            found.append(f"the test part has no texts of {_quoted(missing)}: its results say nothing about them")
    if few := few_texts(dataset):
        small = shortened([f"{name!r} ({count})" for name, count in few.items()], max_names=5)
        found.append(f"fewer than {FEW_TEXTS} training texts of {small}: expect many errors in these classes")
    found += copies_of_test(dataset)
    counts = dataset.counts
    if counts.conflicts >= max(1, MANY_CONFLICTS * counts.train_read):
        found.append(
            f"{counts.conflicts:,} of {counts.train_read:,} training texts occur with more than one label, and were "
            f"left out: check the labels"
        )
    if counts.test_conflicts and counts.test_conflicts >= MANY_TEST_CONFLICTS * (counts.test_read or 0):
        found.append(
            f"{counts.test_conflicts:,} of {counts.test_read:,} test texts occur with more than one label, so no model "
            f"can be right about all: correct the labels of the test part"
        )
    if missing_labels := [name for name in dataset.class_names if name.lower() in _MISSING_VALUES]:
        found.append(
            f"the class{'es' * (len(missing_labels) > 1)} {_quoted(tuple(missing_labels))} may be missing values: "
            f"leave these texts out with {rename_options(missing_labels, [OTHER_LABEL] * len(missing_labels))}"
        )
    if dataset.nested:
        nested = shortened([f"{name!r} ({count:,})" for name, count in dataset.nested.items()], max_names=5)
        found.append(f"texts in subfolders were read as texts of the class folder above: {nested}")
    return tuple(found)


def _origin(paths: Paths | None, root: Path) -> str:
    if paths is None:
        return "not read"
    return path_names(paths, root) if paths else "split off"


def _quoted(names: tuple[str, ...]) -> str:
    return shortened([repr(name) for name in names], max_names=5)
