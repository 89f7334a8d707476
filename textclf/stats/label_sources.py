"""Which sources of labels contradict a model far more often than the other sources do."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import hypergeom

from textclf.stats.holm import holm


@dataclass(frozen=True)
class SourceContradictions:
    """How often the labels of one source differ from the model's, compared with the other sources.

    Attributes:
        source: its name.
        texts, contradictions: number of its texts, and of those whose label differs from the model's.
        others, other_contradictions: the same for the other sources, without outliers found earlier.
        p: one-sided p-value of Fisher's exact test; 1 if the source was not tested.
        adjusted_p: p after Holm's correction over the sources tested in the same round.
        is_outlier: whether the difference is significant and at least the margin.
    """

    source: str
    texts: int
    contradictions: int
    others: int
    other_contradictions: int
    p: float
    adjusted_p: float
    is_outlier: bool

    @property
    def excess(self) -> float:
        """The rate of contradictions minus that of the other sources; 0 without others."""
        if not self.texts or not self.others:
            return 0.0
        return self.contradictions / self.texts - self.other_contradictions / self.others


def contradicting_sources(
    sources: Sequence[str], contradicts: np.ndarray, *, alpha: float, margin: float, min_texts: int
) -> tuple[SourceContradictions, ...]:
    """Compare every source with all others together, by Fisher's exact test (The Design of Experiments, 1935, II).

    The worst outlier is removed and the rest compared again until none is left: otherwise one bad source raises the
    usual rate and hides another. All sources contradict the model when the texts drift, so a single source is never
    an outlier. Bad sources that send most of the labels can't be told from good ones this way.

    Args:
        sources: source of each label, [n].
        contradicts: whether the label differs from the model's, bool [n].
        alpha: level of the tests, with Holm's correction for the number of sources.
        margin: an outlier's rate of contradictions exceeds that of the others by at least this.
        min_texts: sources with fewer texts are not tested.

    Returns:
        One result for each source: outliers in the order they were found, then the others by name.
    """
    names, ids = np.unique(np.asarray(sources, dtype=object), return_inverse=True)
    texts = np.bincount(ids, minlength=len(names))
    wrong = np.bincount(ids, weights=np.asarray(contradicts, bool), minlength=len(names)).astype(int)
    left = dict(zip(names.tolist(), zip(texts.tolist(), wrong.tolist(), strict=True), strict=True))
    found: list[SourceContradictions] = []
    while True:
        results = _compared(left, alpha, margin, min_texts)
        outliers = [result for result in results if result.is_outlier]
        if not outliers:
            return (*found, *results)
        worst = min(outliers, key=lambda result: (result.p, -result.excess, result.source))
        found.append(worst)
        del left[worst.source]


def _compared(
    counts: dict[str, tuple[int, int]], alpha: float, margin: float, min_texts: int
) -> list[SourceContradictions]:
    """One round: compare each source with all others; `counts` maps a name to (texts, contradictions)."""
    all_texts = sum(texts for texts, _ in counts.values())
    all_wrong = sum(wrong for _, wrong in counts.values())
    tested = [name for name, (texts, _) in counts.items() if min_texts <= texts < all_texts]
    p_values = [float(hypergeom.sf(counts[name][1] - 1, all_texts, all_wrong, counts[name][0])) for name in tested]
    adjusted = dict(zip(tested, holm(p_values).tolist(), strict=True)) if tested else {}
    raw = dict(zip(tested, p_values, strict=True))
    results = []
    for name, (texts, wrong) in counts.items():
        others, other_wrong = all_texts - texts, all_wrong - wrong
        is_far = name in adjusted and wrong / texts - other_wrong / others >= margin
        adjusted_p = adjusted.get(name, 1.0)
        is_outlier = is_far and adjusted_p < alpha
        results.append(
            SourceContradictions(name, texts, wrong, others, other_wrong, raw.get(name, 1.0), adjusted_p, is_outlier)
        )
    return results
