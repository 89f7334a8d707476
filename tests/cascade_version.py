"""A version with a cascade, made without TensorFlow: the engine of tiny_engine, and a linear stage that was fitted."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
from tiny_engine import GOLDEN_TEXTS, tiny_reviews, write_version

from textclf.model_store import ModelStore, ModelVersion, open_model
from textclf.runtime.loading import load_predictor
from textclf.stats.cascade import CascadeSettings
from textclf.training.linear_stage import fit_linear_stage

SETTINGS = CascadeSettings(linear_temperature=1.0, encoder_weight=1.0, linear_weight=1.0, exit_confidence=0.9)


def write_cascade_version(
    folder: Path,
    class_names: tuple[str, ...] = ("neg", "pos"),
    **changes: object,
) -> ModelVersion:
    """In the store `folder`/model: its encoder guesses, its linear stage knows tiny reviews.

    `changes` are fields of the manifest.
    """
    plain = open_model(write_version(folder / "plain", class_names, reference_texts=[]))
    encoder = load_predictor(plain.path)
    texts, labels = zip(*tiny_reviews(400, seed=5, classes=len(class_names)), strict=True)
    linear = fit_linear_stage(encoder.encode(list(texts)).wordpieces, np.array(labels), len(class_names))
    golden = linear(encoder.encode(list(GOLDEN_TEXTS)).wordpieces)
    store = ModelStore(folder / "model")
    with store.new_version() as draft:
        shutil.copytree(plain.path / "engine", draft.path / "engine")
        linear.save(draft.path / "engine")
        cascade = {"settings": SETTINGS.to_dict(), "why_off": "", "golden_logits": golden.tolist()}
        draft.manifest = dataclasses.replace(plain.manifest, cascade=cascade, **changes)
    return store.open(draft.id)
