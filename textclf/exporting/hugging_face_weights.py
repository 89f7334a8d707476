"""The weights of an encoder by the names and in the shapes of the Hugging Face library; needs no OpenVINO."""

import numpy as np
from numpy.typing import NDArray

from textclf.graph.bert_weights import HUGGING_FACE_TENSORS, Weights, layer_of
from textclf.importing.families.bert import BERT
from textclf.importing.families.family import Family


def state_of_weights(weights: Weights, family: Family = BERT) -> dict[str, NDArray[np.float32]]:
    """The weights by the names of a family's classifier, in the shapes of PyTorch.

    Args:
        weights: see textclf.graph.bert_weights; kernels of attention are [width, heads, head_dim], the one of its
            output [heads, head_dim, width], all other kernels [in, out].
        family: names of the modules.

    Raises:
        KeyError: if a weight does not belong to a classifier of the family; its argument is the name.
    """
    state = {}
    for name, value in weights.items():
        if name.endswith("/kernel"):  # PyTorch's Linear has [out, in].
            joins_heads = name.endswith("self_attention/attention_output/kernel")
            value = value.reshape(-1, value.shape[-1]).T if joins_heads else value.reshape(len(value), -1).T
        elif name.endswith("/bias"):
            value = value.reshape(-1)
        state[_tensor_name(name, family)] = np.ascontiguousarray(value, np.float32)
    return state


def _tensor_name(name: str, family: Family) -> str:
    module, _, part = name.rpartition("/")
    layer = layer_of(name)
    try:
        if layer is None:
            return f"{family.modules[module]}.{HUGGING_FACE_TENSORS[part]}"
        inner = module.removeprefix(f"transformer/layer_{layer}/")
        return f"{family.layer.format(layer)}{family.layer_modules[inner]}.{HUGGING_FACE_TENSORS[part]}"
    except KeyError:
        raise KeyError(name) from None
