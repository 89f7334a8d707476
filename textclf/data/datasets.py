"""Labelled data sets: reads, cleans and splits one, and computes its fingerprint."""

import dataclasses
import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from textclf.bad_rows import Reason
from textclf.config import DataOptions
from textclf.data.cleaning import Cleaned, clean, count_conflicts, key_function, near_texts
from textclf.data.dataset_layout import Layout, Paths
from textclf.data.dataset_parts import DatasetParts, read_parts
from textclf.data.splits import Split, check_class_sizes, check_validation_sizes, leak_remedy, text_digest
from textclf.label_column import LabelChange
from textclf.phases import announce
from textclf.tokenization.text_key import KeyFunction

_DEFAULT_OPTIONS = DataOptions()
# Characters per second on two cores.
_COMPARING_SPEED = 5e6


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
        test_conflicts: test texts that occur with more than one label, which are kept; None if the test part was not
            read.
        other_labels: texts with OTHER_LABEL, from all parts; they are also counted in `unlabelled`.
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
    test_conflicts: int | None = None
    other_labels: int = 0


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
    keys_of = key_function(options, text_keys)
    source = Path(source)
    parts = read_parts(source, None if test_source is None else Path(test_source), options, spellings)
    layout, class_names = parts.layout, parts.class_names

    test = None if parts.test is None else parts.split(parts.test, layout.test[0])
    characters = sum(len(text) for part in parts.all_read for text in part.texts)
    announce("comparing texts with each other", characters / _COMPARING_SPEED)
    test_keys = [] if test is None else keys_of(test.texts)
    in_test = set(test_keys)
    validation = None
    if parts.validation is not None:
        validation = clean(parts.split(parts.validation, layout.validation[0]), keys_of, in_test)
        check_validation_sizes(validation.split.labels, class_names, layout.validation[0])
    in_validation = set() if validation is None else set(keys_of(validation.split.texts))
    cleaned = clean(parts.split(parts.train, source), keys_of, in_test, in_validation)
    train = cleaned.split
    near = near_texts(train, test, options)
    if near is not None and options.near_duplicates == "drop":
        train = train.chosen(np.flatnonzero(~(near.test | near.repeats)))
    # Each split that is divided off needs a text of each class; validation is two of them.
    needed = 1 if validation is not None else 3
    left_out = {
        "that are in the test part": cleaned.in_test,
        "that are in the validation part": cleaned.in_validation,
        "with contradictory labels": cleaned.conflicts,
        "duplicates": cleaned.duplicates,
        "near duplicates": len(cleaned.split) - len(train),
        "that differ from another one only in words that the vocabulary of the encoder lacks": cleaned.unknown_words,
    }
    remedy = leak_remedy(cleaned.in_test, len(parts.train.texts))
    check_class_sizes(train.labels, class_names, needed + (not parts.has_test), source, left_out, remedy)
    if not parts.has_test:
        train, held_out = train.divided(options.test_split, options.split_seed, min_rest=needed)
        test = held_out if options.read_test else None
    if validation is None:
        train, halves = train.divided(options.val_split, options.split_seed, min_held=2)
    else:
        halves = validation.split
    calibrate, select = halves.divided(0.5, options.split_seed + 1)

    splits = {"train": train, "validation_select": select, "validation_calibrate": calibrate}
    test_conflicts = None if test is None or not parts.test else count_conflicts(test_keys, test.labels)
    counts = _counts(parts, cleaned, validation, len(in_test), test_conflicts)
    if near is not None:
        near_test = None if test is None else near.count_near_test(cleaned.split.texts, test.texts)
        counts = dataclasses.replace(counts, near_duplicates=int(near.repeats.sum()), near_test=near_test)
    return Dataset(
        class_names=class_names,
        **splits,
        test=test,
        counts=counts,
        fingerprint=split_fingerprint(class_names, splits | ({} if test is None else {"test": test})),
        source=source,
        near_are_kept=options.near_duplicates != "drop",
        layout=layout,
        nested=parts.nested,
        notes=tuple(filter(None, (*parts.notes, cleaned.note))),
    )


def _counts(
    parts: DatasetParts,
    train: Cleaned,
    validation: Cleaned | None,
    distinct_test_texts: int,
    test_conflicts: int | None,
) -> Counts:
    """The counts without those of near duplicates."""
    skipped, has_test = parts.skipped, parts.test is not None
    return Counts(
        train_read=len(parts.train.texts),
        test_read=len(parts.test.texts) if parts.test else None,
        duplicates=train.duplicates,
        conflicts=train.conflicts,
        in_test=train.in_test if has_test else None,
        test_duplicates=len(parts.test.texts) - distinct_test_texts if parts.test else None,
        empty=sum(part.empty for part in parts.all_read),
        undecodable=skipped.counts[Reason.UNDECODABLE],
        unlabelled=sum(part.unlabelled for part in parts.all_read),
        ignored=sum(part.ignored for part in parts.all_read),
        validation_read=len(parts.validation.texts) if parts.validation else None,
        validation_duplicates=validation.duplicates if validation else None,
        validation_conflicts=validation.conflicts if validation else None,
        validation_in_test=validation.in_test if validation and has_test else None,
        in_validation=train.in_validation if validation else None,
        bad_rows={str(reason): count for reason, count in skipped.counts.items() if reason != Reason.UNDECODABLE},
        bad_places=tuple(skipped.places()),
        normalised_labels=parts.normalised_labels,
        test_conflicts=test_conflicts,
        other_labels=sum(part.other_labels for part in parts.all_read),
    )


def split_fingerprint(class_names: Sequence[str], splits: dict[str, Split]) -> str:
    """SHA-256 over class names and the names, labels and texts of splits, as 64 hex digits, in any order.

    Weights count for the split `train` only. Those of selection and calibration texts matter only if a model is fitted
    to these texts too (TrainingOptions.train_on).
    """
    lines = sorted(
        f"{name} {label} {text_digest(text).hex()}{weight}"
        for name, split in splits.items()
        for text, label, weight in zip(split.texts, split.labels, _weight_lines(name, split), strict=True)
    )
    return hashlib.sha256("\n".join([json.dumps(class_names), *lines]).encode()).hexdigest()


def _weight_lines(name: str, split: Split) -> Iterable[str]:
    if split.weights is None or name != "train":
        return [""] * len(split)
    return (f" {weight!r}" for weight in split.weights.tolist())
