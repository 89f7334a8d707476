"""Label errors from out-of-fold probabilities: the formulas of confident learning, and folds that keep copies apart."""

import numpy as np
import pytest

from textclf.stats.label_errors import (
    combined,
    confident_classes,
    confusable_pairs,
    grouped_folds,
    likely_errors,
    out_of_fold,
    self_confidence,
    suggested_labels,
)

LABELS = np.array([0, 0, 0, 1, 1, 1])
PROBABILITIES = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.3, 0.7], [0.95, 0.05]])


def test_a_class_claims_a_text_from_its_mean_probability_on():
    # Thresholds: (0.9 + 0.8 + 0.1) / 3 = 0.6 for class 0, (0.8 + 0.7 + 0.05) / 3 = 0.517 for class 1.
    assert confident_classes(PROBABILITIES, LABELS).tolist() == [0, 0, 1, 1, 1, 0]


def test_a_text_below_all_thresholds_belongs_to_no_class():
    probabilities = np.array([[0.9, 0.1], [0.55, 0.45], [0.1, 0.9]])
    # Threshold of class 0: 0.725.
    assert confident_classes(probabilities, np.array([0, 0, 1])).tolist() == [0, -1, 1]


def test_the_likeliest_error_comes_first():
    assert likely_errors(PROBABILITIES, LABELS).tolist() == [5, 2]
    assert self_confidence(PROBABILITIES, LABELS)[[5, 2]].tolist() == [0.05, 0.1]
    assert suggested_labels(PROBABILITIES, LABELS).tolist() == [1, 1, 1, 0, 0, 0]


def test_right_labels_have_no_error():
    assert likely_errors(PROBABILITIES, np.array([0, 0, 1, 1, 1, 0])).size == 0


def test_a_class_without_texts_claims_none():
    probabilities = np.array([[0.4, 0.1, 0.5], [0.1, 0.8, 0.1]])
    assert 2 not in confident_classes(probabilities, np.array([0, 1]))


def test_combined_is_the_mean():
    np.testing.assert_allclose(combined([PROBABILITIES, PROBABILITIES[:, ::-1]]), 0.5)


def test_copies_share_a_fold_and_classes_are_spread():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    groups = rng.integers(0, 120, 300)
    folds = grouped_folds(labels, groups, folds=4, seed=3)
    assert np.sum(folds, axis=0).tolist() == [1] * 300
    for group in range(120):
        assert sum(fold[groups == group].any() for fold in folds) <= 1
    for fold in folds:
        assert set(labels[~fold]) == {0, 1, 2}
    assert all(np.array_equal(*pair) for pair in zip(folds, grouped_folds(labels, groups, 4, 3), strict=True))


def test_no_text_is_predicted_by_a_model_that_saw_it():
    folds = grouped_folds(LABELS, np.arange(6), folds=3)
    seen = np.zeros(6, int)

    def predict(fitted, predicted):
        assert not set(fitted) & set(predicted)
        assert len(fitted) + len(predicted) == 6
        seen[predicted] += 1
        return np.tile(predicted[:, None], (1, 2))

    assert out_of_fold(folds, 2, predict)[:, 0].tolist() == list(range(6))
    assert seen.tolist() == [1] * 6


@pytest.mark.parametrize("seed", range(3))
def test_flipped_labels_are_ranked_first(seed):
    """Two Gaussian classes two deviations apart: a text counts as flipped if its own side contradicts its label."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, 2000)
    position = rng.normal(4.0 * truth)
    probability = 1 / (1 + np.exp(-4 * (position - 2)))
    flipped = rng.permutation(2000)[:100]
    labels = truth.copy()
    labels[flipped] = 1 - labels[flipped]
    found = likely_errors(np.stack([1 - probability, probability], axis=1), labels)
    assert np.isin(found[:80], flipped).mean() > 0.9
    assert np.isin(flipped, found).mean() > 0.9


def test_confusable_pairs_are_ordered_by_their_share():
    labels = np.array([0] * 10 + [1] * 10 + [2] * 4)
    predicted = labels.copy()
    predicted[:2] = 1  # 2 of 20 texts of the classes 0 and 1.
    predicted[20:22] = 1  # 2 of 14 texts of the classes 1 and 2.
    assert confusable_pairs(np.eye(3)[predicted], labels) == [(1, 2, 2, 2 / 14), (0, 1, 2, 0.1)]
