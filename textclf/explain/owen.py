"""Owen values of words in a binary tree of groups, for any function of the words that are present.

The value of a word is the mean of what its addition changes, over all orders in which the words of every group of the
tree follow each other (G. Owen, "Values of Games with A Priori Unions", 1977). Equivalently: for each half of each
group around the word, the other half is either present or absent as a whole, and all these contexts count the same.

A word in a tree of depth d has 2^d contexts, too many for long texts. Then two contexts give a first estimate: all
other words absent, and all other words present. The remaining evaluations compute exact values of groups, in all their
contexts. The words of a group are corrected so that they add up to its value: most those whose two contexts differ
most, because their values depend on other words.

n: words, K: outputs of the function.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from textclf.explain.hierarchy import Group

Floats = NDArray[np.float64]
Masks = NDArray[np.bool_]
# Masks [m, n], true for words that are present -> values [m, K].
SetFunction = Callable[[Masks], Floats]

# Masks that are evaluated together, unless a single group needs more.
BATCH = 64
# Share of the evaluations for the two contexts of each word; the others are for groups.
_WORD_SHARE = 0.9


@dataclass(frozen=True, eq=False)
class OwenValues:
    """Values of n words.

    Attributes:
        values: float64 [n, K]; they add up to the difference between all words and none.
        base: value of the function without words: float64 [K].
        evaluations: different masks that were evaluated.
        complete: whether every word was evaluated on its own, in two contexts or in all.
    """

    values: Floats
    base: Floats
    evaluations: int
    complete: bool


@dataclass(eq=False)
class _Node:
    """A group whose value is known.

    Attributes:
        group: its words.
        contexts: words outside the group that are present, bool [contexts, n].
        without, within: function of each context, without and with the group: [contexts, K].
        value: the value of the group: [K].
    """

    group: Group
    contexts: Masks
    without: Floats
    within: Floats
    value: Floats


@dataclass(eq=False)
class _Evaluated:
    """Evaluates masks, each once."""

    function: SetFunction
    found: dict[bytes, Floats] = field(default_factory=dict)

    def __call__(self, masks: Masks) -> Floats:
        keys = [mask.tobytes() for mask in masks]
        new = [key for key in dict.fromkeys(keys) if key not in self.found]
        if new:
            values = self.function(np.array([np.frombuffer(key, np.bool_) for key in new]))
            self.found.update(zip(new, values, strict=True))
        return np.array([self.found[key] for key in keys])

    def __len__(self) -> int:
        return len(self.found)


def owen_values(
    function: SetFunction, tree: Group, max_evaluations: int, is_over: Callable[[], bool] = lambda: False
) -> OwenValues:
    """Owen values of the words of a tree; exact if the evaluations suffice for all contexts.

    Args:
        function: see SetFunction; evaluated in batches.
        tree: the group of all words.
        max_evaluations: maximum number of masks, at least 2.
        is_over: asked between batches; true ends the computation.
    """
    n = len(tree)
    evaluated = _Evaluated(function)
    base, full = evaluated(np.array([np.zeros(n, np.bool_), np.ones(n, np.bool_)]))
    root = _Node(tree, np.zeros((1, n), np.bool_), base[None], full[None], full - base)
    estimate = _Estimate(np.zeros((n, len(base))), np.zeros((n, len(base))), False)
    if exact_evaluations(tree) > max_evaluations:
        estimate = _two_contexts(evaluated, tree, int(max_evaluations * _WORD_SHARE), base, full, is_over)
    nodes = _divided(evaluated, root, max_evaluations, is_over)
    values = np.zeros((n, len(base)))
    for node in nodes:
        own = slice(node.group.start, node.group.end)
        values[own] = estimate.corrected(own, node.value)
    complete = estimate.is_of_words or not any(node.group.halves for node in nodes)
    return OwenValues(values, base, len(evaluated), complete)


def exact_evaluations(tree: Group) -> int:
    """Number of masks for exact values of all words."""
    total, level = 2, [tree]
    contexts = 1
    while level := [node for node in level if node.halves]:
        total += 2 * contexts * len(level)
        contexts *= 2
        level = [half for node in level for half in node.halves]
    return total


@dataclass(eq=False)
class _Estimate:
    """First estimates of n words.

    Attributes:
        values: means of two contexts, [n, K].
        differences: absolute differences between the two contexts, [n, K].
        is_of_words: whether each word was evaluated, and not only groups of words.
    """

    values: Floats
    differences: Floats
    is_of_words: bool

    def corrected(self, own: slice, total: Floats) -> Floats:
        """Values of the words `own` that add up to `total`."""
        values, sizes = self.values[own], self.differences[own]
        sums = sizes.sum(axis=0)
        shares = np.where(sums > 0, sizes / np.where(sums > 0, sums, 1), 1 / len(values))
        return np.asarray(values + (total - values.sum(axis=0)) * shares)


def _two_contexts(
    evaluated: _Evaluated, tree: Group, max_evaluations: int, base: Floats, full: Floats, is_over: Callable[[], bool]
) -> _Estimate:
    """Estimates from two contexts: of every word, or of small groups if there are too few evaluations for the words.

    The words of a small group get equal shares of its value.
    """
    n = len(tree)
    groups = _frontier(tree, max_evaluations // 2)
    estimate = _Estimate(np.zeros((n, len(base))), np.zeros((n, len(base))), len(groups) == n)
    alone = np.zeros((len(groups), n), np.bool_)
    for row, group in zip(alone, groups, strict=True):
        row[group.start : group.end] = True
    for start in range(0, len(groups), BATCH // 2):
        if is_over():
            # Words without an estimate would get too large a share of what the others have too little.
            return _Estimate(np.zeros((n, len(base))), np.zeros((n, len(base))), False)
        masks = alone[start : start + BATCH // 2]
        found = evaluated(np.concatenate([masks, ~masks]))
        added, removed = found[: len(masks)] - base, full - found[len(masks) :]
        for group, first, second in zip(groups[start : start + BATCH // 2], added, removed, strict=True):
            own = slice(group.start, group.end)
            estimate.values[own] = (first + second) / 2 / len(group)
            estimate.differences[own] = np.abs(first - second) / len(group)
    return estimate


def _frontier(tree: Group, max_groups: int) -> list[Group]:
    """Up to `max_groups` groups that together have all words, in order; the largest are divided first."""
    groups = [tree]
    while True:
        largest = max(map(len, groups))
        divided = [half for group in groups for half in (group.halves if len(group) == largest > 1 else (group,))]
        if len(divided) > max_groups or len(divided) == len(groups):
            return groups
        groups = divided


def _divided(evaluated: _Evaluated, root: _Node, max_evaluations: int, is_over: Callable[[], bool]) -> list[_Node]:
    """Groups with exact values that together have all words: those with the largest values are divided first."""
    undivided, words = ([root], []) if root.group.halves else ([], [root])
    while undivided and not is_over():
        undivided.sort(key=lambda node: (-float(np.abs(node.value).max()), node.group.start))
        chosen: list[_Node] = []
        masks: list[Masks] = []
        size = 0
        for node in undivided:
            wanted = _masks_of_halves(node)
            if len(evaluated) + size + len(wanted) > max_evaluations or size >= BATCH:
                break
            chosen.append(node)
            masks.append(wanted)
            size += len(wanted)
        if not chosen:
            break
        found = evaluated(np.concatenate(masks))
        halves: list[_Node] = []
        for node in chosen:
            halves += _halves(node, found[: 2 * len(node.contexts)])
            found = found[2 * len(node.contexts) :]
        words += [half for half in halves if not half.group.halves]
        undivided = undivided[len(chosen) :] + [half for half in halves if half.group.halves]
    return words + undivided


def _masks_of_halves(node: _Node) -> Masks:
    """Each context with the first half, then each context with the second half."""
    masks = np.concatenate([node.contexts, node.contexts])
    count = len(node.contexts)
    for rows, half in zip((slice(count), slice(count, None)), node.group.halves, strict=True):
        masks[rows, half.start : half.end] = True
    return masks


def _halves(node: _Node, found: Floats) -> Iterator[_Node]:
    """Both halves of a group, from the function of _masks_of_halves(node)."""
    count = len(node.contexts)
    masks = _masks_of_halves(node)
    parts = slice(count), slice(count, None)
    for half, own, other in zip(node.group.halves, parts, parts[::-1], strict=True):
        contexts = np.concatenate([node.contexts, masks[other]])
        without, within = np.concatenate([node.without, found[other]]), np.concatenate([found[own], node.within])
        yield _Node(half, contexts, without, within, (within - without).mean(axis=0))
