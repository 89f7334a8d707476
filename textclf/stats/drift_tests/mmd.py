"""Maximum mean discrepancy of two samples of vectors, with a permutation test.

After A. Gretton, K. M. Borgwardt, M. J. Rasch, B. Schölkopf and A. Smola, "A kernel two-sample test", Journal of
Machine Learning Research 13 (2012).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textclf.errors import InputError
from textclf.stats.drift_tests.permutations import choices, permutation_p

# Number of rows for the median of the distances: half a million pairs.
_MEDIAN_ROWS = 1000
# Rounding error of the float32 sums per pair; the statistic varies by chance a hundred times as much.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class MmdResult:
    """A test of two samples of vectors.

    Attributes:
        squared: unbiased estimate of the squared MMD; close to 0, possibly negative, for samples drawn alike.
        p: p-value by permutations.
        effect: MMD divided by its value for unlike samples, whose kernel is 0 between them, in [0, 1]. If a share s
            of the texts is replaced by unlike texts, it is about s.
    """

    squared: float
    p: float
    effect: float


def mmd_test(
    x: NDArray[np.floating[Any]], y: NDArray[np.floating[Any]], permutations: int, rng: np.random.Generator
) -> MmdResult:
    """Compare x [n, D] with y [m, D], with the kernel exp(-|a - b|^2 / median of the squared distances).

    The kernel K of the pooled sample is computed once, float32 [n + m, n + m]. Let u be 1 for the rows of x and 0 for
    the others. The sums of K within x, within y and between them follow from u'Ku, u'K1 and 1'K1. So all permutations
    are one product of K with the matrix of their u, computed a few hundred columns at a time.

    Raises:
        InputError: if the shapes do not match, a sample has fewer than two rows, or a value is not finite.
    """
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or min(len(x), len(y)) < 2 or x.shape[1] < 1:
        raise InputError(f"expected two samples of at least two vectors of one width, got {x.shape} and {y.shape}")
    pooled = np.concatenate([x, y]).astype(np.float64)
    if not np.isfinite(pooled).all():
        raise InputError(f"expected finite vectors, got {int((~np.isfinite(pooled)).sum())} values that are not")
    n, m, rows = len(x), len(y), len(pooled)

    # A common scale changes nothing, and prevents float32 overflow.
    pooled -= pooled.mean(axis=0)
    scale = float(np.abs(pooled).max())
    if scale == 0:
        return MmdResult(0.0, 1.0, 0.0)
    distances = _squared_distances((pooled / scale).astype(np.float32))
    typical = _typical(distances, rng)
    kernel = np.exp(np.divide(distances, -typical, out=distances), out=distances)
    # Pairs of a row with itself do not count. Subtracting the mean changes no difference of means, but keeps the
    # float32 sums small.
    np.fill_diagonal(kernel, 0)
    mean = float(kernel.sum(dtype=np.float64) / (rows * (rows - 1)))
    kernel -= np.float32(mean)
    np.fill_diagonal(kernel, 0)

    ones = np.zeros((1, rows), np.bool_)
    ones[:, :n] = True
    row_sums = kernel.sum(axis=1, dtype=np.float64)  # [rows]
    within_x, x_to_all = _sums(kernel, row_sums, ones)
    within_y, between = _others(within_x, x_to_all, row_sums)
    squared = float(_squared(within_x, within_y, between, n, m)[0])
    permuted = []
    for block in choices(rows, n, permutations, rng):
        inside, to_all = _sums(kernel, row_sums, block)
        permuted.append(_squared(inside, *_others(inside, to_all, row_sums), n, m))
    similarities = float(within_x[0] / (n * (n - 1)) + within_y[0] / (m * (m - 1)) + 2 * mean)
    return MmdResult(
        squared=squared,
        p=permutation_p(squared, np.concatenate(permuted), tolerance=_ROUNDING),
        effect=float(np.sqrt(max(0.0, squared) / similarities)) if similarities > 0 else 0.0,
    )


def _squared_distances(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Squared distances between all rows of `values` [rows, D]: [rows, rows]."""
    squares = np.einsum("nd,nd->n", values, values)
    distances = values @ values.T
    distances *= -2
    distances += squares[:, None]
    distances += squares
    np.maximum(distances, 0, out=distances)
    return distances


def _typical(distances: NDArray[np.float32], rng: np.random.Generator) -> float:
    """The median of the squared distances among up to _MEDIAN_ROWS rows; always above 0."""
    rows = len(distances)
    if rows > _MEDIAN_ROWS:
        chosen = rng.choice(rows, _MEDIAN_ROWS, replace=False)
        distances = distances[np.ix_(chosen, chosen)]
    pairs = distances[np.triu_indices(len(distances), k=1)]
    median = float(np.median(pairs))
    # The median is 0 if more than half of the pairs are equal: use the mean.
    return median if median > 0 else float(pairs.mean(dtype=np.float64)) or 1.0


def _sums(
    kernel: NDArray[np.float32], row_sums: NDArray[np.float64], is_x: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """For each row of is_x [P, rows], the kernel's sum within x, and from x to all rows: [P] each."""
    u = is_x.astype(np.float32)
    return np.einsum("pn,pn->p", u @ kernel, u, dtype=np.float64), is_x @ row_sums


def _others(
    within_x: NDArray[np.float64], x_to_all: NDArray[np.float64], row_sums: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The kernel's sums within y, and from x to y: [P] each."""
    between = x_to_all - within_x
    return row_sums.sum() - within_x - 2 * between, between


def _squared(
    within_x: NDArray[np.float64], within_y: NDArray[np.float64], between: NDArray[np.float64], n: int, m: int
) -> NDArray[np.float64]:
    """The unbiased estimate of the squared MMD (Gretton et al., Lemma 6), [P]."""
    return within_x / (n * (n - 1)) + within_y / (m * (m - 1)) - 2 * between / (n * m)
