"""A tiny classifier as models of the Hub have it: random weights in safetensors, names of labels, tokenizer.json."""

import json
from pathlib import Path

import numpy as np
from tiny_bert import vocabulary, write_checkpoint


def write_classifier(folder: Path, labels: tuple[str, ...] = ("neg", "pos"), seed: int = 0) -> Path:
    """Write a BertForSequenceClassification with a fast tokenizer."""
    from safetensors.numpy import load_file, save_file
    from tokenizers import BertWordPieceTokenizer

    names = {str(i): label for i, label in enumerate(labels)}
    write_checkpoint(folder, seed, architectures=["BertForSequenceClassification"], id2label=names)
    tensors = {f"bert.{name}": tensor for name, tensor in load_file(folder / "model.safetensors").items()}
    random = np.random.default_rng(seed)
    tensors["classifier.weight"] = random.normal(0, 1, (len(labels), 32)).astype(np.float32)
    tensors["classifier.bias"] = random.normal(0, 0.1, len(labels)).astype(np.float32)
    save_file(tensors, folder / "model.safetensors")
    words = {word: i for i, word in enumerate(vocabulary())}
    BertWordPieceTokenizer(words, lowercase=True).save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 64}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n", encoding="utf-8")
    return folder
