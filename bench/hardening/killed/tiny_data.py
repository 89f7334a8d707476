"""A tiny BERT with random weights as a Hugging Face folder, and short reviews that it can learn."""

import json
from pathlib import Path
from typing import Any

import numpy as np

CLASSES = ("neg", "pos")
_WIDTH, _INNER, _LAYERS, _POSITIONS = 32, 64, 2, 64
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_COMMON = ["the", "a", "film", "was", "story", "and", "music", "scene", "actor", "is", "plot", "it", "with", "very"]
_TELLING = (("bad", "awful", "dull", "boring"), ("good", "great", "lovely", "brilliant"))
_NEW_TELLING = (("weak", "flat", "poor", "hate"), ("superb", "fresh", "warm", "love"))


def write_checkpoint(folder: Path) -> Path:
    """Write config.json, model.safetensors, vocab.txt and tokenizer_config.json."""
    from safetensors.numpy import save_file  # Only the environment of training has it.

    words = {*_COMMON, *(word for pair in (*_TELLING, *_NEW_TELLING) for word in pair)}
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    vocabulary = [*_SPECIAL, *sorted(words), *letters, *(f"##{letter}" for letter in letters), *".,!?'"]
    vocabulary = list(dict.fromkeys(vocabulary))
    config: dict[str, Any] = {
        "model_type": "bert", "vocab_size": len(vocabulary), "hidden_size": _WIDTH, "num_hidden_layers": _LAYERS,
        "num_attention_heads": 4, "intermediate_size": _INNER, "hidden_act": "gelu", "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1, "max_position_embeddings": _POSITIONS, "type_vocab_size": 2,
        "layer_norm_eps": 1e-12,
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    save_file(_weights(len(vocabulary)), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": true}', encoding="utf-8")
    return folder


def _weights(words: int) -> dict[str, Any]:
    random = np.random.default_rng(0)
    tensors: dict[str, Any] = {}

    def dense(name: str, outputs: int, inputs: int) -> None:
        tensors[f"{name}.weight"] = random.normal(0, 0.1, (outputs, inputs)).astype(np.float32)
        tensors[f"{name}.bias"] = np.zeros(outputs, np.float32)

    def norm(name: str) -> None:
        tensors[f"{name}.weight"] = np.ones(_WIDTH, np.float32)
        tensors[f"{name}.bias"] = np.zeros(_WIDTH, np.float32)

    for name, rows in (("word", words), ("position", _POSITIONS), ("token_type", 2)):
        table = random.normal(0, 0.1, (rows, _WIDTH)).astype(np.float32)
        tensors[f"embeddings.{name}_embeddings.weight"] = table
    norm("embeddings.LayerNorm")
    for number in range(_LAYERS):
        layer = f"encoder.layer.{number}"
        for part in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
            dense(f"{layer}.{part}", _WIDTH, _WIDTH)
        norm(f"{layer}.attention.output.LayerNorm")
        dense(f"{layer}.intermediate.dense", _INNER, _WIDTH)
        dense(f"{layer}.output.dense", _WIDTH, _INNER)
        norm(f"{layer}.output.LayerNorm")
    dense("pooler.dense", _WIDTH, _WIDTH)
    return tensors


def reviews(count: int, seed: int, *, new: bool = False) -> list[tuple[str, str]]:
    """Return different texts with labels in turn; new ones have other telling words."""
    random = np.random.default_rng(seed)
    telling = _NEW_TELLING if new else _TELLING
    found = []
    for number in range(count):
        words = [*random.choice(_COMMON, random.integers(6, 20)), *random.choice(telling[number % 2], 3)]
        random.shuffle(words)
        found.append((f"{' '.join(words)} {seed} {number}", CLASSES[number % 2]))
    return found


def write_table(path: Path, rows: list[tuple[str, str]]) -> None:
    """Write texts and labels as JSON Lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"text": text, "label": label}) + "\n" for text, label in rows]
    path.write_text("".join(lines), encoding="utf-8")
