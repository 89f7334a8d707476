"""Owen values of words in a binary tree of groups, for any function of the words that are present.

The value of a word is the mean of what its addition changes, over all orders in which the words of every group of the
tree follow each other (G. Owen, "Values of Games with A Priori Unions", 1977). Equivalently: for each half of each
group around the word, the other half is either present or absent as a whole, and all these contexts count the same.

n: words, K: outputs of the function.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from textclf.explain.hierarchy import Group

Floats = NDArray[np.float64]
Masks = NDArray[np.bool_]
# Masks [m, n], true for words that are present -> values [m, K].
SetFunction = Callable[[Masks], Floats]

# Masks that are evaluated together, unless a single split needs more.
BATCH = 64


@dataclass(frozen=True, eq=False)
class OwenValues:
    """Values of n words.

    Attributes:
        values: float64 [n, K]; they add up to the difference between all words and none.
        base: value of the function without words: float64 [K].
        evaluations: different masks that were evaluated.
        complete: whether every word was evaluated on its own.
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

    def new(self, masks: Masks) -> list[bytes]:
        return [key for key in dict.fromkeys(mask.tobytes() for mask in masks) if key not in self.found]

    def __call__(self, masks: Masks) -> Floats:
        if new := self.new(masks):
            values = self.function(np.array([np.frombuffer(key, np.bool_) for key in new]))
            self.found.update(zip(new, values, strict=True))
        return np.array([self.found[mask.tobytes()] for mask in masks])


def owen_values(
    function: SetFunction, tree: Group, max_evaluations: int, is_over: Callable[[], bool] = lambda: False
) -> OwenValues:
    """Owen values of the words of a tree.

    The groups with the largest values are divided first. When the budget ends, the value of a group that
    was not divided is divided equally among its words.

    Args:
        function: see SetFunction; evaluated in batches.
        tree: the group of all words.
        max_evaluations: maximum number of masks, at least 2.
        is_over: asked between batches; true ends the computation.
    """
    n = len(tree)
    evaluated = _Evaluated(function)
    base, full = evaluated(np.array([np.zeros(n, np.bool_), np.ones(n, np.bool_)]))
    values = np.zeros((n, len(base)))
    open_nodes = [_Node(tree, np.zeros((1, n), np.bool_), base[None], full[None], full - base)]
    while open_nodes and not is_over():
        open_nodes.sort(key=lambda node: (-float(np.abs(node.value).max()), node.group.start))
        chosen: list[_Node] = []
        masks: list[Masks] = []
        kept: list[_Node] = []
        size = 0
        for node in open_nodes:
            if not node.group.halves:
                values[node.group.start] = node.value
                continue
            wanted = _split_masks(node)
            if size < BATCH and len(evaluated.found) + size + len(wanted) <= max_evaluations:
                chosen.append(node)
                masks.append(wanted)
                size += len(wanted)
            else:
                kept.append(node)
        open_nodes = kept
        if not chosen:
            break
        found = evaluated(np.concatenate(masks))
        for node in chosen:
            open_nodes += _halves(node, found[: 2 * len(node.contexts)])
            found = found[2 * len(node.contexts) :]
    complete = True
    for node in open_nodes:
        complete = complete and not node.group.halves
        values[node.group.start : node.group.end] = node.value / len(node.group)
    return OwenValues(values, base, len(evaluated.found), complete)


def _split_masks(node: _Node) -> Masks:
    """Each context with the first half, then each context with the second half."""
    masks = np.concatenate([node.contexts, node.contexts])
    count = len(node.contexts)
    for rows, half in zip((slice(count), slice(count, None)), node.group.halves, strict=True):
        masks[rows, half.start : half.end] = True
    return masks


def _halves(node: _Node, found: Floats) -> list[_Node]:
    count = len(node.contexts)
    masks = _split_masks(node)
    nodes = []
    for own, other, half in ((0, 1, node.group.halves[0]), (1, 0, node.group.halves[1])):
        alone, beside = found[own * count : (own + 1) * count], found[other * count : (other + 1) * count]
        contexts = np.concatenate([node.contexts, masks[other * count : (other + 1) * count]])
        without, within = np.concatenate([node.without, beside]), np.concatenate([alone, node.within])
        nodes.append(_Node(half, contexts, without, within, (within - without).mean(axis=0)))
    return nodes
