"""Labelled data sets: reads, cleans and splits one, and computes its fingerprint."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from textclf.config import DataOptions
from textclf.data.dataset_layout import find_parts
from textclf.data.readers import Part, read_part
from textclf.data.splits import check_class_sizes, hold_out, text_digest
from textclf.errors import DatasetError
from textclf.labels import check_class_names

_DEFAULT_OPTIONS = DataOptions()


@dataclass(frozen=True, eq=False)
class Split:
    """n unchanged texts, and their class ids: positions in Dataset.class_names, int32 [n]."""

    texts: tuple[str, ...]
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class Counts:
    """Counts of the texts that were read, and of those that were left out.

    Attributes:
        train_read, test_read: texts read from each part, without blank and undecodable ones;
            test_read is None if the test part was not read, or the data has none.
        duplicates: repeats of a training text with the same label; the first one is kept.
        conflicts: training texts with more than one label; none of them is kept.
        in_test: training texts left out because they are in the test part, with any label;
            None if the test part was not read.
        test_duplicates: repeats within the test part, which are kept; None if the test part was not read.
        empty: blank texts left out, from both parts.
        undecodable: texts that are not UTF-8, left out from both parts.
        unlabelled: files in `unsup` folders, which are not read, and texts with OTHER_LABEL.
        ignored: hidden files and files other than .txt in class folders.
    """

    train_read: int
    test_read: int | None
    duplicates: int
    conflicts: int
    in_test: int | None
    test_duplicates: int | None
    empty: int
    undecodable: int
    unlabelled: int
    ignored: int


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set, ready for training. Each split has one use:

    Attributes:
        class_names: class names; the position is the class id.
        train: texts to fit the model on.
        validation_select: selection set, for early stopping, the best checkpoint and the options.
        validation_calibrate: calibration set, for temperature, engine parity and the drift reference.
        test: for the final results only; None if it was not read.
        counts: texts that were read and left out.
        fingerprint: SHA-256 over class names, splits, labels and texts, as 64 hex digits; independent of the order
            and the location of the files.
        source: path that was read.
    """

    class_names: tuple[str, ...]
    train: Split
    validation_select: Split
    validation_calibrate: Split
    test: Split | None
    counts: Counts
    fingerprint: str
    source: Path

    @property
    def splits(self) -> dict[str, Split]:
        """The splits by name, without a test split that was not read."""
        names = ("train", "validation_select", "validation_calibrate", "test")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    @property
    def fingerprints(self) -> dict[str, str]:
        """The fingerprint of the data set under "all", and one for each split, to compare results on equal splits."""
        of_splits = {name: split_fingerprint(self.class_names, {name: split}) for name, split in self.splits.items()}
        return {"all": self.fingerprint, **of_splits}


def load_dataset(
    source: Path | str, test_source: Path | str | None = None, options: DataOptions = _DEFAULT_OPTIONS
) -> Dataset:
    """Read, check, clean and split a data set.

    Training texts are cleaned before they are split. Repeats are removed (white space around a text is ignored), and so
    are texts with contradictory labels and texts that are also in the test part. Training and validation texts are
    ordered by hash, so that the beginning of a split is a fair sample of it. Test texts keep the order of the files.

    Args:
        source: a data set's root (train/ and test/, or train.* and test.* tables), its train part, a
            folder of class folders, or a table file; see textclf.data.dataset_layout.
        test_source: path of the test part; None looks for it in `source`. Without a test part,
            options.test_split of the texts is held out first.
        options: how to read and split. With read_test=False no test file is opened, and a held-out test split is
            dropped.

    Raises:
        DatasetError: if files can't be read, or are not a classification problem.
    """
    source = Path(source)
    layout = find_parts(source, None if test_source is None else Path(test_source))
    part = read_part(layout.train, options)
    _check_renamed(part, options, source)
    class_names = check_class_names(part.classes, source)
    test_part = read_part(layout.test, options) if layout.test is not None and options.read_test else None
    test = None if layout.test is None or test_part is None else _as_split(test_part, class_names, layout.test)

    texts, labels, duplicates, conflicts, in_test = _cleaned(_as_split(part, class_names, source), test)
    check_class_sizes(labels, class_names, 3 if layout.test is not None else 4, source)
    digests = [text_digest(text) for text in texts]
    everything = np.arange(len(texts))
    if layout.test is None:
        # Leave three texts per class: one each for train, selection and calibration.
        held = hold_out(digests, labels, options.test_split, options.split_seed, min_rest=3)
        test = _split(texts, labels, everything[held]) if options.read_test else None
        everything = everything[~held]
    train, validation = _divided(digests, labels, everything, options.val_split, options.split_seed, min_held=2)
    calibrate, select = _divided(digests, labels, validation, 0.5, options.split_seed + 1)

    parts = [part] if test_part is None else [part, test_part]
    splits = {
        "train": _split(texts, labels, train),
        "validation_select": _split(texts, labels, select),
        "validation_calibrate": _split(texts, labels, calibrate),
    }
    return Dataset(
        class_names=class_names,
        **splits,
        test=test,
        counts=Counts(
            train_read=len(part.texts),
            test_read=None if test_part is None else len(test_part.texts),
            duplicates=duplicates,
            conflicts=conflicts,
            in_test=None if test_part is None else in_test,
            test_duplicates=None if test_part is None else len(test_part.texts) - len(set(map(_key, test_part.texts))),
            empty=sum(p.empty for p in parts),
            undecodable=sum(p.undecodable for p in parts),
            unlabelled=sum(p.unlabelled for p in parts),
            ignored=sum(p.ignored for p in parts),
        ),
        fingerprint=split_fingerprint(class_names, splits | ({} if test is None else {"test": test})),
        source=source,
    )


def _check_renamed(part: Part, options: DataOptions, source: Path) -> None:
    unknown = sorted(set(options.rename_labels) - part.renamed)
    if unknown:
        raise DatasetError(
            f"{source}: --rename-label names {unknown[0]!r}, which is not a label of the training texts; "
            f"they have {', '.join(sorted(part.classes)[:20])}"
        )


def _as_split(part: Part, class_names: Sequence[str], source: Path) -> Split:
    ids = {name: i for i, name in enumerate(class_names)}
    unknown = sorted(part.classes - set(ids))
    if unknown:
        raise DatasetError(
            f"{source}: the test label {unknown[0]!r} does not occur in the training texts, which have "
            f"{', '.join(class_names[:20])}; remove it from the test part, or pass --rename-label OLD=NEW"
        )
    if not part.texts:
        raise DatasetError(f"{source}: expected labelled texts, found none; check the path")
    return Split(tuple(part.texts), np.array([ids[label] for label in part.labels], np.int32))


def _key(text: str) -> str:
    """Equal for texts that are the same to a reader and to a tokenizer."""
    return text.strip()


def _cleaned(train: Split, test: Split | None) -> tuple[list[str], np.ndarray, int, int, int]:
    """Distinct texts in order of their hash, their labels, and counts: duplicates, conflicts, texts in test."""
    order = sorted(range(len(train)), key=lambda i: text_digest(train.texts[i]))
    seen: dict[str, list[int]] = {}
    for i in order:
        seen.setdefault(_key(train.texts[i]), []).append(i)
    in_test = set() if test is None else {_key(text) for text in test.texts}
    kept: list[int] = []
    duplicates = conflicts = test_texts = 0
    for key, members in seen.items():
        if key in in_test:
            test_texts += len(members)
        elif len({int(train.labels[i]) for i in members}) > 1:
            conflicts += len(members)
        else:
            kept.append(members[0])
            duplicates += len(members) - 1
    return [train.texts[i] for i in kept], train.labels[kept], duplicates, conflicts, test_texts


def _divided(
    digests: Sequence[bytes], labels: np.ndarray, members: np.ndarray, share: float, seed: int, min_held: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """The members without a stratified share of them, and that share."""
    held = hold_out([digests[i] for i in members], labels[members], share, seed, min_held=min_held)
    return members[~held], members[held]


def _split(texts: Sequence[str], labels: np.ndarray, members: Iterable[int]) -> Split:
    chosen = list(members)
    return Split(tuple(texts[i] for i in chosen), labels[chosen])


def split_fingerprint(class_names: Sequence[str], splits: dict[str, Split]) -> str:
    """SHA-256 over class names and the names, labels and texts of splits, as 64 hex digits, in any order."""
    lines = sorted(
        f"{name} {label} {text_digest(text).hex()}"
        for name, split in splits.items()
        for text, label in zip(split.texts, split.labels, strict=True)
    )
    return hashlib.sha256("\n".join([json.dumps(class_names), *lines]).encode()).hexdigest()
