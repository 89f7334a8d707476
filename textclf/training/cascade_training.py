"""The cascade of a version that is being saved: its linear stage fitted, both stages together tried, and measured.

Fitted on training texts, set up on half C of the validation texts, measured on test. It is on where it brings something
there (textclf.stats.cascade_fit), and off by the same rule where it does not.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textclf.data.datasets import Dataset
from textclf.errors import TrainingError
from textclf.runtime.backend import EncodedBatch
from textclf.runtime.cascade import Cascade
from textclf.runtime.linear_stage import LinearStage
from textclf.runtime.predictor import Predictor
from textclf.stats.calibration import decide, softmax
from textclf.stats.cascade_fit import cascade_results, fit_cascade
from textclf.stats.cascade_rules import CascadeSettings, StageOutputs, exits, final_logits
from textclf.stats.parity import Parity, margins, parity, parity_failures
from textclf.store.manifest import Manifest
from textclf.training.export.engine_export import ExportedEngine
from textclf.training.linear_stage_training import MAX_BYTES, fit_linear_stage


def add_cascade(
    exported: ExportedEngine, encoder: Predictor, dataset: Dataset, folder: Path, seed: int = 0
) -> tuple[Manifest, Cascade | None]:
    """Fit a cascade and, where it is on, write its linear stage into `folder`; the manifest says what came of it.

    Args:
        exported: the engine.
        encoder: the same, ready to answer, without a cascade.
        dataset: that the encoder was trained on.
        folder: of the engine.
        seed: of the cross-fitting.
    """
    # A version that is exported again brings the figures of its parent's cascade along.
    earlier = {name: figures for name, figures in exported.manifest.parity.items() if name != "cascade"}
    manifest = dataclasses.replace(exported.manifest, parity=earlier)
    classes = len(dataset.class_names)
    linear = fit_linear_stage(_wordpieces(encoder.encode(list(dataset.train.texts))), dataset.train.labels, classes)
    if linear is None:
        why = f"the linear stage of {classes} classes would be larger than {MAX_BYTES >> 20} MiB"
        return _with(manifest, {"settings": None, "why_off": why}), None
    calibrate = dataset.validation_calibrate
    held_out = _answers(encoder, linear, calibrate.texts)
    fit = fit_cascade(held_out, calibrate.labels, seed)
    found: dict[str, Any] = {"settings": None, "why_off": fit.why_off, "validation": fit.results}
    if fit.settings is None:
        return _with(manifest, found), None
    rows = exported.compared
    figures = _parity(fit.settings, encoder, held_out.take(rows), exported.saved_model_logits, calibrate.labels[rows])
    manifest = dataclasses.replace(manifest, parity={**earlier, "cascade": figures.to_dict()})
    if failures := parity_failures(figures):
        return _with(manifest, {**found, "why_off": f"with the engine, {'; '.join(failures)}"}), None
    linear.save(folder)
    found |= {
        "settings": fit.settings.to_dict(),
        "golden_logits": linear(_wordpieces(encoder.encode(list(manifest.golden_texts)))).tolist(),
    }
    if dataset.test is not None:
        answers = _answers(encoder, linear, dataset.test.texts)
        found["test"] = cascade_results(fit.settings, answers, dataset.test.labels)
    return _with(manifest, found), Cascade(linear, fit.settings)


def _wordpieces(encoded: EncodedBatch) -> Sequence[Sequence[int]]:
    """All wordpieces of each text, as the linear stage takes them.

    Raises:
        TrainingError: the texts were encoded for something else than an engine.
    """
    if encoded.wordpieces is None:
        raise TrainingError("expected an engine, which gives the wordpieces of whole texts, got something else")
    return encoded.wordpieces


def _answers(encoder: Predictor, linear: LinearStage, texts: Sequence[str]) -> StageOutputs:
    encoded = encoder.encode(list(texts))
    wordpieces = _wordpieces(encoded)
    lengths = np.array([len(ids) for ids in wordpieces], np.int64)
    return StageOutputs(encoder.run(encoded).logits, linear(wordpieces), encoder.temperature, lengths)


def _parity(
    settings: CascadeSettings,
    encoder: Predictor,
    copy: StageOutputs,
    saved_model_logits: NDArray[np.float32],
    labels: NDArray[np.integer[Any]],
) -> Parity:
    """The cascade with the engine beside the same cascade with the SavedModel.

    Args:
        settings: of both.
        encoder: says how logits become labels.
        copy: with the engine, to n texts.
        saved_model_logits: of the same texts, float32 [n, classes].
        labels: class ids, int [n].
    """
    original = dataclasses.replace(copy, encoder_logits=saved_model_logits)
    is_exit = exits(settings, copy.linear_logits, copy.lengths)

    def answered(answers: StageOutputs) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        logits = final_logits(settings, answers, is_exit)
        return decide(softmax(logits, encoder.temperature), encoder.threshold), logits

    before = answered(original)
    return parity(
        labels,
        before,
        answered(copy),
        margins(softmax(before[1], encoder.temperature), encoder.threshold),
    )


def _with(manifest: Manifest, cascade: dict[str, Any]) -> Manifest:
    return dataclasses.replace(manifest, cascade=cascade)
