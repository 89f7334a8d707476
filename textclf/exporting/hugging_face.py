"""Writes a version as a folder of the Hugging Face library: BertForSequenceClassification."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from textclf.errors import ConfigError
from textclf.exporting.exported_model import ExportedModel, differences
from textclf.exporting.tokenizer_files import write_configuration, write_json, write_tokenizer
from textclf.graph.bert_weights import Weights, hugging_face_name
from textclf.report.model_card import ExportNotes, model_card

# Activations of the graph -> their names in config.json.
_ACTIVATIONS = {"gelu_tanh": "gelu_pytorch_tanh", "gelu_erf": "gelu", "relu": "relu"}
_USAGE = """```python
from transformers import pipeline

classify = pipeline("text-classification", model="FOLDER", truncation=True)
print(classify(["First text.", "Second text."], top_k=None))
```"""


def write_hugging_face(model: ExportedModel, folder: Path) -> None:
    """Write config.json, model.safetensors, the tokenizer's files and README.md into an existing folder.

    Raises:
        ConfigError: if transformers has no class for such a model.
        ModuleNotFoundError: if the extra hub is not installed.
    """
    from safetensors.numpy import save

    manifest, sizes = model.manifest, model.sizes
    if model.form.pooling != "cls" or model.form.pooler != "tanh":
        found = f"pooling {model.form.pooling}" if model.form.pooling != "cls" else f"a pooler with {model.form.pooler}"
        raise ConfigError(f"expected a version with pooling cls, found {found}, for which transformers has no class; "
                          f"use --to onnx")  # fmt: skip
    max_length = min(manifest.max_length, sizes.positions)
    names = manifest.class_names
    config = {
        "architectures": ["BertForSequenceClassification"],
        "model_type": "bert",
        "problem_type": "single_label_classification",
        "id2label": {str(position): name for position, name in enumerate(names)},
        "label2id": {name: position for position, name in enumerate(names)},
        "vocab_size": sizes.vocabulary,
        "hidden_size": sizes.width,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.heads,
        "intermediate_size": sizes.inner,
        "hidden_act": _ACTIVATIONS[model.form.activation],
        "max_position_embeddings": sizes.positions,
        "type_vocab_size": len(model.weights["type_embeddings/embeddings"]),
        "layer_norm_eps": float(f"{model.form.epsilon:.6g}"),
        "pad_token_id": model.tokenizer.padding_id,
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "dtype": "float32",
    }
    write_json(folder / "config.json", config)
    (folder / "model.safetensors").write_bytes(save(state_of_weights(model.weights), metadata={"format": "pt"}))
    write_tokenizer(folder, model.tokenizer, max_length)
    write_configuration(folder, model.tokenizer, max_length)
    notes = ExportNotes("transformers", _USAGE, differences(manifest))
    (folder / "README.md").write_text(model_card(manifest, notes), encoding="utf-8")


def state_of_weights(weights: Weights) -> dict[str, NDArray[np.float32]]:
    """The weights by the names of BertForSequenceClassification, in the shapes of PyTorch.

    Args:
        weights: see textclf.graph.bert_weights; kernels of attention are [width, heads, head_dim], the one of its
            output [heads, head_dim, width], all other kernels [in, out].

    Raises:
        KeyError: if a weight does not belong to a BERT classifier; its argument is the name.
    """
    head = {"classifier/kernel": "classifier.weight", "classifier/bias": "classifier.bias"}
    state = {}
    for name, value in weights.items():
        if name.endswith("/kernel"):  # PyTorch's Linear has [out, in].
            joins_heads = name.endswith("self_attention/attention_output/kernel")
            value = value.reshape(-1, value.shape[-1]).T if joins_heads else value.reshape(len(value), -1).T
        elif name.endswith("/bias"):
            value = value.reshape(-1)
        try:
            target = head.get(name) or f"bert.{hugging_face_name(name)}"
        except KeyError:
            raise KeyError(name) from None
        state[target] = np.ascontiguousarray(value, np.float32)
    return state
