"""Targets and weights of texts: worked out by hand, and their effect on a training."""

import dataclasses

import numpy as np
import pytest
from tiny_fit import labelled_words, linear_classifier, word_classifier

from textclf.config import TrainingOptions
from textclf.stats.calibration import softmax
from textclf.stats.class_weights import loss_weights
from textclf.training.encoders.preprocessing import TokenizedTexts
from textclf.training.fitting.checkpoints import RunDirectory
from textclf.training.fitting.targets import target_probabilities
from textclf.training.fitting.training_loop import LabelledIds, fit, ids_to_logits, predict_logits

NAN = np.nan


def fitted(path, model, train, **options):
    settings = {"optimiser": "sgd", "init_lr": 0.5, "warmup": 0.0, "batch_size": 8, "select": "last"} | options
    return fit(model, train, train, ("neg", "pos"), TrainingOptions(**settings), "float32", 0, RunDirectory(path))


def joined(*parts):
    """The texts of all parts as one data set; `weights` of the parts are joined, too."""
    ids = np.concatenate([part.texts.ids for part in parts])
    lengths = np.concatenate([part.texts.lengths for part in parts])
    texts = TokenizedTexts(ids, np.concatenate([[0], np.cumsum(lengths)]), lengths)
    weights = None if parts[0].weights is None else np.concatenate([part.weights for part in parts])
    return LabelledIds(texts, np.concatenate([part.labels for part in parts]), weights)


def test_a_target_is_the_label_mixed_with_the_teachers():
    labels = np.array([1, 0, 2])
    taught = np.array([[0.5, 0.25, 0.25], [NAN] * 3, [0.0, 0.0, 1.0]], np.float32)
    found = target_probabilities(labels, 3, taught, 0.4)
    np.testing.assert_allclose(found, [[0.2, 0.7, 0.1], [1, 0, 0], [0, 0, 1]], rtol=1e-6)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(target_probabilities(labels, 3, taught, 0.0), np.eye(3)[labels])
    np.testing.assert_array_equal(target_probabilities(labels, 3, None, 0.4), np.eye(3)[labels])
    np.testing.assert_array_equal(target_probabilities(labels, 3, taught, 1.0)[0], taught[0])


def test_weights_have_a_mean_of_one():
    labels = np.array([0, 0, 0, 1])
    np.testing.assert_array_equal(loss_weights(labels, 2), np.ones(4))
    np.testing.assert_allclose(loss_weights(labels, 2, np.array([2.0, 2, 4, 8])), [0.5, 0.5, 1, 2])
    # Classes count the same, and the texts of a class in the ratio of their weights.
    both = loss_weights(labels, 2, np.array([2.0, 2, 4, 8]), class_weights=True)
    np.testing.assert_allclose(both, [0.5, 0.5, 1, 2])
    both = loss_weights(labels, 2, np.array([2.0, 2, 4, 1]), class_weights=True)
    np.testing.assert_allclose(both, [0.5, 0.5, 1, 2])
    np.testing.assert_allclose(loss_weights(labels, 2, class_weights=True), [2 / 3, 2 / 3, 2 / 3, 2])


@pytest.mark.parametrize("r_drop", [0.0, 1.0])
def test_a_student_follows_a_teacher_that_contradicts_the_labels(tmp_path, r_drop):
    train = labelled_words([0, 1] * 16)
    contrary = np.array([[0.1, 0.9], [0.9, 0.1]], np.float32)[train.labels]
    taught = dataclasses.replace(train, taught=contrary)
    confidence = []
    for share in (1.0, 0.3):
        model = word_classifier()
        run = tmp_path / str(share)
        fitted(run, model, taught, epochs=6, optimiser="adam", init_lr=0.1, r_drop=r_drop, teacher_weight=share)
        logits = predict_logits(ids_to_logits(model), train.texts, 0, "")
        confidence.append(softmax(logits, 1.0)[np.arange(32), train.labels].mean())
    # The targets give the label 0.1 and 0.73.
    assert confidence == pytest.approx([0.1, 0.73], abs=0.1)


def test_a_teacher_that_does_not_count_or_knows_nothing_changes_no_bit(tmp_path):
    train = labelled_words([0, 1] * 8)
    certain = np.full((16, 2), 0.5, np.float32)
    results = [
        fitted(tmp_path / str(number), word_classifier(), one, epochs=2, teacher_weight=share).history
        for number, (one, share) in enumerate(
            [
                (train, 0.5),
                (dataclasses.replace(train, taught=certain), 0.0),
                (dataclasses.replace(train, taught=certain * NAN), 0.5),
            ]
        )
    ]
    assert results[0] == results[1] == results[2]
    little = fitted(
        tmp_path / "little",
        word_classifier(),
        dataclasses.replace(train, taught=certain),
        epochs=2,
        teacher_weight=1e-6,
    )
    assert little.history["loss"] == pytest.approx(results[0]["loss"], rel=1e-4)


def test_a_weight_is_as_good_as_a_repetition(tmp_path):
    one, other = labelled_words([0] * 4, seed=1), labelled_words([1] * 4, seed=2)
    weighted = joined(dataclasses.replace(one, weights=np.full(4, 3.0)), dataclasses.replace(other, weights=np.ones(4)))
    bias = (0.0, np.log(3))
    losses = []
    for number, data in enumerate((weighted, joined(one, one, one, other))):
        model = linear_classifier({1: (1.0, 0.0), 2: (0.0, 1.0)}, bias=bias)
        losses.append(fitted(tmp_path / str(number), model, data, epochs=1, batch_size=16).history["loss"])
        step = model.get_layer("classifier").get_weights()[0]
        losses.append(step)
    assert losses[0] == pytest.approx(losses[2], rel=1e-6)
    np.testing.assert_allclose(losses[1], losses[3], atol=1e-6)
    unweighted = fitted(
        tmp_path / "un", linear_classifier({1: (1.0, 0.0), 2: (0.0, 1.0)}, bias=bias), joined(one, other)
    )
    assert unweighted.history["loss"][0] != pytest.approx(losses[0][0], rel=1e-3)
