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

from textclf.data.datasets import Dataset, Split
from textclf.manifest import Manifest
from textclf.runtime.cascade import Cascade
from textclf.runtime.linear_stage import LinearStage
from textclf.runtime.predictor import Predictor, decide
from textclf.stats.calibration import softmax
from textclf.stats.cascade import CascadeSettings, StageAnswers, exits, final_logits
from textclf.stats.cascade_fit import cascade_figures, fit_cascade
from textclf.stats.parity import margins, parity, parity_failures
from textclf.training.export import ExportedEngine
from textclf.training.linear_stage import MOST_BYTES, fit_linear_stage


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
    exported = dataclasses.replace(exported, manifest=dataclasses.replace(exported.manifest, parity=earlier))
    linear = fit_linear_stage(
        wordpieces_of_texts(encoder, dataset.train.texts), dataset.train.labels, len(dataset.class_names)
    )
    if linear is None:
        why = f"the linear stage of {len(dataset.class_names)} classes would be larger than {MOST_BYTES >> 20} MiB"
        return _with(exported.manifest, {"settings": None, "why_off": why}), None
    calibrate = dataset.validation_calibrate
    fit = fit_cascade(_answers(encoder, linear, calibrate.texts), calibrate.labels, seed)
    found: dict[str, Any] = {"settings": None, "why_off": fit.why_off, "validation": fit.figures}
    if fit.settings is None:
        return _with(exported.manifest, found), None
    figures = _parity(fit.settings, encoder, linear, exported)
    manifest = dataclasses.replace(exported.manifest, parity={**exported.manifest.parity, "cascade": figures.to_dict()})
    if failures := parity_failures(figures):
        return _with(manifest, {**found, "why_off": f"with the engine, {'; '.join(failures)}"}), None
    linear.save(folder)
    found |= {
        "settings": fit.settings.to_dict(),
        "golden_logits": linear(wordpieces_of_texts(encoder, manifest.golden_texts)).tolist(),
    }
    if dataset.test is not None:
        answers = _answers(encoder, linear, dataset.test.texts)
        found["test"] = cascade_figures(fit.settings, answers, dataset.test.labels)
    return _with(manifest, found), Cascade(linear, fit.settings)


def wordpieces_of_texts(encoder: Predictor, texts: Sequence[str]) -> Sequence[Sequence[int]]:
    """All wordpieces of each text, as the linear stage takes them."""
    return encoder.encode(list(texts)).wordpieces or [[] for _ in texts]


def _answers(encoder: Predictor, linear: LinearStage, texts: Sequence[str]) -> StageAnswers:
    encoded = encoder.encode(list(texts))
    said = linear(encoded.wordpieces or [[] for _ in texts])
    return StageAnswers(encoder.run(encoded).logits, said, encoder.temperature)


def _parity(settings: CascadeSettings, encoder: Predictor, linear: LinearStage, exported: ExportedEngine) -> Any:
    """The cascade with the engine beside the same cascade with the SavedModel."""
    compared: Split = exported.compared
    copy = _answers(encoder, linear, compared.texts)
    original = dataclasses.replace(copy, encoder_logits=exported.saved_model_logits)
    is_exit = exits(settings, copy.linear_logits)

    def answered(answers: StageAnswers) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        logits = final_logits(settings, answers, is_exit)
        return decide(softmax(logits, encoder.temperature), encoder.threshold), logits

    before = answered(original)
    return parity(
        compared.labels,
        before,
        answered(copy),
        margins(softmax(before[1], encoder.temperature), encoder.threshold),
    )


def _with(manifest: Manifest, cascade: dict[str, Any]) -> Manifest:
    return dataclasses.replace(manifest, cascade=cascade)
