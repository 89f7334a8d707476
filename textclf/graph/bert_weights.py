"""The weights of a BERT classifier by the variable names of TF-Hub BERT encoders, and their sizes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Activations of the feed-forward layers; the weights do not show which one an encoder uses.
ACTIVATIONS = ("gelu_tanh", "gelu_erf", "relu")
LAYER_NORM_EPSILON = 1e-12
_LAYER_NAME = re.compile(r"(?:^|/)transformer/layer_(\d+)/")
_EMBEDDING_NAMES = ("word_embeddings/embeddings", "position_embedding/embeddings", "type_embeddings/embeddings")
_HEAD_NAMES = ("pooler_transform/", "classifier/")
# Modules of Hugging Face's BertModel.
_HUGGING_FACE_MODULES = {
    "word_embeddings": "embeddings.word_embeddings",
    "position_embedding": "embeddings.position_embeddings",
    "type_embeddings": "embeddings.token_type_embeddings",
    "embeddings/layer_norm": "embeddings.LayerNorm",
    "pooler_transform": "pooler.dense",
}
# Modules of a layer, which RoBERTa names alike.
HUGGING_FACE_LAYER_MODULES = {
    "self_attention/query": "attention.self.query",
    "self_attention/key": "attention.self.key",
    "self_attention/value": "attention.self.value",
    "self_attention/attention_output": "attention.output.dense",
    "self_attention_layer_norm": "attention.output.LayerNorm",
    "intermediate": "intermediate.dense",
    "output": "output.dense",
    "output_layer_norm": "output.LayerNorm",
}
HUGGING_FACE_TENSORS = {"embeddings": "weight", "kernel": "weight", "gamma": "weight", "bias": "bias", "beta": "bias"}

Weights = Mapping[str, NDArray[np.float32]]


class UnknownEncoderError(Exception):
    """The weights are not those of a BERT encoder in its original form; the message names the difference."""


@dataclass(frozen=True)
class EncoderSizes:
    """The sizes of an encoder; `inner` is the width of its feed-forward layers, `positions` the maximum text length."""

    layers: int
    width: int
    heads: int
    inner: int
    vocabulary: int
    positions: int
    classes: int


def bert_name(variable: str) -> str | None:
    """The variable's name without a prefix and `:0`, or None if it is not a variable of BERT."""
    known = "|".join(("transformer/", "embeddings/layer_norm/", *_EMBEDDING_NAMES, *_HEAD_NAMES))
    found = re.search(rf"(?:^|/)((?:{known}).*?)(?::\d+)?$", variable)
    return found[1] if found else None


def layer_of(variable: str) -> int | None:
    """The number of the variable's encoder layer, from 0; None if it is outside the layers."""
    found = _LAYER_NAME.search(variable)
    return int(found[1]) if found else None


def hugging_face_name(name: str) -> str:
    """The name of a variable's tensor in Hugging Face's BertModel.

    Raises:
        KeyError: if it is not a variable of a BERT encoder.
    """
    module, _, tensor = name.rpartition("/")
    if layer := _LAYER_NAME.match(name):
        target = f"encoder.layer.{layer[1]}.{HUGGING_FACE_LAYER_MODULES[module[layer.end() :]]}"
    else:
        target = _HUGGING_FACE_MODULES[module]
    return f"{target}.{HUGGING_FACE_TENSORS[tensor]}"


def bert_weights(variables: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """The variables of a classifier by bert_name, without those that are not BERT's."""
    return {name: np.asarray(value) for key, value in variables.items() if (name := bert_name(key)) is not None}


def with_heads_added(weights: Weights) -> Weights:
    """The weights of an encoder with zeros for a pooler and a classifier that are missing, as encoder_sizes expects."""
    width = weights["word_embeddings/embeddings"].shape[-1]
    shapes = {
        "pooler_transform/kernel": (width, width),
        "pooler_transform/bias": (width,),
        "classifier/kernel": (width, 1),
        "classifier/bias": (1,),
    }
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()} | dict(weights)


def encoder_sizes(weights: Weights) -> EncoderSizes:
    """The sizes of the encoder with these weights.

    Raises:
        UnknownEncoderError: if a variable is missing, unknown, or has an unexpected shape.
    """
    layers = {layer for name in weights if (layer := layer_of(name)) is not None}
    try:
        vocabulary, width = weights["word_embeddings/embeddings"].shape
        positions = len(weights["position_embedding/embeddings"])
        heads = weights["transformer/layer_0/self_attention/query/kernel"].shape[1]
        inner = weights["transformer/layer_0/intermediate/kernel"].shape[1]
        classes = weights["classifier/kernel"].shape[1]
    except KeyError as error:
        raise UnknownEncoderError(f"no {error} among the weights") from error
    except (ValueError, IndexError) as error:
        raise UnknownEncoderError(f"a variable has another number of dimensions ({error})") from error
    shape = EncoderSizes(len(layers), width, heads, inner, vocabulary, positions, classes)
    expected = _expected_shapes(shape, len(weights.get("type_embeddings/embeddings", ())))
    shapes = {name: value.shape for name, value in weights.items()}
    if odd := sorted(set(expected.items()) ^ set(shapes.items())):
        raise UnknownEncoderError(f"{odd[0][0]} {list(odd[0][1])}: unknown, missing, or of another shape")
    if empty := sorted(name for name, size in shapes.items() if 0 in size):
        raise UnknownEncoderError(f"{empty[0]} {list(shapes[empty[0]])}: empty")
    return shape


def _expected_shapes(shape: EncoderSizes, types: int) -> dict[str, tuple[int, ...]]:
    width, inner = shape.width, shape.inner
    split = (shape.heads, width // shape.heads)
    expected: dict[str, tuple[int, ...]] = {
        "word_embeddings/embeddings": (shape.vocabulary, width),
        "position_embedding/embeddings": (shape.positions, width),
        "type_embeddings/embeddings": (types, width),
        "pooler_transform/kernel": (width, width),
        "pooler_transform/bias": (width,),
        "classifier/kernel": (width, shape.classes),
        "classifier/bias": (shape.classes,),
    }
    norms = ["embeddings/layer_norm"]
    for layer in range(shape.layers):
        name = f"transformer/layer_{layer}"
        norms += [f"{name}/self_attention_layer_norm", f"{name}/output_layer_norm"]
        for part in ("query", "key", "value"):
            expected[f"{name}/self_attention/{part}/kernel"] = (width, *split)
            expected[f"{name}/self_attention/{part}/bias"] = split
        expected[f"{name}/self_attention/attention_output/kernel"] = (*split, width)
        expected[f"{name}/self_attention/attention_output/bias"] = (width,)
        expected[f"{name}/intermediate/kernel"] = (width, inner)
        expected[f"{name}/intermediate/bias"] = (inner,)
        expected[f"{name}/output/kernel"] = (inner, width)
        expected[f"{name}/output/bias"] = (width,)
    expected |= {f"{norm}/{part}": (width,) for norm in norms for part in ("gamma", "beta")}
    return expected
