"""The inference graph of a BERT classifier, built from its trained weights for OpenVINO.

A graph of MatMul, ScaledDotProductAttention, Gelu and MVN, which the CPU plugin runs fast and NNCF can quantise; the
one that a converter reads from a SavedModel is full of Einsum, which neither can do anything with.

B: batch, S: sequence length, H: width, A: heads, D = H / A, K: classes.
    input_word_ids int32 [B, S]  ->  logits float32 [B, K], embeddings float32 [B, H] (the pooled output)

Two things are left out because the classifier never looks at them: every token type but the first, whose embedding
is added to those of the positions; and what the last layer computes for other tokens than [CLS], a seventh of
the work of a 6-layer encoder. Which tokens are padding is read off the ids: no text becomes [PAD].

References: Devlin et al. 2019, BERT, section 3; Zhao et al. 2019, Improving Neural Network Quantization without
Retraining using Outlier Channel Splitting.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textclf.environment import import_openvino
from textclf.training.encoders.bert_weights import LAYER_NORM_EPSILON, EncoderSizes, Weights, encoder_sizes

ov = import_openvino()
op = ov.opset13


def build_graph(
    weights: Weights,
    activation: str = "gelu_tanh",
    padding_id: int = 0,
    copies: Sequence[NDArray[np.int64]] | None = None,
    int8_embeddings: bool = False,
) -> Any:
    """The graph as an openvino.Model, with dynamic batch and sequence length; it computes in float32.

    Args:
        weights: see bert_weights.
        activation: of the feed-forward layers, one of ACTIVATIONS.
        padding_id: the id of [PAD].
        copies: for each layer, into how many equal parts each channel of its feed-forward layer is split, [inner]
            (see copies_of_outliers); None splits none. The graph computes the same either way.
        int8_embeddings: hold the word embeddings in 8 bits.

    Raises:
        UnknownEncoderError: see encoder_sizes.
    """
    shape = encoder_sizes(weights)
    ids = op.parameter([-1, -1], np.int32, name="input_word_ids")
    ids.output(0).set_names({"input_word_ids"})
    # An addend for the attention scores, [B, 1, 1, S]: 0 for a token, the lowest float for padding.
    padding = op.unsqueeze(op.equal(ids, _constant(padding_id, np.int32)), _constant([1, 2]))
    mask = op.select(padding, _constant(np.finfo(np.float32).min / 2, np.float32), _constant(0, np.float32))

    places = weights["position_embedding/embeddings"] + weights["type_embeddings/embeddings"][0]
    length = op.gather(op.shape_of(ids), _constant([1]), _constant(0))
    position = op.slice(op.constant(places), _constant([0]), length, _constant([1]), _constant([0]))  # [S, H]
    word = _word_embeddings(ids, weights["word_embeddings/embeddings"], int8_embeddings)  # [B, S, H]
    hidden = _layer_norm(op.add(word, position), weights, "embeddings/layer_norm")
    copies = [np.ones(shape.inner, np.int64)] * shape.layers if copies is None else copies
    for layer in range(shape.layers):
        is_last = layer == shape.layers - 1
        attended = _attention(hidden, mask, weights, layer, shape, first_only=is_last)
        hidden = _feed_forward(attended, weights, layer, activation, copies[layer])
    first = op.squeeze(hidden, _constant([1]))  # [B, 1, H] -> [B, H]
    pooled = op.tanh(_dense(first, weights, "pooler_transform"))  # [B, H]
    logits = _dense(pooled, weights, "classifier")  # [B, K]
    results = []
    for name, node in (("logits", logits), ("embeddings", pooled)):
        result = op.result(node)
        result.output(0).set_names({name})
        results.append(result)
    return ov.Model(results, [ids], "text_classifier")


def _word_embeddings(ids: Any, table: NDArray[np.float32], int8: bool) -> Any:
    """[B, S] -> [B, S, H].

    In 8 bits each word has a scale of its own, and only the rows that a text asks for become floats: what NNCF makes
    of the table, the plugin turns back into floats as a whole when it loads it, most of a small model's memory.
    """
    if not int8:
        return op.gather(op.constant(table), ids, _constant(0))
    scales = np.maximum(np.abs(table).max(axis=1, keepdims=True), np.finfo(np.float32).tiny) / 127  # [vocabulary, 1]
    rows = op.gather(op.constant(np.round(table / scales).astype(np.int8)), ids, _constant(0))
    return op.multiply(op.convert(rows, np.float32), op.gather(op.constant(scales), ids, _constant(0)))


def _attention(hidden: Any, mask: Any, weights: Weights, layer: int, shape: EncoderSizes, first_only: bool) -> Any:
    """The first half of an encoder layer: [B, S, H] -> [B, S, H], or [B, 1, H] for [CLS] alone."""
    name = f"transformer/layer_{layer}"
    width, heads = shape.width, shape.heads
    asking = op.slice(hidden, _constant([0]), _constant([1]), _constant([1]), _constant([1])) if first_only else hidden

    def split(values: Any, part: str) -> Any:
        """[B, S, H] -> [B, A, S, D]."""
        values = _dense(values, weights, f"{name}/self_attention/{part}", (width, width))
        values = op.reshape(values, _constant([0, 0, heads, width // heads]), special_zero=True)
        return op.transpose(values, _constant([0, 2, 1, 3]))

    # Scores are divided by the root of D inside.
    mixed = op.scaled_dot_product_attention(
        split(asking, "query"), split(hidden, "key"), split(hidden, "value"), mask, causal=False
    )
    mixed = op.reshape(op.transpose(mixed, _constant([0, 2, 1, 3])), _constant([0, 0, width]), special_zero=True)
    mixed = _dense(mixed, weights, f"{name}/self_attention/attention_output", (width, width))
    return _layer_norm(op.add(asking, mixed), weights, f"{name}/self_attention_layer_norm")


def _feed_forward(attended: Any, weights: Weights, layer: int, activation: str, copies: NDArray[np.int64]) -> Any:
    """The second half of an encoder layer: [B, S, H] -> [B, S, H]."""
    name = f"transformer/layer_{layer}"
    expanded = {
        **{f"{name}/intermediate/{part}": np.repeat(weights[f"{name}/intermediate/{part}"], copies, axis=-1)
           for part in ("kernel", "bias")},
        f"{name}/output/kernel": np.repeat(weights[f"{name}/output/kernel"], copies, axis=0),
        f"{name}/output/bias": weights[f"{name}/output/bias"],
    }  # fmt: skip
    inner = _activate(_dense(attended, expanded, f"{name}/intermediate"), activation)  # [B, S, inner, copies included]
    inner.set_friendly_name(inner_name(layer))
    if copies.max() > 1:
        inner = op.multiply(inner, op.constant(np.repeat(1 / copies, copies).astype(np.float32)))
    output = _dense(inner, expanded, f"{name}/output")
    return _layer_norm(op.add(attended, output), weights, f"{name}/output_layer_norm")


def inner_name(layer: int) -> str:
    """The name of the node that gives the activations [B, S, inner] of a layer's feed-forward part."""
    return f"transformer/layer_{layer}/inner"


def copies_of_outliers(largest: NDArray[np.floating[Any]], extra: int) -> NDArray[np.int64]:
    """Into how many equal parts to split each channel, so that the largest part of all is as small as it can be.

    In the feed-forward layers of a trained BERT one or two channels answer [CLS] or [SEP] with a value several times
    that of all others. int8 has one scale for a whole layer, so they take most of its 256 steps from the rest. Split
    into n copies with 1/n of the value each, a channel adds up to the same.

    Args:
        largest: absolute value that each channel takes at most, [channels].
        extra: how many channels to add.

    Returns:
        Number of parts, at least 1, that sum up to channels + extra: [channels].
    """
    copies = np.ones(len(largest), np.int64)
    for _ in range(extra):
        copies[np.argmax(largest / copies)] += 1
    return copies


def _activate(values: Any, activation: str) -> Any:
    if activation == "relu":
        return op.relu(values)
    return op.gelu(values, activation.removeprefix("gelu_"))


def _dense(values: Any, weights: Weights, name: str, matrix: tuple[int, int] | None = None) -> Any:
    """[…, in] -> […, out]; `matrix` is the shape of a kernel that TensorFlow keeps split into heads."""
    kernel = weights[f"{name}/kernel"]
    kernel = kernel.reshape(matrix or kernel.shape)
    # The transposed kernel is the form whose rows NNCF quantises one by one, and the plugin need not turn it.
    product = op.matmul(values, op.constant(np.ascontiguousarray(kernel.T)), transpose_a=False, transpose_b=True)
    product.set_friendly_name(name)
    return op.add(product, op.constant(weights[f"{name}/bias"].reshape(-1)))


def _layer_norm(values: Any, weights: Weights, name: str) -> Any:
    normal = op.mvn(values, _constant([-1]), normalize_variance=True, eps=LAYER_NORM_EPSILON, eps_mode="INSIDE_SQRT")
    return op.add(op.multiply(normal, op.constant(weights[f"{name}/gamma"])), op.constant(weights[f"{name}/beta"]))


def _constant(value: Any, dtype: Any = np.int64) -> Any:
    return op.constant(np.asarray(value, dtype))
