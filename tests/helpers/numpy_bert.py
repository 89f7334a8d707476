"""BERT's forward pass in numpy, from a Hugging Face folder: the reference for encoders and engines.

Written from the paper (Devlin et al. 2019; Vaswani et al. 2017), in float64, without a framework.
B: batch, S: sequence length, H: width, N: heads, D: H / N.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
from scipy.special import erf


def tanh_gelu(x: np.ndarray) -> np.ndarray:
    """Approximate GELU of Google's BERT (Hendrycks & Gimpel 2016)."""
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def erf_gelu(x: np.ndarray) -> np.ndarray:
    """Exact GELU, Hugging Face's "gelu"."""
    return 0.5 * x * (1 + erf(x / np.sqrt(2)))


def relu(x: np.ndarray) -> np.ndarray:
    """max(x, 0)."""
    return np.maximum(x, 0)


def forward(folder: Path, ids: np.ndarray, mask: np.ndarray, types: np.ndarray, gelu=tanh_gelu):
    """ids, mask, types: int [B, S] -> (pooled [B, H], sequence [B, S, H])."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    tensors = load_file(folder / "model.safetensors")
    return forward_of(tensors, config["num_attention_heads"], ids, mask, types, gelu, config["layer_norm_eps"])


def forward_of(
    tensors: Mapping[str, np.ndarray],
    heads: int,
    ids: np.ndarray,
    mask: np.ndarray,
    types: np.ndarray,
    gelu=tanh_gelu,
    epsilon: float = 1e-12,
):
    """Forward pass with tensors by Hugging Face's names."""
    tensors = {name: value.astype(np.float64) for name, value in tensors.items()}

    def dense(name: str, x: np.ndarray) -> np.ndarray:
        return x @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]

    def norm(name: str, x: np.ndarray) -> np.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        scale = np.sqrt((centred**2).mean(-1, keepdims=True) + epsilon)
        return centred / scale * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]

    batch, length = ids.shape

    def split(x: np.ndarray) -> np.ndarray:
        return x.reshape(batch, length, heads, -1).transpose(0, 2, 1, 3)  # [B, N, S, D]

    embeddings = "embeddings.{}_embeddings.weight".format
    x = tensors[embeddings("word")][ids] + tensors[embeddings("token_type")][types]
    x = norm("embeddings.LayerNorm", x + tensors[embeddings("position")][:length])
    hidden = np.where(mask[:, None, None, :] == 1, 0.0, -1e30)  # [B, 1, 1, S]
    for i in range(sum(name.endswith("attention.self.query.bias") for name in tensors)):
        layer = f"encoder.layer.{i}"
        query, key, value = (split(dense(f"{layer}.attention.self.{part}", x)) for part in ("query", "key", "value"))
        scores = query @ key.transpose(0, 1, 3, 2) / np.sqrt(query.shape[-1]) + hidden  # [B, N, S, S]
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        context = (weights / weights.sum(-1, keepdims=True)) @ value
        context = context.transpose(0, 2, 1, 3).reshape(batch, length, -1)
        x = norm(f"{layer}.attention.output.LayerNorm", x + dense(f"{layer}.attention.output.dense", context))
        inner = gelu(dense(f"{layer}.intermediate.dense", x))
        x = norm(f"{layer}.output.LayerNorm", x + dense(f"{layer}.output.dense", inner))
    return np.tanh(dense("pooler.dense", x[:, 0])), x
