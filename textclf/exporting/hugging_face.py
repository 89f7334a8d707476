"""Writes a version as a folder of the Hugging Face library: a classifier of the family of its encoder."""

from pathlib import Path

import numpy as np

from textclf.errors import ConfigError
from textclf.exporting.exported_model import ExportedModel, differences
from textclf.exporting.hugging_face_weights import state_of_weights
from textclf.exporting.tokenizer_files import write_configuration, write_json, write_tokenizer
from textclf.importing.checkpoint import FAMILIES
from textclf.importing.families.family import Family
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
    family_name = manifest.encoder.get("family", "bert")
    family = FAMILIES[family_name]
    if model.form.pooling != "cls" or model.form.pooler != family.pooler:
        found = f"pooling {model.form.pooling}" if model.form.pooling != "cls" else f"a pooler with {model.form.pooler}"
        raise ConfigError(f"expected a version with pooling cls, found {found}, for which transformers has no class; "
                          f"use --to onnx")  # fmt: skip
    skipped = _skipped_positions(model, family)
    max_length = min(manifest.max_length, sizes.positions)
    names = manifest.class_names
    config = {
        "architectures": [family.architecture],
        "model_type": family_name,
        "problem_type": "single_label_classification",
        "id2label": {str(position): name for position, name in enumerate(names)},
        "label2id": {name: position for position, name in enumerate(names)},
        **{family.config_names.get(name, name): value for name, value in _settings(model, skipped).items()},
        "dtype": "float32",
    }
    weights = {**model.weights}
    places = weights["position_embedding/embeddings"]
    weights["position_embedding/embeddings"] = np.pad(places, ((skipped, 0), (0, 0)))
    if not family.has_token_types:
        del weights["type_embeddings/embeddings"]  # Zeros.
    write_json(folder / "config.json", config)
    (folder / "model.safetensors").write_bytes(save(state_of_weights(weights, family), metadata={"format": "pt"}))
    write_tokenizer(folder, model.tokenizer, max_length)
    write_configuration(folder, model.tokenizer, max_length, family.has_token_types)
    notes = ExportNotes("transformers", _USAGE, differences(manifest))
    (folder / "README.md").write_text(model_card(manifest, notes), encoding="utf-8")


def _settings(model: ExportedModel, skipped_positions: int) -> dict[str, object]:
    """Sizes and settings by the names in the config.json of BERT."""
    sizes = model.sizes
    return {
        "vocab_size": sizes.vocabulary,
        "hidden_size": sizes.width,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.heads,
        "intermediate_size": sizes.inner,
        "hidden_act": _ACTIVATIONS[model.form.activation],
        "max_position_embeddings": sizes.positions + skipped_positions,
        "type_vocab_size": len(model.weights["type_embeddings/embeddings"]),
        "layer_norm_eps": float(f"{model.form.epsilon:.6g}"),
        "pad_token_id": model.tokenizer.padding_id,
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
    }


def _skipped_positions(model: ExportedModel, family: Family) -> int:
    """Rows before those of the position table that texts use."""
    skipped = family.skipped_positions
    return model.tokenizer.padding_id + 1 if skipped is None else skipped
