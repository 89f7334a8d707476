"""A compiled training: the data, the model and the run directories of one Training, and its steps.

K: classes.
"""

import dataclasses
import hashlib
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import click
import numpy as np

from textclf.cluster import Cluster
from textclf.config import TRAIN_ON, ModelOptions, TrainingOptions
from textclf.data.datasets import Dataset
from textclf.data.splits import Split
from textclf.errors import ConfigError
from textclf.phases import announce, rough_wordpieces
from textclf.stats.floor import compare_with_floor, is_no_better_than_probe
from textclf.training.class_weights import ENCODING_SPEED, do_weights_help
from textclf.training.classifier import ids_encoder, pooling_of
from textclf.training.distributed.chief import Team, led_team
from textclf.training.encoders.preprocessing import TextPreprocessing, tokenize_texts
from textclf.training.encoders.resolve import EncoderFolders
from textclf.training.fast_outputs import BFLOAT16, FLOAT32, Computation, computation
from textclf.training.fitted_training import FittedTraining
from textclf.training.fitting.checkpoints import RunDirectory, identity_of
from textclf.training.fitting.masked_lm import Wordpieces, pretrain_mlm
from textclf.training.fitting.probe import (
    cross_fitted_probe,
    cross_scaled,
    fit_probe,
    probe_logits,
    probe_scale,
    sampled_rows,
)
from textclf.training.fitting.training_loop import (
    EpochListener,
    FitResult,
    LabelledIds,
    Logits,
    Trainer,
    fit,
    ids_to_logits,
    make_trainer,
    plan_epochs,
    predict_logits,
    refit,
)
from textclf.training.fused_bert.trainable_classifier import FUSED, trainable_classifier
from textclf.training.held_out import held_out_logits, held_out_texts
from textclf.training.measuring import CrossFitted, MeasuredTraining, measure_model, window_logits
from textclf.training.out_of_fold import out_of_fold_logits
from textclf.training.precision import chosen_precision
from textclf.training.recipes import Recipe
from textclf.training.teachers import Taught, Teacher, teach
from textclf.training.tf_setup import tf, tf_keras

# Options that change fine-tuning only.
_FINE_TUNING_OPTIONS = (
    "epochs", "min_steps", "init_lr", "layer_decay", "r_drop", "optimiser", "class_weights", "metric", "select",
    "patience", "head_init", "teacher_weight",
)  # fmt: skip
# Texts that a probe is fitted to: more would take longer and change little.
_PROBED_TEXTS = 2000
# Trainings of a cross-validation, in addition to the one on all texts. Three are enough to fit a temperature. Five
# would take 1.5 times as long in all.
_FOLDS = 3
# The result of a training without fine-tuning.
_NO_STEPS = FitResult({}, steps=0, seconds=0.0, examples_per_second=0.0, best_epoch=0, resumed_from_step=0)


@dataclass(frozen=True, eq=False)
class CompiledTraining:
    """The result of Training.compile(), used by the later verbs.

    Attributes:
        name: default name of the model, from the data set and the encoder.
        folders: the encoder's SavedModels on disk.
        preprocessing: strings [batch] -> encoder inputs.
        classifier: Keras model, strings [batch] -> logits [batch, K].
        ids_model: the part behind the preprocessing, which is fitted: ids [batch, seq_len] -> logits [batch, K].
        precision: "float32" or "bfloat16".
        run, mlm_run: checkpoints of fine-tuning and of masked-LM pretraining.
        teachers: models that the training learns from, next to the labels.
        teacher_cache: beginning of the paths of files with what they predict.
        recipe: the recipe that chose some of the options, or None.
        cluster: the hosts that share the steps; None is this one alone.
    """

    name: str
    dataset: Dataset
    folders: EncoderFolders
    preprocessing: TextPreprocessing
    classifier: tf_keras.Model
    ids_model: tf_keras.Model
    model_options: ModelOptions
    options: TrainingOptions
    precision: str
    run: RunDirectory
    mlm_run: RunDirectory
    teachers: tuple[Teacher, ...]
    teacher_cache: Path
    recipe: Recipe | None = None
    cluster: Cluster | None = None

    @cached_property
    def taught(self) -> Taught:
        """The training texts with what the teachers predict for them; a probe learns from labels only."""
        teachers = self.teachers if self.options.epochs else ()
        return teach(self.dataset.train, teachers, self.dataset.class_names, self.teacher_cache)

    @property
    def training_split(self) -> Split:
        """The texts that the model is fitted to."""
        return self.taught.split.joined(*_more_texts(self.dataset, self.options))

    @property
    def held_out_split(self) -> Split:
        """Texts to compare the model with its floor, which did not choose the epoch; those of a cross-fitted model."""
        if self.options.train_on == "all":
            return self.training_split
        return held_out_texts(self.dataset, self.options)

    def fit(self, on_epoch: EpochListener | None = None) -> FittedTraining:
        """Train, or continue from the last checkpoint; the model ends with the weights of the selected epoch.

        `on_epoch` is called after each epoch that this call trains on all texts.

        Raises:
            TrainingError: if the loss diverged, or another process runs the same training.
        """
        # The fused model casts by itself; TensorFlow's graph rewriting is for the encoder's own graph.
        graph_precision = "float32" if self.ids_model.name == FUSED else self.precision
        with self.run.locked(), self._team() as team:
            options, names, padding_id = self.options, self.dataset.class_names, self.preprocessing.padding_id
            train = self._labelled_ids(self.training_split)
            is_cross_fitted, is_resumed = options.train_on == "all", self.run.progress().step > 0
            # First of all, so that the floor of a resumed training is the same.
            probed = self._probe_logits(train)
            # Fine-tuning checkpoints include the weights of these steps, but cross-fitting starts from them again.
            if options.mlm_epochs and (is_cross_fitted or not is_resumed):
                self._pretrain(train)
            needs_head = options.head_init == "probe" and (is_cross_fitted or not is_resumed)
            vectors = self._vectors(train) if needs_head else None
            if not options.epochs and vectors is not None:
                return self._keep_probe(_NO_STEPS, probed, vectors, train)
            initial = self.ids_model.get_weights() if is_cross_fitted else []
            if vectors is not None and not is_resumed:
                self._set_head(vectors, train)
            select = None if options.train_on != "train" else self._labelled_ids(self.dataset.validation_select)
            steps = sum(map(len, plan_epochs(train.texts.lengths, options)))
            trainer = self._trainer(team, steps, graph_precision)
            parts = train, select, names, options, graph_precision, padding_id
            # The hosts of a cluster share the selection set, too.
            evaluate = self._validation_logits if team is None else None
            result = fit(self.ids_model, *parts, self.run, trainer, on_epoch, evaluate)
            if not is_cross_fitted:
                return FittedTraining(result, probed, None)
            final = self.ids_model.get_weights()
            announce("training again for each fold of a cross-validation", _FOLDS * result.seconds)

            def train_fold(fitted: np.ndarray, held: np.ndarray) -> np.ndarray:
                self.ids_model.set_weights(initial)
                part = train.chosen(fitted)
                if vectors is not None:
                    self._set_head(vectors[fitted], part)
                refit(trainer, part, len(names), options, graph_precision, padding_id)
                return predict_logits(self._ids_to_logits, train.texts.chosen(held), padding_id, "fold")

            def model(fitted: np.ndarray, held: np.ndarray) -> np.ndarray:
                # The first held text is in no other fold.
                return self.run.kept(f"fold-{held[0]}", (len(held), len(names)), lambda: train_fold(fitted, held))

            out_of_fold = out_of_fold_logits(train.labels, len(names), model, _FOLDS)
            may_keep_probe = self.recipe is not None and self.model_options.pooling == "mean"
            compared = (out_of_fold, probed, train.labels, options.class_weights)
            if vectors is not None and may_keep_probe and is_no_better_than_probe(*compared):
                self.ids_model.set_weights(initial)
                return self._keep_probe(result, probed, vectors, train)
            self.ids_model.set_weights(final)
            return FittedTraining(result, probed, out_of_fold)

    def _team(self) -> AbstractContextManager[Team | None]:
        return nullcontext() if self.cluster is None else led_team(self.cluster)

    def _trainer(self, team: Team | None, steps: int, graph_precision: str) -> Trainer:
        if team is None:
            return make_trainer(self.ids_model, self.options, steps)
        tokens = math.inf if self.ids_model.name == FUSED else 0.0
        how = steps, graph_precision, self.precision, tokens
        return team.trainer(self.ids_model, self.model_options, self.dataset.class_names, self.options, *how)

    def _keep_probe(
        self, result: FitResult, probed: np.ndarray, vectors: np.ndarray, texts: LabelledIds
    ) -> FittedTraining:
        """Make the model the probe of these outputs of the encoder, which is as it was before the training."""
        if self.teachers:
            click.echo("warning: the model is a probe, which learns from labels only: no teacher taught it", err=True)
        labels, is_fitted_to_all = texts.labels, self.options.train_on == "all"
        scale, out_of_fold = 1.0, None
        if self._smallest_class(labels) > 1:
            logits = self._cross_fitted_probe(vectors, texts)
            scale = probe_scale(logits, labels)
            out_of_fold = cross_scaled(logits, labels, _FOLDS) if is_fitted_to_all else None
        self._set_head(vectors, texts, scale)
        return FittedTraining(result, probed, out_of_fold, is_probe=True)

    def logits(self, split: Split, label: str) -> np.ndarray:
        """Logits of a split's texts, float32 [n, K]; `label` names the progress bar."""
        return window_logits(self._ids_to_logits, self.preprocessing, split.texts, label)

    def measure(self, fitted: FittedTraining) -> MeasuredTraining:
        """Fit the temperature on held-out logits, then measure the model on texts that it was not fitted to.

        The temperature is that of the calibration set, and the model is measured on the selection set and on test.
        If these are training texts, both are those of the out-of-fold logits.
        """
        out_of_fold, held_out = fitted.out_of_fold, self.held_out_split
        cross_fitted = None if out_of_fold is None else CrossFitted(self.training_split, out_of_fold)
        names = ("validation_select", "test") if self.options.train_on == "train" else ("test",)
        splits = self.dataset.splits
        texts = [text for name in ("validation_calibrate", *names) if name in splits for text in splits[name].texts]
        wordpieces = rough_wordpieces(texts, self.model_options.max_length * self.model_options.windows)
        computed = self._computation(self._ids_to_logits, wordpieces)

        def logits_of(split: Split, label: str) -> np.ndarray:
            return window_logits(computed.outputs, self.preprocessing, split.texts, label)

        measured = measure_model(self.dataset, logits_of, names, cross_fitted)
        logits = out_of_fold
        if logits is None:
            logits = held_out_logits(measured.logits, self.dataset, self.options)
        floor = compare_with_floor(
            logits.argmax(axis=1),
            fitted.probed.argmax(axis=1),
            held_out.labels,
            is_out_of_fold=out_of_fold is not None,
        )
        fields = {field.name: getattr(measured, field.name) for field in dataclasses.fields(measured)}
        return MeasuredTraining(**fields, floor=floor, precision=computed.precision)

    def _labelled_ids(self, split: Split) -> LabelledIds:
        return LabelledIds(tokenize_texts(self.preprocessing, split.texts), split.labels, split.weights, split.taught)

    def _pretrain(self, train: LabelledIds) -> None:
        special = self.preprocessing
        never_masked = (special.start_id, special.end_id)
        wordpieces = Wordpieces(special.vocabulary_size, special.padding_id, special.mask_id, never_masked)
        with self.mlm_run.locked("pretraining on the same texts"):
            pretrain_mlm(self.ids_model, train.texts, wordpieces, self.options, self.mlm_run)

    def _set_head(self, vectors: np.ndarray, texts: LabelledIds, scale: float = 1.0) -> None:
        """Make the classification layer the probe of these outputs of the encoder, its logits divided by `scale`."""
        classes, weighted = len(self.dataset.class_names), self.options.class_weights
        probe = fit_probe(vectors, texts.labels, classes, weighted, texts.weights)
        self.classifier.get_layer("classifier").set_weights([part / scale for part in probe])

    def _cross_fitted_probe(self, vectors: np.ndarray, texts: LabelledIds) -> np.ndarray:
        classes, weighted = len(self.dataset.class_names), self.options.class_weights
        return cross_fitted_probe(vectors, texts.labels, classes, weighted, _FOLDS, texts.weights)

    def _smallest_class(self, labels: np.ndarray) -> int:
        return int(np.bincount(labels, minlength=len(self.dataset.class_names)).min())

    def _vectors(self, texts: LabelledIds) -> np.ndarray:
        """Outputs [texts, H] of the encoder, pooled as for the classifier."""
        encode = ids_to_logits(ids_encoder(self.classifier))
        if pooling_of(self.classifier) == "mean":
            encode = self._computation(encode, texts.texts.lengths.sum(), of_means=True).outputs
        return predict_logits(encode, texts.texts, self.preprocessing.padding_id, "probe")

    def _probe_logits(self, train: LabelledIds) -> np.ndarray:
        """Logits of the held-out texts by a probe of the encoder before training, on means over the tokens."""
        is_cross_fitted = self.options.train_on == "all"
        sample = train if is_cross_fitted else train.chosen(sampled_rows(train.labels, _PROBED_TEXTS))
        others = None if is_cross_fitted else self._labelled_ids(self.held_out_split)
        wordpieces = sample.texts.lengths.sum() + (0 if others is None else others.texts.lengths.sum())
        announce("fitting a probe, which the trained model is compared with", wordpieces / ENCODING_SPEED)
        encode = ids_to_logits(ids_encoder(self.classifier, "mean"))
        encode = self._computation(encode, wordpieces, of_means=True).outputs

        def vectors_of(texts: LabelledIds) -> np.ndarray:
            return predict_logits(encode, texts.texts, self.preprocessing.padding_id, "probe")

        vectors = vectors_of(sample)
        if others is None:
            return self._cross_fitted_probe(vectors, sample)
        classes, weighted = len(self.dataset.class_names), self.options.class_weights
        return probe_logits(vectors, sample.labels, vectors_of(others), classes, weighted, sample.weights)

    def _computation(self, original: Logits, wordpieces: float, of_means: bool = False) -> Computation:
        if self.precision != BFLOAT16:
            return Computation(original, FLOAT32)
        texts = self.dataset.validation_calibrate.texts
        return computation(original, self.classifier, self.preprocessing, texts, wordpieces, of_means)

    def _validation_logits(self, select: LabelledIds) -> np.ndarray:
        """Logits of the selection set with the present weights, float32 [texts, K]."""
        computed = self._computation(self._ids_to_logits, select.texts.lengths.sum())
        return predict_logits(computed.outputs, select.texts, self.preprocessing.padding_id, "validation")

    @cached_property
    def _ids_to_logits(self) -> Callable[[np.ndarray, np.ndarray], tf.Tensor]:
        return ids_to_logits(self.ids_model)


def compile_training(
    dataset: Dataset,
    folders: EncoderFolders,
    preprocessing: TextPreprocessing,
    classifier: tf_keras.Model,
    model: ModelOptions,
    options: TrainingOptions,
    runs_dir: str | Path,
    teachers: Sequence[Teacher] = (),
    recipe: Recipe | None = None,
    cluster: Cluster | None = None,
) -> CompiledTraining:
    """Choose the precision and the graph to fit, and name the run directories, which are folders in `runs_dir`.

    The `teachers` are those of options.teachers, opened. A recipe may ask for class weights; they are used if they help
    a probe.

    Raises:
        ConfigError: if options.mlm_epochs is not 0 and the encoder has no masked-LM training.
    """
    precision = chosen_precision(options.precision)
    # Masked-LM training needs the fused graph, whatever the number of tokens.
    tokens = math.inf if options.mlm_epochs else _training_tokens(dataset, model, options)
    ids_model = trainable_classifier(classifier, model.dropout, precision, options.seed, tokens)
    if options.mlm_epochs and (ids_model.name != FUSED or preprocessing.mask_id < 0):
        raise ConfigError(
            f"mlm_epochs: expected 0 for this encoder, which has no token for masked words or no fused graph, got "
            f"{options.mlm_epochs}"
        )
    if recipe is not None and recipe.asks_for_class_weights:
        every, classes = dataset.train.joined(*_more_texts(dataset, options)), len(dataset.class_names)
        train = every.chosen(sampled_rows(every.labels, _PROBED_TEXTS))
        options = dataclasses.replace(options, class_weights=do_weights_help(train, classes, preprocessing, classifier))
    name = f"{dataset.source.resolve().name}-{model.model_name.replace('/', '_')}"
    # All that decides the outcome, so that a killed training may continue with another checkpoint_steps.
    weights = dataset.train.joined(*_more_texts(dataset, options)).weights
    identity: dict[str, Any] = {
        "data": dataset.fingerprint,
        # The fingerprint has the weights of the training texts only.
        "weights": None if weights is None else hashlib.sha256(weights.tobytes()).hexdigest(),
        "encoder": [str(folders.encoder), str(folders.preprocessing)],
        # A training reads one window of each text.
        "model": {name: value for name, value in model.to_dict().items() if name != "windows"},
        # A teacher is known by its content: its path may mean another one tomorrow.
        "training": {**options.to_dict(), "precision": precision, "checkpoint_steps": None, "teachers": None},
        "teachers": [teacher.sha256 for teacher in teachers],
        "graph": ids_model.name,
    }
    # Trainings that differ only in fine-tuning options share one masked-LM checkpoint.
    mlm_identity = {
        **identity,
        "training": {**identity["training"], **dict.fromkeys(_FINE_TUNING_OPTIONS)},
        "teachers": None,
    }
    return CompiledTraining(
        name=name,
        dataset=dataset,
        folders=folders,
        preprocessing=preprocessing,
        classifier=classifier,
        ids_model=ids_model,
        model_options=model,
        options=options,
        precision=precision,
        run=RunDirectory(Path(runs_dir, f"{name}-{identity_of(identity)}")),
        mlm_run=RunDirectory(Path(runs_dir, f"{name}-reading-{identity_of(mlm_identity)}")),
        teachers=tuple(teachers),
        teacher_cache=Path(runs_dir, f"{name}-teacher"),
        recipe=recipe,
        cluster=cluster,
    )


def _more_texts(dataset: Dataset, options: TrainingOptions) -> tuple[Split, ...]:
    """The validation texts that the model is fitted to."""
    return (dataset.validation_select, dataset.validation_calibrate)[: TRAIN_ON.index(options.train_on)]


def _training_tokens(dataset: Dataset, model: ModelOptions, options: TrainingOptions) -> float:
    """Roughly how many tokens all epochs take together."""
    texts = dataset.train.texts
    tokens = rough_wordpieces(texts, model.max_length)
    epochs = max(options.epochs, options.min_steps * min(1.0, options.batch_size / len(texts)))
    folds = _FOLDS if options.train_on == "all" else 0
    return (2 if options.r_drop else 1) * (1 + folds) * epochs * tokens
