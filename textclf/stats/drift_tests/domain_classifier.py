"""Whether a classifier can tell the latest texts from the reference by their words, and by which words.

A classifier two-sample test: D. Lopez-Paz and M. Oquab, "Revisiting classifier two-sample tests", ICLR 2017
(arXiv:1610.06545), with the area under the ROC curve instead of the accuracy, because the samples differ in size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression

from textclf.drift.features import TokenCounts
from textclf.stats.drift_tests.drift_results import WordDrift
from textclf.stats.drift_tests.permutations import choices, permutation_p

# Far more words than texts, most of them rare: a strong penalty keeps chance differences from drowning the others.
_INVERSE_PENALTY = 0.01
# The stopping rule that R.-E. Fan et al. chose for this solver (LIBLINEAR, JMLR 9, 2008). Nothing rests on more digits:
# the test is valid for any scores.
_TOLERANCE = 0.1
_MAX_STEPS = 1000


@dataclass(frozen=True)
class DomainResult:
    """How well the samples can be told apart.

    Attributes:
        auc: chance that a latest text scores above one of the reference, among texts that the classifier was not
            fitted on; .5 where the samples are alike. Where a share s of the texts is new, at most about .5 + s / 2.
        p: one-sided, by permutations.
        words: that tell the samples apart most, largest contribution first.
    """

    auc: float
    p: float
    words: tuple[WordDrift, ...]


def classifier_two_sample_test(
    reference: TokenCounts,
    latest: TokenCounts,
    permutations: int,
    most_words: int,
    rng: np.random.Generator,
    *,
    least_texts: int = 1,
) -> DomainResult | None:
    """Fit a logistic regression on log(1 + count) to one half of each sample, and try it on the other halves.

    The larger sample does not count for more: both weigh the same. Halves are drawn at random. With the classifier
    given, the texts of the other halves are exchangeable, so that the labels of their scores can be permuted.

    Args:
        reference, latest: the samples.
        permutations: of the held-out scores.
        most_words: that are named.
        rng: of halves, fitting and permutations.
        least_texts: that must have a word, of the sample that it speaks for, for it to be named.

    Returns:
        None where no text has a word.
    """
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
    may_be_named = (contributions > 0) & (np.where(weights > 0, has_word[1], has_word[0]) >= least_texts)
    first = [k for k in np.argsort(-contributions, kind="stable") if may_be_named[k]][:most_words]
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
    """Area under the ROC curve of scores [n], and the chance of one as large if the samples are alike.

    The area is Mann and Whitney's: with the (mid-)ranks of the scores, the sum over the m latest texts less
    m (m + 1) / 2, over m times the others (J. A. Hanley and B. J. McNeil, Radiology 143, 1982). Ranks do not change
    by permutation, so that all permuted areas are one product of a matrix with the ranks.
    """
    ranks = rankdata(scores)  # Sums of halves: exact, so that equal areas are equal.
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
    """Of each column: [columns]. Dual coordinate descent is some twenty times as fast here as the default solver."""
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
