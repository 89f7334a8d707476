"""The floor: a model next to a probe and the largest class, on the same texts."""

import numpy as np
import pytest

from textclf.report.training_lines import floor_sentences
from textclf.stats.floor import Floor, compare_with_floor, is_no_better_than_probe

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


@pytest.mark.parametrize(("per_class", "is_refused"), [(2, False), (30, True)])
def test_a_constant_answer_is_refused_if_chance_does_not_explain_it(per_class, is_refused):
    labels = np.repeat([0, 1], per_class)
    floor = compare_with_floor(np.zeros_like(labels), np.ones_like(labels), labels)
    assert floor.is_no_better
    assert floor.is_useless is floor.is_refused is is_refused
    (sentence,) = floor_sentences(floor)
    assert ("which may be chance" in sentence) is not is_refused
    assert not compare_with_floor(labels, labels, labels).is_refused


def test_a_model_that_finds_a_rare_class_is_above_the_floor():
    labels = np.repeat([0, 1], [950, 50])
    predicted = np.concatenate([np.arange(950) < 60, np.arange(50) < 40]).astype(int)
    floor = compare_with_floor(predicted, predicted, labels)
    assert floor.accuracy == 0.93 < floor.majority_share
    assert floor.macro_recall == pytest.approx((890 / 950 + 0.8) / 2)
    assert not floor.is_no_better
    assert not floor.is_refused
    # A training without class weights keeps what is right more often, and one with them what finds each class.
    constant = np.eye(2)[np.zeros_like(labels)]
    assert is_no_better_than_probe(np.eye(2)[predicted], constant, labels)
    assert not is_no_better_than_probe(np.eye(2)[predicted], constant, labels, class_weights=True)


def test_many_classes_at_chance_are_no_better_in_spite_of_rounding():
    labels = np.repeat(np.arange(7), 30)
    assert compare_with_floor(np.full_like(labels, 3), labels, labels).is_no_better


def test_sentences_name_the_texts():
    values = compare_with_floor(np.zeros_like(LABELS), LABELS, LABELS, is_out_of_fold=True)
    for sentence in floor_sentences(values):
        assert "20 training texts, which were held out in turn," in sentence
    # Records of early versions lack some fields.
    record = values.to_dict()
    early = {name: record[name] for name in list(record)[:7]}
    assert "20 held-out texts" in floor_sentences(Floor(**early))[0]
