"""Random features of texts, and their comparison."""

import dataclasses

import numpy as np

from textclf.data.prediction_log.log import LoggedPrediction, logged_predictions
from textclf.drift.features import TextFeatures, TokenCounts


def random_features(
    count: int, seed: int = 0, classes: int = 2, directions: int | None = 4, vocabulary: int = 30_522
) -> TextFeatures:
    random = np.random.default_rng(seed)
    words = [random.integers(0, vocabulary, random.integers(0, 40)) for _ in range(count)]
    return TextFeatures(
        random.integers(2, 600, count),
        *(random.random(count, np.float32) for _ in range(3)),
        TokenCounts.of_ids(words),
        random.normal(size=(count, classes)).astype(np.float32),
        random.integers(0, classes, count),
        None if directions is None else random.normal(size=(count, directions)).astype(np.float32),
    )


def random_rows(count: int, seed: int = 0, version: str = "v1", start: float = 0.0, **how) -> list[LoggedPrediction]:
    """Return random rows, one per second."""
    features = random_features(count, seed, **how)
    return logged_predictions((start + np.arange(count)).tolist(), version, ["neg"] * count, features)


def assert_same(found: TextFeatures, expected: TextFeatures) -> None:
    """Fail unless both are bitwise equal, with equal types."""
    for item in dataclasses.fields(TextFeatures):
        pairs = [(getattr(found, item.name), getattr(expected, item.name))]
        if item.name == "words":
            pairs = [tuple(getattr(words, name) for words in pairs[0]) for name in ("offsets", "ids", "counts")]
        for one, other in pairs:
            if other is None:
                assert one is None
                continue
            assert one.dtype == other.dtype, item.name
            np.testing.assert_array_equal(one, other, item.name)
