"""Near duplicates among the training texts of a data set, and between them and its test texts."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from textclf.data.near_duplicates import Familiar, NearDuplicates, Repeated, Shingles
from textclf.retraining_options import CombineOptions

# The same rule as for new texts.
_RULE = CombineOptions()


@dataclass(frozen=True, eq=False)
class NearTexts:
    """Near duplicates of n training texts.

    Attributes:
        test: True for a text that is near a test text, bool [n].
        first: position of the earlier text that a text is near, or its own position, int [n]. The texts with the same
            value are a group: each is near the first one.
    """

    test: np.ndarray
    first: np.ndarray

    @property
    def repeats(self) -> np.ndarray:
        """True for a text that is near an earlier one, bool [n]."""
        return np.asarray(self.first != np.arange(len(self.first)))

    def count_near_test(self, texts: Sequence[str], test_texts: Sequence[str]) -> int:
        """Number of training texts near a test text.

        If some of the n `texts` are test texts themselves, because they were split off, these are not counted, and
        texts of the same group are near.
        """
        tested = set(test_texts)
        is_test = np.array([text in tested for text in texts], bool)
        return int(((self.test | np.isin(self.first, self.first[is_test])) & ~is_test).sum())


def can_find_near_texts() -> bool:
    """Whether the package is installed that searches near duplicates; a serving environment lacks it."""
    return importlib.util.find_spec("datasketch") is not None


def find_near_texts(texts: Sequence[str], test_texts: Sequence[str] = ()) -> NearTexts:
    """Find the near duplicates of `texts`, none of which are equal: among themselves, and to a test text.

    Two texts are near if they share most of their runs of words (CombineOptions.shingle_words and near_jaccard). The
    search is approximate: see textclf.data.near_duplicates.
    """
    shingles, jaccard = Shingles(_RULE.shingle_words), _RULE.near_jaccard
    runs = [shingles.of(text) for text in texts]
    test_runs = [shingles.of(text) for text in test_texts]
    near_test = np.zeros(len(texts), bool)
    first = np.arange(len(texts))

    familiar = Familiar(test_runs, jaccard)
    candidates = [i for i in range(len(texts)) if familiar.may_hold(runs[i])]
    familiar = Familiar((runs[i] for i in candidates), jaccard)
    index = NearDuplicates(jaccard)
    for key, some in enumerate(test_runs):
        if familiar.may_hold(some):
            index.add(key, some)
    for i in candidates:
        near_test[i] = index.find(runs[i]) is not None

    repeated = Repeated(runs, jaccard)
    index = NearDuplicates(jaccard)
    for i in range(len(texts)):
        if repeated.may_hold(runs[i]):
            if (hit := index.find(runs[i])) is None:
                index.add(i, runs[i])
            else:
                first[i] = hit.key
    return NearTexts(near_test, first)
