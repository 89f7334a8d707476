"""Tables of the comparison, from the lines of a results file."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import t as student

from bench.arithmetic import markdown_table

Line = Mapping[str, Any]
# Set and seed of a sample.
_Sample = tuple[str, int]


@dataclass(frozen=True)
class Mean:
    """A mean over sets and samples, and half of its 95% interval; nan if no set has two samples.

    Attributes:
        samples: number of samples of all sets together.
    """

    value: float
    half: float
    samples: int


def mean_over_sets(values: Mapping[_Sample, float]) -> Mean:
    """Average the samples of each set, then the sets.

    The interval covers the choice of the samples: the sets and their tested texts are fixed. The variance of the
    samples of a set is estimated from all sets together.
    """
    by_set: dict[str, list[float]] = defaultdict(list)
    for (name, _seed), value in values.items():
        by_set[name].append(value)
    groups = [np.array(found) for found in by_set.values()]
    freedom = sum(len(group) - 1 for group in groups)
    half = math.nan
    if freedom:
        variance = sum(((group - group.mean()) ** 2).sum() for group in groups) / freedom
        error = math.sqrt(variance * sum(1 / len(group) for group in groups)) / len(groups)
        half = float(student.ppf(0.975, freedom)) * error
    return Mean(float(np.mean([group.mean() for group in groups])), half, sum(map(len, groups)))


def values_of(lines: Sequence[Line], method: str, size: int, key: str) -> dict[_Sample, float]:
    """Return one figure of a method at one size, by set and seed."""
    chosen = [line for line in lines if line["method"] == method and line["size"] == size]
    return {(line["set"], line["seed"]): float(line[key]) for line in chosen}


def advantage(lines: Sequence[Line], method: str, other: str, size: int) -> Mean | None:
    """Return by how much the accuracy of `method` is above that of `other`, on the samples that both have."""
    mine, theirs = (values_of(lines, name, size, "accuracy") for name in (method, other))
    both = mine.keys() & theirs.keys()
    return mean_over_sets({sample: mine[sample] - theirs[sample] for sample in sorted(both)}) if both else None


def figures_table(lines: Sequence[Line], titles: Mapping[str, str], sizes: Sequence[int], key: str, cell: str) -> str:
    """Return the means of one figure with the numbers of sets and samples, a row per method and a column per size."""
    rows = []
    for method, title in titles.items():
        found = [values_of(lines, method, size, key) for size in sizes]
        rows.append([title, *(_counted(values, cell) for values in found)])
    return markdown_table(["method", *map(str, sizes)], rows)


def advantage_table(lines: Sequence[Line], method: str, titles: Mapping[str, str], sizes: Sequence[int]) -> str:
    """Return the paired differences of accuracy in points, with intervals and the number of samples."""
    rows = []
    for other, title in titles.items():
        if other != method:
            rows.append([title, *(_points(advantage(lines, method, other, size)) for size in sizes)])
    return markdown_table([f"{titles[method]} minus", *map(str, sizes)], rows)


def sets_table(lines: Sequence[Line], titles: Mapping[str, str], sizes: Sequence[int], sets: Sequence[str]) -> str:
    """Return accuracies by set, a row per set and method; a cell is the mean of the samples."""
    rows = []
    for name in sets:
        of_set = [line for line in lines if line["set"] == name]
        for method, title in titles.items():
            found = [list(values_of(of_set, method, size, "accuracy").values()) for size in sizes]
            if any(found):
                cells = (f"{np.mean(values):.1%}" if values else "" for values in found)
                rows.append([f"{name}, {title}", *cells])
    return markdown_table(["set and method", *map(str, sizes)], rows)


def _counted(values: Mapping[_Sample, float], cell: str) -> str:
    if not values:
        return ""
    return f"{cell.format(mean_over_sets(values).value)} ({len({name for name, _seed in values})}, {len(values)})"


def _points(mean: Mean | None) -> str:
    if mean is None:
        return ""
    half = "" if math.isnan(mean.half) else f" ± {100 * mean.half:.1f}"
    return f"{100 * mean.value:+.1f}{half} ({mean.samples})"
