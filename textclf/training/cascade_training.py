"""Fits, configures and measures the cascade of a new version.

The linear stage is fitted on training texts. The cascade is configured on the calibration set and measured on the test
texts of the evaluation. It is on only if it improves the results on the calibration set (textclf.stats.cascade_fit).
Both honour the class weights and the selection metric of the training.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from textclf.config import TrainingOptions
from textclf.data.datasets import Dataset
from textclf.errors import TrainingError
from textclf.evaluation.scoring import drawn_rows
from textclf.graph.engine_files import parity_of_logits
from textclf.runtime.cascade import Cascade
from textclf.runtime.linear_stage import LinearStage
from textclf.runtime.predictor import Predictor
from textclf.stats.cascade_fit import cascade_results, fit_cascade
from textclf.stats.cascade_objective import Objective
from textclf.stats.cascade_rules import CascadeSettings, StageOutputs, exits, final_logits
from textclf.stats.parity import Parity, parity_failures
from textclf.store.manifest import Manifest
from textclf.training.export.engine_export import ExportedEngine
from textclf.training.linear_stage_training import MAX_BYTES, fit_linear_stage


class AddedCascade(NamedTuple):
    """The manifest with the results, the cascade if it is on, and the linear stage unless it would be too large."""

    manifest: Manifest
    cascade: Cascade | None
    linear: LinearStage | None


def add_cascade(
    exported: ExportedEngine, encoder: Predictor, dataset: Dataset, folder: Path, seed: int = 0
) -> AddedCascade:
    """Fit a cascade and, if it is on, write its linear stage into `folder`.

    Args:
        exported, folder: the engine and its folder.
        encoder: predictor with this engine, without a cascade.
        dataset: data set that the encoder was trained on.
        seed: random seed of the cross-fitting.
    """
    # The manifest of a version that is exported again contains the results of its parent's cascade.
    earlier = {name: results for name, results in exported.manifest.parity.items() if name != "cascade"}
    manifest = dataclasses.replace(exported.manifest, parity=earlier)
    classes = len(dataset.class_names)
    objective = _objective(manifest)
    wordpieces = _wordpieces(encoder, dataset.train.texts)
    linear = fit_linear_stage(
        wordpieces, dataset.train.labels, classes, objective.class_weights, weights=dataset.train.weights
    )
    if linear is None:
        why = f"the linear stage of {classes} classes would be larger than {MAX_BYTES >> 20} MiB"
        return AddedCascade(_with(manifest, {"settings": None, "why_off": why}), None, None)
    if manifest.training.get("options", {}).get("train_on") == "all":
        why = "the encoder was fitted to all texts, so none is left to compare both stages"
        return AddedCascade(_with(manifest, {"settings": None, "why_off": why}), None, linear)
    calibration_set = dataset.validation_calibrate
    held_out = _stage_outputs(encoder, linear, calibration_set.texts)
    fit = fit_cascade(held_out, calibration_set.labels, seed, objective)
    found: dict[str, Any] = {"settings": None, "why_off": fit.why_off, "validation": fit.results}
    if fit.settings is None:
        return AddedCascade(_with(manifest, found), None, linear)
    rows = exported.compared
    labels = calibration_set.labels[rows]
    compared = _parity(fit.settings, encoder, held_out.take(rows), exported.saved_model_logits, labels)
    manifest = dataclasses.replace(manifest, parity={**earlier, "cascade": compared.to_dict()})
    if failures := parity_failures(compared):
        found |= {"why_off": f"with the engine, {'; '.join(failures)}"}
        return AddedCascade(_with(manifest, found), None, linear)
    linear.save(folder)
    found |= {
        "settings": fit.settings.to_dict(),
        "golden_logits": linear(_wordpieces(encoder, manifest.golden_texts)).tolist(),
    }
    if dataset.test is not None:
        # The texts of the evaluation: on many more, a pass of the encoder would take a tenth of the training's time.
        drawn = dataset.test.chosen(drawn_rows(len(dataset.test)))
        found["test"] = cascade_results(fit.settings, _stage_outputs(encoder, linear, drawn.texts), drawn.labels)
    return AddedCascade(_with(manifest, found), Cascade(linear, fit.settings), linear)


def _objective(manifest: Manifest) -> Objective:
    """The objective of the encoder's training; an option that the manifest lacks has its default."""
    options = TrainingOptions(**TrainingOptions.pop_from(dict(manifest.training.get("options", {}))))
    return Objective(options.metric, options.class_weights)


def _wordpieces(encoder: Predictor, texts: Sequence[str]) -> Sequence[Sequence[int]]:
    """All wordpieces of each text, for the linear stage."""
    if encoder.backend.tokenizer is None:
        raise TrainingError("expected an encoder with a tokenizer, as an engine has, found one without")
    return [text.wordpieces for text in encoder.backend.tokenizer(texts)]


def _stage_outputs(encoder: Predictor, linear: LinearStage, texts: Sequence[str]) -> StageOutputs:
    encoded = encoder.encode(list(texts))
    wordpieces = encoded.wordpieces or _wordpieces(encoder, texts)
    lengths = np.array([len(ids) for ids in wordpieces], np.int64)
    return StageOutputs(encoder.run(encoded).logits, linear(wordpieces), encoder.temperature, lengths)


def _parity(
    settings: CascadeSettings,
    encoder: Predictor,
    copy: StageOutputs,
    saved_model_logits: NDArray[np.float32],
    labels: NDArray[np.integer[Any]],
) -> Parity:
    """Compare the cascade with the engine and the same cascade with the SavedModel; `copy` is of the engine."""
    original = dataclasses.replace(copy, encoder_logits=saved_model_logits)
    is_exit = exits(settings, copy.linear_logits, copy.lengths)
    before, after = (final_logits(settings, outputs, is_exit) for outputs in (original, copy))
    return parity_of_logits(labels, before, after, encoder.temperature, encoder.threshold)


def _with(manifest: Manifest, cascade: dict[str, Any]) -> Manifest:
    return dataclasses.replace(manifest, cascade=cascade)
