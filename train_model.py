"""Training: from a data set and an encoder to a model version, by fine-tuning."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import math
import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import numpy as np

from initializing import Initialize
from make_model import MakeModel
from textclf.cli.commands import Command
from textclf.cli.options import data_dir_option, dataset_options, encoder_options, runs_dir_option, training_options
from textclf.config import (
    DEFAULT_ENCODER_HANDLE,
    DEFAULT_MODEL_NAME,
    DEFAULT_PREPROCESS_HANDLE,
    Config,
    DataOptions,
    ModelOptions,
    TrainingOptions,
)
from textclf.data.datasets import Dataset, Split, load_dataset
from textclf.drift.reference import REFERENCE_FILE, save_reference
from textclf.errors import ConfigError, TrainingError
from textclf.runtime.engine import load_engine
from textclf.runtime.feature_extraction import reference_of
from textclf.runtime.loading import predictor_with
from textclf.stats.calibration import expected_calibration_error, fit_temperature, reliability_bins, softmax
from textclf.stats.metrics import Metrics, classification_metrics
from textclf.store.manifest import Manifest
from textclf.store.model_store import ModelStore, ModelVersion

if TYPE_CHECKING:
    # TensorFlow takes seconds to import: the verbs do, --help need not.
    from textclf.training.encoders.preprocessing import TextPreprocessing, TokenizedTexts
    from textclf.training.encoders.resolve import EncoderFolders
    from textclf.training.fitting.checkpoints import RunDirectory
    from textclf.training.fitting.training_loop import FitResult, LabelledIds
    from textclf.training.tf_setup import tf, tf_keras

# Texts on which a saved SavedModel must answer as the model in memory did, and how closely.
_CHECKED_TEXTS = 32
_LOGIT_TOLERANCE = 1e-3
# Texts of each of two splits on which the tokenizer that serves must give the SavedModel's ids.
_TOKENIZED_TEXTS = 1000
# Of English texts, roughly, with what wordpieces leave out.
_CHARACTERS_PER_TOKEN = 5
_PACKAGES = (
    "tensorflow", "tensorflow-text", "tf-keras", "tf-models-official", "numpy", "openvino", "nncf",
)  # fmt: skip

_Made = TypeVar("_Made")


class Training:
    """Fine-tunes a classifier on a data set and saves it as a version of a model store.

    The verbs follow each other: compile, fit_model, predict_model, save_model; each calls those
    before it that were not called yet. A training that was killed goes on from its last checkpoint
    when it is started again with the same data and options.

    Args:
        epochs: passes over the training texts.
        init_lr: learning rate that the warmup rises towards.
        dataset_path: an archive, a folder or a table file (textclf.data.dataset_layout says which forms).
        model_name, name_to_handle, model_to_handle: the encoder, as for MakeModel.
        url: where to download `dataset_path` from, if it is not there.
        data_dir: folder for what is downloaded or unpacked.
        runs_dir: folder for checkpoints and TensorBoard logs.
        **options: any field of textclf.config.DataOptions, ModelOptions and TrainingOptions.

    Raises:
        ConfigError: an option is unknown or makes no sense.
    """

    def __init__(
        self,
        epochs: int = 5,
        init_lr: float = 3e-5,
        dataset_path: str = "aclImdb_v1.tar.gz",
        model_name: str = DEFAULT_MODEL_NAME,
        name_to_handle: str = DEFAULT_ENCODER_HANDLE,
        model_to_handle: str = DEFAULT_PREPROCESS_HANDLE,
        url: str = "",
        *,
        data_dir: str = "datasets",
        runs_dir: str = "runs",
        **options: Any,
    ) -> None:
        self.dataset_path = str(dataset_path)
        self.url = url
        self.data_dir = data_dir
        self.runs_dir = runs_dir
        given = {
            **options,
            "epochs": epochs,
            "init_lr": init_lr,
            "model_name": model_name,
            "name_to_handle": name_to_handle,
            "model_to_handle": model_to_handle,
        }
        self.data_options = DataOptions(**_taken(given, DataOptions))
        self.model_options = ModelOptions(**_taken(given, ModelOptions))
        self.training_options = TrainingOptions(**_taken(given, TrainingOptions))
        if given:
            raise ConfigError(
                f"Training: unknown option {', '.join(sorted(given))}; see textclf/config.py for the known ones"
            )
        self._compiled: _Compiled | None = None
        self._fitted: FitResult | None = None
        self._measured: _Measured | None = None

    @property
    def dataset(self) -> Dataset:
        """The data, once compile() has read it."""
        return _made(self._compiled, "compile").dataset

    @property
    def classifier_model(self) -> tf_keras.Model:
        """The Keras model, strings [batch] -> logits [batch, classes], once compile() has built it."""
        return _made(self._compiled, "compile").classifier

    @property
    def metrics(self) -> dict[str, Metrics]:
        """Split to Metrics, once predict_model() has measured them."""
        return _made(self._measured, "predict_model").metrics

    def read_dataset(self) -> Dataset:
        """The data as compile() takes it: downloaded or unpacked where need be, cleaned and split.

        Raises:
            DatasetError: it can't be had or read.
        """
        initialize = Initialize(self.dataset_path, data_dir=self.data_dir, options=self.data_options)
        return load_dataset(initialize.download_dataset(self.url), options=self.data_options)

    def compile(self, optimiser: str = "") -> tf_keras.Model:
        """Read the data and build the model, which is returned. `optimiser` overrides the option of that name.

        Raises:
            DatasetError: the data can't be had or read.
            EncoderError: the encoder can't be had.
            ConfigError: the optimiser is unknown, or an option makes no sense.
        """
        from textclf.training.fitting.checkpoints import RunDirectory, identity_of
        from textclf.training.fitting.optimisers import check_optimiser
        from textclf.training.fused_bert.trainable_classifier import FUSED, trainable_classifier
        from textclf.training.precision import chosen_precision

        training = self.training_options
        training = dataclasses.replace(training, optimiser=check_optimiser(optimiser or training.optimiser))
        self.training_options = training
        dataset = self.read_dataset()
        sizes = ", ".join(f"{name} {len(split)}" for name, split in dataset.splits.items())
        click.echo(f"data:          {sizes}; {len(dataset.class_names)} classes: {', '.join(dataset.class_names[:8])}")
        model = self.model_options
        maker = MakeModel(
            model.model_name,
            model.name_to_handle,
            model.model_to_handle,
            class_names=dataset.class_names,
            max_length=model.max_length,
            truncation=model.truncation,
            head_fraction=model.head_fraction,
            seed=training.seed,
        )
        preprocessing = maker.select_model()
        classifier = maker.build_model(model.dropout)
        precision = chosen_precision(training.precision)
        passes = 2 if training.r_drop else 1
        tokens = (
            passes
            * training.epochs
            * sum(min(len(text) // _CHARACTERS_PER_TOKEN, model.max_length) for text in dataset.train.texts)
        )
        ids_model = trainable_classifier(
            classifier, model.dropout, precision, training.seed, math.inf if training.mlm_epochs else tokens
        )
        if training.mlm_epochs and (ids_model.name != FUSED or preprocessing.mask_id < 0):
            raise ConfigError(
                "mlm_epochs: expected 0 for this encoder, which is no BERT in its original form with a token [MASK], "
                f"got {training.mlm_epochs}"
            )
        # What decides the outcome, and nothing else: a training killed before may go on with another checkpoint_steps.
        decisive: dict[str, Any] = {
            "data": dataset.fingerprint,
            "encoder": [str(maker.folders.encoder), str(maker.folders.preprocessing)],
            "model": model.to_dict(),
            "training": {**training.to_dict(), "precision": precision, "checkpoint_steps": None},
            "graph": ids_model.name,
        }
        # Trainings with other rates and epochs of fitting begin with what one of them has read; it stays for them.
        of_fitting = ("epochs", "init_lr", "layer_decay", "r_drop", "optimiser", "class_weights", "metric", "patience")
        decisive_for_reading = {**decisive, "training": {**decisive["training"], **dict.fromkeys(of_fitting)}}
        name = f"{dataset.source.resolve().name}-{model.model_name.replace('/', '_')}"
        self._compiled = _Compiled(
            name=name,
            dataset=dataset,
            folders=maker.folders,
            preprocessing=preprocessing,
            classifier=classifier,
            ids_model=ids_model,
            precision=precision,
            run=RunDirectory(Path(self.runs_dir, f"{name}-{identity_of(decisive)}")),
            reading=RunDirectory(Path(self.runs_dir, f"{name}-reading-{identity_of(decisive_for_reading)}")),
        )
        self._fitted = self._measured = None
        return classifier

    def fit_model(self) -> dict[str, list[float]]:
        """Train, or go on with a killed training; returns the history: one value an epoch for each key.

        The model ends with the weights of the epoch that is best on half S of the validation texts. Called
        again, it only returns the history: compile() begins anew.

        Raises:
            TrainingError: the loss diverged, or another process runs the same training.
        """
        if self._compiled is None:
            self.compile()
        if self._fitted is None:
            self._fitted = self._fit(_made(self._compiled, "compile"))
        return self._fitted.history

    def predict_model(self) -> dict[str, Metrics]:
        """Measure the trained model: split to Metrics, for half S of the validation texts and for test.

        The temperature comes from half C, which is neither. Without a test part, or with read_test=False,
        only half S is measured.
        """
        if self._measured is None:
            self.fit_model()
            self._measured = self._measure(_made(self._compiled, "compile"))
        return self._measured.metrics

    def save_model(
        self, model_dir: str | Path = "model", name: str = "", promote: bool = False, parent: str | None = None
    ) -> Path:
        """Write the trained model as a new version of the store `model_dir`; returns the version's folder.

        The first version of a store becomes current; after that only `promote` makes it so.

        Args:
            model_dir: the store.
            name: of the model; by default the data set's and the encoder's.
            promote: make the new version current, if no other one became so meanwhile.
            parent: id of the version this one was retrained from.

        Raises:
            TrainingError: the saved model does not answer as the one in memory; nothing is kept.
            ModelStoreError: the store can't be written, or the promotion was overtaken.
        """
        store = ModelStore(model_dir)
        store.check_writable()  # What is wrong with it is better known before the training than after.
        if self._compiled is None:
            self.compile()
        ready = _made(self._compiled, "compile")
        # One lock from the training to its end: the same command, given meanwhile, is to save nothing twice.
        with ready.run.locked():
            self.predict_model()
            version = self._save(store, ready, name, promote, parent)
            ready.run.forget()
        return version.path

    def export_again(
        self, model_dir: str | Path = "model", version_id: str | None = None, promote: bool = False
    ) -> Path:
        """Give a saved version a new engine and reference, without training; returns the folder of the child with them.

        The data must be what the version was trained on: its options are taken from the manifest.

        Args:
            model_dir: the store.
            version_id: of a version with its saved_model/; None takes the current one.
            promote: make the child current, if no other one became so meanwhile.

        Raises:
            TrainingError: the data is not what the version was trained on, or the engine does not answer as the
                SavedModel does; nothing is kept.
            ModelStoreError: there is no such version, it has no saved_model/, or the store can't be written.
        """
        from textclf.training.export.tokenizer_parity import preprocessing_of_version

        store = ModelStore(model_dir)
        store.check_writable()
        current = store.current_id()
        parent = store.open(version_id)
        manifest = parent.manifest
        parent.verify()
        saved_model = parent.part("saved_model")
        options = DataOptions.from_dict(manifest.data["options"])
        initialize = Initialize(self.dataset_path, data_dir=self.data_dir, options=options)
        dataset = load_dataset(initialize.download_dataset(self.url), options=options)
        if dataset.fingerprints != manifest.data["fingerprint"]:
            raise TrainingError(
                f"{self.dataset_path}: expected the data that version {parent.id} was trained on (fingerprint "
                f"{manifest.data['fingerprint'].get('all')}), got other data ({dataset.fingerprint}); name the data "
                f"set of the training"
            )
        preprocessing = preprocessing_of_version(parent)
        software = {**manifest.software, **_package_versions()}
        manifest = dataclasses.replace(manifest, parent=parent.id, software=software)
        with store.new_version() as draft:
            shutil.copytree(saved_model, draft.path / "saved_model")
            if parent.has("plots"):
                shutil.copytree(parent.part("plots"), draft.path / "plots")
            draft.manifest = _export(draft.path, manifest, dataset, preprocessing)
        return _promoted(store, draft.id, promote, current).path

    def _save(self, store: ModelStore, ready: _Compiled, name: str, promote: bool, parent: str | None) -> ModelVersion:
        from textclf.training.export.saved_model_export import export_saved_model, largest_logit_difference

        fitted, measured = _made(self._fitted, "fit_model"), _made(self._measured, "predict_model")
        current = store.current_id()
        with store.new_version() as draft:
            folder = draft.path / "saved_model"
            export_saved_model(ready.classifier, ready.preprocessing, measured.temperature, folder)
            sample = Split(ready.dataset.train.texts[:_CHECKED_TEXTS], ready.dataset.train.labels[:_CHECKED_TEXTS])
            difference = largest_logit_difference(folder, sample.texts, ready.logits(sample, "check"))
            if not difference <= _LOGIT_TOLERANCE:  # Also where it is not a number.
                raise TrainingError(
                    f"the saved model's logits differ by {difference:g} from the trained model's (at most "
                    f"{_LOGIT_TOLERANCE:g} was expected); nothing was saved, please report this with the encoder's "
                    f"handle"
                )
            _plot(draft.path / "plots", ready.dataset, fitted, measured)
            parity = {"saved_model_largest_logit_difference": difference}
            manifest = self._manifest(name or ready.name, parent, ready, fitted, measured, parity)
            draft.manifest = _export(draft.path, manifest, ready.dataset, ready.preprocessing)
        return _promoted(store, draft.id, promote, current)

    def _fit(self, ready: _Compiled) -> FitResult:
        from textclf.training.fitting.training_loop import fit
        from textclf.training.fused_bert.trainable_classifier import FUSED

        # The written-out form casts by itself; TensorFlow's rewriting of graphs is for the encoder's own.
        rewriting = "float32" if ready.ids_model.name == FUSED else ready.precision
        with ready.run.locked():
            train = ready.labelled_ids(ready.dataset.train)
            # Where fitting has begun, its checkpoints have what was read; another training's end may have removed it.
            if self.training_options.mlm_epochs and not ready.run.progress().step:
                ready.read(train.texts, self.training_options)
            fitted = fit(
                ready.ids_model,
                train,
                ready.labelled_ids(ready.dataset.validation_select),
                ready.dataset.class_names,
                self.training_options,
                rewriting,
                ready.preprocessing.padding_id,
                ready.run,
            )
        click.echo(
            f"trained:       {fitted.steps} steps in {fitted.seconds:.0f} s, {fitted.examples_per_second:g} texts/s in "
            f"{ready.precision}; best epoch {fitted.best_epoch} of {len(fitted.history['loss'])}"
        )
        return fitted

    def _measure(self, ready: _Compiled) -> _Measured:
        dataset, calibrate = ready.dataset, ready.dataset.validation_calibrate
        logits = ready.logits(calibrate, "calibration")
        temperature = fit_temperature(logits, calibrate.labels)
        before, after = (expected_calibration_error(softmax(logits, t), calibrate.labels) for t in (1.0, temperature))
        probabilities = {
            name: softmax(ready.logits(split, name), temperature)
            for name, split in dataset.splits.items()
            if name in ("validation_select", "test")
        }
        metrics = {
            name: classification_metrics(values, dataset.splits[name].labels, dataset.class_names)
            for name, values in probabilities.items()
        }
        for name, figures in metrics.items():
            click.echo(_summary(name, figures))
        return _Measured(
            temperature=temperature,
            calibration={
                "split": "validation_calibrate",
                "n": len(calibrate),
                "expected_calibration_error_before": before,
                "expected_calibration_error_after": after,
            },
            probabilities=probabilities,
            metrics=metrics,
        )

    def _manifest(
        self,
        name: str,
        parent: str | None,
        ready: _Compiled,
        fitted: FitResult,
        measured: _Measured,
        parity: dict[str, Any],
    ) -> Manifest:
        return Manifest(
            name=name,
            class_names=ready.dataset.class_names,
            encoder={
                "model_name": self.model_options.model_name,
                "name_to_handle": ready.folders.name_to_handle,
                "model_to_handle": ready.folders.model_to_handle,
            },
            max_length=self.model_options.max_length,
            truncation=self.model_options.truncation,
            head_fraction=self.model_options.head_fraction,
            lower_case=ready.preprocessing.folds_case(),
            temperature=measured.temperature,
            metrics={split: metrics.to_dict() for split, metrics in measured.metrics.items()},
            calibration=measured.calibration,
            data={
                "source": ready.dataset.source.resolve().name,
                "fingerprint": ready.dataset.fingerprints,
                "counts": dataclasses.asdict(ready.dataset.counts),
                "options": self.data_options.to_dict(),
            },
            training={
                **dataclasses.asdict(fitted),
                "options": {**self.training_options.to_dict(), "precision": ready.precision},
                "graph": ready.ids_model.name,
                "dropout": self.model_options.dropout,
            },
            software={
                "python": platform.python_version(),
                **_package_versions(),
            },
            parity=parity,
            parent=parent,
        )


@dataclass(frozen=True, eq=False)
class _Compiled:
    """What compile() makes and the later verbs use; `name` is the data's and the encoder's.

    `run` and `reading` keep the state of fitting and of further masked-language training.
    """

    name: str
    dataset: Dataset
    folders: EncoderFolders
    preprocessing: TextPreprocessing
    classifier: tf_keras.Model
    ids_model: tf_keras.Model
    precision: str
    run: RunDirectory
    reading: RunDirectory

    def labelled_ids(self, split: Split) -> LabelledIds:
        from textclf.training.encoders.preprocessing import tokenize_texts
        from textclf.training.fitting.training_loop import LabelledIds

        return LabelledIds(tokenize_texts(self.preprocessing, split.texts), split.labels)

    def logits(self, split: Split, label: str) -> np.ndarray:
        """Logits of a split's texts, float32 [n, K]; `label` is for the progress bar."""
        from textclf.training.fitting.training_loop import predict_logits

        return predict_logits(self._ids_to_logits, self.labelled_ids(split).texts, self.preprocessing.padding_id, label)

    def read(self, texts: TokenizedTexts, options: TrainingOptions) -> None:
        """Further masked-language training on the texts, or its outcome where it was done before."""
        from textclf.training.fitting.masked_lm import Wordpieces, read_texts

        special = self.preprocessing
        never_hidden = (special.start_id, special.end_id)
        wordpieces = Wordpieces(special.vocabulary_size, special.padding_id, special.mask_id, never_hidden)
        with self.reading.locked("reading these very texts"):
            read_texts(self.ids_model, texts, wordpieces, options, self.reading)

    @cached_property
    def _ids_to_logits(self) -> Callable[[np.ndarray, np.ndarray], tf.Tensor]:
        from textclf.training.fitting.training_loop import ids_to_logits

        return ids_to_logits(self.ids_model)


@dataclass(frozen=True, eq=False)
class _Measured:
    """What predict_model() finds; probabilities float64 [texts, classes] and metrics by split."""

    temperature: float
    calibration: dict[str, Any]
    probabilities: dict[str, np.ndarray]
    metrics: dict[str, Metrics]


def _made(part: _Made | None, verb: str) -> _Made:
    """The part that the verb makes.

    Raises:
        TrainingError: it was not called yet.
    """
    if part is None:
        raise TrainingError(f"expected a training after {verb}(), got one before it; call {verb}() first")
    return part


def _package_versions() -> dict[str, str]:
    """Of the packages that decide what a model computes; builds under another name (tensorflow-cpu) are left out."""
    versions = {}
    for package in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions


def _taken(given: dict[str, Any], config: type[Config]) -> dict[str, Any]:
    """Remove from `given`, and return, what are fields of `config`."""
    return {item.name: given.pop(item.name) for item in dataclasses.fields(config) if item.name in given}


def _summary(split: str, metrics: Metrics) -> str:
    area = "" if metrics.roc_auc is None else f", ROC AUC {metrics.roc_auc:.4f}"
    return (
        f"{split + ':':24} accuracy {metrics.accuracy:.4f}, macro F1 {metrics.macro_f1:.4f}{area}, log loss "
        f"{metrics.log_loss:.4f}, calibration error {metrics.expected_calibration_error:.4f} ({metrics.n} texts)"
    )


def _promoted(store: ModelStore, version_id: str, promote: bool, current: str | None) -> ModelVersion:
    """The version that was just saved, made current if that is wanted and `current` still is."""
    if promote and store.current_id() != version_id:
        store.promote(version_id, expected_current=current)
    version = store.open(version_id)
    click.echo(f"saved:         {version.path}{' (current)' if store.current_id() == version.id else ''}")
    return version


def _export(folder: Path, manifest: Manifest, dataset: Dataset, preprocessing: TextPreprocessing) -> Manifest:
    """Write the engine of the SavedModel in a version's folder, its cascade and its reference; returns the manifest."""
    from textclf.training.cascade_training import add_cascade
    from textclf.training.export.engine_export import EngineTexts, checked_tokenizer, export_engine

    calibrate, train = dataset.validation_calibrate, dataset.train.texts
    tokenizer = checked_tokenizer(preprocessing, [*calibrate.texts[:_TOKENIZED_TEXTS], *train[:_TOKENIZED_TEXTS]])
    texts = EngineTexts(train, calibrate)
    exported = export_engine(folder / "saved_model", tokenizer, manifest, texts, folder / "engine")
    manifest = exported.manifest
    parity = manifest.parity["engine"]
    click.echo(
        f"engine:        {manifest.engine['precision']}, the label of the SavedModel on {parity['agreement']:.2%} of "
        f"{parity['texts']} texts, accuracy {parity['accuracy_of_original']:.4f} -> {parity['accuracy_of_copy']:.4f}"
    )
    for reason in manifest.engine["refused"]:
        click.echo(f"  refused {reason}")
    # As a server will load it: what drift is compared with is to come from the same computation.
    engine = load_engine(ModelVersion(folder, manifest))
    encoder = predictor_with(engine, manifest)
    manifest, cascade = add_cascade(exported, encoder, dataset, folder / "engine")
    click.echo(_cascade_summary(manifest))
    predictor = predictor_with(engine, manifest, cascade=cascade)
    reference = reference_of(predictor, calibrate.texts, calibrate.labels, projection_texts=train)
    save_reference(reference, folder / REFERENCE_FILE)
    click.echo(f"reference:     {len(reference.labels)} held-out texts, error rate {reference.error_rate:.2%}")
    return manifest


def _cascade_summary(manifest: Manifest) -> str:
    cascade = manifest.cascade
    if cascade["settings"] is None:
        return f"cascade:       off: {cascade['why_off']}"
    split = "test" if "test" in cascade else "validation"
    figures = cascade[split]
    accuracy = ", ".join(f"{name} {value:.4f}" for name, value in figures["accuracy"].items())
    why_off = f" ({cascade['why_off']})" if cascade["why_off"] else ""
    return (
        f"cascade:       the linear stage answers {figures['exit_share']:.1%} of {figures['texts']} {split} texts; "
        f"accuracy: {accuracy}{why_off}"
    )


def _plot(folder: Path, dataset: Dataset, fitted: FitResult, measured: _Measured) -> None:
    from textclf.report.plots import plot_confusion_matrix, plot_reliability, plot_training_curves

    split = "test" if "test" in measured.metrics else "validation_select"
    metrics = measured.metrics[split]
    bins = reliability_bins(measured.probabilities[split], dataset.splits[split].labels)
    plot_training_curves(fitted.history, folder / "training_curves.png")
    plot_confusion_matrix(metrics.confusion_matrix, dataset.class_names, folder / "confusion_matrix.png")
    plot_reliability(bins, metrics.expected_calibration_error, folder / "reliability.png")


@click.command(cls=Command)
@click.option("--dataset-path", required=True, help="Data set: an archive, a folder, or a CSV, JSONL or Parquet file.")
@click.option("--url", default="", show_default=False, help="URL of the archive, if it is not at --dataset-path.")
@encoder_options
@training_options
@dataset_options
@click.option("--model-dir", default="model", help="Model store for the new version.")
@click.option("--name", default="", show_default="by data and encoder", help="Name of the model.")
@click.option("--promote", is_flag=True, help="Make the new version current; the first version of a store always is.")
@click.option(
    "--export-again",
    metavar="ID",
    help="Do not train: save a child of this version with a new engine and drift reference.",
)
@data_dir_option
@runs_dir_option
def main(
    dataset_path: str,
    url: str,
    model_options: ModelOptions,
    training_options: TrainingOptions,
    data_options: DataOptions,
    model_dir: str,
    name: str,
    promote: bool,
    export_again: str | None,
    data_dir: str,
    runs_dir: str,
) -> None:
    """Fine-tune an encoder on labelled texts, measure it, and save it as a model version.

    Killed, the same command goes on from the last checkpoint.

    \b
    Examples:
      python train_model.py --dataset-path data/sample --encoder minilm-l6 --epochs 3 --init-lr 1e-4 \\
          --model-dir my-models
      python train_model.py --dataset-path aclImdb_v1.tar.gz --encoder minilm-l6 --epochs 1 --init-lr 1e-4 \\
          --max-length 256 --truncation head+tail --url URL --model-dir my-models
      tensorboard --logdir runs
    """
    options = {**data_options.to_dict(), **model_options.to_dict(), **training_options.to_dict()}
    training = Training(dataset_path=dataset_path, url=url, data_dir=data_dir, runs_dir=runs_dir, **options)
    if export_again:
        version = training.export_again(model_dir, export_again, promote)
    else:
        version = training.save_model(model_dir, name, promote)
    current = ModelStore(model_dir).current_id()
    if current != version.name:
        change = f"python retraining.py promote {version.name} --model-dir {model_dir}"
        click.echo(f"current:       {current or 'none'}; to make the new version current: {change}")


if __name__ == "__main__":
    main()
