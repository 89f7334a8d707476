"""A layer's gradient where it is most easily lost; test_fused_bert.py has the whole encoder's."""

import numpy as np
import pytest

from textclf.training.fused_bert import layer as module
from textclf.training.fused_bert.layer import LayerConfig, LayerWeights, bert_layer
from textclf.training.tf_setup import tf

WIDTH, INNER, TEXTS, LENGTH = 16, 32, 2, 8
FORM = LayerConfig(heads=1, activation="gelu_tanh", rate=0.0, dtype=tf.float32)


def weights_with_score(score: float) -> LayerWeights:
    """Random ones, but every token's score for every other is the same."""
    random = np.random.default_rng(0)

    def normal(*shape: int) -> tf.Tensor:
        return tf.constant(random.normal(0, 0.1, shape), tf.float32)

    # Query and key are the same for all; their product is divided by the root of the width.
    same = np.eye(WIDTH)[0] * np.sqrt(score) * WIDTH**0.25
    return LayerWeights(
        query_kernel=tf.zeros([WIDTH, WIDTH]),
        query_bias=tf.constant(same, tf.float32),
        key_value_kernel=tf.concat([tf.zeros([WIDTH, WIDTH]), normal(WIDTH, WIDTH)], 1),
        key_value_bias=tf.constant(np.concatenate([same, np.zeros(WIDTH)]), tf.float32),
        output_kernel=normal(WIDTH, WIDTH),
        output_bias=normal(WIDTH),
        output_gamma=tf.ones(WIDTH),
        output_beta=tf.zeros(WIDTH),
        inner_kernel=normal(WIDTH, INNER),
        inner_bias=normal(INNER),
        outer_kernel=normal(INNER, WIDTH),
        outer_bias=normal(WIDTH),
        outer_gamma=tf.ones(WIDTH),
        outer_beta=tf.zeros(WIDTH),
    )


def memory_gradient(score: float) -> np.ndarray:
    """The gradient of the kernel of keys and values, from one of 1e-9 or so at the output."""
    weights, random = weights_with_score(score), np.random.default_rng(1)
    x, direction = (tf.constant(random.normal(size=(TEXTS * LENGTH, WIDTH)), tf.float32) for _ in range(2))
    with tf.GradientTape() as tape:
        tape.watch(weights.key_value_kernel)
        output = bert_layer(x, tf.zeros([TEXTS, 1, 1, LENGTH]), weights, FORM, tf.constant(0, tf.uint32))
        loss = 1e-9 * tf.reduce_sum(output * direction)
    return tape.gradient(loss, weights.key_value_kernel).numpy()


@pytest.mark.parametrize("score", [1.0, 45.0, 70.0, 79.0, 200.0])
def test_small_gradients_survive_large_scores(score, monkeypatch):
    found = memory_gradient(score)
    monkeypatch.setattr(module, "_MAX_SCORE", -1.0)  # The largest score is always subtracted.
    expected = memory_gradient(score)
    assert np.abs(expected).max() > 1e-10
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
