"""Training: fine-tunes an encoder on a data set and saves the result as a model version."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from initializing import Initialize
from make_model import MakeModel
from textclf.cli.config_file import ConfiguredCommand
from textclf.cli.hosts import hosts_options
from textclf.cli.options import (
    data_dir_option,
    dataset_options,
    dataset_path_option,
    encoder_options,
    given_options,
    model_name_option,
    recipe_option,
    runs_dir_option,
    training_options,
)
from textclf.cluster import Cluster
from textclf.config import (
    DEFAULT_ENCODER_HANDLE,
    DEFAULT_MODEL_NAME,
    DEFAULT_PREPROCESS_HANDLE,
    RECIPES,
    DataOptions,
    ModelOptions,
    TrainingOptions,
)
from textclf.data.cleaning import key_function
from textclf.data.dataset_summary import data_line, not_read, warnings_of
from textclf.data.datasets import Dataset
from textclf.errors import ConfigError, TrainingError
from textclf.phases import announce, announce_tensorflow
from textclf.report.training_lines import floor_line, floor_sentences, metrics_lines
from textclf.report.withholding import promotion_line, report_withheld
from textclf.stats.metrics import Metrics
from textclf.store.model_store import ModelStore, path_or_version
from textclf.tokenization.text_key import KeyFunction, made_at_first_use

if TYPE_CHECKING:
    # Importing TensorFlow takes seconds: only the verbs import it, so that --help is quick.
    from textclf.training.compiled_training import CompiledTraining
    from textclf.training.fitted_training import FittedTraining
    from textclf.training.fitting.training_loop import EpochListener
    from textclf.training.measuring import MeasuredTraining
    from textclf.training.recipes import Recipe
    from textclf.training.tf_setup import tf_keras

_Result = TypeVar("_Result")
_DEFAULTS = TrainingOptions()


class Training:
    """Fine-tunes a classifier on a data set and saves it as a version of a model store.

    The verbs are compile, fit_model, predict_model and save_model, in this order; each first calls the earlier ones
    that were not called yet. A killed training continues from its last checkpoint if it is started again with the same
    data and options.

    Args:
        epochs: passes over the training texts.
        init_lr: highest learning rate, reached at the end of the warmup.
        dataset_path: an archive, a folder or a table file (see textclf.data.dataset_layout).
        model_name, name_to_handle, model_to_handle: the encoder, as for MakeModel.
        url: where to download `dataset_path` from, if the file is missing.
        data_dir: folder for downloads and unpacked archives.
        runs_dir: folder for checkpoints and TensorBoard logs.
        spellings: class names whose spelling counts, such as those of an earlier version.
        recipe: "auto" chooses options by the number of labels (textclf.training.recipes) when the data is read, and
            withholds a first version that is below its floor; "none" does neither.
        given: names of the options that the recipe leaves as they are; None means those in `options`, and epochs and
            init_lr unless they are the default.
        cluster: the hosts that share the steps; this one is the chief.
        **options: any field of textclf.config.DataOptions, ModelOptions and TrainingOptions.

    Raises:
        ConfigError: if an option is unknown or invalid.
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
        spellings: Collection[str] = (),
        recipe: str = "none",
        given: Collection[str] | None = None,
        cluster: Cluster | None = None,
        **options: Any,
    ) -> None:
        self.dataset_path = str(dataset_path)
        self.url = url
        self.data_dir = data_dir
        self.runs_dir = runs_dir
        self.spellings = spellings
        values = {
            **options,
            "epochs": epochs,
            "init_lr": init_lr,
            "model_name": model_name,
            "name_to_handle": name_to_handle,
            "model_to_handle": model_to_handle,
        }
        self.data_options = DataOptions(**DataOptions.pop_from(values))
        self.model_options = ModelOptions(**ModelOptions.pop_from(values))
        self.training_options = TrainingOptions(**TrainingOptions.pop_from(values))
        if values:
            raise ConfigError(
                f"Training: unknown option {', '.join(sorted(values))}; see textclf/config.py for the known ones"
            )
        if recipe not in RECIPES:
            raise ConfigError(f"recipe: expected one of {', '.join(RECIPES)}, got {recipe!r}")
        if recipe == "none":
            self.training_options.check_together()
        changed = {"epochs": epochs != _DEFAULTS.epochs, "init_lr": init_lr != _DEFAULTS.init_lr}
        if not self.data_options.read_test and self.training_options.train_on != "train":
            raise ConfigError(
                f"train_on: expected 'train' without a test part, got {self.training_options.train_on!r}: the "
                f"evaluation needs texts that the model is not fitted to"
            )
        self._given = frozenset(given if given is not None else [*options, *(n for n in changed if changed[n])])
        self.recipe = recipe
        self.cluster = cluster
        self._is_completed = False
        self._chosen: Recipe | None = None
        self._compiled: CompiledTraining | None = None
        self._fitted: FittedTraining | None = None
        self._measured: MeasuredTraining | None = None

    @property
    def dataset(self) -> Dataset:
        """The data set, after compile() has read it."""
        return _available(self._compiled, "compile").dataset

    @property
    def classifier_model(self) -> tf_keras.Model:
        """The Keras model, strings [batch] -> logits [batch, classes], after compile() has built it."""
        return _available(self._compiled, "compile").classifier

    @property
    def metrics(self) -> dict[str, Metrics]:
        """Split to Metrics, after predict_model() has measured them."""
        return _available(self._measured, "predict_model").metrics

    @property
    def decided_options(self) -> TrainingOptions:
        """The options with all that a recipe chooses for the data; tries class weights if it asks for them."""
        if self._compiled is None and self._chosen is not None and self._chosen.asks_for_class_weights:
            self.compile()
        return self.training_options

    def read_dataset(self, text_keys: KeyFunction | None = None) -> Dataset:
        """The data set that compile() uses: downloaded and unpacked if necessary, cleaned and split.

        With recipe "auto", the first call chooses the options that depend on the data. `text_keys` is the rule by which
        two texts are equal; None takes it from the encoder.

        Raises:
            DatasetError: if the data can't be downloaded or read.
            EncoderError: if the encoder can't be downloaded or loaded, and `text_keys` is None.
        """
        maker = MakeModel.from_options(self.model_options)
        text_keys = text_keys or made_at_first_use(lambda: maker.text_keys)
        dataset = self._read_dataset(self.data_options, self.spellings, text_keys)
        if not self._is_completed:
            from textclf.training.recipes import complete_options

            options = self.model_options, self.training_options
            options, self._chosen = complete_options(*options, dataset, self._given, self.recipe == "auto")
            self.model_options, self.training_options = options
            self._is_completed = True
        return dataset

    def compile(self, optimiser: str = "") -> tf_keras.Model:
        """Read the data and build the model, which is returned. `optimiser` overrides the option of that name.

        Raises:
            DatasetError: if the data can't be downloaded or read.
            EncoderError: if the encoder can't be downloaded or loaded.
            ConfigError: if the optimiser is unknown or an option is invalid.
        """
        self._initialize(self.data_options, self.spellings).check_found(self.url)
        announce_tensorflow()
        from textclf.training.compiled_training import compile_training
        from textclf.training.fitting.optimisers import check_optimiser
        from textclf.training.teachers import check_teachers, open_teachers

        options = self.training_options
        self.training_options = dataclasses.replace(options, optimiser=check_optimiser(optimiser or options.optimiser))
        maker = MakeModel.from_options(self.model_options, seed=options.seed)
        teacher_paths = options.teachers if options.teacher_weight else ()
        check_teachers(teacher_paths)
        # The files are read first, because their errors are cheaper to find; then the options meet the encoder.
        dataset = self.read_dataset(made_at_first_use(lambda: _checked_text_keys(maker)))
        model = self.model_options
        maker.class_names, maker.pooling = dataset.class_names, model.pooling
        click.echo(f"data:          {data_line(dataset)}")
        for note in dataset.notes:
            click.echo(f"note:          {note}")
        if unread := not_read(dataset):
            click.echo(f"not read:      {unread}")
        for warning in warnings_of(dataset):
            click.echo(f"warning: {warning}", err=True)
        text_keys = key_function(self.data_options, made_at_first_use(lambda: maker.text_keys))
        teachers = open_teachers(teacher_paths, dataset, self.data_options.text_column, text_keys)
        for teacher in teachers:
            click.echo(f"teacher:       {teacher}")
        if self._chosen is not None:
            click.echo(f"recipe:        {self._chosen}")
        preprocessing = maker.select_model()
        announce("building the model and its training graph", 15)
        classifier = maker.build_model(model.dropout)
        built = dataset, maker.folders, preprocessing, classifier, model
        chosen = self.training_options, self.runs_dir, teachers, self._chosen, self.cluster
        self._compiled = compile_training(*built, *chosen)
        # A recipe decides about class weights here.
        self.training_options = self._compiled.options
        self._fitted = self._measured = None
        return classifier

    def fit_model(self, on_epoch: EpochListener | None = None) -> dict[str, list[float]]:
        """Train, or continue a killed training; returns the history: one value per epoch for each key.

        The model ends with the weights of the epoch that is best on the selection set, or of the last one (option
        `select`). A second call only returns the history; compile() starts a new training. `on_epoch` gets the number
        and the values of each epoch that is trained now.

        Raises:
            TrainingError: if the loss diverged, or another process runs the same training.
        """
        if self._fitted is None:
            ready = self._ready()
            self._fitted = ready.fit(on_epoch)
            click.echo(f"trained:       {self._fitted.describe(ready.options.select, ready.precision)}")
        return self._fitted.result.history

    def predict_model(self) -> dict[str, Metrics]:
        """Measure the trained model: split to Metrics, for the selection set and for test.

        The temperature is fitted on the calibration set, which is neither. Without a test part, or with
        read_test=False, only the selection set is measured. If the model was fitted to the selection set, it is not
        measured; if also to the calibration set, cross-validation replaces both (split "out_of_fold").
        """
        if self._measured is None:
            self.fit_model()
            self._measured = self._ready().measure(_available(self._fitted, "fit_model"))
            lines = metrics_lines(self._measured.metrics, self._measured.precision)
            click.echo("\n".join([*lines, floor_line(self._measured.floor)]))
        return self._measured.metrics

    def why_withheld(self) -> str:
        """Why save_model makes the trained model current only with `promote`, as for a person; "" if nothing is wrong.

        The model is trained and measured first.
        """
        self.predict_model()
        floor = _available(self._measured, "predict_model").floor
        return "; ".join(floor_sentences(floor)) if self.recipe == "auto" and floor.is_refused else ""

    def save_model(
        self, model_dir: str | Path = "model", name: str = "", promote: bool = False, parent: str | None = None
    ) -> Path:
        """Write the trained model as a new version of the store `model_dir`; returns the version's folder.

        The first version of a store becomes current; later ones only with `promote`. With recipe "auto", a version that
        fails its comparison with the floor (textclf.stats.floor) becomes current only with `promote`.

        Args:
            model_dir: the store.
            name: name of the model; default: names of the data set and of the encoder.
            promote: make the new version current, unless another version became current meanwhile.
            parent: id of the version that this one was retrained from.

        Raises:
            TrainingError: if the saved model differs from the one in memory; nothing is kept.
            ModelStoreError: if the store can't be written, or another version became current meanwhile.
        """
        from textclf.training.export.version_writer import trained_version, write_version

        store = ModelStore(model_dir)
        store.check_writable()  # Fail before the training, not after it.
        ready = self._ready()
        # One lock from the training to its end, so that a second process with the same command does not save it again.
        with ready.run.locked():
            self.predict_model()
            fitted, measured = _available(self._fitted, "fit_model"), _available(self._measured, "predict_model")
            current = store.current_id()
            new = trained_version(
                ready, fitted, measured, self.data_options, self.dataset_path, name or ready.name, parent, current
            )
            version = write_version(store, new, promote, is_withheld=bool(self.why_withheld()) and not promote)
            ready.run.forget()
        report_withheld(store, version.id)
        return version.path

    def export_again(
        self,
        model_dir: str | Path = "model",
        version_id: str | None = None,
        promote: bool = False,
        changes: Mapping[str, Any] | None = None,
        windows: int | None = None,
    ) -> Path:
        """Write a child of a saved version with a new engine and reference, without training; returns its folder.

        The data must be the data that the version was trained on. It is read as at its training, except for `changes`.
        With another number of windows, the child is also measured again, and gets its own temperature.

        Args:
            model_dir, version_id: the store, and the id of a version with its saved_model/; None is the current one.
            promote: make the child current, unless another version became current meanwhile.
            changes: fields of DataOptions, for the same data in another form.
            windows: maximum number of windows of a text; None keeps the version's.

        Raises:
            TrainingError: if the data is not what the version was trained on, or the engine differs from the
                SavedModel; nothing is kept.
            ModelStoreError: if there is no such version, it has no saved_model/, or the store can't be written.
        """
        from textclf.training.export.exporting_again import export_again

        store, data = ModelStore(model_dir), (self._read_dataset, self.dataset_path)
        return export_again(*data, store, version_id, promote, changes or {}, windows)

    def _read_dataset(self, options: DataOptions, spellings: Collection[str], text_keys: KeyFunction) -> Dataset:
        return self._initialize(options, spellings, text_keys).read_dataset(self.url)

    def _initialize(
        self, options: DataOptions, spellings: Collection[str], text_keys: KeyFunction | None = None
    ) -> Initialize:
        return Initialize(
            self.dataset_path, data_dir=self.data_dir, options=options, spellings=spellings, text_keys=text_keys
        )

    def _ready(self) -> CompiledTraining:
        if self._compiled is None:
            self.compile()
        return _available(self._compiled, "compile")


def _checked_text_keys(maker: MakeModel) -> KeyFunction:
    maker.check_encoder()
    return maker.text_keys


def _available(result: _Result | None, verb: str) -> _Result:
    if result is None:
        raise TrainingError(f"expected a training after {verb}(), got one before it; call {verb}() first")
    return result


def help_chief(cluster: Cluster) -> None:
    """Share the steps of the training that the chief of `cluster` leads, until it is done."""
    announce_tensorflow()
    from textclf.training.distributed.worker import model_builder, work

    def build(options: ModelOptions, class_names: Sequence[str], seed: int) -> tf_keras.Model:
        return MakeModel.from_options(options, class_names=class_names, seed=seed).build_model(options.dropout)

    work(cluster, model_builder(build))


@click.command(cls=ConfiguredCommand)
@dataset_path_option
@click.option("--url", default="", show_default=False, help="URL of the archive, if it is not at --dataset-path.")
@encoder_options
@training_options
@recipe_option
@dataset_options
@click.option("--model-dir", default="model", help="Model store for the new version.")
@model_name_option
@click.option(
    "--promote",
    is_flag=True,
    help="Make the new version current; the first version of a store is, unless it is below its floor.",
)
@click.option(
    "--export-again",
    metavar="ID",
    help="Do not train: save a child of this version with a new engine and drift reference, or other --windows.",
)
@data_dir_option
@runs_dir_option
@hosts_options(help_chief)
def main(
    dataset_path: str,
    url: str,
    model_options: ModelOptions,
    training_options: TrainingOptions,
    recipe: str,
    data_options: DataOptions,
    model_dir: str,
    name: str,
    promote: bool,
    export_again: str | None,
    data_dir: str,
    runs_dir: str,
    cluster: Cluster | None,
) -> None:
    """Fine-tune an encoder on labelled texts, measure it, and save it as a model version.

    After a kill the same command continues from the last checkpoint.

    \b
    Examples:
      python train_model.py --dataset-path data/sample --encoder minilm-l6 --max-length 128 --model-dir my-models
      python train_model.py --dataset-path aclImdb_v1.tar.gz --encoder minilm-l6 --epochs 1 --init-lr 1e-4 \\
          --max-length 256 --truncation head+tail --url URL --model-dir my-models
      tensorboard --logdir runs
    """
    options = {**data_options.to_dict(), **model_options.to_dict(), **training_options.to_dict()}
    options["teachers"] = [path_or_version(teacher, model_dir) for teacher in training_options.teachers]
    given = {**given_options(ModelOptions), **given_options(TrainingOptions)}
    training = Training(
        dataset_path=dataset_path,
        url=url,
        data_dir=data_dir,
        runs_dir=runs_dir,
        recipe=recipe,
        given=given,
        cluster=cluster,
        **options,
    )
    if export_again:
        windows = given_options(ModelOptions).get("windows")
        version = training.export_again(model_dir, export_again, promote, given_options(DataOptions), windows)
    else:
        version = training.save_model(model_dir, name, promote)
    store = ModelStore(model_dir)
    if (current := store.current_id()) not in (None, version.name):
        click.echo(promotion_line(store, version.name, current))


if __name__ == "__main__":
    main()
