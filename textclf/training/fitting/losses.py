"""The loss of each text of a batch: cross-entropy, alone or with R-Drop."""

from collections.abc import Callable

from textclf.training.tf_setup import tf


def cross_entropies(logits: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Cross-entropy of each text, float32 [B], of logits [B, K] and target probabilities [B, K]."""
    return tf.nn.softmax_cross_entropy_with_logits(targets, tf.cast(logits, tf.float32))


def r_drop_losses(first: tf.Tensor, second: tf.Tensor, targets: tf.Tensor, weight: float) -> tf.Tensor:
    """Mean cross-entropy of two passes with different dropout, plus `weight` times their divergence, float32 [B].

    The divergence is the mean of KL(first, second) and KL(second, first). After Liang et al., "R-Drop: Regularized
    Dropout for Neural Networks" (NeurIPS 2021), whose loss is the sum over the passes: its alpha is twice `weight`.
    """
    logs = [tf.nn.log_softmax(tf.cast(logits, tf.float32)) for logits in (first, second)]
    difference = logs[0] - logs[1]  # [B, K]
    divergence = tf.reduce_sum((tf.exp(logs[0]) - tf.exp(logs[1])) * difference, axis=-1) / 2  # [B]
    return (cross_entropies(first, targets) + cross_entropies(second, targets)) / 2 + weight * divergence


def training_losses(
    logits_of: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    word_ids: tf.Tensor,
    mask: tf.Tensor,
    targets: tf.Tensor,
    r_drop: float,
) -> tf.Tensor:
    """Loss of each text, float32 [B]; `logits_of` maps word ids and mask [B, S] to logits [B, K] with dropout."""
    if r_drop == 0:
        return cross_entropies(logits_of(word_ids, mask), targets)
    # Both passes are one batch of twice the rows: dropout is drawn for each row.
    both = logits_of(tf.concat([word_ids, word_ids], axis=0), tf.concat([mask, mask], axis=0))
    first, second = tf.split(both, 2)
    return r_drop_losses(first, second, targets, r_drop)
