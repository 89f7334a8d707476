"""Permutation tests: assign the pooled rows to the two samples at random, again and again.

If both samples were drawn alike, every assignment is as likely as the observed one. See B. Phipson and G. K. Smyth,
"Permutation P-values should never be zero", Statistical Applications in Genetics and Molecular Biology 9 (2010).
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

# Choices in memory at a time: with 10,000 rows, 10 MB as float32.
_BLOCK = 256


def choices(
    rows: int, chosen: int, permutations: int, rng: np.random.Generator, block: int = _BLOCK
) -> Iterator[npt.NDArray[np.bool_]]:
    """Random choices of `chosen` of `rows` rows: blocks of bool [up to `block`, rows], one choice a row."""
    for start in range(0, permutations, block):
        lines = np.zeros((min(block, permutations - start), rows), np.bool_)
        lines[:, :chosen] = True
        yield rng.permuted(lines, axis=1, out=lines)


def permutation_p(observed: float, permuted: npt.NDArray[np.float64], tolerance: float = 0.0) -> float:
    """Return (1 + k) / (1 + P), where k of P permuted statistics are at least as large as the observed one.

    Args:
        observed: statistic of the two samples.
        permuted: statistics of the permutations, [P].
        tolerance: rounding error; permuted values below `observed` by up to this count as equal to it.
    """
    return float((1 + np.sum(permuted >= observed - tolerance)) / (1 + len(permuted)))
