"""The fused BERT classifier for training on a CPU: wordpiece ids -> logits.

It computes the same function of the same variables as the TF-Hub encoder and trains about twice as fast. It shares the
encoder's variables, so that the encoder is saved with the trained weights. Only dropout differs, see ENCODER_DROPOUT.

B: batch, S: sequence length, H: width, K: classes.
"""

import dataclasses
import logging
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from textclf.graph.bert_weights import (
    ACTIVATIONS,
    EncoderSizes,
    UnknownEncoderError,
    bert_name,
    bert_weights,
    encoder_sizes,
)
from textclf.graph.engine_graph import GraphForm
from textclf.training.classifier import ENCODER_INPUTS, ids_classifier, mean_of_tokens, pooling_of
from textclf.training.encoders.family_encoder import FamilyEncoder
from textclf.training.fused_bert import kernels as kernels
from textclf.training.fused_bert.layer import LayerConfig, LayerWeights, bert_layer
from textclf.training.tf_setup import tf, tf_keras

# Name of the fused model, also in manifests.
FUSED = "bert_classifier"
# Dropout after the embeddings and after both halves of each layer (Devlin et al. 2019, appendix A.2). BERT's code and
# the encoder's own graph also apply dropout to attention weights; the fused model does not.
ENCODER_DROPOUT = 0.1
# Between the logits of the fused and the original graph, in float32, for random wordpieces.
_LOGIT_TOLERANCE = 1e-4
_CHECKED_SHAPE = (4, 24)
# Added to the scores of padding.
_MASKED = -1e9
# A training with fewer operations ends before XLA has compiled the kernels for its shapes.
_MIN_OPERATIONS = 1e13

_log = logging.getLogger(__name__)


class BertClassifier(tf_keras.Model):  # type: ignore[misc]
    """{ENCODER_INPUTS} int32 [B, S] -> logits float32 [B, K], on the variables of an encoder and its classifier.

    Token types are ignored, because texts are single.

    Args:
        encoder, classifier: the layers whose variables are used.
        form: the rest of the encoder; its padding id is not used.
        dropout, seed: rate before the classification layer, and random seed of all dropout.
        dtype: type of matrix products in training; everything else is float32.

    Attributes:
        form, product_dtype: the arguments `form` and `dtype`.

    Raises:
        UnknownEncoderError: if the encoder has other variables than a BERT.
    """

    def __init__(
        self,
        encoder: tf_keras.layers.Layer,
        classifier: tf_keras.layers.Dense,
        form: GraphForm,
        dropout: float,
        dtype: tf.DType = tf.float32,
        seed: int = 0,
    ) -> None:
        super().__init__(name=FUSED)
        self.encoder, self.classifier = encoder, classifier
        self.form, self._dropout, self.product_dtype, self._seed = form, dropout, dtype, seed
        # A MappingProxyType hides the variables from Keras: the layers track them already.
        self._named = MappingProxyType(named_variables([*encoder.variables, *classifier.variables]))
        self._sizes = encoder_sizes(bert_weights({name: item.numpy() for name, item in self._named.items()}))
        # A variable is in the checkpoint, so that a resumed training draws the same dropout.
        self._calls = tf.Variable(0, trainable=False, dtype=tf.int64, name="training_calls")

    @property
    def word_embeddings(self) -> tf.Variable:
        """The word embeddings, [vocabulary, H]."""
        return self._named["word_embeddings/embeddings"]

    @property
    def sequence_variables(self) -> list[tf.Variable]:
        """The trainable variables that the sequence output depends on: all except those of pooler and classifier."""
        head = ("pooler_transform/", "classifier/")
        return [item for name, item in self._named.items() if item.trainable and not name.startswith(head)]

    def call(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Logits [B, K]; each call with `training` draws new dropout."""
        word_ids, mask = (inputs[name] for name in ENCODER_INPUTS[:2])
        seed = self._next_seed() if training else None
        pooled = self._pooled(word_ids, mask, seed)  # [B, H]
        if training and self._dropout:
            pooled = kernels.dropped_out(pooled, seed + tf.constant(1, tf.uint32), self._dropout)
        return tf.ensure_shape(self._dense(pooled, "classifier"), [None, self._sizes.classes])

    def sequence_for_training(self, word_ids: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """The encoder's output for every token with dropout, float32 [B * S, H]; both arguments are int32 [B, S]."""
        return self._hidden(word_ids, mask, self._next_seed(), first_only=False)

    def _pooled(self, word_ids: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor | None) -> tf.Tensor:
        """The input of the classification layer, [B, H]; `seed` None is without dropout."""
        if self.form.pooling == "mean":
            outputs = self._hidden(word_ids, mask, seed, first_only=False)
            return mean_of_tokens(tf.reshape(outputs, [*tf.unstack(tf.shape(word_ids)), self._sizes.width]), mask)
        pooled = self._dense(self._hidden(word_ids, mask, seed, first_only=True), "pooler_transform")
        return tf.nn.relu(pooled) if self.form.pooler == "relu" else tf.tanh(pooled)

    def _hidden(self, word_ids: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor | None, first_only: bool) -> tf.Tensor:
        """The last layer's output, [B * S, H], or [B, H] for the first tokens; `seed` None is without dropout."""
        training = seed is not None
        dtype = self.product_dtype if training else tf.float32
        rate = ENCODER_DROPOUT if training else 0.0
        seed = seed if training else tf.constant(0, tf.uint32)
        hidden = tf.reshape(self._embedded(word_ids, tf.shape(word_ids)[1]), [-1, self._sizes.width])  # [B * S, H]
        if rate:
            hidden = kernels.dropped_out(hidden, seed, rate)
        addend = (1.0 - tf.cast(mask, tf.float32))[:, None, None, :] * _MASKED
        for layer in range(self._sizes.layers):
            is_last = layer == self._sizes.layers - 1
            first = first_only and is_last
            config = LayerConfig(self._sizes.heads, self.form.activation, rate, dtype, self.form.epsilon, first)
            hidden = bert_layer(hidden, addend, self._layer(layer), config, seed + tf.constant(2 + layer, tf.uint32))
        return hidden

    def _next_seed(self) -> tf.Tensor:
        """A new seed for each step; each use of dropout in a step adds a small number to it."""
        step = tf.cast(self._calls.assign_add(1), tf.uint32)
        return step * tf.constant(1024, tf.uint32) + tf.constant(self._seed * 0x9E3779B1 % 2**32, tf.uint32)

    def _embedded(self, word_ids: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
        word, position, kind = (
            self._named[f"{name}/embeddings"] for name in ("word_embeddings", "position_embedding", "type_embeddings")
        )
        values = tf.gather(word, word_ids) + position[:length] + kind[0]  # [B, S, H]
        centred = values - tf.reduce_mean(values, -1, keepdims=True)
        variance = tf.reduce_mean(tf.square(centred), -1, keepdims=True)
        gamma, beta = (self._named[f"embeddings/layer_norm/{part}"] for part in ("gamma", "beta"))
        return centred * tf.math.rsqrt(variance + self.form.epsilon) * gamma + beta

    def _dense(self, values: tf.Tensor, name: str) -> tf.Tensor:
        return values @ self._named[f"{name}/kernel"] + self._named[f"{name}/bias"]

    def _layer(self, layer: int) -> LayerWeights:
        width = self._sizes.width

        def matrix(part: str, inputs: int = width) -> tf.Tensor:
            return tf.reshape(self._named[f"transformer/layer_{layer}/{part}/kernel"], [inputs, -1])

        def vector(part: str) -> tf.Tensor:
            return tf.reshape(self._named[f"transformer/layer_{layer}/{part}"], [-1])

        return LayerWeights(
            query_kernel=matrix("self_attention/query"),
            query_bias=vector("self_attention/query/bias"),
            key_value_kernel=tf.concat([matrix(f"self_attention/{part}") for part in ("key", "value")], 1),
            key_value_bias=tf.concat([vector(f"self_attention/{part}/bias") for part in ("key", "value")], 0),
            output_kernel=matrix("self_attention/attention_output"),
            output_bias=vector("self_attention/attention_output/bias"),
            output_gamma=vector("self_attention_layer_norm/gamma"),
            output_beta=vector("self_attention_layer_norm/beta"),
            inner_kernel=matrix("intermediate"),
            inner_bias=vector("intermediate/bias"),
            outer_kernel=matrix("output", self._sizes.inner),
            outer_bias=vector("output/bias"),
            outer_gamma=vector("output_layer_norm/gamma"),
            outer_beta=vector("output_layer_norm/beta"),
        )


def named_variables(variables: list[tf.Variable]) -> dict[str, tf.Variable]:
    """The variables of a BERT classifier by textclf.graph.bert_weights.bert_name."""
    return {name: variable for variable in variables if (name := bert_name(variable.name)) is not None}


def trainable_classifier(
    classifier: tf_keras.Model, dropout: float, precision: str, seed: int, tokens: float
) -> tf_keras.Model:
    """The model from ids to logits to fit: fused if that is possible and faster, else the encoder's own graph.

    Args:
        classifier: a model from build_classifier().
        dropout, seed: rate before the classification layer, and random seed of all dropout.
        precision: "float32" or "bfloat16".
        tokens: tokens of all epochs together.
    """
    original, pooling = ids_classifier(classifier), pooling_of(classifier)
    encoder, head = classifier.get_layer("bert_encoder"), classifier.get_layer("classifier")
    try:
        sizes = encoder_sizes(bert_weights({item.name: item.numpy() for item in classifier.variables}))
        if training_operations(sizes, tokens) < _MIN_OPERATIONS:
            return original
        dtype = tf.bfloat16 if precision == "bfloat16" else tf.float32
        fused = [BertClassifier(encoder, head, form, dropout, dtype, seed) for form in _forms(encoder, pooling)]
        differences = [_largest_difference(model, original, sizes) for model in fused]
        if min(differences) <= _LOGIT_TOLERANCE:
            return fused[int(np.argmin(differences))]
        why = f"with every known activation its logits differ by {min(differences):.3g} or more"
    except UnknownEncoderError as error:
        why = str(error)
    except tf.errors.OpError as error:  # For example a TensorFlow without XLA.
        why = error.message.splitlines()[0]
    _log.warning("the encoder is trained by its own graph, which takes about twice as long: %s", why)
    return original


def _forms(encoder: tf_keras.layers.Layer, pooling: str) -> list[GraphForm]:
    """The forms that an encoder may have; the graph of a SavedModel does not show its activation."""
    if isinstance(encoder, FamilyEncoder):
        return [dataclasses.replace(encoder.form, pooling=pooling)]
    return [GraphForm(activation, pooling=pooling) for activation in ACTIVATIONS]


def training_operations(sizes: EncoderSizes, tokens: float) -> float:
    """Multiplications and additions of a training on this many tokens, without those of attention scores.

    The backward pass takes twice as many as the forward pass.
    """
    per_token = sizes.layers * (4 * sizes.width**2 + 2 * sizes.width * sizes.inner)
    return 3.0 * 2.0 * per_token * tokens


def _largest_difference(one: tf_keras.Model, other: tf_keras.Model, sizes: EncoderSizes) -> float:
    """The largest difference of the logits for random wordpieces; half of the texts have padding."""
    texts, length = _CHECKED_SHAPE
    length = min(length, sizes.positions)
    word_ids = np.random.default_rng(0).integers(0, sizes.vocabulary, (texts, length), np.int32)
    mask = np.ones_like(word_ids)
    mask[texts // 2 :, length - length // 3 :] = 0
    inputs = dict(zip(ENCODER_INPUTS, map(tf.constant, (word_ids, mask, np.zeros_like(mask))), strict=True))
    return float(tf.reduce_max(tf.abs(one(inputs, training=False) - other(inputs, training=False))))
