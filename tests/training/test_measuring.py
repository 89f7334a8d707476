"""The measurement of a model that was fitted to all texts: each text by what was fitted to others."""

import numpy as np

from textclf.stats.calibration import fit_temperature, softmax
from textclf.stats.folds import stratified_folds
from textclf.training.measuring import cross_fitted_probabilities


def test_the_temperature_of_a_text_is_that_of_other_texts():
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1], 20)
    logits = (random.normal(size=(40, 2)) + 2 * np.eye(2)[labels]).astype(np.float32)
    found = cross_fitted_probabilities(logits, labels)
    held = stratified_folds(labels)[0]
    np.testing.assert_allclose(found[held], softmax(logits[held], fit_temperature(logits[~held], labels[~held])))
    # Another label of a text changes the probabilities of other folds only.
    labels[held] = 1 - labels[held]
    assert np.abs(found - cross_fitted_probabilities(logits, labels))[~held].max() > 0.001
    np.testing.assert_array_equal(found.argmax(axis=1), logits.argmax(axis=1))
