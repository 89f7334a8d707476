"""Labelled data sets for accuracy, read, cleaned and split like in train_model.py."""

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
    """Location of a data set, and how it is read.

    Attributes:
        files: names in DATA; the first one that exists is read.
        renamed: class names that cannot be folder names, and their replacements.
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
    """A labelled data set.

    Attributes:
        name: one of SETS.
        path: folder or file that train_model.py takes.
        data: splits of the set.
    """

    name: str
    path: Path
    data: Dataset

    @property
    def learnable(self) -> tuple[list[str], npt.NDArray[np.int64]]:
        """Texts of training and validation, and their class ids, int64 [n]."""
        splits = (self.data.train, self.data.validation_select, self.data.validation_calibrate)
        labels = np.concatenate([split.labels for split in splits])
        return [text for split in splits for text in split.texts], labels.astype(np.int64)

    @property
    def tested(self) -> tuple[list[str], npt.NDArray[np.int64]]:
        """Texts of the test part, and their class ids, int64 [n]."""
        if self.data.test is None:
            raise BenchError(f"{self.path}: expected a set with a test part, found none; accuracy is measured on it")
        return list(self.data.test.texts), self.data.test.labels.astype(np.int64)


def read_set(name: str, data_dir: Path, unpacked_dir: Path) -> LabelledSet:
    """Read one of SETS.

    Args:
        name: one of SETS.
        data_dir: folder that contains the sets.
        unpacked_dir: folder that an archive is unpacked into, once.

    Raises:
        BenchError: if the folder does not contain the set.
        DatasetError: if the set is damaged.
    """
    source = SETS[name]
    found = [data_dir / file for file in source.files if (data_dir / file).exists()]
    if not found:
        raise BenchError(f"{data_dir}: expected {' or '.join(source.files)}, found nothing; choose others with --sets")
    path = Initialize(found[0], unpacked_dir).download_dataset()
    return LabelledSet(name, path, load_dataset(path, options=DataOptions(rename_labels=dict(source.renamed))))
