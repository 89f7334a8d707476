"""Coverage and error rate of the most confident predictions, and slices by length."""

import numpy as np
import pytest

from textclf.stats.calibration import bins_of_confidence, reliability_bins
from textclf.stats.selective import Coverage, coverage_curve, largest_coverage
from textclf.stats.slices import length_slices, quartile_edges

CONFIDENCES = np.array([0.6, 0.9, 0.8, 0.9, 0.7])
IS_RIGHT = np.array([False, True, False, True, True])


def test_the_curve_by_hand():
    assert coverage_curve(CONFIDENCES, IS_RIGHT) == [
        Coverage(0.9, 2, 0), Coverage(0.8, 3, 1), Coverage(0.7, 4, 1), Coverage(0.6, 5, 2),
    ]  # fmt: skip
    assert coverage_curve(np.zeros(0), np.zeros(0, bool)) == []


def test_equal_confidences_are_one_point():
    assert coverage_curve(np.full(4, 0.5), np.array([True, False, True, False])) == [Coverage(0.5, 4, 2)]


@pytest.mark.parametrize(("max_error", "texts"), [(0.0, 2), (0.25, 4), (0.3, 4), (0.4, 5), (1.0, 5)])
def test_the_largest_coverage(max_error, texts):
    assert largest_coverage(coverage_curve(CONFIDENCES, IS_RIGHT), max_error).texts == texts


def test_no_coverage():
    assert largest_coverage(coverage_curve(np.array([0.9]), np.array([False])), 0.5) is None


def test_bins_of_confidence_are_those_of_the_probabilities():
    random = np.random.default_rng(0)
    probabilities = random.dirichlet([1, 1, 1], 300)
    labels = random.integers(0, 3, 300)
    expected = reliability_bins(probabilities, labels)
    found = bins_of_confidence(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels)
    for name in ("count", "confidence", "accuracy"):
        assert np.array_equal(getattr(found, name), getattr(expected, name))


def test_length_slices_have_every_text_once():
    lengths = np.array([3, 9, 4, 20, 7, 7, 12, 5])
    edges = quartile_edges(lengths)
    slices = list(length_slices(lengths, edges))
    assert [name for name, _ in slices] == ["up to 4 tokens", "5 to 7 tokens", "8 to 9 tokens", "over 9 tokens"]
    assert np.sum([rows for _, rows in slices], axis=0).tolist() == [1] * 8
    assert lengths[slices[1][1]].tolist() == [7, 7, 5]


def test_texts_of_one_length_are_one_slice():
    lengths = np.full(4, 7)
    assert [int(rows.sum()) for _, rows in length_slices(lengths, quartile_edges(lengths))] == [4, 0]
