"""Groups of equal and of similar texts, contradictory labels, and texts that two parts share."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from textclf.data.near_texts import find_near_texts
from textclf.tokenization.text_key import KeyFunction


@dataclass(frozen=True, eq=False)
class Copies:
    """Which texts are equal (they have the same key) or similar (they share most runs of words).

    Attributes:
        keys: key of each text; equal texts have equal keys.
        equal: groups of at least two equal texts, as rows.
        similar: groups of at least two similar texts that are not all equal, as rows.
        group_of: number of each text's group of equal and similar texts, int64 [n].
    """

    keys: tuple[bytes, ...]
    equal: tuple[tuple[int, ...], ...]
    similar: tuple[tuple[int, ...], ...]
    group_of: NDArray[np.int64]


def find_copies(texts: Sequence[str], keys_of: KeyFunction) -> Copies:
    """Compare all texts with each other; `keys_of` is the rule by which texts are equal, the same as in training."""
    keys = keys_of(texts)
    rows_of: dict[bytes, list[int]] = defaultdict(list)
    for row, key in enumerate(keys):
        rows_of[key].append(row)
    firsts = [rows[0] for rows in rows_of.values()]
    roots = find_near_texts([texts[row] for row in firsts]).first.tolist()
    root_of_key = dict(zip(rows_of, roots, strict=True))
    group_of = np.array([root_of_key[key] for key in keys], np.int64)
    members: dict[int, list[int]] = defaultdict(list)
    for row, root in enumerate(group_of.tolist()):
        members[root].append(row)
    return Copies(
        keys=tuple(keys),
        equal=tuple(tuple(rows) for rows in rows_of.values() if len(rows) > 1),
        similar=tuple(tuple(rows) for rows in members.values() if len({keys[row] for row in rows}) > 1),
        group_of=group_of,
    )


def contradictions(groups: Sequence[Sequence[int]], labels: NDArray[np.integer]) -> list[tuple[int, ...]]:
    """The groups whose texts have different labels."""
    return [tuple(rows) for rows in groups if len({int(labels[row]) for row in rows}) > 1]


def shared(copies: Copies, parts: Sequence[str]) -> dict[tuple[str, str], tuple[int, int]]:
    """For each pair of parts, how many texts of the later one have an equal or else only a similar text in the other.

    Args:
        copies: the copies among the texts.
        parts: part of each text; the parts come in their order.
    """
    order = list(dict.fromkeys(parts))
    groups: dict[int, list[int]] = defaultdict(list)
    for row, group in enumerate(copies.group_of.tolist()):
        groups[group].append(row)
    counts: dict[tuple[str, str], list[int]] = {}
    for rows in groups.values():
        keys: dict[str, set[bytes]] = defaultdict(set)
        for row in rows:
            keys[parts[row]].add(copies.keys[row])
        for pair in combinations([part for part in order if part in keys], 2):
            earlier, later = pair
            for row in (row for row in rows if parts[row] == later):
                counts.setdefault(pair, [0, 0])[copies.keys[row] not in keys[earlier]] += 1
    return {pair: (equal, similar) for pair, (equal, similar) in counts.items()}
