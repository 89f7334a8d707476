"""The probe as the start of the classification layer."""

import numpy as np
import pytest

from textclf.training.fitting.probe import fit_probe

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
