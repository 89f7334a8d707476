"""Holm's correction: several tests together have the false alarm rate of one."""

from typing import Any

import numpy as np
import numpy.typing as npt

from textclf.errors import InputError


def holm(p_values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Adjusted p-values in the order given; those below alpha are significant together at alpha.

    The smallest is multiplied by the number of tests m, the next by m - 1, and so on; each is at least the one before
    it and at most 1. Valid under any dependence of the tests. S. Holm, "A simple sequentially rejective
    multiple test procedure", Scandinavian Journal of Statistics 6 (1979), in the adjusted form of S. P. Wright,
    "Adjusted p-values for simultaneous inference", Biometrics 48 (1992).

    Raises:
        InputError: if a value is not a number from 0 to 1.
    """
    values: npt.NDArray[Any] = np.asarray(p_values, np.float64)
    if values.ndim != 1 or not np.all((values >= 0) & (values <= 1)):
        raise InputError(f"expected p-values from 0 to 1, got {p_values!r}")
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted
