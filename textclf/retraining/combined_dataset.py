"""A combined data set on disk: what a challenger is trained, measured and held against, and what was left out.

    train/<class>/<sha256 of the text>.txt   old and new texts
    test/<class>/…                           the golden texts, as they were
    holdout/<class>/…                        new texts that nothing is trained on
    removed.jsonl                            each new text that was left out, and why
    combined.json                            counts, sources, options and fingerprints

textclf.data.datasets.load_dataset reads train/ and test/, and sees none of the rest.
"""

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from textclf.config import DataOptions
from textclf.data.datasets import Split, split_fingerprint
from textclf.data.readers import BYTE_ORDER_MARK, read_part
from textclf.data.splits import text_digest
from textclf.errors import DatasetError
from textclf.files import atomic_folder, remove_leftovers
from textclf.retraining.combining import Combined

HOLDOUT = "holdout"
REMOVED_FILE = "removed.jsonl"
SUMMARY_FILE = "combined.json"
_FORMAT = "combined data set 1"


def write_combined(combined: Combined, golden: Split, path: Path | str) -> dict[str, Any]:
    """Write the folder, all at once; one that was written here before is replaced once the new one is whole.

    Every text comes back byte for byte, and load_dataset gives its test part the fingerprint that the golden texts
    have. Labels stand there under the names that the model has: load it with no rename_labels.

    Args:
        combined: see textclf.retraining.combining.
        golden: the old test part.
        path: the folder to make; a link leads to it.

    Returns:
        What stands in combined.json.

    Raises:
        DatasetError: `path` is something else, which is left as it is.
    """
    # Else the link would be replaced, and what it leads to would stay.
    path = Path(path).resolve()
    if path.exists() and not _may_be_replaced(path):
        raise DatasetError(
            f"{path}: expected a new folder or a combined data set of before, found something else; it is left as "
            f"it is: give another path, or remove it"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent)
    summary = summary_of(combined, golden)
    with atomic_folder(path, many_files=True, replace=True) as folder:
        for name, split in (("train", combined.train), ("test", golden), (HOLDOUT, combined.holdout)):
            _write_split(folder / name, split, combined.class_names)
        with open(folder / REMOVED_FILE, "w", encoding="utf-8", newline="\n") as file:
            for removed in combined.removed:
                review = asdict(removed.review) | {"path": str(removed.review.path)}
                review["time"] = None if removed.review.time is None else removed.review.time.isoformat()
                file.write(json.dumps({"reason": removed.reason, "detail": removed.detail, **review}) + "\n")
        content = json.dumps({"format": _FORMAT, **summary}, indent=1)
        (folder / SUMMARY_FILE).write_text(f"{content}\n", encoding="utf-8")
    return summary


def summary_of(combined: Combined, golden: Split) -> dict[str, Any]:
    """What was combined, as JSON can hold it. The fingerprints of splits are those of Dataset.fingerprints."""
    names = combined.class_names
    return {
        "class_names": list(names),
        "counts": combined.counts,
        "sources": [asdict(result) for result in combined.sources],
        "options": combined.options.to_dict(),
        "fingerprints": {
            "new": combined.fingerprint,
            "train": split_fingerprint(names, {"train": combined.train}),
            "test": split_fingerprint(names, {"test": golden}),
            "holdout": split_fingerprint(names, {"holdout": combined.holdout}),
        },
    }


def read_holdout(path: Path | str, class_names: tuple[str, ...]) -> Split:
    """The held-out texts of a combined data set, in an order by name; empty where it has none.

    Raises:
        DatasetError: they can't be read, or have other classes.
    """
    folder = Path(path) / HOLDOUT
    if not folder.exists():
        return Split((), np.zeros(0, np.int32))
    part = read_part(folder, DataOptions())
    if not part.classes <= set(class_names):
        raise DatasetError(f"{folder}: expected the classes {', '.join(class_names)}, found {sorted(part.classes)}")
    ids = {name: i for i, name in enumerate(class_names)}
    return Split(tuple(part.texts), np.array([ids[label] for label in part.labels], np.int32))


def _may_be_replaced(path: Path) -> bool:
    """Whether it is an empty folder, or one that was written here."""
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
    for class_id in np.unique(split.labels).tolist():
        (folder / class_names[class_id]).mkdir(parents=True)
    copies: Counter[tuple[int, bytes]] = Counter()
    for text, class_id in zip(split.texts, split.labels.tolist(), strict=True):
        digest = text_digest(text)
        copies[class_id, digest] += 1
        number = copies[class_id, digest]  # A test part is kept as published, with its repeats.
        name = f"{digest.hex()}.txt" if number == 1 else f"{digest.hex()}-{number}.txt"
        # The reader takes one mark away from the beginning.
        content = BYTE_ORDER_MARK + text if text.startswith(BYTE_ORDER_MARK) else text
        with open(folder / class_names[class_id] / name, "wb") as file:
            file.write(content.encode("utf-8"))
