"""The weights of a BERT classifier by name, and the sizes that they have.

Variable names are those of TF-Hub BERT encoders.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# The weights do not tell which of them is between the two halves of a feed-forward layer.
ACTIVATIONS = ("gelu_tanh", "gelu_erf", "relu")
# Of the layer norms of BERT encoders in TensorFlow.
LAYER_NORM_EPSILON = 1e-12
_LAYER_NAME = re.compile(r"(?:^|/)transformer/layer_(\d+)/")
_EMBEDDING_NAMES = ("word_embeddings/embeddings", "position_embedding/embeddings", "type_embeddings/embeddings")
_HEAD_NAMES = ("pooler_transform/", "classifier/")

Weights = Mapping[str, NDArray[np.float32]]


class UnknownEncoderError(Exception):
    """The weights are not those of a BERT encoder in its original form; says what is missing or odd."""


@dataclass(frozen=True)
class EncoderSizes:
    """The sizes that an encoder's weights have.

    Attributes:
        layers, width, heads, inner: number of layers, H, A, width of the feed-forward layers.
        vocabulary, positions: rows of the embeddings.
        classes: K.
    """

    layers: int
    width: int
    heads: int
    inner: int
    vocabulary: int
    positions: int
    classes: int


def bert_name(variable: str) -> str | None:
    """The name that this module uses for a variable, or None if it is none of BERT's: no prefix of a layer around it,
    no `:0`."""
    known = "|".join(("transformer/", "embeddings/layer_norm/", *_EMBEDDING_NAMES, *_HEAD_NAMES))
    found = re.search(rf"(?:^|/)((?:{known}).*?)(?::\d+)?$", variable)
    return found[1] if found else None


def layer_of(variable: str) -> int | None:
    """The number of the encoder's layer that a variable belongs to, from 0, or None if it belongs to none."""
    found = _LAYER_NAME.search(variable)
    return int(found[1]) if found else None


def bert_weights(variables: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """The variables of a classifier under their bert_name, without those that have none."""
    return {name: np.asarray(value) for key, value in variables.items() if (name := bert_name(key)) is not None}


def encoder_sizes(weights: Weights) -> EncoderSizes:
    """The sizes that the weights have.

    Raises:
        UnknownEncoderError: a variable is missing, has another shape, or is one that this graph has no place for.
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
    return shape


def _expected_shapes(shape: EncoderSizes, types: int) -> dict[str, tuple[int, ...]]:
    width, heads, inner = shape.width, shape.heads, shape.inner
    split = (heads, width // heads)
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
