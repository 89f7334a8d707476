"""Owen values against brute force over all orders that keep the groups of the tree together."""

from itertools import pairwise

import numpy as np
import pytest

from textclf.explain.hierarchy import Group, word_tree
from textclf.explain.owen import exact_evaluations, owen_values

EXACT = 10**6


def random_function(words, outputs=2, seed=0):
    """A function with a random value for each of the 2^words masks, which counts its calls and masks."""
    table = np.random.default_rng(seed).normal(size=(2**words, outputs))
    places = 1 << np.arange(words)

    def function(masks):
        function.masks += len(masks)
        function.sizes.append(len(masks))
        return table[masks @ places]

    function.masks, function.sizes = 0, []
    return function


def orders(group):
    """All orders of the words in which the words of every group follow each other."""
    if not group.halves:
        return [[group.start]]
    first, second = map(orders, group.halves)
    return [[*a, *b] for x, y in ((first, second), (second, first)) for a in x for b in y]


def brute_force(function, tree):
    words = len(tree)
    found = orders(tree)
    values = np.zeros((words, 2))
    for order in found:
        masks = np.array([np.isin(np.arange(words), order[:size]) for size in range(words + 1)])
        steps = function(masks)
        for word, (before, after) in zip(order, pairwise(steps), strict=True):
            values[word] += after - before
    return values / len(found)


def tree_of(words, text=None):
    text = text or " ".join("abcdefgh"[:words])
    return word_tree(text, [(start, start + 1) for start in range(0, 2 * words, 2)])


def chain(start, end):
    """The deepest tree: each group has one word and the rest."""
    if end - start == 1:
        return Group(start, end)
    return Group(start, end, (Group(start, start + 1), chain(start + 1, end)))


@pytest.mark.parametrize("words", range(1, 9))
@pytest.mark.parametrize("shape", [tree_of, lambda words: chain(0, words)], ids=["balanced", "chain"])
def test_values_equal_brute_force(words, shape):
    function, tree = random_function(words, seed=words), shape(words)
    found = owen_values(function, tree, EXACT)
    assert found.complete
    assert np.abs(found.values - brute_force(function, tree)).max() <= 1e-6


@pytest.mark.parametrize("words", [2, 3, 5, 8])
def test_exact_evaluations_suffice_for_exact_values(words):
    function, tree = random_function(words), tree_of(words)
    found = owen_values(function, tree, exact_evaluations(tree))
    assert found.evaluations == function.masks <= exact_evaluations(tree)
    assert found.values == pytest.approx(owen_values(function, tree, EXACT).values)


@pytest.mark.parametrize("budget", [2, 3, 8, 20, 60, 100, 400])
def test_any_budget_adds_up_and_is_kept(budget):
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(40, 3))

    def function(masks):
        return np.tanh(masks @ weights)

    found = owen_values(function, word_tree("a " * 40, [(i, i + 1) for i in range(0, 80, 2)]), budget)
    assert found.evaluations <= budget
    assert found.values.sum(axis=0) + found.base == pytest.approx(np.tanh(weights.sum(axis=0)))
    assert found.complete == (budget >= 100)


def test_words_of_an_additive_function_get_their_weights():
    """Two evaluations a word suffice."""
    weights = np.random.default_rng(0).normal(size=(40, 2))
    found = owen_values(lambda masks: masks @ weights, word_tree("a " * 40, [(i, i + 1) for i in range(0, 80, 2)]), 100)
    assert found.values == pytest.approx(weights)


@pytest.mark.parametrize("budget", [100, EXACT])
def test_equal_words_in_symmetric_positions_get_equal_values(budget):
    counts = 32

    def function(masks):
        present = masks.sum(axis=1)
        return np.stack([present**2, -np.sqrt(present)], axis=1)

    found = owen_values(function, word_tree("a " * counts, [(i, i + 1) for i in range(0, 2 * counts, 2)]), budget)
    assert found.values == pytest.approx(np.tile(found.values[0], (counts, 1)))


def test_no_batch_starts_after_the_end():
    weights = np.random.default_rng(0).normal(size=(80, 2))
    calls = iter([False, True])
    tree = word_tree("a " * 80, [(i, i + 1) for i in range(0, 160, 2)])
    found = owen_values(lambda masks: masks @ weights, tree, 1000, lambda: next(calls, True))
    assert not found.complete
    assert found.evaluations == 2 + 64
    assert found.values.sum(axis=0) + found.base == pytest.approx(weights.sum(axis=0))
