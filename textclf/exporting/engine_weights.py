"""Reads the weights of an engine back from its graph: the inverse of textclf.graph.engine_graph.

8-bit weights become floats. The scales that the quantiser moved from weights to activations (nncf_smooth_quant) and the
split outlier channels are multiplied into the weights again. The quantisation of activations is left out.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textclf.environment import openvino_core
from textclf.graph.bert_weights import UnknownEncoderError, Weights, encoder_sizes, layer_of
from textclf.graph.engine_graph import GraphForm, build_graph
from textclf.runtime.backend import Timings
from textclf.runtime.engine import GRAPH_FILE, Engine, compile_graph
from textclf.store.model_store import ModelVersion
from textclf.tokenization.text_tokenizer import load_tokenizer

_POOLER = "pooler_transform"


def weights_of_engine(version: ModelVersion) -> tuple[dict[str, NDArray[np.float32]], GraphForm]:
    """The weights of a version's engine by the names of textclf.graph.bert_weights, and the rest of its form.

    There are two token types with embeddings of zeros; those of the first are part of the position embeddings. With
    mean pooling there is a pooler of zeros, which nothing uses.

    Raises:
        ModelStoreError: if the version has no engine.
        UnknownEncoderError: if the graph is not one of textclf.graph.engine_graph.
    """
    return weights_of_graph(openvino_core().read_model(str(version.part("engine") / GRAPH_FILE)))


def weights_of_graph(graph: Any) -> tuple[dict[str, NDArray[np.float32]], GraphForm]:
    """As weights_of_engine, from an openvino.Model.

    Raises:
        UnknownEncoderError: if the graph is not one of textclf.graph.engine_graph.
    """
    try:
        return _read(graph.get_ordered_ops())
    except (AttributeError, IndexError, KeyError, RuntimeError, StopIteration, TypeError, ValueError) as error:
        raise UnknownEncoderError(f"a graph of another form ({type(error).__name__}: {error})") from error


def golden_error(version: ModelVersion, weights: Weights, form: GraphForm) -> float:
    """Largest difference of logits on the golden texts: the weights in float32, and the engine's float activations.

    Raises:
        UnknownEncoderError: if the manifest has no such logits.
    """
    expected = np.array(version.manifest.engine.get("golden_float_logits", []), np.float32)
    compiled = compile_graph(openvino_core(), build_graph(weights, form), "f32")
    engine = Engine(compiled, load_tokenizer(version.part("engine")))
    texts = engine.tokenizer(version.manifest.golden_texts)
    rows = [engine.run(engine.tokenizer.windows(text.ids), Timings()).logits.mean(axis=0) for text in texts]
    found = np.array(rows, np.float32)
    if found.shape != expected.shape or not len(found):
        raise UnknownEncoderError("the manifest has no logits of golden texts to compare with")
    return float(np.abs(found - expected).max())


def _read(nodes: Sequence[Any]) -> tuple[dict[str, NDArray[np.float32]], GraphForm]:
    products = {node.get_friendly_name(): node for node in nodes if node.get_type_name() == "MatMul"}
    norms = [node for node in nodes if node.get_type_name() == "MVN"]
    pooling = "cls" if _POOLER in products else "mean"
    copies: dict[int, NDArray[np.int64]] = {}
    weights: dict[str, NDArray[np.float32]] = {}
    for name, node in products.items():
        kernel = _constant(node.input_value(1)).T
        scales = _scales(node)
        weights[f"{name}/kernel"] = np.ascontiguousarray(
            kernel * math.prod(scales, start=np.ones(len(kernel), np.float32))[:, None]
        )
        weights[f"{name}/bias"] = _constant(_user(node).input_value(1))
        layer = layer_of(f"{name}/kernel")
        if layer is not None and name.endswith(f"layer_{layer}/output"):
            # The scale next to the activation divides copies of outliers; without copies there is none.
            split = [one for one in scales[-1:] if _is_of_copies(one)]
            copies[layer] = np.round(1 / split[0]).astype(np.int64) if split else np.ones(len(kernel), np.int64)
    names = ["embeddings/layer_norm"]
    for layer in range(len(copies)):
        names += [f"transformer/layer_{layer}/{part}layer_norm" for part in ("self_attention_", "output_")]
    for name, node in zip(names, norms, strict=True):
        weights[f"{name}/gamma"] = _constant(_user(node).input_value(1))
        weights[f"{name}/beta"] = _constant(_user(_user(node)).input_value(1))
    words, places = (norms[0].input_value(0).get_node().input_value(i) for i in range(2))
    weights["word_embeddings/embeddings"] = _table(words)
    weights["position_embedding/embeddings"] = _constant(places.get_node().input_value(0))
    width = weights["word_embeddings/embeddings"].shape[1]
    weights["type_embeddings/embeddings"] = np.zeros((2, width), np.float32)
    if pooling == "mean":
        weights[f"{_POOLER}/kernel"] = np.zeros((width, width), np.float32)
        weights[f"{_POOLER}/bias"] = np.zeros(width, np.float32)
    weights = _with_heads(_merged(weights, copies), _heads(_user(products["transformer/layer_0/self_attention/query"])))
    weights = {name: np.asarray(value, np.float32) for name, value in weights.items()}
    encoder_sizes(weights)
    return weights, _form(nodes, pooling, products, norms[0])


def _form(nodes: Sequence[Any], pooling: str, products: dict[str, Any], norm: Any) -> GraphForm:
    inner = next(node for node in nodes if node.get_friendly_name() == "transformer/layer_0/inner")
    activation = "relu"
    if inner.get_type_name() == "Gelu":
        activation = f"gelu_{inner.get_attributes()['approximation_mode'].lower()}"
    padding = next(node for node in nodes if node.get_type_name() == "Equal")
    pooler = "tanh"
    if pooling == "cls":
        pooler = _user(_user(products[_POOLER])).get_type_name().lower()
    epsilon = float(norm.get_attributes()["eps"])
    return GraphForm(activation, int(padding.input_value(1).get_node().data), pooling, pooler, epsilon)


def _user(node: Any) -> Any:
    """The first node that reads the output of a node, without a quantisation between them."""
    user = next(iter(node.output(0).get_target_inputs())).get_node()
    return _user(user) if user.get_type_name() == "FakeQuantize" else user


def _heads(bias: Any) -> int:
    """The number of heads: the bias of a query is followed by its reshape to [B, S, heads, D]."""
    return int(_user(bias).input_value(1).get_node().data[2])


def _scales(product: Any) -> list[NDArray[np.float32]]:
    """The constants [in] that the activations of a product are multiplied by, the last one first."""
    found, value = [], product.input_value(0)
    while True:
        node = value.get_node()
        if node.get_type_name() == "Multiply" and _is_scale(node):
            found.append(_constant(node.input_value(1)).reshape(-1))
        elif node.get_type_name() != "FakeQuantize":
            return found
        value = node.input_value(0)


def _is_scale(node: Any) -> bool:
    # The multiplication of a layer normalisation reads an MVN.
    is_constant = node.input_value(1).get_node().get_type_name() in ("Constant", "Convert")
    return is_constant and node.input_value(0).get_node().get_type_name() not in ("MVN", "Convert")


def _is_of_copies(scale: NDArray[np.float32]) -> bool:
    """Whether a scale is 1 / n for n copies: each n is repeated n times."""
    counts, position = np.round(1 / scale).astype(np.int64), 0
    if not np.allclose(scale * counts, 1, atol=1e-3):
        return False
    while position < len(counts):
        count = int(counts[position])
        if count < 1 or not (counts[position : position + count] == count).all():
            return False
        position += count
    return position == len(counts)


def _constant(output: Any) -> NDArray[np.float32]:
    """The value of constants, their conversions, differences and products."""
    node = output.get_node()
    kind = node.get_type_name()
    if kind == "Constant":
        return np.asarray(node.data, np.float32)
    if kind in ("Convert", "Reshape"):
        value = _constant(node.input_value(0))
        return value.reshape(node.output(0).get_shape()) if kind == "Reshape" else value
    if kind not in ("Multiply", "Subtract"):
        raise ValueError(f"{kind} {node.get_friendly_name()} among the weights")
    a, b = _constant(node.input_value(0)), _constant(node.input_value(1))
    return a * b if kind == "Multiply" else a - b


def _table(output: Any) -> NDArray[np.float32]:
    """The table of embeddings [words, H] whose rows a node takes."""
    node = output.get_node()
    if node.get_type_name() == "Gather":
        return _constant(node.input_value(0))
    if node.get_type_name() == "Multiply":
        return _table(node.input_value(0)) * _table(node.input_value(1))
    return _table(node.input_value(0))


def _merged(
    weights: dict[str, NDArray[np.float32]], copies: dict[int, NDArray[np.int64]]
) -> dict[str, NDArray[np.float32]]:
    """The weights with the copies of each channel as one; all copies stay if those of one channel differ."""
    merged = dict(weights)
    for layer, counts in copies.items():
        name = f"transformer/layer_{layer}"
        starts, position = [], 0
        while position < len(counts):
            starts.append(position)
            position += int(counts[position])
        same = np.repeat(starts, counts[starts])
        for part in ("intermediate/kernel", "intermediate/bias"):
            value = weights[f"{name}/{part}"]
            if not np.allclose(value, value[..., same], atol=1e-6):
                return weights
            merged[f"{name}/{part}"] = value[..., starts]
        merged[f"{name}/output/kernel"] = np.add.reduceat(weights[f"{name}/output/kernel"], starts, axis=0)
    return merged


def _with_heads(weights: dict[str, NDArray[np.float32]], heads: int) -> dict[str, NDArray[np.float32]]:
    """The weights of attention in the shapes of TF-Hub encoders."""
    shaped = dict(weights)
    for name, value in weights.items():
        if "/self_attention/" not in name:
            continue
        if "/attention_output/" in name:
            shaped[name] = value.reshape(heads, -1, value.shape[1]) if value.ndim > 1 else value
        else:
            shaped[name] = value.reshape(*value.shape[:-1], heads, -1)
    return shaped
