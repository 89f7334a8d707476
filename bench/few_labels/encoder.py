"""One encoder in one process, fine-tuned again and again from its first weights.

Loading an encoder and compiling its graph take longer than 100 steps on short texts. Here both are done once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from bench.few_labels.samples import IntArray
from textclf.encoder_handles import handles_of
from textclf.training.classifier import build_classifier, ids_encoder, load_encoder
from textclf.training.encoders import resolve
from textclf.training.encoders.preprocessing import TextPreprocessing, TokenizedTexts, tokenize_texts
from textclf.training.fitting.adamw import AdamW
from textclf.training.fitting.batching import make_batch, plan_epoch
from textclf.training.fitting.training_loop import ids_to_logits, predict_logits
from textclf.training.fused_bert.trainable_classifier import trainable_classifier
from textclf.training.graphs import graph_function
from textclf.training.precision import chosen_precision, graph_precision
from textclf.training.tf_setup import tf, tf_keras

FloatArray = npt.NDArray[np.float32]

_DROPOUT = 0.1
_WARMUP = 0.1
_TOKENS_PER_BATCH = 4096
_IDS = tf.TensorSpec([None, None], tf.int32)
_LABELS = tf.TensorSpec([None], tf.int32)


@dataclass(frozen=True)
class FineTuning:
    """How an encoder is fine-tuned: AdamW with linear warmup and decay.

    Attributes:
        rate: highest learning rate.
        batch_size: texts of a batch.
        epochs, min_steps: passes over the texts, and the number of steps below which more passes follow.
    """

    rate: float = 1e-4
    batch_size: int = 8
    epochs: int = 4
    min_steps: int = 60


class Encoder:
    """An encoder that is loaded once.

    Args:
        handle: the encoder, as for --encoder.
        max_length: wordpieces at which a text is cut.
    """

    def __init__(self, handle: str, max_length: int) -> None:
        names = handles_of(handle)
        folders = resolve.resolve(names.model_name, names.name_to_handle, names.model_to_handle)
        self.preprocessing = TextPreprocessing(folders.preprocessing, max_length=max_length)
        self.layer = load_encoder(folders.encoder, max_length)
        self._first_weights = [variable.numpy() for variable in self.layer.variables]
        self._classifiers: dict[tuple[int, str], Classifier] = {}

    def tokenized(self, texts: Sequence[str]) -> TokenizedTexts:
        """Tokenize and cut texts."""
        return tokenize_texts(self.preprocessing, texts)

    def classifier(self, classes: int, pooling: str) -> "Classifier":
        """Return a classifier with the encoder's first weights; all classifiers share them, so use one at a time."""
        if (classes, pooling) not in self._classifiers:
            self._classifiers[classes, pooling] = Classifier(self, classes, pooling)
        for variable, weights in zip(self.layer.variables, self._first_weights, strict=True):
            variable.assign(weights)
        return self._classifiers[classes, pooling]


class Classifier:
    """An encoder with a classification layer."""

    def __init__(self, encoder: Encoder, classes: int, pooling: str) -> None:
        self._encoder, self._classes = encoder, classes
        self._keras = build_classifier(encoder.preprocessing, encoder.layer, classes, _DROPOUT, pooling)
        self._precision = chosen_precision("auto")
        # The number of tokens selects the fused graph, which is compiled for all trainings together.
        self._model = trainable_classifier(self._keras, _DROPOUT, self._precision, seed=0, tokens=float("inf"))
        self._rate = tf.Variable(0.0, trainable=False)
        self._optimiser = AdamW(self._rate)
        self._optimiser._create_all_weights(self._model.trainable_variables)

    def vectors(self, texts: TokenizedTexts) -> FloatArray:
        """Compute the inputs of the classification layer, float32 [texts, H]."""
        return predict_logits(self._vectors_of, texts, self._encoder.preprocessing.padding_id, "vectors")

    def logits(self, texts: TokenizedTexts) -> FloatArray:
        """Compute logits, float32 [texts, K]."""
        kernel, bias = self._head.get_weights()
        return np.asarray(self.vectors(texts) @ kernel + bias, np.float32)

    def start_from(self, kernel: FloatArray, bias: FloatArray) -> None:
        """Set the classification layer."""
        self._head.set_weights([kernel, bias])

    def start_at_random(self, seed: int) -> None:
        """Draw the classification layer, as BERT does (Devlin et al. 2019, appendix A.2)."""
        kernel = tf_keras.initializers.TruncatedNormal(stddev=0.02, seed=seed)(self._head.kernel.shape)
        self.start_from(kernel.numpy(), np.zeros(self._classes, np.float32))

    def fit(self, texts: TokenizedTexts, labels: IntArray, how: FineTuning, seed: int) -> None:
        """Fine-tune all weights, from the classification layer as it is."""
        for slot in self._optimiser.variables():
            slot.assign(tf.zeros_like(slot))
        batches = self._batches(texts, how, seed)
        with graph_precision("float32"):  # The fused model casts by itself.
            for step, rows in enumerate(batches):
                self._rate.assign(how.rate * _share_of_rate(step, len(batches)))
                batch = make_batch(texts, rows, self._encoder.preprocessing.padding_id)
                self._step(batch.word_ids, batch.mask, labels[rows].astype(np.int32))

    def _batches(self, texts: TokenizedTexts, how: FineTuning, seed: int) -> list[npt.NDArray[np.intp]]:
        batches: list[npt.NDArray[np.intp]] = []
        epoch = 0
        while epoch < how.epochs or len(batches) < how.min_steps:
            batches += plan_epoch(texts.lengths, _TOKENS_PER_BATCH, how.batch_size, seed, epoch)
            epoch += 1
        return batches

    @property
    def _head(self) -> tf_keras.layers.Dense:
        return self._keras.get_layer("classifier")

    @cached_property
    def _vectors_of(self) -> Callable[[npt.NDArray[np.int32], npt.NDArray[np.int32]], tf.Tensor]:
        return ids_to_logits(ids_encoder(self._keras))

    @cached_property
    def _step(self) -> Callable[..., tf.Tensor]:
        @graph_function(_IDS, _IDS, _LABELS)
        def step(word_ids: tf.Tensor, mask: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
            inputs = {"input_word_ids": word_ids, "input_mask": mask, "input_type_ids": tf.zeros_like(word_ids)}
            with tf.GradientTape() as tape:
                logits = self._model(inputs, training=True)
                loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
            gradients = tape.gradient(loss, self._model.trainable_variables)
            self._optimiser.apply_gradients(list(zip(gradients, self._model.trainable_variables, strict=True)))
            return loss

        return step


def _share_of_rate(step: int, steps: int) -> float:
    """Return the learning rate of a step as a share of the highest: linear warmup, then linear decay to 0."""
    warmup = _WARMUP * steps
    return step / warmup if step < warmup else 1.0 - step / steps
