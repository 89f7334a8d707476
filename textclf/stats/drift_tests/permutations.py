"""Permutation tests: which of the pooled rows are called the first sample, drawn anew each time.

Under "both samples were drawn alike" every choice of as many rows is as likely as the one that happened, whatever was
computed from the pooled rows alone. See B. Phipson and G. K. Smyth, "Permutation P-values should never be zero",
Statistical Applications in Genetics and Molecular Biology 9 (2010).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

# Choices that are held in memory at a time: with 10,000 rows 10 MB as float32.
_BLOCK = 256


def choices(
    rows: int, chosen: int, permutations: int, rng: np.random.Generator, block: int = _BLOCK
) -> Iterator[npt.NDArray[np.bool_]]:
    """Random choices of `chosen` of `rows` rows, each in a line of its own: blocks of bool [at most `block`, rows]."""
    for start in range(0, permutations, block):
        lines = np.zeros((min(block, permutations - start), rows), np.bool_)
        lines[:, :chosen] = True
        yield rng.permuted(lines, axis=1, out=lines)


def permutation_p(observed: float, permuted: npt.NDArray[np.float64], tolerance: float = 0.0) -> float:
    """The share of the statistics as large as the one observed, which counts as one of them: (1 + k) / (1 + P).

    Args:
        observed: the statistic of the samples as they are.
        permuted: the statistic of each permutation, [P].
        tolerance: values that much smaller count as large: rounding does not make a difference of equal ones.
    """
    return float((1 + np.sum(permuted >= observed - tolerance)) / (1 + len(permuted)))
