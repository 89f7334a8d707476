"""Cross-fitting: each text is predicted once, by a model of other texts."""

import numpy as np
import pytest

from textclf.training.out_of_fold import out_of_fold_logits


@pytest.mark.parametrize(("counts", "folds"), [((10, 10), 5), ((30, 3), 3), ((2, 2, 2), 2)])
def test_each_text_is_predicted_by_a_model_of_the_others(counts, folds):
    labels = np.repeat(np.arange(len(counts)), counts)
    calls = []

    def model(fitted, held):
        calls.append(held)
        assert set(fitted) == set(range(len(labels))) - set(held)
        assert set(labels[fitted]) == set(labels)
        return np.tile(held[:, None], len(counts)).astype(np.float32)

    logits = out_of_fold_logits(labels, len(counts), model)
    assert len(calls) == folds
    np.testing.assert_array_equal(logits[:, 0], np.arange(len(labels)))


def test_a_class_with_one_text_is_refused():
    with pytest.raises(ValueError, match="at least two texts of each class, got 1"):
        out_of_fold_logits(np.array([0, 0, 1]), 2, lambda *_: np.zeros((1, 2), np.float32))
