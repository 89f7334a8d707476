"""Samples of a few labels per class, from sets that no constant of a recipe was chosen on."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.errors import BenchError
from textclf.config import DataOptions
from textclf.data.dataset_layout import find_parts
from textclf.data.readers import read_part

# Same seed for all sets: the tested texts are always the same.
_TEST_SEED = 0

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Source:
    """How a set is read.

    Attributes:
        max_classes: number of classes that are kept, those with the most training texts; None keeps all.
        renamed: class names that cannot be folder names, and their replacements.
    """

    max_classes: int | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)


# Folders in DATA, fast sets first.
SETS: Mapping[str, Source] = {
    "trec": Source(),
    "banking77": Source(10, {"reverted_card_payment?": "reverted_card_payment"}),
    "sst2_sentences": Source(),
    "amazon_multidomain": Source(),
    "stack_overflow_16k": Source(),
}


@dataclass(frozen=True, eq=False)
class LabelledTexts:
    """Texts and their class ids, int64 [texts]."""

    texts: list[str]
    labels: IntArray

    def take(self, rows: npt.NDArray[np.intp]) -> "LabelledTexts":
        """Return the texts of these rows."""
        return LabelledTexts([self.texts[row] for row in rows], self.labels[rows])


@dataclass(frozen=True, eq=False)
class Task:
    """A set: all texts that samples are drawn from, and the tested texts.

    Attributes:
        name: one of SETS.
        class_names: names in the order of the class ids.
        pool, tested: texts of the training part, without those of the test part; and of the test part.
    """

    name: str
    class_names: tuple[str, ...]
    pool: LabelledTexts
    tested: LabelledTexts

    def sample(self, size: int, seed: int) -> LabelledTexts:
        """Draw `size` texts of each class, or all texts of a class that has fewer; a larger size adds texts."""
        random = np.random.default_rng(seed)
        orders = [random.permutation(np.flatnonzero(self.pool.labels == k)) for k in range(len(self.class_names))]
        return self.pool.take(np.sort(np.concatenate([order[:size] for order in orders])))


def read_task(name: str, data_dir: Path, max_tested: int) -> Task:
    """Read one of SETS, with at most `max_tested` texts of its test part.

    Raises:
        BenchError: if the folder does not contain the set.
        DatasetError: if the set is damaged.
    """
    source = SETS[name]
    if not (data_dir / name).is_dir():
        raise BenchError(f"{data_dir}: expected a folder {name}, found none; choose other sets with --sets")
    parts = find_parts(data_dir / name)
    learnable, tested = (_pairs(files, source) for files in (parts.train, parts.test))
    counts = Counter(label for _, label in learnable)
    kept = sorted(sorted(counts, key=lambda label: (-counts[label], label))[: source.max_classes])
    known = {text for text, _ in tested}
    pool = _labelled([(text, label) for text, label in dict(learnable).items() if text not in known], kept)
    texts = _labelled(tested, kept)
    rows = np.random.default_rng(_TEST_SEED).permutation(len(texts.texts))[:max_tested]
    return Task(name, tuple(kept), pool, texts.take(np.sort(rows)))


def _pairs(files: Sequence[Path], source: Source) -> list[tuple[str, str]]:
    part = read_part(files, DataOptions())
    return [(text, source.renamed.get(label, label)) for text, label in zip(part.texts, part.labels, strict=True)]


def _labelled(pairs: Sequence[tuple[str, str]], names: Sequence[str]) -> LabelledTexts:
    ids = {name: number for number, name in enumerate(names)}
    kept = [(text, ids[label]) for text, label in pairs if label in ids]
    return LabelledTexts([text for text, _ in kept], np.array([label for _, label in kept], np.int64))
