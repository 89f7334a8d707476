"""The labelled sets that accuracy is measured on, each read, cleaned and split as train_model.py does it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.errors import BenchError
from initializing import Initialize
from textclf.config import DataOptions
from textclf.data.datasets import Dataset, load_dataset


@dataclass(frozen=True)
class Source:
    """Where a set is, and how it is read.

    Attributes:
        files: what it is called in DATA, the first name that is there.
        renamed: class names that may be no folder's, and what they are read as.
    """

    files: tuple[str, ...]
    renamed: Mapping[str, str] = field(default_factory=dict)


# Small sets first.
SETS: Mapping[str, Source] = {
    "trec": Source(("trec",)),
    "sst2_sentences": Source(("sst2_sentences",)),
    "banking77": Source(("banking77",), {"reverted_card_payment?": "reverted_card_payment"}),
    "clinc150": Source(("clinc150",)),
    "stack_overflow_16k": Source(("stack_overflow_16k",)),
    "imdb": Source(("aclImdb", "aclImdb_v1.tar.gz")),
}


@dataclass(frozen=True, eq=False)
class LabelledSet:
    """A set, and what of it is learnt from and measured on.

    Attributes:
        name: one of SETS.
        path: a folder or file that train_model.py takes.
        data: its splits.
    """

    name: str
    path: Path
    data: Dataset

    @property
    def learnable(self) -> tuple[list[str], npt.NDArray[np.int64]]:
        """All texts that a model may see before the test, validation included, and their class ids, int64 [n]."""
        splits = (self.data.train, self.data.validation_select, self.data.validation_calibrate)
        labels = np.concatenate([split.labels for split in splits])
        return [text for split in splits for text in split.texts], labels.astype(np.int64)

    @property
    def tested(self) -> tuple[list[str], npt.NDArray[np.int64]]:
        """The texts of the test part and their class ids, int64 [n]."""
        if self.data.test is None:
            raise BenchError(f"{self.path}: expected a set with a test part; accuracy is measured on nothing else")
        return list(self.data.test.texts), self.data.test.labels.astype(np.int64)


def read_set(name: str, data_dir: Path, unpacked_dir: Path) -> LabelledSet:
    """One of SETS.

    Args:
        name: which.
        data_dir: DATA.
        unpacked_dir: where an archive is unpacked, once.

    Raises:
        BenchError: DATA does not hold it.
        DatasetError: it is damaged.
    """
    source = SETS[name]
    found = [data_dir / file for file in source.files if (data_dir / file).exists()]
    if not found:
        raise BenchError(f"{data_dir}: expected {' or '.join(source.files)}, found nothing; choose others with --sets")
    path = Initialize(found[0], unpacked_dir).download_dataset()
    return LabelledSet(name, path, load_dataset(path, options=DataOptions(rename_labels=dict(source.renamed))))
