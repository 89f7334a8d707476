"""Builds the inference graph of a BERT classifier from its trained weights for OpenVINO.

The graph has MatMul, ScaledDotProductAttention, Gelu and MVN, which the CPU plugin runs fast and NNCF can quantise. A
graph converted from a SavedModel has Einsum, which neither supports well.

B: batch, S: sequence length, H: width, A: heads, D = H / A, K: classes.
    input_word_ids int32 [B, S]  ->  logits float32 [B, K], embeddings float32 [B, H] (the classifier's input)

Two parts are left out because they do not change the outputs: all token types except the first, whose embedding is
added to the position embeddings; and, unless the pooling is the mean over all tokens, the last layer's outputs for
tokens other than [CLS], a seventh of the work of a 6-layer encoder. Tokens with the id of [PAD] are padding: no text
contains them.

References: Devlin et al. 2019, BERT, section 3; Zhao et al. 2019, Improving Neural Network Quantization without
Retraining using Outlier Channel Splitting.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textclf.environment import import_openvino
from textclf.graph.bert_weights import LAYER_NORM_EPSILON, EncoderSizes, Weights, encoder_sizes

# Names of the nodes of mean pooling.
_WEIGHED, _TOTAL, _MEAN = "mean_pooling/weighed", "mean_pooling/total", "mean_pooling/mean"

ov = import_openvino()
op = ov.opset13


@dataclass(frozen=True)
class GraphForm:
    """Properties of an encoder that its weights do not show.

    Attributes:
        activation: activation of the feed-forward layers, one of ACTIVATIONS.
        padding_id: the id of the padding token.
        pooling: input of the classifier, one of textclf.config.POOLINGS.
        pooler: activation of the layer before the classifier with pooling "cls": "tanh", or "relu" in DistilBERT.
        epsilon: added to the variance in layer normalisation.
    """

    activation: str = "gelu_tanh"
    padding_id: int = 0
    pooling: str = "cls"
    pooler: str = "tanh"
    epsilon: float = LAYER_NORM_EPSILON


_BERT = GraphForm()


def build_graph(
    weights: Weights,
    form: GraphForm = _BERT,
    copies: Sequence[NDArray[np.int64]] | None = None,
    int8_embeddings: bool = False,
) -> Any:
    """The graph as an openvino.Model, with dynamic batch and sequence length; it computes in float32.

    Args:
        weights: weights by name, see bert_weights.
        form: the rest of the encoder.
        copies: for each layer, into how many equal parts each channel of its feed-forward layer is split, [inner]
            (see copies_of_outliers); None splits none. The outputs are the same.
        int8_embeddings: store the word embeddings in 8 bits.

    Raises:
        UnknownEncoderError: if a weight is missing, unknown, or has an unexpected shape.
    """
    ids = _ids()
    is_padding = op.equal(ids, _constant(form.padding_id, np.int32))
    first_only = form.pooling == "cls"
    hidden = _hidden(ids, is_padding, weights, form, copies, int8_embeddings, first_only)
    if first_only:
        first = op.squeeze(hidden, _constant([1]))  # [B, 1, H] -> [B, H]
        pooled = _dense(first, weights, "pooler_transform")
        pooled = op.relu(pooled) if form.pooler == "relu" else op.tanh(pooled)  # [B, H]
    else:
        pooled = _mean_of_tokens(hidden, is_padding)  # [B, H]
    logits = _dense(pooled, weights, "classifier")  # [B, K]
    return _model(ids, {"logits": logits, "embeddings": pooled}, "text_classifier")


def build_mean_graph(weights: Weights, form: GraphForm = _BERT) -> Any:
    """The graph of an encoder alone, whose embedding of a text is the mean over its tokens.

    The output has the name `logits`, as an Engine needs it: float32 [B, H].

    Raises:
        UnknownEncoderError: if a weight is missing, unknown, or has an unexpected shape.
    """
    ids = _ids()
    is_padding = op.equal(ids, _constant(form.padding_id, np.int32))
    hidden = _hidden(ids, is_padding, weights, form)  # [B, S, H]
    return _model(ids, {"logits": _mean_of_tokens(hidden, is_padding)}, "text_embedder")


def _ids() -> Any:
    ids = op.parameter([-1, -1], np.int32, name="input_word_ids")
    ids.output(0).set_names({"input_word_ids"})
    return ids


def _model(ids: Any, outputs: Mapping[str, Any], name: str) -> Any:
    results = []
    for output_name, values in outputs.items():
        result = op.result(values)
        result.output(0).set_names({output_name})
        results.append(result)
    return ov.Model(results, [ids], name)


def _hidden(
    ids: Any,
    is_padding: Any,
    weights: Weights,
    form: GraphForm,
    copies: Sequence[NDArray[np.int64]] | None = None,
    int8_embeddings: bool = False,
    first_only: bool = False,
) -> Any:
    """The outputs of the last layer, [B, S, H], or only those of [CLS], [B, 1, H]; arguments as in build_graph."""
    shape = encoder_sizes(weights)
    # Added to the attention scores, [B, 1, 1, S]: 0 for a token, a very negative number for padding.
    padding = op.unsqueeze(is_padding, _constant([1, 2]))
    mask = op.select(padding, _constant(np.finfo(np.float32).min / 2, np.float32), _constant(0, np.float32))

    places = weights["position_embedding/embeddings"] + weights["type_embeddings/embeddings"][0]
    length = op.gather(op.shape_of(ids), _constant([1]), _constant(0))
    position = op.slice(op.constant(places), _constant([0]), length, _constant([1]), _constant([0]))  # [S, H]
    word = _word_embeddings(ids, weights["word_embeddings/embeddings"], int8_embeddings)  # [B, S, H]
    hidden = _layer_norm(op.add(word, position), weights, "embeddings/layer_norm", form.epsilon)
    copies = [np.ones(shape.inner, np.int64)] * shape.layers if copies is None else copies
    for layer in range(shape.layers):
        is_last = layer == shape.layers - 1
        attended = _attention(hidden, mask, weights, layer, shape, form.epsilon, first_only=is_last and first_only)
        hidden = _feed_forward(attended, weights, layer, form, copies[layer])
    return hidden


def _word_embeddings(ids: Any, table: NDArray[np.float32], int8: bool) -> Any:
    """[B, S] -> [B, S, H]; in 8 bits each row has its own scale."""
    if not int8:
        return op.gather(op.constant(table), ids, _constant(0))
    # Convert only the rows of a text to floats. A table quantised by NNCF is converted at load time, which takes most
    # of a small model's memory.
    scales = np.maximum(np.abs(table).max(axis=1, keepdims=True), np.finfo(np.float32).tiny) / 127  # [vocabulary, 1]
    rows = op.gather(op.constant(np.round(table / scales).astype(np.int8)), ids, _constant(0))
    return op.multiply(op.convert(rows, np.float32), op.gather(op.constant(scales), ids, _constant(0)))


def _attention(
    hidden: Any, mask: Any, weights: Weights, layer: int, shape: EncoderSizes, epsilon: float, first_only: bool
) -> Any:
    """The attention half of an encoder layer: [B, S, H] -> [B, S, H], or [B, 1, H] for [CLS] alone."""
    name = f"transformer/layer_{layer}"
    width, heads = shape.width, shape.heads
    asking = op.slice(hidden, _constant([0]), _constant([1]), _constant([1]), _constant([1])) if first_only else hidden

    def split(values: Any, part: str) -> Any:
        """[B, S, H] -> [B, A, S, D]."""
        values = _dense(values, weights, f"{name}/self_attention/{part}", (width, width))
        values = op.reshape(values, _constant([0, 0, heads, width // heads]), special_zero=True)
        return op.transpose(values, _constant([0, 2, 1, 3]))

    # The operation divides scores by the square root of D.
    mixed = op.scaled_dot_product_attention(
        split(asking, "query"), split(hidden, "key"), split(hidden, "value"), mask, causal=False
    )
    mixed = op.reshape(op.transpose(mixed, _constant([0, 2, 1, 3])), _constant([0, 0, width]), special_zero=True)
    mixed = _dense(mixed, weights, f"{name}/self_attention/attention_output", (width, width))
    return _layer_norm(op.add(asking, mixed), weights, f"{name}/self_attention_layer_norm", epsilon)


def _feed_forward(attended: Any, weights: Weights, layer: int, form: GraphForm, copies: NDArray[np.int64]) -> Any:
    """The feed-forward half of an encoder layer: [B, S, H] -> [B, S, H]."""
    name = f"transformer/layer_{layer}"
    expanded = {
        **{f"{name}/intermediate/{part}": np.repeat(weights[f"{name}/intermediate/{part}"], copies, axis=-1)
           for part in ("kernel", "bias")},
        f"{name}/output/kernel": np.repeat(weights[f"{name}/output/kernel"], copies, axis=0),
        f"{name}/output/bias": weights[f"{name}/output/bias"],
    }  # fmt: skip
    inner = _dense(attended, expanded, f"{name}/intermediate")  # [B, S, inner with copies]
    relu = form.activation == "relu"
    inner = op.relu(inner) if relu else op.gelu(inner, form.activation.removeprefix("gelu_"))
    inner.set_friendly_name(inner_name(layer))
    if copies.max() > 1:
        inner = op.multiply(inner, op.constant(np.repeat(1 / copies, copies).astype(np.float32)))
    output = _dense(inner, expanded, f"{name}/output")
    return _layer_norm(op.add(attended, output), weights, f"{name}/output_layer_norm", form.epsilon)


def _mean_of_tokens(hidden: Any, is_padding: Any) -> Any:
    """The mean over the tokens that are no padding: [B, S, H], [B, S] -> [B, H]."""
    weights = op.select(op.unsqueeze(is_padding, _constant([2])), _constant(0, np.float32), _constant(1, np.float32))
    weighed = op.multiply(hidden, weights)
    weighed.set_friendly_name(_WEIGHED)
    total = op.reduce_sum(weighed, _constant([1]))
    total.set_friendly_name(_TOTAL)
    mean = op.divide(total, op.reduce_sum(weights, _constant([1])))
    mean.set_friendly_name(_MEAN)
    return mean


def float_nodes(pooling: str) -> list[str]:
    """The names of the nodes after the last layer, which int8 would make inaccurate and hardly faster."""
    return ["classifier", *({"mean": (_WEIGHED, _TOTAL, _MEAN), "cls": ("pooler_transform",)}[pooling])]


def inner_name(layer: int) -> str:
    """The name of the node with the activations [B, S, inner] of a layer's feed-forward part."""
    return f"transformer/layer_{layer}/inner"


def copies_of_outliers(largest: NDArray[np.floating[Any]], extra: int) -> NDArray[np.int64]:
    """Into how many equal parts to split each channel, at least 1, to minimise the largest part: [channels].

    In the feed-forward layers of a trained BERT one or two channels have values for [CLS] or [SEP] that are several
    times larger than all others. int8 has one scale per layer, so that few of its 256 steps are left for the rest. A
    channel split into n copies with 1/n of its value each adds up to the same.

    Args:
        largest: largest absolute value of each channel, [channels].
        extra: number of channels to add.
    """
    copies = np.ones(len(largest), np.int64)
    for _ in range(extra):
        copies[np.argmax(largest / copies)] += 1
    return copies


def _dense(values: Any, weights: Weights, name: str, matrix: tuple[int, int] | None = None) -> Any:
    """[…, in] -> […, out]; `matrix` is the shape of a kernel that TensorFlow stores split into heads."""
    kernel = weights[f"{name}/kernel"]
    kernel = kernel.reshape(matrix or kernel.shape)
    # NNCF quantises the rows of a transposed kernel one by one, and the plugin needs it transposed.
    product = op.matmul(values, op.constant(np.ascontiguousarray(kernel.T)), transpose_a=False, transpose_b=True)
    product.set_friendly_name(name)
    return op.add(product, op.constant(weights[f"{name}/bias"].reshape(-1)))


def _layer_norm(values: Any, weights: Weights, name: str, epsilon: float) -> Any:
    normal = op.mvn(values, _constant([-1]), normalize_variance=True, eps=epsilon, eps_mode="INSIDE_SQRT")
    return op.add(op.multiply(normal, op.constant(weights[f"{name}/gamma"])), op.constant(weights[f"{name}/beta"]))


def _constant(value: Any, dtype: Any = np.int64) -> Any:
    return op.constant(np.asarray(value, dtype))
