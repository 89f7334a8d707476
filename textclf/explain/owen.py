"""Owen values of words in a binary tree of groups, for any function of the words that are present.

The value of a word is the mean of what its addition changes, over all orders in which the words of every group of the
tree follow each other (G. Owen, "Values of Games with A Priori Unions", 1977). Equivalently: for each half of each
group around the word, the other half is either present or absent as a whole, and all these contexts count the same.

A word below d groups has 2^d contexts, too many for long texts. Then only the k outermost groups are varied, and all
inner groups are absent together or present together: 2^(k+1) contexts. k grows with the evaluations, the same for
all words, because values of different k are not comparable. A sum that is missing or too large is divided equally.

n: words, K: outputs of the function.
"""

import heapq
import itertools
from collections.abc import Callable, Sequence
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
# Groups that are evaluated before words are, for the case that time ends early.
_COARSE_GROUPS = 12
# Maximum weight of the context without other words. Texts of one word are unlike those that a model knows: their
# outputs vary most, and have the least in common with exact values.
_MAX_ALONE_WEIGHT = 0.1


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


@dataclass(frozen=True, eq=False)
class _Player:
    """A word, or a group whose words get equal shares of its value.

    Attributes:
        group: its words.
        others: the other halves of the groups around it, the outermost first.
    """

    group: Group
    others: tuple[Group, ...]

    def is_exact(self, depth: int) -> bool:
        """Whether the contexts of this depth are all contexts."""
        return depth + 1 >= len(self.others)

    def count(self, depth: int) -> int:
        """Number of contexts of a depth."""
        return 1 << min(depth + 1, len(self.others))

    def contexts(self, depth: int, n: int) -> Masks:
        """Words outside the player that are present: bool [contexts, n]; in the first context there are none.

        The contexts of a smaller depth are among those of a larger one.
        """
        masks = np.zeros((self.count(depth), n), np.bool_)
        numbers = np.arange(len(masks))
        for level, other in enumerate(self.others):
            # All inner groups follow the last bit.
            masks[(numbers >> min(level, depth)) & 1 == 1, other.start : other.end] = True
        return masks

    def weights(self, depth: int) -> Floats:
        """Weight of each context, [contexts]; the sum is 1."""
        count = self.count(depth)
        if self.is_exact(depth):
            return np.full(count, 1 / count)
        alone = min(_MAX_ALONE_WEIGHT, 1 / count)
        return np.array([alone, *[(1 - alone) / (count - 1)] * (count - 1)])


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

    def count_new(self, masks: Masks) -> int:
        """Number of different masks that are not evaluated yet."""
        return len({mask.tobytes() for mask in masks} - self.found.keys())


def owen_values(function: SetFunction, tree: Group, max_evaluations: int) -> OwenValues:
    """Owen values of the words of a tree; exact if the evaluations suffice for all contexts.

    If time ends early, words that were not reached share the estimate of their group, and estimates from more contexts
    than others have are dropped.

    Args:
        function: see SetFunction; evaluated in batches.
        tree: the group of all words.
        max_evaluations: maximum number of masks, at least 2.
    """
    n = len(tree)
    evaluated = _Evaluated(function)
    base, full = evaluated(np.array([np.zeros(n, np.bool_), np.ones(n, np.bool_)]))
    players = _players(tree, n)
    if len(evaluated) + evaluated.count_new(_masks(players, 0, n)) > max_evaluations:
        # Each player takes two masks; two players share theirs, because each is the context of the other.
        players = _players(tree, max((max_evaluations - 2) // 2, min(2, max_evaluations // 2)))
    spare = max_evaluations - len(evaluated) - evaluated.count_new(_masks(players, 0, n))
    estimates = np.zeros((n, len(base)))
    is_reached: Masks = np.zeros(n, np.bool_)
    for some in (_players(tree, min(_COARSE_GROUPS, spare // 2)) if spare >= 2 else [], players):
        found = _estimate(evaluated, _by_size(some, estimates), 0, n, len(base))
        is_reached = np.asarray(np.isfinite(found).all(axis=1))
        estimates[is_reached] = found[is_reached]
    complete = bool(is_reached.all()) and all(len(player.group) == 1 for player in players)
    depth = 0
    if complete:
        estimates, depth = _deepened(evaluated, players, estimates, max_evaluations)
    is_exact = np.repeat([player.is_exact(depth) for player in players], [len(player.group) for player in players])
    is_open = ~is_exact | evaluated.is_over
    if is_open.any():
        estimates[is_open] += (full - base - estimates.sum(axis=0)) / is_open.sum()
    return OwenValues(estimates, base, len(evaluated), complete)


def _deepened(
    evaluated: _Evaluated, words: Sequence[_Player], estimates: Floats, max_evaluations: int
) -> tuple[Floats, int]:
    """Estimates of the largest depth that the evaluations and the time suffice for, and this depth."""
    n, depth = len(words), 0
    while not all(word.is_exact(depth) for word in words):
        # Masks that are many more than fit need not be made to be counted.
        if sum(word.count(depth + 1) for word in words) > 4 * max_evaluations:
            break
        if len(evaluated) + evaluated.count_new(_masks(words, depth + 1, n)) > max_evaluations:
            break
        found = _estimate(evaluated, words, depth + 1, n, estimates.shape[1])
        if not np.isfinite(found).all():
            break
        estimates, depth = found, depth + 1
    return estimates, depth


def _players(tree: Group, max_players: int) -> list[_Player]:
    """Up to `max_players` players that together have all words; the largest are divided first, one at a time."""
    heap = [(-len(tree), tree.start, _Player(tree, ()))]
    while len(heap) < max_players and heap[0][2].group.halves:
        _, _, largest = heapq.heappop(heap)
        for half, other in itertools.permutations(largest.group.halves):
            heapq.heappush(heap, (-len(half), half.start, _Player(half, (*largest.others, other))))
    return sorted((player for _, _, player in heap), key=lambda player: player.group.start)


def _by_size(players: Sequence[_Player], estimates: Floats) -> list[_Player]:
    """The players with the largest estimates first."""
    sizes = np.abs(estimates).max(axis=1)
    return sorted(players, key=lambda player: (-float(sizes[player.group.start]), player.group.start))


def _masks(players: Sequence[_Player], depth: int, n: int) -> Masks:
    """For each player its contexts, then its contexts with the player itself: bool [masks, n]."""
    parts: list[Masks] = [np.zeros((0, n), np.bool_)]
    for player in players:
        without = player.contexts(depth, n)
        within = without.copy()
        within[:, player.group.start : player.group.end] = True
        parts += [without, within]
    return np.concatenate(parts)


def _estimate(evaluated: _Evaluated, players: Sequence[_Player], depth: int, n: int, outputs: int) -> Floats:
    """Estimates from the contexts of a depth, [n, K]; NaN for words of players for which time did not suffice."""
    estimates = np.full((n, outputs), np.nan)
    at_once = max(1, BATCH >> depth + 1)
    for start in range(0, len(players), at_once):
        if evaluated.is_over:
            break
        some = players[start : start + at_once]
        values = evaluated(_masks(some, depth, n))
        for player in some:
            count = player.count(depth)
            changes, values = values[count : 2 * count] - values[:count], values[2 * count :]
            # If time ended between the contexts of a player, those that it sufficed for must do.
            is_known = np.isfinite(changes).all(axis=1)
            if is_known.any():
                weights = player.weights(depth)[is_known]
                value = weights @ changes[is_known] / weights.sum()
                estimates[player.group.start : player.group.end] = value / len(player.group)
    return estimates
