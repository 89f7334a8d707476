"""Report of a data set as text and as JSON: sizes, balance, lengths, and texts that were left out."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from textclf.data.datasets import Counts, Dataset

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
class DatasetReport:
    """The whole report; to_dict() for JSON, str() for a person."""

    source: str
    fingerprint: str
    max_length: int
    splits: tuple[SplitReport, ...]
    counts: Counts

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
        return "\n\n".join([head, *tables, "\n".join(_left_out(self.counts))])


def dataset_report(dataset: Dataset, token_counts: TokenCounts, max_length: int) -> DatasetReport:
    """Describe a data set.

    Args:
        token_counts: texts -> lengths in tokens, including [CLS] and [SEP], int [n]; called once.
        max_length: tokens that a text is truncated to, for the share of truncated texts.
    """
    splits = dataset.splits
    counts = token_counts([text for split in splits.values() for text in split.texts])
    by_split = np.split(counts, np.cumsum([len(split) for split in splits.values()])[:-1])
    return DatasetReport(
        source=str(dataset.source),
        fingerprint=dataset.fingerprint,
        max_length=max_length,
        splits=tuple(
            SplitReport(
                name=name,
                texts=len(split),
                classes=dict(zip(dataset.class_names, _class_counts(split.labels, dataset), strict=True)),
                lengths=_lengths(lengths, max_length),
            )
            for (name, split), lengths in zip(splits.items(), by_split, strict=True)
        ),
        counts=dataset.counts,
    )


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


def _left_out(counts: Counts) -> list[str]:
    lines = [
        f"read: {counts.train_read:,} training texts"
        + ("" if counts.test_read is None else f", {counts.test_read:,} test texts"),
        f"left out of training: {counts.duplicates:,} duplicates, {counts.conflicts:,} with contradictory labels"
        + ("" if counts.in_test is None else f", {counts.in_test:,} that are in the test part"),
    ]
    if counts.test_duplicates is None:
        lines.append("no test part was read: training texts were not compared with it")
    else:
        lines.append(f"duplicates within the test part, kept as published: {counts.test_duplicates:,}")
    lines.append(
        f"not read: {counts.empty:,} blank texts, {counts.undecodable:,} not UTF-8, "
        f"{counts.unlabelled:,} unlabelled, {counts.ignored:,} other files"
    )
    return lines
