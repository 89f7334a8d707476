"""Masked-LM pretraining of the encoder on the truncated training texts, before fine-tuning.

The encoder predicts masked wordpieces of the texts that it is then fine-tuned on, without labels and without texts of
other splits ("task-adaptive": Gururangan et al. 2020, Don't stop pretraining).

B: batch, S: sequence length, P: masked positions of a batch, H: width, V: rows of the word embeddings.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from textclf.config import TrainingOptions
from textclf.errors import TrainingError
from textclf.graph.bert_weights import LAYER_NORM_EPSILON
from textclf.progress_bar import progress_bar
from textclf.training.encoders.preprocessing import TokenizedTexts
from textclf.training.fitting.batching import Batch, make_batch, plan_epoch
from textclf.training.fitting.checkpoints import Progress, RunDirectory
from textclf.training.fitting.optimisers import make_optimiser
from textclf.training.fitting.stopping import StoppableRun
from textclf.training.fused_bert.trainable_classifier import BertClassifier
from textclf.training.graphs import graph_function
from textclf.training.tf_setup import tf, tf_keras

# Share of the wordpieces to predict; shares of these that become [MASK] and a random wordpiece; the rest are unchanged
# (Devlin et al. 2019, section 3.1).
_PREDICTED, _MASKED, _REPLACED = 0.15, 0.8, 0.1
_IDS = tf.TensorSpec([None, None], tf.int32)
_POSITIONS = tf.TensorSpec([None], tf.int32)


@dataclass(frozen=True)
class Wordpieces:
    """The size of a vocabulary, and the ids of [PAD], of [MASK], and of [CLS] and [SEP], which are never masked."""

    size: int
    padding: int
    mask: int
    never_masked: tuple[int, ...]


def pretrain_mlm(
    model: BertClassifier, texts: TokenizedTexts, wordpieces: Wordpieces, options: TrainingOptions, run: RunDirectory
) -> None:
    """Train `model`'s encoder, except its pooler, to predict masked wordpieces, for `options.mlm_epochs` epochs.

    Continues from the last checkpoint in `run`; a finished pretraining only loads the weights.

    Raises:
        TrainingError: if the loss is not finite, or the saved state can't be read.
    """
    weights = tf.train.Checkpoint(model=model)
    if run.progress().is_finished:
        run.restore(weights)
        return
    steps = [
        indices
        for epoch in range(options.mlm_epochs)
        for indices in plan_epoch(texts.lengths, options.tokens_per_batch, options.batch_size, options.seed, epoch)
    ]
    head = _Head(model)
    variables = [*model.sequence_variables, *head.trainable_variables]
    optimiser = make_optimiser("adamw", options.mlm_lr, len(steps), int(len(steps) * options.warmup))
    optimiser._create_all_weights(variables)  # A restored checkpoint needs the slots.
    checkpoint = tf.train.Checkpoint(model=model, head=head, optimiser=optimiser)
    progress = run.restore(checkpoint)
    step = _training_step(model, head, optimiser, variables)
    state = StoppableRun(run, checkpoint, progress)
    bar = progress_bar(len(steps), "pretraining", "steps", initial=progress.step, stays=True)
    with state.saved_when_stopped(), bar:
        for indices in steps[progress.step :]:
            started = time.monotonic()
            random = np.random.default_rng([options.seed, progress.step])
            batch = make_batch(texts, indices, wordpieces.padding)
            batch, positions, originals = mask_tokens(batch, wordpieces, random)
            with state.uninterrupted():
                loss = float(step(batch.word_ids, batch.mask, positions, originals))
                _count_step(progress, loss, len(indices), time.monotonic() - started)
            bar.update()
            bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)
            if progress.step % options.checkpoint_steps == 0:
                state.save()
    progress.is_finished = True
    run.save(weights, progress)


def _count_step(progress: Progress, loss: float, texts: int, seconds: float) -> None:
    if not math.isfinite(loss):
        raise TrainingError(
            f"step {progress.step + 1} of masked-LM pretraining gave a loss of {loss}: the training diverged; "
            f"use a smaller --mlm-lr, a longer --warmup, or --precision float32"
        )
    progress.step += 1
    progress.texts += texts
    progress.seconds += seconds


def mask_tokens(
    batch: Batch, wordpieces: Wordpieces, random: np.random.Generator
) -> tuple[Batch, np.ndarray, np.ndarray]:
    """The batch with some wordpieces masked or replaced, their flat positions, and their original ids.

    Positions and ids are int32 [P]; P is at least 1.
    """
    can_be = (batch.mask == 1) & ~np.isin(batch.word_ids, wordpieces.never_masked)
    chosen = can_be & (random.random(can_be.shape) < _PREDICTED)
    if not chosen.any():  # The mean loss of no positions is not a number.
        chosen.flat[np.argmax(can_be)] = True
    originals = batch.word_ids[chosen]
    draw = random.random(len(originals))
    others = random.integers(0, wordpieces.size, len(originals), np.int32)
    replaced = np.where(draw < _MASKED + _REPLACED, others, originals)
    word_ids = batch.word_ids.copy()
    word_ids[chosen] = np.where(draw < _MASKED, wordpieces.mask, replaced)
    return Batch(batch.indices, word_ids, batch.mask), np.flatnonzero(chosen).astype(np.int32), originals


class _Head(tf.Module):  # type: ignore[misc]
    """float32 [P, H] -> logits float32 [P, V]: a dense layer, a norm, and the word embeddings (Devlin et al. 2019).

    Encoders come without their head, so the dense layer starts as the identity. The embeddings are an argument: as
    variables of the head they would be updated twice per step.
    """

    def __init__(self, model: BertClassifier) -> None:
        super().__init__(name="masked_language")
        self._dtype = model.product_dtype
        rows, width = model.word_embeddings.shape  # [V, H]; V may be larger than the vocabulary.
        self._kernel = tf.Variable(tf.eye(width), name="kernel")
        self._bias = tf.Variable(tf.zeros(width), name="bias")
        self._gamma = tf.Variable(tf.ones(width), name="layer_norm_gamma")
        self._beta = tf.Variable(tf.zeros(width), name="layer_norm_beta")
        self._word_bias = tf.Variable(tf.zeros(rows), name="word_bias")

    def __call__(self, hidden: tf.Tensor, embeddings: tf.Variable) -> tf.Tensor:
        values = tf.nn.gelu(hidden @ self._kernel + self._bias, approximate=True)
        mean, variance = tf.nn.moments(values, [-1], keepdims=True)
        values = (values - mean) * tf.math.rsqrt(variance + LAYER_NORM_EPSILON) * self._gamma + self._beta
        products = tf.matmul(tf.cast(values, self._dtype), tf.cast(embeddings, self._dtype), transpose_b=True)
        return tf.cast(products, tf.float32) + self._word_bias


def _training_step(
    model: BertClassifier,
    head: _Head,
    optimiser: tf_keras.optimizers.legacy.Optimizer,
    variables: Sequence[tf.Variable],
) -> Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], tf.Tensor]:
    """A compiled optimiser step: ids and mask [B, S], positions and original ids [P] -> loss."""

    @graph_function(_IDS, _IDS, _POSITIONS, _POSITIONS)
    def step(word_ids: tf.Tensor, mask: tf.Tensor, positions: tf.Tensor, originals: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            logits = head(tf.gather(model.sequence_for_training(word_ids, mask), positions), model.word_embeddings)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(originals, logits))
        optimiser.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    return step
