"""Report of a data set as text and as JSON: sizes, balance, lengths, and texts that were left out."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from textclf.data.dataset_layout import Paths
from textclf.data.dataset_summary import few_texts, missing_in_test, warnings_of
from textclf.data.datasets import Dataset
from textclf.label_column import LabelChange
from textclf.listing import shortened

_MAX_UNREAD = 20
_KINDS = ("duplicates", "with contradictory labels", "that are in the validation part", "that are in the test part")
TokenCounts = Callable[[Sequence[str]], np.ndarray]


@dataclass(frozen=True)
class Lengths:
    """Lengths of texts in tokens, including [CLS] and [SEP]; `over_limit` is the share of truncated texts."""

    minimum: int
    median: float
    mean: float
    p95: float
    maximum: int
    over_limit: float


@dataclass(frozen=True)
class SplitReport:
    """One split: number of texts, texts of each class, lengths."""

    name: str
    texts: int
    classes: dict[str, int]
    lengths: Lengths


@dataclass(frozen=True)
class PartReport:
    """One part: "given", "split off" or "not read"; its files, and the texts that were read from them."""

    origin: str
    paths: tuple[str, ...]
    read: int | None


@dataclass(frozen=True)
class DatasetReport:
    """The whole report; to_dict() for JSON, str() for a person.

    Attributes:
        parts: train, validation and test.
        splits: sizes, balance and lengths of the splits.
        duplicates, contradictions: texts that occur again in the same part, by part; None if the part was not read.
            Those of the test part are kept as published.
        leaks: texts that were left out of one part because they are in another one.
        near_duplicates: training texts near another one, and near a test text; None if they were not searched. "kept"
            tells whether they were left in the training texts.
        left_out: blank texts, texts that are not UTF-8, texts without a class, and other files in class folders.
        few_texts: classes with few training texts, and their number.
        missing_in_test: classes without a test text.
        nested: files in subfolders of class folders, by label.
        unread: path and reason of every other file and folder.
        warnings: sentences about what makes results doubtful.
    """

    source: str
    fingerprint: str
    max_length: int
    parts: dict[str, PartReport]
    splits: tuple[SplitReport, ...]
    duplicates: dict[str, int | None]
    contradictions: dict[str, int | None]
    leaks: dict[str, int | None]
    near_duplicates: dict[str, int | bool | None]
    left_out: dict[str, int]
    few_texts: dict[str, int]
    missing_in_test: tuple[str, ...]
    nested: dict[str, int]
    unread: tuple[dict[str, str], ...]
    warnings: tuple[str, ...]
    bad_rows: dict[str, int]
    normalised_labels: tuple[LabelChange, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The report as a dict that JSON can hold."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        sizes = [("texts", *(f"{split.texts:,}" for split in self.splits))]
        sizes += [(name, *(_with_share(split, name) for split in self.splits)) for name in self.splits[0].classes]
        tokens = [
            ("shortest", *(f"{split.lengths.minimum:,}" for split in self.splits)),
            ("median", *(f"{split.lengths.median:,.0f}" for split in self.splits)),
            ("mean", *(f"{split.lengths.mean:,.1f}" for split in self.splits)),
            ("95 % up to", *(f"{split.lengths.p95:,.0f}" for split in self.splits)),
            ("longest", *(f"{split.lengths.maximum:,}" for split in self.splits)),
            (f"over {self.max_length:,}", *(f"{split.lengths.over_limit:.1%}" for split in self.splits)),
        ]
        names = [split.name for split in self.splits]
        tables = _table(("", *names), sizes), _table(("tokens", *names), tokens)
        head = f"{self.source}\nfingerprint {self.fingerprint}"
        parts = "\n".join(f"{name + ':':12}{_shown(part)}" for name, part in self.parts.items())
        blocks = [head, parts, *tables, "\n".join([*_left_out(self), *self.notes])]
        if self.unread:
            shown = [f"  {entry['path']}: {entry['reason']}" for entry in self.unread[:_MAX_UNREAD]]
            more = len(self.unread) - len(shown)
            blocks.append("\n".join(["not read:", *shown, *([f"  … and {more:,} more"] if more else [])]))
        return "\n\n".join([*blocks, *(f"warning: {warning}" for warning in self.warnings)])


def dataset_report(dataset: Dataset, token_counts: TokenCounts, max_length: int) -> DatasetReport:
    """Describe a data set.

    Args:
        token_counts: texts -> lengths in tokens, including [CLS] and [SEP], int [n]; called once.
        max_length: tokens that a text is truncated to, for the share of truncated texts.
    """
    splits, counts = dataset.splits, dataset.counts
    tokens = token_counts([text for split in splits.values() for text in split.texts])
    by_split = np.split(tokens, np.cumsum([len(split) for split in splits.values()])[:-1])
    read = {"train": counts.train_read, "validation": counts.validation_read, "test": counts.test_read}
    return DatasetReport(
        source=str(dataset.source),
        fingerprint=dataset.fingerprint,
        max_length=max_length,
        parts={name: _part_report(paths, read[name]) for name, paths in dataset.origins.items()},
        splits=tuple(
            SplitReport(
                name=name,
                texts=len(split),
                classes=dict(zip(dataset.class_names, _class_counts(split.labels, dataset), strict=True)),
                lengths=_lengths(lengths, max_length),
            )
            for (name, split), lengths in zip(splits.items(), by_split, strict=True)
        ),
        duplicates={
            "train": counts.duplicates,
            "validation": counts.validation_duplicates,
            "test": counts.test_duplicates,
        },
        contradictions={
            "train": counts.conflicts,
            "validation": counts.validation_conflicts,
            "test": counts.test_conflicts,
        },
        leaks={
            "train_in_test": counts.in_test,
            "train_in_validation": counts.in_validation,
            "validation_in_test": counts.validation_in_test,
        },
        near_duplicates={
            "in_train": counts.near_duplicates,
            "in_test": counts.near_test,
            "kept": dataset.near_are_kept,
        },
        left_out={
            "empty": counts.empty,
            "undecodable": counts.undecodable,
            "unlabelled": counts.unlabelled,
            "ignored": counts.ignored,
        },
        few_texts=few_texts(dataset),
        missing_in_test=missing_in_test(dataset),
        nested=dict(dataset.nested),
        unread=tuple({"path": str(path), "reason": reason} for path, reason in dataset.layout.unread),
        warnings=warnings_of(dataset),
        bad_rows=counts.bad_rows,
        normalised_labels=counts.normalised_labels,
        notes=dataset.notes,
    )


def _part_report(paths: Paths | None, read: int | None) -> PartReport:
    origin = "not read" if paths is None else "given" if paths else "split off"
    return PartReport(origin, tuple(map(str, paths or ())), read)


def _class_counts(labels: np.ndarray, dataset: Dataset) -> list[int]:
    return [int(count) for count in np.bincount(labels, minlength=len(dataset.class_names))]


def _lengths(counts: np.ndarray, max_length: int) -> Lengths:
    return Lengths(
        minimum=int(counts.min()),
        median=float(np.median(counts)),
        mean=float(counts.mean()),
        p95=float(np.percentile(counts, 95)),
        maximum=int(counts.max()),
        over_limit=float((counts > max_length).mean()),
    )


def _with_share(split: SplitReport, class_name: str) -> str:
    count = split.classes[class_name]
    return f"{count:,} ({count / split.texts:.1%})"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns: the first one to the left, numbers to the right."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    lines = []
    for first, *others in (header, *rows):
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells]).rstrip())
    return "\n".join(lines)


def _shown(part: PartReport) -> str:
    names = shortened([Path(path).name for path in part.paths], max_names=10)
    return f"{part.origin}{f' ({names}), {part.read:,} texts' if part.paths else ''}"


def _near(near: Mapping[str, int | bool | None]) -> list[str]:
    """A line about near duplicates, if they were searched."""
    if near["in_train"] is None:
        return []
    of_test = "" if near["in_test"] is None else f", {near['in_test']:,} near a test text"
    kept = "kept (--near-duplicates drop leaves them out)" if near["kept"] else "left out"
    return [f"near duplicates, {kept}: {near['in_train']:,} training texts near another one{of_test}"]


def _left_out(report: DatasetReport) -> list[str]:
    duplicates, contradictions, leaks = report.duplicates, report.contradictions, report.leaks
    kinds = {
        "train": (duplicates["train"], contradictions["train"], leaks["train_in_validation"], leaks["train_in_test"]),
        "validation": (duplicates["validation"], contradictions["validation"], None, leaks["validation_in_test"]),
    }
    lines = []
    for part, counts in kinds.items():
        said = [f"{count:,} {name}" for count, name in zip(counts, _KINDS, strict=True) if count is not None]
        if said:
            lines.append(f"left out of {part}: {', '.join(said)}")
    if duplicates["test"] is None:
        lines.append("no test part was read, so the other texts were not compared with it")
    else:
        lines.append(
            f"kept in the test part as published: {duplicates['test']:,} duplicates, {contradictions['test'] or 0:,} "
            f"texts with contradictory labels"
        )
    lines += _near(report.near_duplicates)
    left_out = report.left_out
    lines.append(
        f"left out of all parts: {left_out['empty']:,} blank texts, {left_out['undecodable']:,} not UTF-8, "
        f"{left_out['unlabelled']:,} unlabelled, {left_out['ignored']:,} other files"
    )
    return lines
