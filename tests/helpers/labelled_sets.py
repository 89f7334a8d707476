"""Labelled sets on disk, in the layout of the benchmarks."""

import gzip
from collections.abc import Iterable, Sequence
from pathlib import Path


def write_set(
    folder: Path,
    train: Iterable[tuple[str, int]],
    test: Iterable[tuple[str, int]],
    names: Sequence[str] = ("neg", "pos"),
) -> Path:
    """Write a set from pairs of text and class id; return its folder."""
    folder.mkdir(parents=True)
    for part, rows in (("train", train), ("test", test)):
        with gzip.open(folder / f"{part}.csv.gz", "wt", encoding="utf-8") as file:
            file.writelines(["text,label\n", *(f'"{text}",{names[label]}\n' for text, label in rows)])
    return folder
