"""Losses of texts: cross-entropy, and R-Drop as worked out with scipy."""

import numpy as np
import pytest
from scipy.special import log_softmax, rel_entr, softmax
from tiny_fit import labelled_words, linear_classifier

from textclf.config import TrainingOptions
from textclf.training.fitting.checkpoints import RunDirectory
from textclf.training.fitting.losses import cross_entropies, r_drop_losses, training_losses
from textclf.training.fitting.training_loop import fit
from textclf.training.tf_setup import tf, tf_keras

FIRST = np.array([[1.0, -1.0, 0.5], [0.0, 2.0, -3.0]], np.float32)
SECOND = np.array([[0.5, -1.5, 2.0], [0.0, 2.0, -3.0]], np.float32)
LABELS = np.array([2, 1], np.int32)
TARGETS = np.eye(3, dtype=np.float32)[LABELS]


def cross_entropies_by_hand(logits, labels):
    return -log_softmax(logits, axis=1)[np.arange(len(labels)), labels]


def test_cross_entropies():
    np.testing.assert_allclose(cross_entropies(FIRST, TARGETS), cross_entropies_by_hand(FIRST, LABELS), rtol=1e-6)


def test_the_target_may_be_probabilities():
    target = np.array([[0.2, 0.3, 0.5], [0.0, 1.0, 0.0]], np.float32)
    expected = -(target * log_softmax(FIRST, axis=1)).sum(axis=1)
    np.testing.assert_allclose(cross_entropies(FIRST, target), expected, rtol=1e-6)
    both = r_drop_losses(FIRST, FIRST, target, 5.0)
    np.testing.assert_allclose(both, expected, rtol=1e-6)


def test_r_drop_is_the_mean_of_both_passes_and_of_both_divergences():
    p, q = softmax(FIRST, axis=1), softmax(SECOND, axis=1)
    divergence = (rel_entr(p, q).sum(axis=1) + rel_entr(q, p).sum(axis=1)) / 2
    assert divergence[0] > 0.1
    expected = (cross_entropies_by_hand(FIRST, LABELS) + cross_entropies_by_hand(SECOND, LABELS)) / 2 + 0.7 * divergence
    np.testing.assert_allclose(r_drop_losses(FIRST, SECOND, TARGETS, 0.7), expected, rtol=1e-5)


def test_both_passes_have_the_gradients_of_finite_differences():
    def summed(first, second):
        divergence = (
            rel_entr(softmax(first, axis=1), softmax(second, axis=1)).sum()
            + rel_entr(softmax(second, axis=1), softmax(first, axis=1)).sum()
        ) / 2
        crosses = cross_entropies_by_hand(first, LABELS) + cross_entropies_by_hand(second, LABELS)
        return crosses.sum() / 2 + 0.7 * divergence

    passes = [tf.constant(FIRST), tf.constant(SECOND)]
    with tf.GradientTape() as tape:
        tape.watch(passes)
        loss = tf.reduce_sum(r_drop_losses(*passes, TARGETS, 0.7))
    exact, step = np.stack([FIRST, SECOND]).astype(np.float64), 1e-5
    for which, gradient in enumerate(tape.gradient(loss, passes)):
        for place in np.ndindex(FIRST.shape):
            above, below = exact.copy(), exact.copy()
            above[which][place] += step
            below[which][place] -= step
            expected = (summed(*above) - summed(*below)) / (2 * step)
            assert float(gradient[place]) == pytest.approx(expected, abs=1e-5)


def test_passes_that_agree_have_no_divergence():
    np.testing.assert_allclose(
        r_drop_losses(SECOND, SECOND, TARGETS, 1000.0), cross_entropies_by_hand(SECOND, LABELS), rtol=1e-6
    )


def test_each_pass_has_its_own_dropout():
    seen = []

    def logits_of(word_ids, mask):
        seen.append((np.array(word_ids).tolist(), np.array(mask).tolist()))
        hidden = tf.nn.dropout(tf.ones([len(word_ids), 100]), 0.5, seed=1)
        return tf.stack([tf.reduce_mean(hidden, axis=1), tf.zeros(len(word_ids))], axis=1)

    word_ids, mask = np.array([[5, 6], [7, 0]], np.int32), np.array([[1, 1], [1, 0]], np.int32)
    targets = np.array([[1, 0], [1, 0]], np.float32)
    weighted = training_losses(logits_of, word_ids, mask, targets, 1.0)
    assert seen == [([[5, 6], [7, 0]] * 2, [[1, 1], [1, 0]] * 2)]
    assert weighted.shape == (2,)
    tf.random.set_seed(3)
    without = training_losses(logits_of, word_ids, mask, targets, 1e-9).numpy()
    tf.random.set_seed(3)
    with_divergence = training_losses(logits_of, word_ids, mask, targets, 1.0).numpy()
    assert (with_divergence > without).all()
    assert training_losses(logits_of, word_ids, mask, targets, 0.0).shape == (2,)
    assert len(seen[-1][0]) == 2  # One pass only.


def with_dropout(model):
    """The same classifier with half of its embeddings dropped out in training."""
    hidden = tf_keras.layers.Dropout(0.5, seed=1)(model.get_layer("classifier").input)
    return tf_keras.Model(model.inputs, model.get_layer("classifier")(hidden))


def test_fitting_weighs_the_divergence(tmp_path):
    train = labelled_words([0, 1, 0, 1])
    losses: list[float] = []
    for r_drop in (1e-9, 1.0, 2.0):
        model = with_dropout(linear_classifier({1: (1.0, 0.0), 2: (0.0, 1.0)}))
        tf_keras.utils.set_random_seed(5)
        options = TrainingOptions(optimiser="sgd", init_lr=1e-9, warmup=0.0, epochs=1, r_drop=r_drop)
        result = fit(
            model, train, train, ("neg", "pos"), options, "float32", 0, RunDirectory(tmp_path / str(len(losses)))
        )
        losses += result.history["loss"]
    assert losses[1] > losses[0] + 0.01
    assert losses[2] - losses[0] == pytest.approx(2 * (losses[1] - losses[0]), rel=1e-4)
