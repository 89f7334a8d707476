"""The floor: a model next to a probe and the largest class, on the same texts."""

import numpy as np
import pytest

from textclf.stats.floor import compare_with_floor, is_no_better_than_probe

LABELS = np.array([0, 1] * 10)


def with_errors(*wrong):
    predicted = LABELS.copy()
    predicted[list(wrong)] = 1 - predicted[list(wrong)]
    return predicted


def test_a_model_above_its_floor():
    floor = compare_with_floor(with_errors(0), with_errors(0, 1), LABELS)
    assert (floor.texts, floor.accuracy, floor.probe_accuracy, floor.majority_share) == (20, 0.95, 0.9, 0.5)
    assert not any((floor.is_below_probe, floor.is_significant, floor.is_no_better, floor.is_refused))


def test_equal_models_are_above_it():
    assert not compare_with_floor(with_errors(3), with_errors(4), LABELS).is_below_probe


def test_the_probe_is_kept_unless_a_model_is_right_more_often():
    right, wrong_once = np.eye(2)[LABELS], np.eye(2)[with_errors(0)]
    assert not is_no_better_than_probe(right, wrong_once, LABELS)
    assert is_no_better_than_probe(wrong_once, right, LABELS)
    assert is_no_better_than_probe(2 * right, right, LABELS)


# Without a gain, n losses have the chance 1 / 2^n: four of them are above 5%, five below.
@pytest.mark.parametrize(("losses", "is_significant"), [(1, False), (4, False), (5, True)])
def test_only_more_than_chance_below_the_probe_is_refused(losses, is_significant):
    floor = compare_with_floor(with_errors(*range(losses)), with_errors(), LABELS)
    assert floor.is_below_probe
    assert floor.is_significant is floor.is_refused is is_significant


def test_a_model_as_good_as_the_largest_class_is_refused():
    labels = np.array([0, 0, 0, 1])
    assert compare_with_floor(np.zeros(4, int), np.array([1, 1, 1, 1]), labels).is_refused
    assert not compare_with_floor(labels, labels, labels).is_refused
