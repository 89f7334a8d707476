"""Near duplicates: found where the exact similarity says so, hardly ever missed; a flood is no trap."""

import subprocess
import sys

import numpy as np
import pytest

from textclf.data import near_duplicates
from textclf.data.near_duplicates import Familiar, NearDuplicates, Shingles, jaccard

SHINGLES = Shingles(3)
VOCABULARY = [f"word{i}" for i in range(3000)]


def random_text(rng, n=100):
    return [VOCABULARY[i] for i in rng.integers(len(VOCABULARY), size=n)]


def changed(rng, words, places):
    words = list(words)
    for place in places:
        words[place] = VOCABULARY[rng.integers(len(VOCABULARY))] + "x"
    return words


def runs_of(words):
    return SHINGLES.of(" ".join(words))


def exact(first, second):
    """By the definition, on sets of tuples."""
    sets = [{tuple(words[i : i + 3]) for i in range(len(words) - 2)} for words in (first, second)]
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def test_similarity_is_that_of_sets_of_runs():
    rng = np.random.default_rng(0)
    for places in ([], [0], [50], [3, 4, 5], range(0, 100, 7), range(100)):
        first = random_text(rng)
        second = changed(rng, first, places)
        assert jaccard(runs_of(first), runs_of(second)) == pytest.approx(exact(first, second))


@pytest.mark.parametrize(
    ("text", "count"),
    [("a b c d", 2), ("a b c", 1), ("a b", 1), ("a", 1), (":-)", 1), ("", 1), ("a b c a b c", 3), ("好电影好", 2)],
)
def test_number_of_runs(text, count):
    assert len(SHINGLES.of(text)) == count


@pytest.mark.parametrize(
    ("first", "second"), [("a b", "a b c"), ("a b", "b a"), ("a", "b"), (":-)", ":-("), ("好", "坏")]
)
def test_short_texts_are_told_apart(first, second):
    assert jaccard(SHINGLES.of(first), SHINGLES.of(second)) == 0


def test_runs_are_numbered_alike_in_every_process():
    code = "from textclf.data.near_duplicates import Shingles; print(Shingles(2).of('good film, bad end').tolist())"
    command = [sys.executable, "-c", code]
    outputs = {subprocess.run(command, capture_output=True, text=True, timeout=300).stdout for _ in range(2)}
    assert outputs == {f"{Shingles(2).of('good film, bad end').tolist()}\n"}


@pytest.mark.parametrize("threshold", [0.6, 0.8, 0.95])
def test_pairs_just_above_are_found_and_just_below_are_not(threshold):
    """Each of 120 texts is changed until its similarity is just above and just below the threshold."""
    rng = np.random.default_rng(1)
    texts = [random_text(rng) for _ in range(120)]
    index = NearDuplicates(threshold)
    for key, words in enumerate(texts):
        index.add(key, runs_of(words))
    above = below = found = 0
    for key, words in enumerate(texts):
        order = rng.permutation(np.arange(5, 95)).tolist()
        steps = [changed(rng, words, order[:n]) for n in range(25)]
        similarities = [exact(words, step) for step in steps]
        last = max(n for n in range(25) if similarities[n] >= threshold)
        above += 1
        hit = index.find(runs_of(steps[last]))
        if hit is not None:
            assert hit == (key, pytest.approx(similarities[last]))
            found += 1
        if similarities[last + 1] < threshold:
            below += 1
            assert index.find(runs_of(steps[last + 1])) is None
    assert below == above == 120
    assert found >= 118


def test_an_empty_index_finds_nothing():
    assert NearDuplicates(0.8).find(SHINGLES.of("any text at all")) is None


def test_filter_misses_no_near_text():
    rng = np.random.default_rng(2)
    new = [random_text(rng) for _ in range(200)]
    familiar = Familiar(map(runs_of, new), 0.8)
    near = [changed(rng, words, [50]) for words in new]
    assert all(exact(a, b) >= 0.8 for a, b in zip(new, near, strict=True))
    assert all(familiar.may_hold(runs_of(words)) for words in [*new, *near])
    assert sum(familiar.may_hold(runs_of(random_text(rng))) for _ in range(1000)) == 0
    assert not Familiar([], 0.8).may_hold(runs_of(new[0]))


def test_a_flood_of_similar_texts_is_compared_with_a_few_of_them(monkeypatch):
    """All share seven runs in ten: each is a candidate of all others, and none is near."""
    compared = []
    monkeypatch.setattr(near_duplicates, "jaccard", lambda *runs: compared.append(runs) or jaccard(*runs))
    words = random_text(np.random.default_rng(3), 60)
    index = NearDuplicates(0.8)
    for key in range(300):
        runs = runs_of([f"{word}-{key}" if place in (5, 15, 25, 35) else word for place, word in enumerate(words)])
        before = len(compared)
        assert index.find(runs) is None
        assert len(compared) - before <= 32
        index.add(key, runs)
    assert len(compared) > 6000, "there were more candidates than that"
    assert index.find(runs) == (299, 1.0), "the likeliest are compared"
