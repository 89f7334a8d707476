"""Tiny BERT as a Hugging Face folder: 2 layers, width 32, 4 heads, a vocabulary of 200 words and pieces."""

import json
from pathlib import Path

import numpy as np

CONFIG = {
    "model_type": "bert",
    "vocab_size": 200,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "max_position_embeddings": 64,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
}
_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_WORDS = (
    "the a an film movie story plot actor scene music was is it not and but of in with i we they this that "
    "very really so good great lovely brilliant warm funny moving fresh superb bad awful dull boring weak flat "
    "poor dreadful never always ending dialogue camera long short slow fast best worst love hate"
)


def vocabulary() -> list[str]:
    """Return 200 entries: special tokens, words, letters as words and as word endings, punctuation."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    entries = [*_SPECIAL, *_WORDS.split(), *letters, *(f"##{letter}" for letter in letters), *".,!?'-\"();:/<>&"]
    entries = list(dict.fromkeys(entries))
    return entries + [f"[unused{i}]" for i in range(CONFIG["vocab_size"] - len(entries))]


def write_checkpoint(folder: Path, seed: int = 0, **config: object) -> Path:
    """Write config.json, model.safetensors, vocab.txt and tokenizer_config.json with random weights."""
    # Imported here because the rest of this module also serves where there is only what serving needs.
    from safetensors.numpy import save_file

    settings = {**CONFIG, **config}
    width, inner, layers = settings["hidden_size"], settings["intermediate_size"], settings["num_hidden_layers"]
    random = np.random.default_rng(seed)
    tensors: dict[str, np.ndarray] = {}

    def weight(name: str, *shape: int) -> None:
        tensors[name] = random.normal(0, 0.1, shape).astype(np.float32)

    def dense(name: str, outputs: int, inputs: int) -> None:
        weight(f"{name}.weight", outputs, inputs)
        weight(f"{name}.bias", outputs)

    def norm(name: str) -> None:
        tensors[f"{name}.weight"] = (1 + random.normal(0, 0.1, width)).astype(np.float32)
        weight(f"{name}.bias", width)

    for name, rows in (
        ("word", settings["vocab_size"]),
        ("position", settings["max_position_embeddings"]),
        ("token_type", settings["type_vocab_size"]),
    ):
        weight(f"embeddings.{name}_embeddings.weight", rows, width)
    norm("embeddings.LayerNorm")
    for i in range(layers):
        layer = f"encoder.layer.{i}"
        for part in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
            dense(f"{layer}.{part}", width, width)
        norm(f"{layer}.attention.output.LayerNorm")
        dense(f"{layer}.intermediate.dense", inner, width)
        dense(f"{layer}.output.dense", width, inner)
        norm(f"{layer}.output.LayerNorm")
    dense("pooler.dense", width, width)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "vocab.txt").write_text("\n".join(vocabulary()) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": true}', encoding="utf-8")
    return folder


def write_reviews(root: Path, per_class: int = 40, seed: int = 0, classes: tuple[str, ...] = ("neg", "pos")) -> Path:
    """Write a learnable data set, root/train|test/<class>/*.txt; each class has some words of its own."""
    random = np.random.default_rng(seed)
    tell = [
        ["bad", "awful", "dull", "boring"],
        ["good", "great", "lovely", "brilliant"],
        ["long", "slow", "short", "fast"],
    ]
    common = ["the", "film", "was", "story", "it", "and", "music", "scene", "actor", "is", "a", "plot"]
    for part, count in (("train", per_class), ("test", max(4, per_class // 4))):
        for c, name in enumerate(classes):
            (root / part / name).mkdir(parents=True)
            for i in range(count):
                words = [*random.choice(common, random.integers(4, 20)), *random.choice(tell[c], 3)]
                random.shuffle(words)
                (root / part / name / f"{i}.txt").write_text(f"{' '.join(words)} {part[1]} {i}\n", encoding="utf-8")
    return root
