"""From a path to a checked, loaded predictor: version with an engine, version without one, or plain SavedModel."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from textclf.errors import ConfigError, ModelStoreError, export_again_command
from textclf.labels import MAX_CLASS_NAME_CHARS, is_class_name
from textclf.runtime.backend import Backend, Timings
from textclf.runtime.cascade import Cascade
from textclf.runtime.engine import load_engine
from textclf.runtime.linear_stage import LinearStage
from textclf.runtime.predictor import TOKENS_PER_BATCH, Predictor
from textclf.runtime.saved_model import load_saved_model
from textclf.runtime.unusual import UnusualTexts
from textclf.stats.cascade_rules import CascadeSettings
from textclf.store.manifest import MANIFEST_FILE, Manifest
from textclf.store.model_store import ModelVersion, is_saved_model_folder, open_model
from textclf.tokenization.text_tokenizer import TextTokenizer

_ENGINE = "engine"
_SAVED_MODEL = "saved_model"
# The linear stage sums 16-bit weights; the order of the sum can differ.
_GOLDEN_TOLERANCE = 1e-2


def load_predictor(
    model_path: Path | str,
    class_names: Sequence[str] | None = None,
    tokens_per_batch: int = TOKENS_PER_BATCH,
    threads: int | None = None,
    cascade: bool = True,
) -> Predictor:
    """Load the model at `model_path`.

    Args:
        model_path: a model store (its current version), one version's folder, or a plain SavedModel folder
            (see textclf.runtime.saved_model).
        class_names: class names of a plain SavedModel in the order of its outputs; None names them 0 … K-1. A version
            contains its own.
        tokens_per_batch: maximum tokens of a batch, padding included.
        threads: number of threads of the engine; None uses all cores. TensorFlow ignores it.
        cascade: whether the version's linear stage predicts the texts it is sure of; if false, or without such a
            stage, the encoder reads every text.

    Raises:
        ModelStoreError: if there is no model, or it is damaged or can't be loaded.
        ConfigError: if class_names differ from the model's classes.
    """
    model_path = Path(model_path)
    if model_path.name == _SAVED_MODEL and (model_path.parent / MANIFEST_FILE).is_file():
        model_path = model_path.parent  # The manifest of the version contains class names and temperature.
    if is_saved_model_folder(model_path):
        return _predictor_of_plain_model(model_path, class_names, tokens_per_batch)
    version = open_model(model_path)
    if class_names is not None and tuple(class_names) != version.manifest.class_names:
        raise ConfigError(
            f"class_names: {version.path} contains its own, {', '.join(version.manifest.class_names)}; "
            f"got {', '.join(class_names)}: leave them out"
        )
    return predictor_of_version(version, tokens_per_batch, threads, cascade)


def predictor_of_version(
    version: ModelVersion, tokens_per_batch: int = TOKENS_PER_BATCH, threads: int | None = None, cascade: bool = True
) -> Predictor:
    """Load a saved version after checking the hashes of the part that is used.

    That part is the engine, with its linear stage unless `cascade` is false. A version without an engine needs
    TensorFlow and uses the encoder only.

    Raises:
        ModelStoreError: if the part is missing or damaged, or can't be loaded.
    """
    manifest = version.manifest
    backend: Backend
    stages: Cascade | None = None
    unusual: UnusualTexts | None = None
    if version.has(_ENGINE):
        version.verify([_ENGINE])
        engine = load_engine(version, threads)
        backend, stages = engine, load_cascade(version, engine.tokenizer) if cascade else None
        unusual = UnusualTexts.load(version.part(_ENGINE))
    else:
        folder = version.part(_SAVED_MODEL)
        version.verify([_SAVED_MODEL])
        try:
            backend = load_saved_model(folder, manifest.max_wordpieces)
        except ModelStoreError as error:
            if not isinstance(error.__cause__, ImportError):
                raise
            raise ModelStoreError(
                f"{version.path}: expected a version with an engine, because TensorFlow is not installed; where it was "
                f"trained, run {export_again_command(version.id)} and use the new version. Or else {error}"
            ) from error
    return predictor_with(backend, manifest, tokens_per_batch, stages, unusual)


def load_cascade(version: ModelVersion, tokenizer: TextTokenizer) -> Cascade | None:
    """Load the cascade of a version and check its golden logits; None if the version has no cascade.

    Raises:
        ModelStoreError: if the linear stage is missing or damaged, or its golden logits differ from the manifest's.
    """
    manifest = version.manifest
    if manifest.cascade.get("settings") is None:
        return None
    try:
        settings = CascadeSettings.from_dict(manifest.cascade["settings"])
        expected = np.array(manifest.cascade["golden_logits"], np.float32)
    except (ConfigError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelStoreError.damaged(
            f"{version.path}: expected a cascade in the manifest ({type(error).__name__}: {error})", can_export=True
        ) from error
    linear = LinearStage.load(version.part(_ENGINE))
    if linear.classes != len(manifest.class_names):
        raise ModelStoreError.damaged(
            f"{version.path}: expected a linear stage of {len(manifest.class_names)} classes, got one of "
            f"{linear.classes}",
            can_export=True,
        )
    found = linear([text.wordpieces for text in tokenizer(manifest.golden_texts)])
    if found.shape != expected.shape or not np.abs(found - expected).max(initial=0.0) <= _GOLDEN_TOLERANCE:
        raise ModelStoreError.damaged(
            f"{version.path}: the linear stage gives other logits on the golden texts than where it was fitted",
            can_export=True,
        )
    return Cascade(linear, settings)


def predictor_with(
    backend: Backend,
    manifest: Manifest,
    tokens_per_batch: int = TOKENS_PER_BATCH,
    cascade: Cascade | None = None,
    unusual: UnusualTexts | None = None,
) -> Predictor:
    """A predictor with the class names, temperature and threshold of the manifest."""
    return Predictor(
        backend,
        manifest.class_names,
        max_wordpieces=manifest.max_wordpieces,
        temperature=manifest.temperature,
        threshold=manifest.threshold,
        tokens_per_batch=tokens_per_batch,
        name=manifest.name,
        version_id=manifest.id,
        cascade=cascade,
        other_names=manifest.data.get("options", {}).get("rename_labels", {}),
        unusual=unusual,
        golden_texts=manifest.golden_texts,
        unsure_below=manifest.unsure_below,
    )


def _predictor_of_plain_model(folder: Path, class_names: Sequence[str] | None, tokens_per_batch: int) -> Predictor:
    backend = load_saved_model(folder)
    classes = backend.run(["a text"], Timings()).logits.shape[1]
    names = tuple(str(label_id) for label_id in range(classes)) if class_names is None else tuple(class_names)
    if len(names) != classes:
        raise ConfigError(
            f"class_names: expected {classes} names, one for each output of {folder}, "
            f"got {len(names)}: {', '.join(names)}"
        )
    if len(set(names)) != len(names) or not all(is_class_name(name) for name in names):
        raise ConfigError(
            f"class_names: expected different names of up to {MAX_CLASS_NAME_CHARS} printable characters, got "
            f"{', '.join(map(repr, names))}"
        )
    return Predictor(backend, names, tokens_per_batch=tokens_per_batch, name=folder.resolve().name)
