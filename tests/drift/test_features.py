"""Features as arrays: counting, taking rows, joining, and what is refused."""

import dataclasses

import numpy as np
import pytest

from textclf.drift.features import TextFeatures, TokenCounts
from textclf.errors import InputError


def words(*texts):
    return TokenCounts.of_ids(texts)


def rows(counts):
    """Each row as {id: count}."""
    return [
        dict(zip(counts.ids[start:end].tolist(), counts.counts[start:end].tolist(), strict=True))
        for start, end in zip(counts.offsets[:-1], counts.offsets[1:], strict=True)
    ]


def features(n, seed=0, directions=3):
    random = np.random.default_rng(seed)
    return TextFeatures(
        lengths=random.integers(2, 300, n),
        unknown_rates=random.random(n, np.float32),
        continuation_rates=random.random(n, np.float32),
        non_letter_rates=random.random(n, np.float32),
        words=words(*(random.integers(0, 50, random.integers(0, 9)).tolist() for _ in range(n))),
        logits=random.random((n, 2), np.float32),
        predicted=random.integers(0, 2, n),
        embeddings=random.random((n, directions), np.float32) if directions else None,
        stages=random.integers(1, 3, n) if directions else None,
        disagreements=random.choice(np.array([0, 1, np.nan], np.float32), n) if directions else None,
    )


def test_ids_are_counted_text_by_text():
    counts = words([7, 3, 7], [], [5], [3, 3, 3])
    assert rows(counts) == [{3: 1, 7: 2}, {}, {5: 1}, {3: 3}]
    assert counts.ids.tolist() == [3, 7, 5, 3]
    assert (counts.offsets.dtype, counts.ids.dtype, counts.counts.dtype) == (np.int64, np.int32, np.int32)
    assert len(counts) == 4


@pytest.mark.parametrize("texts", [[], [[]], [[], []]])
def test_there_may_be_nothing_to_count(texts):
    counts = words(*texts)
    assert rows(counts) == [{}] * len(texts)
    assert rows(TokenCounts.concatenate([counts, counts])) == [{}] * 2 * len(texts)


def test_rows_are_taken_in_any_order_and_more_than_once():
    counts = words([7, 3, 7], [], [5], [3, 3, 3])
    assert rows(counts.take(np.array([3, 0, 1, 0]))) == [{3: 3}, {3: 1, 7: 2}, {}, {3: 1, 7: 2}]
    assert rows(counts.take(np.array([], np.int64))) == []


def test_parts_are_joined_in_their_order():
    joined = TokenCounts.concatenate([words([1], [2, 2]), words(), words([], [1, 4])])
    assert rows(joined) == [{1: 1}, {2: 2}, {}, {1: 1, 4: 1}]
    assert rows(TokenCounts.concatenate([])) == []


@pytest.mark.parametrize(
    ("offsets", "ids", "counts"),
    [
        ([], [], []),
        ([1, 2], [3], [1]),
        ([0, 2], [3], [1]),
        ([0, 1], [3], [1, 1]),
        ([0, 2, 1, 2], [3, 4], [1, 1]),
        ([0, 1], [-1], [1]),
        ([0, 1], [3], [0]),
        ([0, 1], [[3]], [1]),
    ],
)
def test_counts_that_do_not_fit_are_refused(offsets, ids, counts):
    with pytest.raises(InputError, match="expected ascending offsets from 0"):
        TokenCounts(np.array(offsets, np.int64), np.array(ids, np.int32), np.array(counts, np.int32))


@pytest.mark.parametrize("directions", [3, 0])
def test_texts_taken_apart_and_joined_are_the_same(directions):
    whole = features(20, directions=directions)
    order = np.random.default_rng(1).permutation(20)
    parts = [whole.take(order[start : start + 7]) for start in range(0, 20, 7)]
    again = TextFeatures.concatenate(parts).take(np.argsort(order))
    for name, value in vars(whole).items():
        if name == "words":
            assert rows(again.words) == rows(value)
        elif value is None:
            assert getattr(again, name) is None
        else:
            np.testing.assert_array_equal(getattr(again, name), value)
            assert getattr(again, name).dtype == value.dtype


def test_one_part_without_embeddings_leaves_all_without():
    joined = TextFeatures.concatenate([features(2), features(3, directions=0)])
    assert (len(joined), joined.embeddings) == (5, None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lengths": np.zeros(4, np.int64)}, r"the same number of rows for every feature, got .*'lengths': 4"),
        ({"words": words([1])}, r"'words': 1"),
        ({"embeddings": np.zeros((2, 3), np.float32)}, r"'embeddings': 2"),
        ({"logits": np.zeros(5, np.float32)}, r"expected logits \[texts, classes\]"),
        ({"embeddings": np.zeros(5, np.float32)}, r"embeddings \[texts, directions\]"),
    ],
)
def test_features_of_different_texts_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(features(5), **changes)
