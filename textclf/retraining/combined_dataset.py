"""A combined data set on disk.

    train/<class>/<sha256 of the text>.txt   old and new texts (<class>: textclf.data.class_folders)
    train.jsonl                              the same with weights, in place of train/, if the old texts have weights
    test/<class>/…                           the reference test set, unchanged
    holdout/<class>/…                        new texts that are never trained on
    removed.jsonl                            each new text that was left out, and the reason
    combined.json                            counts, sources, options and fingerprints

textclf.data.datasets.load_dataset reads train/ and test/ only.
"""

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from textclf.config import DataOptions
from textclf.data.class_folders import make_class_folder
from textclf.data.datasets import split_fingerprint
from textclf.data.readers import BYTE_ORDER_MARK, read_part
from textclf.data.splits import Split, text_digest
from textclf.errors import DatasetError
from textclf.files import atomic_folder, remove_leftovers
from textclf.retraining.combining import Combined

HOLDOUT = "holdout"
REMOVED_FILE = "removed.jsonl"
SUMMARY_FILE = "combined.json"
_FORMAT = "combined data set 1"
_DEFAULT_OPTIONS = DataOptions()


def write_combined(
    combined: Combined, test_set: Split, path: Path | str, columns: DataOptions = _DEFAULT_OPTIONS
) -> dict[str, Any]:
    """Write the folder as a whole; an earlier combined data set is replaced once the new one is complete.

    Texts are stored byte for byte, so the fingerprint of the test set does not change. Labels have the model's names:
    load the folder without rename_labels. The class ids of `test_set` are those of `combined`. `path` is the folder, or
    a link to it. A table of training texts has the names of `columns`. Returns the content of combined.json.

    Raises:
        DatasetError: if `path` is neither empty nor a combined data set.
    """
    # Replace the target of a link, not the link.
    path = Path(path).resolve()
    if path.exists() and not _may_be_replaced(path):
        raise DatasetError(
            f"{path}: expected a new folder or an earlier combined data set, found another folder or file; give "
            f"another path, or remove it"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent)
    summary = summary_of(combined, test_set)
    with atomic_folder(path, many_files=True, replace=True) as folder:
        for name, split in (("train", combined.train), ("test", test_set), (HOLDOUT, combined.holdout)):
            if split.weights is None:
                _write_split(folder / name, split, combined.class_names)
            else:
                _write_table(folder / f"{name}.jsonl", split, split.weights, combined.class_names, columns)
        with open(folder / REMOVED_FILE, "w", encoding="utf-8", newline="\n") as file:
            for removed in combined.removed:
                review = asdict(removed.review) | {"path": str(removed.review.path)}
                review["time"] = None if removed.review.time is None else removed.review.time.isoformat()
                file.write(json.dumps({"reason": removed.reason, "detail": removed.detail, **review}) + "\n")
        content = json.dumps({"format": _FORMAT, **summary}, indent=1)
        (folder / SUMMARY_FILE).write_text(f"{content}\n", encoding="utf-8")
    return summary


def summary_of(combined: Combined, test_set: Split) -> dict[str, Any]:
    """Counts, sources, options and fingerprints (as in Dataset.fingerprints) for combined.json."""
    names = combined.class_names
    return {
        "class_names": list(names),
        "counts": combined.counts,
        "sources": [asdict(result) for result in combined.sources],
        "options": combined.options.to_dict(),
        "fingerprints": {
            "new": combined.fingerprint,
            "train": split_fingerprint(names, {"train": combined.train}),
            "test": split_fingerprint(names, {"test": test_set}),
            "holdout": split_fingerprint(names, {"holdout": combined.holdout}),
        },
    }


def read_holdout(path: Path | str, class_names: tuple[str, ...]) -> tuple[Split, str]:
    """The held-out texts of a combined data set, in the order of their file names, and their fingerprint.

    Raises:
        DatasetError: if the texts can't be read, or have other classes.
    """
    holdout = _read_holdout(Path(path) / HOLDOUT, class_names)
    return holdout, split_fingerprint(class_names, {"holdout": holdout})


def _read_holdout(folder: Path, class_names: tuple[str, ...]) -> Split:
    if not folder.exists():
        return Split((), np.zeros(0, np.int32))
    part = read_part(folder, DataOptions())
    ids = {name: i for i, name in enumerate(class_names)}
    if unknown := sorted(set(part.label_counts) - set(ids)):
        raise DatasetError(f"{folder}: expected the classes {', '.join(class_names)}, found {unknown}")
    return Split(tuple(part.texts), np.array([ids[label] for label in part.labels], np.int32))


def _may_be_replaced(path: Path) -> bool:
    """Whether `path` is an empty folder or a combined data set."""
    if not path.is_dir():
        return False
    if not any(path.iterdir()):
        return True
    try:
        summary = json.loads((path / SUMMARY_FILE).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(summary, dict) and summary.get("format") == _FORMAT


def _write_split(folder: Path, split: Split, class_names: tuple[str, ...]) -> None:
    folders = {class_id: make_class_folder(folder, class_names[class_id]) for class_id in np.unique(split.labels)}
    copies: Counter[tuple[int, bytes]] = Counter()
    for text, class_id in zip(split.texts, split.labels.tolist(), strict=True):
        digest = text_digest(text)
        copies[class_id, digest] += 1
        number = copies[class_id, digest]  # A test part may contain equal texts.
        name = f"{digest.hex()}.txt" if number == 1 else f"{digest.hex()}-{number}.txt"
        # The reader removes one byte order mark.
        content = BYTE_ORDER_MARK + text if text.startswith(BYTE_ORDER_MARK) else text
        with open(folders[class_id] / name, "wb") as file:
            file.write(content.encode("utf-8"))


def _write_table(
    path: Path, split: Split, weights: np.ndarray, class_names: tuple[str, ...], columns: DataOptions
) -> None:
    names = columns.text_column, columns.label_column, columns.weight_column
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        for text, class_id, weight in zip(split.texts, split.labels.tolist(), weights.tolist(), strict=True):
            row = dict(zip(names, (text, class_names[class_id], weight), strict=True))
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
