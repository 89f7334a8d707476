"""An encoder of the Hugging Face library as a Keras layer, built from the description that the engine graph has, too.

Its variables have the names and the shapes of TF-Hub BERT encoders (textclf.graph.bert_weights), so that everything
behind the encoder works as for those.

B: batch, S: sequence length, H: width, A: heads, D = H / A.

Reference: Devlin et al. 2019, BERT, section 3. Dropout is that of the fused graph: attention weights have none.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from textclf.errors import EncoderError, SourceError
from textclf.graph.bert_weights import Weights, encoder_sizes, with_heads_added
from textclf.graph.engine_graph import GraphForm
from textclf.importing.checkpoint import CONFIG_FILE, FAMILIES, is_checkpoint_folder, read_encoder, read_json
from textclf.training.tf_setup import tf, tf_keras

# After the embeddings and after both halves of each layer.
_DROPOUT = 0.1
# Added to the scores of padding.
_MASKED = -1e9
# BERT's initialisation of new layers (Devlin et al. 2019, appendix A.2).
_STDDEV = 0.02


class FamilyEncoder(tf_keras.layers.Layer):  # type: ignore[misc]
    """A layer from {input_word_ids, input_mask, …} int32 [B, S] to {pooled_output [B, H], sequence_output [B, S, H]}.

    Token types are ignored, because texts are single.

    Args:
        weights: weights by name, without a classifier.
        form: the rest of the encoder.
        family: key of textclf.importing.checkpoint.FAMILIES.
        seed: random seed of dropout.

    Raises:
        UnknownEncoderError: if a weight is missing, unknown, or has an unexpected shape.
    """

    def __init__(self, weights: Weights, form: GraphForm, family: str, seed: int = 0) -> None:
        super().__init__(name="bert_encoder")
        self.form, self.family = form, family
        self._sizes = encoder_sizes(with_heads_added(weights))
        named = {}
        for name, value in weights.items():
            # Families without token types have zeros here, which stay.
            is_trainable = FAMILIES[family].has_token_types or not name.startswith("type_embeddings/")
            named[name] = self.add_weight(name, value.shape, initializer="zeros", trainable=is_trainable)
            named[name].assign(value)
        # A MappingProxyType hides the variables from Keras, which tracks them already.
        self._named = MappingProxyType(named)
        self._seed = seed
        # A variable is in the checkpoint, so that a resumed training draws the same dropout.
        self._calls = tf.Variable(0, trainable=False, dtype=tf.int64, name="encoder_calls")

    def call(self, inputs: Mapping[str, tf.Tensor], training: bool | tf.Tensor | None = None) -> dict[str, tf.Tensor]:
        """The outputs; each call with `training` draws new dropout."""
        word_ids, mask = inputs["input_word_ids"], inputs["input_mask"]
        seed = tf.stack([tf.cast(self._seed, tf.int64), self._calls.assign_add(1)]) if training else None
        addend = (1.0 - tf.cast(mask, tf.float32))[:, None, None, :] * _MASKED  # [B, 1, 1, S]
        hidden = self._embedded(word_ids, seed)  # [B, S, H]
        for layer in range(self._sizes.layers):
            name, place = f"transformer/layer_{layer}", 1 + 2 * layer
            attended = _dropped_out(self._attention(hidden, addend, f"{name}/self_attention"), seed, place)
            hidden = self._norm(hidden + attended, f"{name}/self_attention_layer_norm")
            outer = self._dense(self._activated(self._dense(hidden, f"{name}/intermediate")), f"{name}/output")
            hidden = self._norm(hidden + _dropped_out(outer, seed, place + 1), f"{name}/output_layer_norm")
        pooled = self._dense(hidden[:, 0], "pooler_transform")
        pooled = tf.nn.relu(pooled) if self.form.pooler == "relu" else tf.tanh(pooled)
        return {"pooled_output": pooled, "sequence_output": hidden}

    def _embedded(self, word_ids: tf.Tensor, seed: tf.Tensor | None) -> tf.Tensor:
        word, position, kind = (
            self._named[f"{name}/embeddings"] for name in ("word_embeddings", "position_embedding", "type_embeddings")
        )
        values = tf.gather(word, word_ids) + position[: tf.shape(word_ids)[1]] + kind[0]
        return _dropped_out(self._norm(values, "embeddings/layer_norm"), seed, 0)

    def _attention(self, hidden: tf.Tensor, addend: tf.Tensor, name: str) -> tf.Tensor:
        query, key, value = (
            tf.einsum("bsh,had->basd", hidden, self._named[f"{name}/{part}/kernel"])
            + self._named[f"{name}/{part}/bias"][:, None]
            for part in ("query", "key", "value")
        )
        scores = tf.matmul(query, key, transpose_b=True) * (self._sizes.width // self._sizes.heads) ** -0.5
        mixed = tf.matmul(tf.nn.softmax(scores + addend), value)  # [B, A, S, D]
        kernel, bias = (self._named[f"{name}/attention_output/{part}"] for part in ("kernel", "bias"))
        return tf.einsum("basd,adh->bsh", mixed, kernel) + bias

    def _activated(self, values: tf.Tensor) -> tf.Tensor:
        if self.form.activation == "relu":
            return tf.nn.relu(values)
        return tf.nn.gelu(values, approximate=self.form.activation == "gelu_tanh")

    def _dense(self, values: tf.Tensor, name: str) -> tf.Tensor:
        return tf.einsum("...i,io->...o", values, self._named[f"{name}/kernel"]) + self._named[f"{name}/bias"]

    def _norm(self, values: tf.Tensor, name: str) -> tf.Tensor:
        mean, variance = tf.nn.moments(values, [-1], keepdims=True)
        normal = (values - mean) * tf.math.rsqrt(variance + self.form.epsilon)
        return normal * self._named[f"{name}/gamma"] + self._named[f"{name}/beta"]


def load_family_encoder(folder: Path, seed: int = 0) -> FamilyEncoder:
    """The encoder in a checkpoint folder of the Hugging Face library.

    Its classifier is left out. The layer before it, `pooler_transform`, is new if the checkpoint has none.

    Raises:
        EncoderError: if a file is missing or damaged, or the encoder is not of a known family.
    """
    try:
        found = read_encoder(folder)
    except SourceError as error:
        raise EncoderError(str(error)) from error
    weights = dict(found.weights)
    if "pooler_transform/kernel" not in weights:
        width = len(weights["embeddings/layer_norm/gamma"])
        draw = tf.random.stateless_truncated_normal([width, width], [seed, 0], stddev=_STDDEV)
        weights |= {"pooler_transform/kernel": draw.numpy(), "pooler_transform/bias": np.zeros(width, np.float32)}
    return FamilyEncoder(weights, found.form, found.family, seed)


def head_note(folder: Path) -> str:
    """A sentence about the head of the model in a checkpoint folder, which is not taken; "" without a head."""
    if not is_checkpoint_folder(folder):
        return ""
    named = read_json(folder / CONFIG_FILE).get("architectures")
    architecture = str(named[0]) if isinstance(named, list) and named else ""
    if architecture.endswith("ForSequenceClassification"):
        return f"{architecture}: its classifier is left out, and a new one is trained; the layer before it is kept"
    return f"{architecture}: its head is left out" if "For" in architecture else ""


def _dropped_out(values: tf.Tensor, seed: tf.Tensor | None, place: int) -> tf.Tensor:
    """Dropout; `seed` None is without, and `place` makes the seeds of one call differ."""
    if seed is None:
        return values
    return tf.nn.experimental.stateless_dropout(values, _DROPOUT, tf.random.experimental.stateless_fold_in(seed, place))
