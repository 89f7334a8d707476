"""Writes a new model version: SavedModel, plots, engine, cascade, reference, evaluation, manifest, in this order."""

import contextlib
import dataclasses
import functools
import importlib.metadata
import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from textclf.config import DataOptions
from textclf.data.datasets import Dataset
from textclf.data.splits import Split
from textclf.drift.reference import REFERENCE_FILE, load_reference, save_reference
from textclf.errors import TrainingError
from textclf.evaluation.class_words import class_words
from textclf.evaluation.scoring import evaluate, evaluated_split
from textclf.evaluation.unsure_version import thresholds_of_new_version
from textclf.phases import announce, announce_scoring
from textclf.report.plots import plot_confusion_matrix, plot_reliability, plot_training_curves
from textclf.report.shortcomings import evaluation_shortcomings
from textclf.report.unusual import unusual_sentence
from textclf.runtime.engine import load_engine
from textclf.runtime.feature_extraction import reference_of
from textclf.runtime.loading import predictor_with
from textclf.stats.calibration import reliability_bins
from textclf.stats.floor import Floor
from textclf.stats.intervals import wilson_interval
from textclf.store.evaluation import MAX_TEXTS
from textclf.store.manifest import Manifest
from textclf.store.model_store import ModelStore, ModelVersion
from textclf.training.cascade_training import add_cascade
from textclf.training.compiled_training import CompiledTraining
from textclf.training.encoders.family_encoder import FamilyEncoder
from textclf.training.encoders.preprocessing import TextPreprocessing
from textclf.training.export.engine_export import EngineTexts, checked_tokenizer, export_engine, export_seconds
from textclf.training.export.remembered_outputs import RememberedOutputs
from textclf.training.export.saved_model_export import SavedClassifier, export_saved_model, largest_logit_difference
from textclf.training.export.tokenizer_parity import preprocessing_of_version
from textclf.training.fast_outputs import FLOAT32
from textclf.training.fitted_training import FittedTraining
from textclf.training.fitting.training_loop import FitResult
from textclf.training.measuring import MeasuredModel, MeasuredTraining, measure_model, window_logits
from textclf.training.tf_setup import tf_keras
from textclf.training.unusual_training import fit_unusual, unusual_counts

# The saved model is compared with the model in memory on this many texts, within this tolerance of the logits.
_CHECKED_TEXTS = 32
_LOGIT_TOLERANCE = 1e-3
# Texts of each of two splits on which the serving tokenizer must give the SavedModel's ids.
_TOKENIZED_TEXTS = 1000
# To announce the duration.
_LINEAR_SECONDS_PER_TEXT = 0.002
_PACKAGES = (
    "tensorflow", "tensorflow-text", "tf-keras", "tf-models-official", "numpy", "openvino", "nncf",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class NewVersion:
    """The record that write_version() writes as a version.

    Attributes:
        manifest: complete except for the engine, the cascade and their parity.
        dataset, preprocessing: data set and preprocessing of the training.
        write_model: writes saved_model/ and plots/ into the version's folder and returns the parity that it measured.
        expected_current: version that must still be current for a promotion; None if the store is empty.
        held_out_logits: logits of the calibration set by models that were not fitted to it, float32 [n, K], for
            reference_of(); None if this model was not.
    """

    manifest: Manifest
    dataset: Dataset
    preprocessing: TextPreprocessing
    write_model: Callable[[Path], dict[str, Any]]
    expected_current: str | None
    held_out_logits: np.ndarray | None = None


def write_version(store: ModelStore, new: NewVersion, promote: bool, *, is_withheld: bool = False) -> ModelVersion:
    """Write a version into the store; it becomes current if it is the first one and not withheld, or with `promote`.

    Raises:
        TrainingError: if the saved model or the engine differs from the trained model; nothing is kept.
        ModelStoreError: if the store can't be written, or another version became current meanwhile.
    """
    with store.new_version(is_withheld=is_withheld) as draft:
        parity = {**new.manifest.parity, **new.write_model(draft.path)}
        draft.manifest = _export(draft.path, dataclasses.replace(new.manifest, parity=parity), new)
    if promote and store.current_id() != draft.id:
        store.promote(draft.id, expected_current=new.expected_current)
    version = store.open(draft.id)
    click.echo(f"saved:         {version.path}{' (current)' if store.current_id() == version.id else ''}")
    return version


def trained_version(
    ready: CompiledTraining,
    fitted: FittedTraining,
    measured: MeasuredTraining,
    data_options: DataOptions,
    data_path: str,
    name: str,
    parent: str | None,
    current: str | None,
) -> NewVersion:
    """The version of a finished training; `parent` is the version that it was retrained from.

    `data_path` is the path of the data set as it was given.
    """
    model, dataset = ready.model_options, ready.dataset
    manifest = Manifest(
        name=name,
        class_names=dataset.class_names,
        encoder={
            "model_name": model.model_name,
            "name_to_handle": ready.folders.name_to_handle,
            "model_to_handle": ready.folders.model_to_handle,
            **_family_of(ready.classifier.get_layer("bert_encoder")),
        },
        max_length=model.max_length,
        truncation=model.truncation,
        head_fraction=model.head_fraction,
        windows=model.windows,
        lower_case=ready.preprocessing.folds_case(),
        temperature=measured.temperature,
        metrics={split: metrics.to_dict() for split, metrics in measured.metrics.items()},
        calibration=measured.calibration,
        data={
            "source": dataset.source.resolve().name,
            "path": data_path,
            "fingerprint": dataset.fingerprints,
            "counts": dataclasses.asdict(dataset.counts),
            "options": data_options.to_dict(),
        },
        training={
            **dataclasses.asdict(fitted.result),
            "options": {**ready.options.to_dict(), "precision": ready.precision},
            # A probe learns from labels only.
            "teachers": [] if fitted.is_probe else [dataclasses.asdict(record) for record in ready.taught.records],
            "graph": ready.ids_model.name,
            "dropout": model.dropout,
            "pooling": model.pooling,
            **({} if ready.recipe is None else {"recipe": ready.recipe.to_dict()}),
            "floor": measured.floor.to_dict(),
            "is_probe": fitted.is_probe,
            "measured_in": measured.precision,
        },
        software={"python": platform.python_version(), **_package_versions()},
        parent=parent,
    )

    def write_model(folder: Path) -> dict[str, Any]:
        difference = _write_saved_model(folder / "saved_model", ready, measured.temperature)
        _plot(folder / "plots", dataset, fitted.result, measured)
        return {"saved_model_largest_logit_difference": difference}

    held_out = None if fitted.out_of_fold is None else fitted.out_of_fold[-len(dataset.validation_calibrate) :]
    return NewVersion(manifest, dataset, ready.preprocessing, write_model, current, held_out)


def reexported_version(parent: ModelVersion, dataset: Dataset, current: str | None, windows: int) -> NewVersion:
    """A child of `parent` with the same weights and plots.

    With another number of windows, the temperature and the metrics are measured again, and the plots that show them are
    drawn again. The child has no floor, unless it refuses the version.

    Args:
        dataset: data set of the training.
        current: version that must still be current for a promotion; None if the store is empty.
        windows: maximum number of windows of a text.

    Raises:
        ModelStoreError: if `parent` has no saved_model/, or an early one whose windows can't be changed.
    """
    saved_model, software = parent.part("saved_model"), {**parent.manifest.software, **_package_versions()}
    manifest = dataclasses.replace(parent.manifest, parent=parent.id, software=software, windows=windows)
    preprocessing = preprocessing_of_version(parent)
    measured: MeasuredModel | None = None
    is_fitted_to_all = manifest.training.get("options", {}).get("train_on") == "all"
    if windows != preprocessing.windows:
        if is_fitted_to_all:
            raise TrainingError(
                f"version {parent.id}: expected a version that was not fitted to its calibration set, found one that "
                f"was; its temperature can't be fitted for other windows: train it again with --windows"
            )
        preprocessing.windows = windows
        classifier = SavedClassifier(saved_model)
        logits_of = functools.partial(_logits_of_split, classifier, preprocessing)
        measured = measure_model(dataset, logits_of, parent.manifest.metrics)
        manifest = dataclasses.replace(
            manifest,
            training=training_of_child(parent.manifest.training) | {"measured_in": FLOAT32},
            temperature=measured.temperature,
            calibration=measured.calibration,
            metrics={split: metrics.to_dict() for split, metrics in measured.metrics.items()},
        )

    def write_model(folder: Path) -> dict[str, Any]:
        if parent.has("plots"):
            shutil.copytree(parent.part("plots"), folder / "plots")
        if measured is None:
            shutil.copytree(saved_model, folder / "saved_model")
            return {}
        classifier.save(preprocessing, measured.temperature, folder / "saved_model")
        _plot_measured(folder / "plots", dataset, measured)
        sample = _checked_sample(dataset)
        logits = _logits_of_split(classifier, preprocessing, sample, "check")
        difference = _checked_difference(folder / "saved_model", sample, logits, preprocessing)
        return {"saved_model_largest_logit_difference": difference}

    held_out = load_reference(parent.part(REFERENCE_FILE)).features.logits if is_fitted_to_all else None
    return NewVersion(manifest, dataset, preprocessing, write_model, current, held_out)


def training_of_child(training: dict[str, Any]) -> dict[str, Any]:
    """The record of a training, for a child with other windows.

    The floor was measured with the windows of the parent. It is kept only if it refuses the weights, so that the child
    does not become current either.
    """
    floor = training.get("floor")
    if floor is None or Floor(**floor).is_refused:
        return training
    return {name: value for name, value in training.items() if name != "floor"}


def _logits_of_split(
    classifier: SavedClassifier, preprocessing: TextPreprocessing, split: Split, label: str
) -> np.ndarray:
    return window_logits(
        lambda ids, mask: classifier.classify_ids(ids, mask)["logits"], preprocessing, split.texts, label
    )


def _write_saved_model(folder: Path, ready: CompiledTraining, temperature: float) -> float:
    """Write and check the SavedModel; returns the largest difference of its logits from the model in memory."""
    announce("saving the SavedModel and comparing it with the model", 12)
    export_saved_model(ready.classifier, ready.preprocessing, temperature, folder)
    sample = _checked_sample(ready.dataset)
    return _checked_difference(folder, sample, ready.logits(sample, "check"), ready.preprocessing)


def _checked_sample(dataset: Dataset) -> Split:
    return Split(dataset.train.texts[:_CHECKED_TEXTS], dataset.train.labels[:_CHECKED_TEXTS])


def _checked_difference(folder: Path, sample: Split, logits: np.ndarray, preprocessing: TextPreprocessing) -> float:
    """Largest difference between the logits of a SavedModel and those in memory, if it is small enough."""
    difference = largest_logit_difference(
        folder, sample.texts, logits, preprocessing.windows, preprocessing.text_tokenizer
    )
    if not difference <= _LOGIT_TOLERANCE:  # True for NaN, too.
        raise TrainingError(
            f"expected the saved model's logits to differ by at most {_LOGIT_TOLERANCE:g} from the trained model's, "
            f"found {difference:g}; nothing was saved, please report this with the encoder's handle"
        )
    return difference


def _export(folder: Path, manifest: Manifest, new: NewVersion) -> Manifest:
    """Write what is made from the SavedModel in `folder`, from the engine to the evaluation; complete the manifest."""
    calibration_set, train = new.dataset.validation_calibrate, new.dataset.train.texts
    checked_texts = [*calibration_set.texts[:_TOKENIZED_TEXTS], *train[:_TOKENIZED_TEXTS]]
    tokenizer = checked_tokenizer(new.preprocessing, checked_texts)
    # Labels of texts that the model was fitted to change less than those of other texts.
    is_held_out = manifest.training.get("options", {}).get("train_on", "train") == "train"
    texts = EngineTexts(train, calibration_set, new.dataset.validation_select if is_held_out else None)
    announce(
        "making the int8 engine and comparing it with the SavedModel", export_seconds(texts, manifest.max_wordpieces)
    )
    exported = export_engine(folder / "saved_model", tokenizer, manifest, texts, folder / "engine")
    manifest = exported.manifest
    click.echo(_engine_summary(manifest))
    # Load the engine as a server does, so that drift is compared with the outputs of the same computation.
    engine = load_engine(ModelVersion(folder, manifest))
    announce(f"fitting the linear stage to {len(train):,} texts", len(train) * _LINEAR_SECONDS_PER_TEXT)
    # The cascade and the reference read the calibration set.
    once = RememberedOutputs(engine)
    manifest, cascade, linear = add_cascade(exported, predictor_with(once, manifest), new.dataset, folder / "engine")
    click.echo(_cascade_summary(manifest))
    unusual = fit_unusual(train, engine.tokenizer)
    unusual.save(folder / "engine")
    held_out = calibration_set.texts
    announce_scoring(held_out, manifest.max_wordpieces, f"{len(held_out):,} texts for the drift reference")
    reference = reference_of(
        predictor_with(once, manifest, cascade=cascade, unusual=unusual),
        held_out,
        calibration_set.labels,
        projection_texts=train,
        held_out_logits=new.held_out_logits,
    )
    # An encoder that was fine-tuned on texts embeds them otherwise than new ones, which a test takes for drift.
    if new.held_out_logits is not None and not manifest.training.get("is_probe"):
        reference = reference.without_embeddings()
    save_reference(reference, folder / REFERENCE_FILE)
    click.echo(f"reference:     {len(reference.labels)} held-out texts, error rate {reference.error_rate:.2%}")
    manifest = dataclasses.replace(manifest, unusual=unusual_counts(unusual, engine.tokenizer, held_out))
    click.echo(f"unusual:       {unusual_sentence(manifest.unusual)}")
    name, split = evaluated_split(new.dataset)
    announce_scoring(
        split.texts[:MAX_TEXTS], manifest.max_wordpieces, f"up to {MAX_TEXTS:,} {name} texts for the evaluation"
    )
    words = () if linear is None else class_words(linear, engine.tokenizer, train)
    # It measures the speed.
    predictor = predictor_with(engine, manifest, cascade=cascade, unusual=unusual)
    evaluation = evaluate(predictor, name, split.texts, split.labels, words)
    evaluation.save(folder)
    manifest = dataclasses.replace(manifest, unsure=thresholds_of_new_version(manifest, reference, evaluation))
    served = "engine that serves" if cascade is None else "engine that serves, with the cascade"
    right, n = int(evaluation.is_right.sum()), len(evaluation)
    low, high = wilson_interval(right, n)
    click.echo(f"evaluation:    {served}: accuracy {right / n:.4f} ({low:.3f} to {high:.3f}, {n} {name} texts)")
    for sentence in evaluation_shortcomings(evaluation, manifest):
        click.echo(f"warning: {sentence}", err=True)
    return manifest


def _engine_summary(manifest: Manifest) -> str:
    engine, parity = manifest.engine, manifest.parity["engine"]
    line = (
        f"engine:        {engine['precision']}, the label of the SavedModel on {parity['agreement']:.2%} of "
        f"{parity['texts']} texts, accuracy {parity['accuracy_of_original']:.4f} -> {parity['accuracy_of_copy']:.4f}"
    )
    return "\n".join([line, *(f"  refused {reason}" for reason in engine["refused"])])


def _cascade_summary(manifest: Manifest) -> str:
    cascade = manifest.cascade
    if cascade["settings"] is None:
        return f"cascade:       off: {cascade['why_off']}"
    split = "test" if "test" in cascade else "validation"
    results = cascade[split]
    accuracy = ", ".join(f"{name} {value:.4f}" for name, value in results["accuracy"].items())
    why_off = f" ({cascade['why_off']})" if cascade["why_off"] else ""
    return (
        f"cascade:       the linear stage predicts {results['exit_share']:.1%} of {results['texts']} {split} texts; "
        f"accuracy: {accuracy}{why_off}"
    )


def _plot(folder: Path, dataset: Dataset, fitted: FitResult, measured: MeasuredTraining) -> None:
    if fitted.history:
        plot_training_curves(fitted.history, folder / "training_curves.png")
    _plot_measured(folder, dataset, measured)


def _plot_measured(folder: Path, dataset: Dataset, measured: MeasuredModel) -> None:
    split = "test" if "test" in measured.metrics else "validation_select"
    metrics = measured.metrics[split]
    bins = reliability_bins(measured.probabilities[split], dataset.splits[split].labels)
    plot_confusion_matrix(metrics.confusion_matrix, dataset.class_names, folder / "confusion_matrix.png")
    plot_reliability(bins, metrics.expected_calibration_error, folder / "reliability.png")


def _family_of(encoder: tf_keras.layers.Layer) -> dict[str, Any]:
    """The record of an encoder that is not in the form of TF-Hub; empty for others."""
    if not isinstance(encoder, FamilyEncoder):
        return {}
    return {"family": encoder.family, "layer_norm_epsilon": encoder.form.epsilon}


def _package_versions() -> dict[str, str]:
    """Versions of the packages that decide what a model computes, without those that are not installed."""
    versions = {}
    for package in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions
