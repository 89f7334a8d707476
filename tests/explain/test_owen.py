"""Owen values against brute force over all orders that keep the groups of the tree together."""

from itertools import pairwise

import numpy as np
import pytest

from textclf.explain.hierarchy import Group, word_tree
from textclf.explain.owen import owen_values

EXACT = 10**6


def random_function(words, outputs=2, seed=0):
    """A function with a random value for each of the 2^words masks, which counts its calls and masks."""
    table = np.random.default_rng(seed).normal(size=(2**words, outputs))
    places = 1 << np.arange(words)

    def function(masks):
        function.masks += len(masks)
        return table[masks @ places]

    function.masks = 0
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
    exact = owen_values(function, tree, EXACT)
    assert exact.evaluations == function.masks
    again = owen_values(function, tree, exact.evaluations)
    assert again.evaluations == exact.evaluations
    assert again.values == pytest.approx(exact.values)


def test_more_evaluations_bring_the_values_nearer_to_exact_ones():
    """Interactions of three words, which two contexts of a word do not show."""
    rng = np.random.default_rng(0)
    triples, weights = rng.integers(0, 16, (60, 3)), rng.normal(size=(60, 2))

    def function(masks):
        return masks[:, triples].all(axis=2) @ weights

    exact = owen_values(function, tree_of(16, "a " * 16), EXACT).values
    errors = [
        np.abs(owen_values(function, tree_of(16, "a " * 16), budget).values - exact).mean() for budget in (34, 66, 130)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0] / 2


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


def ending(function, evaluations):
    """The function, whose time ends after some evaluations."""
    left = [evaluations]

    def ended(masks):
        values = np.full((len(masks), 2), np.nan)
        for row, mask in enumerate(masks):
            if left[0] > 0 or mask.all() or not mask.any():
                values[row] = function(mask[None])[0]
                left[0] -= 1
        return values

    return ended


@pytest.mark.parametrize("evaluations", range(2, 70, 3))
@pytest.mark.parametrize("budget", [100, EXACT])
def test_whatever_was_reached_before_the_end_counts(evaluations, budget):
    weights = np.random.default_rng(0).normal(size=(80, 2))
    found = owen_values(ending(lambda masks: masks @ weights, evaluations), tree_of(80, "a " * 80), budget)
    assert not found.complete
    assert found.evaluations == evaluations
    assert found.values.sum(axis=0) + found.base == pytest.approx(weights.sum(axis=0))
    assert len(np.unique(found.values[:, 0])) >= min(8, evaluations // 8 + 1)


@pytest.mark.parametrize("words", [1, 2, 3, 5])
@pytest.mark.parametrize("evaluations", range(2, 9))
def test_few_words_add_up_if_time_ends_early(words, evaluations):
    function = random_function(words)
    found = owen_values(ending(function, evaluations), tree_of(words), EXACT)
    whole = np.array([np.zeros(words, np.bool_), np.ones(words, np.bool_)])
    base, full = function(whole)
    assert found.values.sum(axis=0) == pytest.approx(full - base)


def test_one_context_of_a_word_counts_if_time_ends_before_the_other():
    """The engine computes long variants first: nearly all words are removed before any word is evaluated alone."""
    weights = np.random.default_rng(0).normal(size=(40, 2))

    def function(masks):
        values = masks @ weights
        values[(masks.sum(axis=1) == 1)] = np.nan
        return values

    found = owen_values(function, tree_of(40, "a " * 40), 90)
    assert not found.complete
    assert len(np.unique(found.values[:, 0].round(12))) >= 32
    assert found.values.sum(axis=0) == pytest.approx(weights.sum(axis=0))


def test_a_longer_time_brings_the_values_nearer():
    weights = np.random.default_rng(1).normal(size=(80, 2))
    errors = [
        np.abs(owen_values(ending(lambda masks: masks @ weights, time), tree_of(80, "a " * 80), 200).values - weights)
        for time in (2, 30, 100, 200)
    ]
    means = [error.mean() for error in errors]
    assert means == sorted(means, reverse=True)
    assert means[-1] < means[0] / 10


@pytest.mark.parametrize("words", [110, 115, 127, 128, 130, 200, 229, 231])
def test_the_evaluations_are_used_for_any_number_of_words(words):
    """One word more than the evaluations suffice for must not halve the number of values."""
    weights = np.random.default_rng(0).normal(size=(words, 2))
    found = owen_values(lambda masks: masks @ weights, tree_of(words, "a " * words), 256)
    assert found.complete == (words <= 127)
    assert len(np.unique(found.values[:, 0].round(12))) >= min(words, 127)


def test_an_estimate_weighs_the_context_of_all_other_words_more():
    """Two words that are both needed count next to all others; two alternatives count alone."""

    def function(masks):
        return np.stack([masks[:, 3] & masks[:, 30], masks[:, 3] | masks[:, 30]], axis=1).astype(np.float64)

    found = owen_values(function, tree_of(40, "a " * 40), 90)
    assert found.complete
    for word in (3, 30):
        needed, alternative = found.values[word]
        assert needed > 0.6
        assert alternative < 0.4
