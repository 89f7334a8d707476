"""Confusion matrix, its largest confusions, and the faults that it shows."""

import numpy as np
import pytest

from textclf.stats.confusions import Confusion, confusion_matrix, largest_confusions
from textclf.stats.shortcomings import find_shortcomings


def test_rows_are_true_classes():
    matrix = confusion_matrix(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 0]), 3)
    assert matrix.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]


def test_the_largest_confusions_come_first():
    matrix = np.array([[9, 3, 0], [5, 9, 3], [0, 0, 9]])
    expected = [Confusion(1, 0, 5), Confusion(0, 1, 3), Confusion(1, 2, 3)]
    assert largest_confusions(matrix, 20) == expected
    assert largest_confusions(matrix, 1) == expected[:1]
    assert largest_confusions(np.diag([4, 4]), 20) == []
    assert matrix[0, 0] == 9  # The argument stays.


def test_a_good_model_has_no_fault():
    found = find_shortcomings(np.array([[480, 20], [20, 480]]))
    assert (found.never_predicted, found.without_texts) == ((), ())
    assert not found.is_uncertain
    assert not found.is_no_better


def test_a_class_that_is_never_predicted():
    found = find_shortcomings(np.array([[500, 0, 0], [0, 400, 0], [60, 0, 0]]))
    assert found.never_predicted == (2,)
    assert found.without_texts == ()


def test_a_class_without_texts_is_not_called_never_predicted():
    found = find_shortcomings(np.array([[500, 0, 0], [0, 500, 0], [0, 0, 0]]))
    assert found.never_predicted == ()
    assert found.without_texts == (2,)


@pytest.mark.parametrize(
    ("matrix", "is_no_better"),
    [
        ([[60, 0], [40, 0]], True),  # Always the first class.
        ([[50, 10], [30, 10]], True),  # 10 gains, 10 losses.
        ([[60, 0], [37, 3]], False),  # 3 gains, 0 losses: 3 > 1.645 * sqrt(3).
        ([[60, 0], [38, 2]], True),  # 2 gains, 0 losses: 2 < 1.645 * sqrt(2).
        ([[50, 10], [5, 35]], False),
    ],
)
def test_better_than_a_constant_answer(matrix, is_no_better):
    found = find_shortcomings(np.array(matrix))
    assert found.is_no_better is is_no_better
    assert (found.majority, found.majority_share) == (0, 0.6)


def test_few_texts_are_uncertain():
    # Wilson's half-width at 50%: 1.96 / 2 / sqrt(n + 3.84), which is 5 points at n = 380.3.
    assert find_shortcomings(np.array([[95, 95], [95, 95]])).is_uncertain
    assert not find_shortcomings(np.array([[96, 96], [95, 95]])).is_uncertain
