"""The probe as the start of the classification layer."""

import numpy as np
import pytest

from textclf.stats.calibration import softmax
from textclf.stats.folds import stratified_folds
from textclf.training.fitting.probe import (
    cross_fitted_probe,
    cross_scaled,
    fit_probe,
    probe_scale,
    recalls_by_weights,
    sampled_rows,
)

WIDTH = 8


def clusters(classes, counts, distance=3.0, seed=0):
    """Vectors [texts, WIDTH] around a centre for each class, and their class ids."""
    random = np.random.default_rng(seed)
    centres = distance * random.normal(size=(classes, WIDTH))
    labels = np.repeat(np.arange(classes), counts)
    return (centres[labels] + random.normal(size=(len(labels), WIDTH))).astype(np.float32), labels


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_its_layer_separates_the_classes_at_every_scale(classes, scale):
    vectors, labels = clusters(classes, 20)
    kernel, bias = fit_probe(scale * vectors, labels, classes)
    assert (kernel.shape, bias.shape, kernel.dtype) == ((WIDTH, classes), (classes,), np.float32)
    logits = scale * vectors @ kernel + bias
    assert (logits.argmax(axis=1) == labels).mean() > 0.9
    # The penalty does not depend on the scale, so the logits don't either.
    one, offset = fit_probe(vectors, labels, classes)
    np.testing.assert_allclose(logits, vectors @ one + offset, atol=0.01)


def test_the_columns_of_two_classes_are_opposite():
    vectors, labels = clusters(2, 20)
    kernel, bias = fit_probe(vectors, labels, 2)
    np.testing.assert_allclose(kernel[:, 0], -kernel[:, 1])
    assert bias[0] == -bias[1]


def test_class_weights_lift_the_rare_class():
    vectors, labels = clusters(2, [60, 6], distance=0.3)
    weights = {weighed: fit_probe(vectors, labels, 2, weighed) for weighed in (False, True)}
    found = {weighed: (vectors @ kernel + bias).argmax(axis=1).sum() for weighed, (kernel, bias) in weights.items()}
    assert found[False] < found[True]


def test_cross_fitting_does_not_see_the_text_itself():
    # Vectors that say nothing: a probe that had seen the labels would be right.
    random = np.random.default_rng(0)
    vectors, labels = random.normal(size=(200, WIDTH)).astype(np.float32), random.integers(0, 2, 200)
    right = (cross_fitted_probe(vectors, labels, 2).argmax(axis=1) == labels).mean()
    assert 0.35 < right < 0.65
    vectors, labels = clusters(3, 20)
    assert (cross_fitted_probe(vectors, labels, 3).argmax(axis=1) == labels).mean() > 0.9


@pytest.mark.parametrize(("distance", "expected"), [(0.3, 0.7), (3.0, 0.97)])
def test_the_scale_makes_a_probe_as_sure_as_it_is_right(distance, expected):
    vectors, labels = clusters(2, 100, distance=distance)
    # Embeddings differ little from each other, so the penalty makes the logits small.
    logits = cross_fitted_probe(vectors + 20.0, labels, 2)
    right = (logits.argmax(axis=1) == labels).mean()
    assert right > expected - 0.1
    flat, scaled = softmax(logits).max(axis=1).mean(), softmax(logits / probe_scale(logits, labels)).max(axis=1).mean()
    assert abs(scaled - right) < 0.05
    assert abs(scaled - right) < abs(flat - right)


def test_a_few_labels_that_are_all_right_do_not_make_it_certain():
    vectors, labels = clusters(2, 4, distance=5.0)
    logits = cross_fitted_probe(vectors, labels, 2)
    confidence = softmax(logits / probe_scale(logits, labels)).max(axis=1).mean()
    assert 0.8 < confidence < 0.95


def test_weights_are_for_a_rare_class_that_is_never_found():
    without, balanced = recalls_by_weights(*clusters(2, [200, 10], distance=0.5), 2)
    assert without < balanced
    without, balanced = recalls_by_weights(*clusters(2, [60, 60], distance=5.0), 2)
    assert without == balanced


def test_weights_of_texts_count():
    # The same vectors with both labels: only the weights tell which one is right.
    vectors, labels = clusters(2, 20)
    both, contradictory = np.concatenate([vectors, vectors]), np.concatenate([labels, 1 - labels])
    weights = np.repeat([9.0, 1.0], len(labels))
    kernel, bias = fit_probe(both, contradictory, 2, weights=weights)
    assert ((vectors @ kernel + bias).argmax(axis=1) == labels).mean() > 0.9
    predicted = cross_fitted_probe(both, contradictory, 2, weights=weights).argmax(axis=1)
    assert (predicted[: len(labels)] == labels).mean() > 0.9


def test_the_scale_of_a_text_does_not_know_its_label():
    vectors, labels = clusters(2, 12, distance=1.0)
    logits = cross_fitted_probe(vectors, labels, 2)
    held = stratified_folds(labels, folds=3)[0]
    changed = np.where(held, 1 - labels, labels)
    rest = logits[held] / probe_scale(logits[~held], labels[~held])
    assert probe_scale(logits, changed) != probe_scale(logits, labels)
    np.testing.assert_allclose(cross_scaled(logits, labels, 3)[held], rest)


def test_a_sample_keeps_shares_and_every_class():
    labels = np.repeat([0, 1, 2], [8000, 1990, 10])
    rows = sampled_rows(labels, 100)
    counts = np.bincount(labels[rows])
    assert counts[0] == pytest.approx(80, abs=2)
    assert counts[1] == pytest.approx(20, abs=2)
    assert counts[2] >= 2
    np.testing.assert_array_equal(sampled_rows(labels, 10_000), np.arange(10_000))
