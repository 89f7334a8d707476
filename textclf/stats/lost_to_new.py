"""Texts of old classes that a retrained model gives one of its new classes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

# Share of its texts that each old class may lose to new classes. A class of four texts that loses all of them shows
# more, also among 150 classes. A harmless new class takes a text in a hundred or fewer.
MAX_LOST_OF_CLASS = 0.1
ALL_OLD_CLASSES = "all old classes"


def lost_to_new(
    labels: NDArray[np.integer[Any]],
    is_lost: NDArray[np.bool_],
    class_names: Sequence[str],
    margin: float,
    class_margin: float,
) -> list[dict[str, Any]]:
    """The losses of all old classes together, then of each old class with texts; p_worse is the exact binomial test.

    It tests that the share of lost texts is at most the margin.

    Args:
        labels: true class ids of the texts, all of old classes, int [n].
        is_lost: whether the new model gives a text a new class that the old model predicted correctly, bool [n].
        class_names: [K].
        margin: share of all texts that may be lost.
        class_margin: share of the texts of each class that may be lost, if it is above MAX_LOST_OF_CLASS.
    """
    groups = {ALL_OLD_CLASSES: (np.ones(len(labels), np.bool_), margin)} | {
        f"class {class_names[class_id]}": (labels == class_id, max(class_margin, MAX_LOST_OF_CLASS))
        for class_id in np.unique(labels).tolist()
    }
    results = []
    for name, (rows, allowed) in groups.items():
        texts, lost = int(rows.sum()), int(is_lost[rows].sum())
        p = float(binom.sf(lost - 1, texts, allowed))
        results.append({"slice": name, "texts": texts, "lost": lost, "margin": allowed, "p_worse": p})
    return results
