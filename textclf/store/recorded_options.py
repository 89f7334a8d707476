"""The options that a version records about its encoder and its input."""

import json
from typing import Any

from textclf.config import ModelOptions
from textclf.store.manifest import ENCODER_KEYS, Manifest


def model_options_of(manifest: Manifest) -> dict[str, Any]:
    """Fields of ModelOptions to train a version again; an option newer than the version has its default."""
    default = ModelOptions()
    return {
        **{name: manifest.encoder[name] for name in ENCODER_KEYS},
        "max_length": manifest.max_length,
        "truncation": manifest.truncation,
        "head_fraction": manifest.head_fraction,
        "dropout": manifest.training.get("dropout", default.dropout),
        "pooling": manifest.training.get("pooling", default.pooling),
        "windows": manifest.windows,
    }


def target_options_of(manifest: Manifest) -> dict[str, Any]:
    """TARGET_OPTIONS that choose thresholds of unsure predictions as for a version; {} if it has no thresholds."""
    if not manifest.unsure:
        return {}
    costs = manifest.unsure.get("costs")  # Earlier versions have none.
    return {
        "target_precision": manifest.unsure.get("target_precision") or 0.0,
        "costs": "" if costs is None else json.dumps(costs, ensure_ascii=False),
    }
