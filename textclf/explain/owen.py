"""Owen values of words in a binary tree of groups, for any function of the words that are present.

The value of a word is the mean of what its addition changes, over all orders in which the words of every group of the
tree follow each other (G. Owen, "Values of Games with A Priori Unions", 1977). Equivalently: for each half of each
group around the word, the other half is either present or absent as a whole, and all these contexts count the same.

A word in a tree of depth d has 2^d contexts, too many for long texts. Then groups get exact values first, in all their
contexts: the largest values are divided first. Words get an estimate from two contexts: all other words absent, and
all other words present. The words of a group are corrected by equal amounts, so that they add up to its exact value.

n: words, K: outputs of the function.
"""

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from textclf.explain.hierarchy import Group

Floats = NDArray[np.float64]
Masks = NDArray[np.bool_]
# Masks [m, n], true for words that are present -> values [m, K]. A row of NaN: time ended before this evaluation.
# The mask without words, and that of all words, always get values.
SetFunction = Callable[[Masks], Floats]

# Masks that are evaluated together, unless a single group needs more.
BATCH = 64
# Share of the evaluations for the two contexts of each word; the others are for groups.
_WORD_SHARE = 0.9
# Weight of the context without other words; that of all other words has the rest. Measured on film reviews: removing
# the words with the largest values changes the prediction more than with equal weights.
_ALONE_WEIGHT = 0.25


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
    """Evaluates masks, each once.

    Attributes:
        is_over: whether time ended before an evaluation.
    """

    function: SetFunction
    found: dict[bytes, Floats] = field(default_factory=dict)
    is_over: bool = False

    def __call__(self, masks: Masks) -> Floats:
        """Values of the masks, [m, K]; NaN for those that time did not suffice for."""
        keys = [mask.tobytes() for mask in masks]
        new = [key for key in dict.fromkeys(keys) if key not in self.found]
        missing: dict[bytes, Floats] = {}
        if new:
            values = self.function(np.array([np.frombuffer(key, np.bool_) for key in new]))
            for key, row in zip(new, values, strict=True):
                (missing if np.isnan(row).any() else self.found)[key] = row
        self.is_over = self.is_over or bool(missing)
        return np.array([self.found[key] if key in self.found else missing[key] for key in keys])

    def __len__(self) -> int:
        return len(self.found)


def owen_values(function: SetFunction, tree: Group, max_evaluations: int) -> OwenValues:
    """Owen values of the words of a tree; exact if the evaluations suffice for all contexts.

    If time ends early, every evaluation up to then counts: words without an estimate get equal shares.

    Args:
        function: see SetFunction; evaluated in batches.
        tree: the group of all words.
        max_evaluations: maximum number of masks, at least 2.
    """
    n = len(tree)
    evaluated = _Evaluated(function)
    base, full = evaluated(np.array([np.zeros(n, np.bool_), np.ones(n, np.bool_)]))
    nodes = [_Node(tree, np.zeros((1, n), np.bool_), base[None], full[None], full - base)]
    estimates, is_estimated = np.zeros((n, len(base))), False
    if exact_evaluations(tree) > max_evaluations:
        for_words = int(max_evaluations * _WORD_SHARE)
        nodes = _divided(evaluated, nodes, max_evaluations - for_words)
        is_estimated = _estimate(evaluated, nodes, _frontier(tree, for_words // 2), estimates)
    nodes = _divided(evaluated, nodes, max_evaluations)
    values = np.zeros((n, len(base)))
    for node in nodes:
        own = slice(node.group.start, node.group.end)
        values[own] = estimates[own] + (node.value - estimates[own].sum(axis=0)) / len(node.group)
    complete = is_estimated or not any(node.group.halves for node in nodes)
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


def _estimate(evaluated: _Evaluated, nodes: Sequence[_Node], groups: Sequence[Group], estimates: Floats) -> bool:
    """Write estimates from two contexts into `estimates` [n, K], and return whether each word got its own.

    The words of a group get equal shares of its estimate. The groups in the nodes with the largest values come first.
    """
    n = len(estimates)
    ranks = np.empty(n, np.int64)
    for rank, node in enumerate(sorted(nodes, key=_by_size)):
        ranks[node.group.start : node.group.end] = rank
    groups = sorted(groups, key=lambda group: (ranks[group.start], group.start))
    base, full = evaluated(np.array([np.zeros(n, np.bool_), np.ones(n, np.bool_)]))
    reached = 0
    for start in range(0, len(groups), BATCH // 2):
        if evaluated.is_over:
            break
        some = groups[start : start + BATCH // 2]
        masks = np.zeros((len(some), n), np.bool_)
        for row, group in zip(masks, some, strict=True):
            row[group.start : group.end] = True
        found = evaluated(np.concatenate([masks, ~masks]))
        alone, removed = found[: len(some)] - base, full - found[len(some) :]
        both = _ALONE_WEIGHT * alone + (1 - _ALONE_WEIGHT) * removed
        # If time ended between the two contexts of a group, one must do.
        for group, *choices in zip(some, both, removed, alone, strict=True):
            value = next((choice for choice in choices if not np.isnan(choice).any()), None)
            if value is not None:
                estimates[group.start : group.end] = value / len(group)
        reached += int(np.isfinite(both).all(axis=1).sum())
    return reached == n


def _frontier(tree: Group, max_groups: int) -> list[Group]:
    """Up to `max_groups` groups that together have all words; the largest are divided first, one at a time."""
    heap = [(-len(tree), tree.start, tree)]
    while len(heap) < max_groups and heap[0][2].halves:
        _, _, largest = heapq.heappop(heap)
        for half in largest.halves:
            heapq.heappush(heap, (-len(half), half.start, half))
    return [group for _, _, group in heap]


def _by_size(node: _Node) -> tuple[float, int]:
    """Sorts the largest values to the front."""
    return -float(np.abs(node.value).max()), node.group.start


def _divided(evaluated: _Evaluated, nodes: Sequence[_Node], max_evaluations: int) -> list[_Node]:
    """Groups with exact values that have the words of `nodes`: those with the largest values are divided first."""
    words = [node for node in nodes if not node.group.halves]
    undivided = [node for node in nodes if node.group.halves]
    while undivided and not evaluated.is_over:
        undivided.sort(key=_by_size)
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
        undivided = undivided[len(chosen) :]
        for node in chosen:
            own, found = found[: 2 * len(node.contexts)], found[2 * len(node.contexts) :]
            for part in [node] if np.isnan(own).any() else _halves(node, own):
                (undivided if part.group.halves else words).append(part)
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
