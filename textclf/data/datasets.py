"""Labelled data sets: reads, cleans and splits one, and computes its fingerprint."""

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from textclf.bad_rows import Reason, joined
from textclf.config import DataOptions
from textclf.data.dataset_layout import Layout, Paths, chosen_parts, find_parts
from textclf.data.near_texts import NearTexts, can_find_near_texts, find_near_texts
from textclf.data.part_labels import name_labels
from textclf.data.readers import Part, read_part
from textclf.data.splits import check_class_sizes, hold_out, text_digest
from textclf.errors import DatasetError
from textclf.label_column import LabelChange, label_notes
from textclf.tokenization.text_key import KeyFunction, TextKeys

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
        train_read, validation_read, test_read: texts read from each part, without blank and undecodable ones;
            validation_read and test_read are None if the part was not read, or the data has none.
        duplicates: repeats of a training text with the same label; the first one is kept.
        conflicts: training texts with more than one label; none of them is kept.
        in_test: training texts left out because they are in the test part, with any label;
            None if the test part was not read.
        test_duplicates: repeats within the test part, which are kept; None if the test part was not read.
        empty: blank texts left out, from all parts.
        undecodable: texts that are not UTF-8, left out from all parts.
        unlabelled: files in `unsup` folders, which are not read, and texts with OTHER_LABEL.
        ignored: hidden files and files other than .txt in class folders.
        validation_duplicates, validation_conflicts: the same of the validation part.
        validation_in_test: validation texts left out because they are in the test part.
        in_validation: training texts left out because they are in the validation part, with any label.
            These four are None if no validation part was read.
        bad_rows: rows left out by options.skip_bad, by reason (textclf.bad_rows.Reason), except undecodable ones.
        bad_places: file, row and reason of the first bad rows.
        normalised_labels: spellings of labels that differ from their class names, from all parts that were read.
        near_duplicates: training texts that are near an earlier one.
        near_test: training texts that are near a test text; if the test part was split off, those in a group of near
            duplicates that has a test text. Both are None if near duplicates were not searched, and near_test also
            without a test part. With options.near_duplicates "drop" these texts are left out.
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
    validation_read: int | None = None
    validation_duplicates: int | None = None
    validation_conflicts: int | None = None
    validation_in_test: int | None = None
    in_validation: int | None = None
    bad_rows: dict[str, int] = field(default_factory=dict)
    bad_places: tuple[str, ...] = ()
    normalised_labels: tuple[LabelChange, ...] = ()
    near_duplicates: int | None = None
    near_test: int | None = None


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
        near_are_kept: whether near duplicates were left in the training texts.
        layout: paths of the parts that were read, and what was not read.
        nested: number of texts in subfolders of class folders, by label.
        notes: sentences about columns that were read instead of the default ones, bad rows and normalised labels.
    """

    class_names: tuple[str, ...]
    train: Split
    validation_select: Split
    validation_calibrate: Split
    test: Split | None
    counts: Counts
    fingerprint: str
    source: Path
    near_are_kept: bool = True
    layout: Layout = field(default_factory=lambda: Layout(train=()))
    nested: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def origins(self) -> dict[str, Paths | None]:
        """For train, validation and test: the paths of the part, () if it was split off, or None if it was not read."""
        return {
            "train": self.layout.train,
            "validation": self.layout.validation,
            "test": None if self.test is None else self.layout.test,
        }

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
    source: Path | str,
    test_source: Path | str | None = None,
    options: DataOptions = _DEFAULT_OPTIONS,
    *,
    spellings: Collection[str] = (),
    text_keys: KeyFunction | None = None,
) -> Dataset:
    """Read, check, clean and split a data set.

    Training and validation texts are cleaned before they are split. Repeats are removed, and so are texts with
    contradictory labels. Texts are equal if the model reads the same (textclf.tokenization.text_key). A text is in one
    part only: test wins over validation, and validation over train. Training and validation texts are ordered by hash,
    so that the beginning of a split is a fair sample of it. Test texts keep the order of the files.

    Args:
        source: a data set's root (with folders or tables for its parts), its train part, a folder of class folders, or
            a table file; see textclf.data.dataset_layout.
        test_source: path of the test part; None looks for it in `source`. Without a test part, options.test_split of
            the training texts is held out first.
        options: how to read and split. A validation part is halved into both validation splits; without one, or with
            read_validation=False, options.val_split of the training texts is. With read_test=False no test file is
            opened, and a held-out test split is dropped.
        spellings: class names whose spelling counts, such as those of an earlier version; the data decides about
            all others.
        text_keys: TextKeys of the encoder's tokenizer; None compares texts without a vocabulary. It is called after
            the files were read.

    Raises:
        DatasetError: if files can't be read, or are not a classification problem.
    """
    keys_of = _exact_keys if options.equal_texts == "characters" else text_keys or TextKeys()
    source = Path(source)
    found = find_parts(source, None if test_source is None else Path(test_source))
    layout = chosen_parts(found, options)
    part = read_part(layout.train, options)
    validation_part = read_part(layout.validation, options) if layout.validation else None
    test_part = read_part(layout.test, options) if layout.test else None
    class_names, normalised_labels = name_labels(
        part,
        [
            (paths[0], other)
            for paths, other in ((layout.validation, validation_part), (layout.test, test_part))
            if other
        ],
        options.rename_labels,
        source,
        spellings=spellings,
        all_read=(layout.validation, layout.test) == (found.validation, found.test),
    )

    test = None if test_part is None else _as_split(test_part, class_names, layout.test[0])
    in_test = set() if test is None else set(keys_of(test.texts))
    validation = None
    if validation_part is not None:
        validation = _cleaned(_as_split(validation_part, class_names, layout.validation[0]), keys_of, in_test)
        _check_validation(validation.split, class_names, layout.validation[0])
    in_validation = set() if validation is None else set(keys_of(validation.split.texts))
    cleaned = _cleaned(_as_split(part, class_names, source), keys_of, in_test, in_validation)
    train = cleaned.split
    near = _near_texts(train, test, options)
    if near is not None and options.near_duplicates == "drop":
        train = _chosen(train, np.flatnonzero(~(near.test | near.repeats)))
    # Each split that is divided off needs a text of each class; validation is two of them.
    needed = 1 if validation is not None else 3
    left_out = {
        "that are in the test part": cleaned.in_test,
        "that are in the validation part": cleaned.in_validation,
        "with contradictory labels": cleaned.conflicts,
        "duplicates": cleaned.duplicates,
        "near duplicates": len(cleaned.split) - len(train),
    }
    check_class_sizes(train.labels, class_names, needed + (not found.test), source, left_out)
    if not found.test:
        train, held_out = _divided(train, options.test_split, options.split_seed, min_rest=needed)
        test = held_out if options.read_test else None
    if validation is None:
        train, halves = _divided(train, options.val_split, options.split_seed, min_held=2)
    else:
        halves = validation.split
    calibrate, select = _divided(halves, 0.5, options.split_seed + 1)

    parts = [read for read in (part, validation_part, test_part) if read is not None]
    skipped = joined([read.skipped for read in parts])
    notes = [*(note for read in parts for note in read.notes), skipped.note(), *label_notes(normalised_labels)]
    splits = {"train": train, "validation_select": select, "validation_calibrate": calibrate}
    counts = Counts(
        train_read=len(part.texts),
        test_read=None if test_part is None else len(test_part.texts),
        duplicates=cleaned.duplicates,
        conflicts=cleaned.conflicts,
        in_test=None if test_part is None else cleaned.in_test,
        test_duplicates=None if test_part is None else len(test_part.texts) - len(in_test),
        empty=sum(p.empty for p in parts),
        undecodable=skipped.counts[Reason.UNDECODABLE],
        unlabelled=sum(p.unlabelled for p in parts),
        ignored=sum(p.ignored for p in parts),
        bad_rows={str(reason): count for reason, count in skipped.counts.items() if reason != Reason.UNDECODABLE},
        bad_places=tuple(skipped.places()),
        normalised_labels=normalised_labels,
        near_duplicates=None if near is None else int(near.repeats.sum()),
        near_test=None if near is None or test is None else near.count_near_test(cleaned.split.texts, test.texts),
    )
    if validation_part is not None and validation is not None:
        counts = dataclasses.replace(
            counts,
            validation_read=len(validation_part.texts),
            validation_duplicates=validation.duplicates,
            validation_conflicts=validation.conflicts,
            validation_in_test=None if test_part is None else validation.in_test,
            in_validation=cleaned.in_validation,
        )
    return Dataset(
        class_names=class_names,
        **splits,
        test=test,
        counts=counts,
        fingerprint=split_fingerprint(class_names, splits | ({} if test is None else {"test": test})),
        source=source,
        near_are_kept=options.near_duplicates != "drop",
        layout=layout._replace(unread=(*layout.unread, *(entry for read in parts for entry in read.unread))),
        nested=sum((read.nested for read in parts), Counter()),
        notes=tuple(filter(None, notes)),
    )


def _check_validation(split: Split, class_names: Sequence[str], source: Path) -> None:
    counts = np.bincount(split.labels, minlength=len(class_names))
    small = [f"{name!r} has {count}" for name, count in zip(class_names, counts, strict=True) if count < 2]
    if small:
        raise DatasetError(
            f"{source}: expected at least 2 distinct validation texts of every class that are not in the test part, "
            f"one to select the epoch and one to calibrate, but {', '.join(small[:5])}{' …' if len(small) > 5 else ''};"
            f" add texts, or split validation texts off the training texts with --no-validation-part"
        )


def _as_split(part: Part, class_names: Sequence[str], source: Path) -> Split:
    ids = {name: i for i, name in enumerate(class_names)}
    if not part.texts:
        raise DatasetError(f"{source}: expected labelled texts, found none; check the path")
    return Split(tuple(part.texts), np.array([ids[label] for label in part.labels], np.int32))


def _exact_keys(texts: Iterable[str]) -> list[bytes]:
    """Keys of characters, without white space around a text, as earlier products compared texts."""
    return [text_digest(text.strip()) for text in texts]


def _near_texts(train: Split, test: Split | None, options: DataOptions) -> NearTexts | None:
    if options.near_duplicates == "ignore":
        return None
    if can_find_near_texts():
        return find_near_texts(train.texts, () if test is None else test.texts)
    if options.near_duplicates == "drop":
        raise DatasetError(
            "expected the package datasketch to search near duplicates, found none; install the extra `train`, or "
            "leave out --near-duplicates"
        )
    return None


@dataclass(frozen=True, eq=False)
class _Cleaned:
    """Distinct texts in order of their hash, and how many were left out, by the reason."""

    split: Split
    duplicates: int
    conflicts: int
    in_test: int
    in_validation: int


def _cleaned(
    split: Split, keys_of: KeyFunction, in_test: Set[bytes], in_validation: Set[bytes] = frozenset()
) -> _Cleaned:
    """A part without repeats, contradictions, and texts with a key of another part."""
    order = sorted(range(len(split)), key=lambda i: text_digest(split.texts[i]))
    keys = keys_of(split.texts)
    seen: dict[bytes, list[int]] = {}
    for i in order:
        seen.setdefault(keys[i], []).append(i)
    kept: list[int] = []
    left_out = Counter[str]()
    for key, members in seen.items():
        if key in in_test:
            left_out["in_test"] += len(members)
        elif key in in_validation:
            left_out["in_validation"] += len(members)
        elif len({int(split.labels[i]) for i in members}) > 1:
            left_out["conflicts"] += len(members)
        else:
            kept.append(members[0])
            left_out["duplicates"] += len(members) - 1
    reasons = ("duplicates", "conflicts", "in_test", "in_validation")
    return _Cleaned(_chosen(split, kept), **{reason: left_out[reason] for reason in reasons})


def _divided(split: Split, share: float, seed: int, *, min_held: int = 1, min_rest: int = 1) -> tuple[Split, Split]:
    """A split without a stratified share of its texts, and that share."""
    digests = [text_digest(text) for text in split.texts]
    held = hold_out(digests, split.labels, share, seed, min_held=min_held, min_rest=min_rest)
    return _chosen(split, np.flatnonzero(~held)), _chosen(split, np.flatnonzero(held))


def _chosen(split: Split, members: Sequence[int] | np.ndarray) -> Split:
    return Split(tuple(split.texts[i] for i in members), split.labels[members])


def split_fingerprint(class_names: Sequence[str], splits: dict[str, Split]) -> str:
    """SHA-256 over class names and the names, labels and texts of splits, as 64 hex digits, in any order."""
    lines = sorted(
        f"{name} {label} {text_digest(text).hex()}"
        for name, split in splits.items()
        for text, label in zip(split.texts, split.labels, strict=True)
    )
    return hashlib.sha256("\n".join([json.dumps(class_names), *lines]).encode()).hexdigest()
