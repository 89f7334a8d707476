"""The model that is exported: the engine of a version in float32, with calibrated logits."""

from dataclasses import dataclass

import numpy as np

from textclf.errors import ConfigError, export_again_command
from textclf.exporting.engine_weights import golden_error, weights_of_engine
from textclf.graph.bert_weights import EncoderSizes, UnknownEncoderError, Weights, encoder_sizes
from textclf.graph.engine_graph import GraphForm
from textclf.store.manifest import Manifest
from textclf.store.model_store import ModelVersion
from textclf.tokenization.text_tokenizer import TextTokenizer, load_tokenizer

# The weights are those of the engine, so that only the order of additions differs.
_GOLDEN_TOLERANCE = 0.01


@dataclass(frozen=True, eq=False)
class ExportedModel:
    """A model to write.

    Attributes:
        manifest: description of the version.
        weights: by the names of textclf.graph.bert_weights; their logits are divided by the temperature already.
        form, sizes: the rest of the encoder.
        tokenizer: that of the engine.
    """

    manifest: Manifest
    weights: Weights
    form: GraphForm
    sizes: EncoderSizes
    tokenizer: TextTokenizer


def read_model(version: ModelVersion) -> ExportedModel:
    """The model of a version.

    Raises:
        ModelStoreError: if the version has no engine, or it is damaged.
        ConfigError: if the version was imported, or its engine has another form.
    """
    version.verify(["engine"])
    if version.manifest.source:
        raise ConfigError(f"expected a version that was trained here, found {version.id}, which was imported; use the "
                          f"model that it was imported from")  # fmt: skip
    try:
        weights, form = weights_of_engine(version)
        difference = golden_error(version, weights, form)
        if not difference <= _GOLDEN_TOLERANCE:
            raise UnknownEncoderError(f"logits of golden texts differ by {difference:.2g}")
    except UnknownEncoderError as error:
        raise ConfigError(
            f"expected an engine that was built from weights, found {error}; save a version with a new engine "
            f"({export_again_command(version.id)}) and export that"
        ) from error
    temperature = np.float32(version.manifest.temperature)
    head = {name: weights[name] / temperature for name in ("classifier/kernel", "classifier/bias")}
    tokenizer = load_tokenizer(version.part("engine"))
    return ExportedModel(version.manifest, {**weights, **head}, form, encoder_sizes(weights), tokenizer)


def differences(manifest: Manifest) -> list[str]:
    """Sentences in Markdown: what the exported model does not do as textclf does."""
    found = [
        "The weights are those of the engine of the version, in float32. An int8 engine also rounds activations: "
        "probabilities differ a little, and a few texts near a threshold get another label.",
        "The temperature is part of the weights of the classifier: softmax gives calibrated probabilities.",
    ]
    if "family" not in manifest.encoder:
        found.append("The tokenizer differs for rare letters. For 6,000 English reviews all wordpieces were equal.")
    if manifest.windows > 1:
        found.append(
            f"It reads the first {manifest.max_length} wordpieces of a text; the version reads up to "
            f"{manifest.windows} windows of this length."
        )
    elif manifest.truncation == "head+tail":
        found.append(
            f"It reads the first {manifest.max_length} wordpieces of a longer text; the version reads its beginning "
            f"({manifest.head_fraction:.0%}) and its end."
        )
    if isinstance(manifest.cascade.get("settings"), dict):
        found.append("The linear stage of the cascade is left out: the encoder reads every text.")
    if len(manifest.class_names) == 2 and manifest.threshold != 0.5:
        found.append(
            f"The threshold of {manifest.threshold:g} is left out: the label is the class with the higher probability."
        )
    if manifest.unusual:
        found.append("Unusual texts are not marked.")
    return [*found, "Rules, and thresholds of unsure predictions, are not part of it."]
