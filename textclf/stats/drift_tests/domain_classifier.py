"""Classifier two-sample test: can a classifier tell the latest texts from the reference, and by which words?

D. Lopez-Paz and M. Oquab, "Revisiting classifier two-sample tests", ICLR 2017 (arXiv:1610.06545), with the area under
the ROC curve instead of the accuracy, because the samples differ in size.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textclf.drift.features import TokenCounts
from textclf.stats.drift_tests.drift_results import WordDrift
from textclf.stats.drift_tests.permutations import choices, permutation_p

# There are far more words than texts, and most are rare: a strong penalty suppresses chance differences.
_INVERSE_PENALTY = 0.01
# The default of LIBLINEAR (R.-E. Fan et al., JMLR 9, 2008). The test is valid for any scores.
_TOLERANCE = 0.1
_MAX_STEPS = 1000


@dataclass(frozen=True)
class DomainResult:
    """Result of a classifier two-sample test.

    Attributes:
        auc: area under the ROC curve on held-out texts; 0.5 if the samples are alike. If a share s of the texts is
            new, at most about 0.5 + s / 2.
        p: one-sided p-value by permutations.
        words: words that separate the samples most, largest contribution first.
    """

    auc: float
    p: float
    words: tuple[WordDrift, ...]


def classifier_two_sample_test(
    reference: TokenCounts,
    latest: TokenCounts,
    permutations: int,
    max_words: int,
    rng: np.random.Generator,
    *,
    min_texts: int = 1,
) -> DomainResult | None:
    """Fit a logistic regression on log(1 + count) to a random half of each sample, and test it on the other halves.

    Both samples have the same total weight. If they were drawn alike, the held-out texts are exchangeable given the
    classifier, so the sample labels of their scores can be permuted. The result is None if no text has a word.

    Args:
        reference, latest: the samples.
        permutations: number of permutations of the held-out scores.
        max_words: maximum number of words to return.
        rng: draws halves, the classifier's seed and permutations.
        min_texts: a returned word is in at least this many texts of the sample that it points to.
    """
    from scipy.sparse import csr_matrix

    ids, columns = np.unique(np.concatenate([reference.ids, latest.ids]), return_inverse=True)
    if not len(ids):
        return None
    counts = np.concatenate([reference.counts, latest.counts])
    offsets = np.concatenate([reference.offsets, reference.offsets[-1] + latest.offsets[1:]])
    values = csr_matrix((np.log1p(counts), columns, offsets), shape=(len(reference) + len(latest), len(ids)))
    is_latest = np.arange(values.shape[0]) >= len(reference)

    is_fitted = np.concatenate([_half(len(reference), rng), _half(len(latest), rng)])
    weights = _fitted_weights(values[is_fitted], is_latest[is_fitted], rng)
    held_out, is_latest_there = values[~is_fitted], is_latest[~is_fitted]
    auc, p = auc_test(held_out @ weights, is_latest_there, permutations, rng)

    contributions = (
        weights * np.asarray(held_out[is_latest_there].mean(axis=0) - held_out[~is_latest_there].mean(axis=0)).ravel()
    )  # [ids]
    has_word = [np.bincount(part, minlength=len(ids)) for part in np.split(columns, [len(reference.ids)])]
    may_be_named = (contributions > 0) & (np.where(weights > 0, has_word[1], has_word[0]) >= min_texts)
    first = [k for k in np.argsort(-contributions, kind="stable") if may_be_named[k]][:max_words]
    words = tuple(
        WordDrift(
            id=int(ids[k]),
            weight=float(weights[k]),
            contribution=float(contributions[k]),
            reference_texts=int(has_word[0][k]),
            latest_texts=int(has_word[1][k]),
            reference_share=float(has_word[0][k] / len(reference)),
            latest_share=float(has_word[1][k] / len(latest)),
        )
        for k in first
    )
    return DomainResult(auc, p, words)


def auc_test(
    scores: NDArray[np.floating[Any]], is_latest: NDArray[np.bool_], permutations: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Return the area under the ROC curve of scores [n], and its one-sided p-value by permutations.

    The area is Mann and Whitney's: (R - m (m + 1) / 2) / (m (n - m)), where R is the sum of the (mid-)ranks of the m
    latest texts (J. A. Hanley and B. J. McNeil, Radiology 143, 1982). Permutations do not change the ranks, so all
    permuted areas are one product of a matrix with the ranks.
    """
    from scipy.stats import rankdata

    ranks = rankdata(scores)  # Multiples of 0.5, whose sums are exact: equal areas compare equal.
    size = int(is_latest.sum())
    rank_sums = np.concatenate([block @ ranks for block in choices(len(ranks), size, permutations, rng)])
    observed = float(ranks[is_latest].sum())
    area = (observed - size * (size + 1) / 2) / (size * (len(ranks) - size))
    return area, permutation_p(observed, rank_sums)


def _half(rows: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    chosen = np.arange(rows) < rows // 2
    rng.shuffle(chosen)
    return chosen


def _fitted_weights(values: Any, is_latest: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.float64]:
    """Weight of each column, [columns]. Dual coordinate descent is about 20 times faster here than the default."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(
        C=_INVERSE_PENALTY,
        class_weight="balanced",
        solver="liblinear",
        dual=True,
        tol=_TOLERANCE,
        max_iter=_MAX_STEPS,
        random_state=int(rng.integers(2**31)),
    )
    return np.asarray(model.fit(values, is_latest).coef_[0], np.float64)
